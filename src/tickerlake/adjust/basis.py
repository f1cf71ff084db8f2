"""What a provider's prices and amounts include, as its limits say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from tickerlake.errors import TickerlakeError
from tickerlake.sources.base import AmountBasis, DividendRule, Limits, PriceBasis
from tickerlake.sources.registry import open_source

__all__ = ["Basis", "bases_of", "basis_of"]


@dataclass(frozen=True, slots=True)
class Basis:
    """The ground that an adjustment starts from.

    Splits are told row by row (`split_basis`): `prices` says whether dividends are in them, too.
    """

    prices: PriceBasis = "raw"
    amounts: AmountBasis = "raw"
    rule: DividendRule = "previous_close"
    #: The provider tells corporate actions with its days; without them nothing can be derived.
    tells_events: bool = False

    @classmethod
    def of(cls, limits: Limits) -> Basis:
        """What a source's limits say."""
        return cls(
            limits.price_basis,
            limits.amount_basis,
            limits.dividend_rule,
            "corporate_action" in limits.history,
        )


def bases_of(sources: Mapping[str, Mapping[str, Any]]) -> Callable[[str], Basis]:
    """What we know of a provider by its name; of one that is no source of ours, nothing.

    Feeds of one provider are providers of their own: `alpaca_iex` is what `alpaca` is.

    Args:
        sources: What `[sources.NAME]` says, by name: a plan may give more, or other prices.
    """

    @cache
    def found(provider: str) -> Basis:
        for name in (provider, provider.rpartition("_")[0]):
            try:
                return Basis.of(open_source(name, settings=sources.get(name)).limits)
            except TickerlakeError:  # records of foreign producers carry names of their own
                continue
        return Basis()

    return found


#: As `bases_of`, of sources as they are without settings.
basis_of: Final = bases_of({})

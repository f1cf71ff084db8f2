"""What the page is given: live records, and how far each hop of the chain has come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

import pyarrow as pa

from tickerlake.records import Kind

__all__ = ["Hop", "HopState", "LiveFeed", "Pipeline", "SymbolFinder"]

#: `ok`: keeps up. `behind`: works, but lags. `stopped`: does not work now. `unknown`: cannot tell.
HopState = Literal["ok", "behind", "stopped", "unknown"]


@dataclass(frozen=True, slots=True)
class Hop:
    """One hop of source → stream → delivery → lake → query, as far as it is known."""

    #: Such as `source`, `stream`, `delivery`, `lake`, `query`.
    name: str
    #: Records that have passed this hop so far; null when nobody counts them.
    count: int | None = None
    #: Records per second over the last few seconds.
    rate_per_second: float | None = None
    #: Records that the hop before has and this one does not have yet.
    lag_records: int | None = None
    #: Age of the oldest record that this hop does not have yet; 0 when it has all.
    lag_seconds: float | None = None
    state: HopState = "unknown"
    #: One short sentence for a person, such as the table or address behind the hop.
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The whole chain at one instant, first hop first."""

    hops: tuple[Hop, ...]
    #: When it was looked at, by the story's clock.
    as_of: datetime


class LiveFeed(Protocol):
    """Records as they arrive on the stream.

    At least once and in the stream's order per symbol; what was published before the subscription
    is *not* sent, and nothing says how many records come in one table.
    """

    def subscribe(self, callback: Callable[[Kind, pa.Table], None]) -> Callable[[], None]:
        """Call back with each batch (columns of `lake_schema(kind)`) from a thread of the feed.

        Returns:
            A function that ends the subscription.
        """
        ...


class SymbolFinder(Protocol):
    """Finds symbols beyond those that the lake holds."""

    def __call__(self, text: str, /, *, ask: bool | None) -> list[dict[str, Any]]:
        """What fits, best first, each with the fields of a hit.

        `ask`: whether providers may be asked; null: only if nothing that is known fits.
        """
        ...

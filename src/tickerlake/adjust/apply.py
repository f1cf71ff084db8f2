"""Bars as they were given, and steps → bars as they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.adjust.basis import Basis
from tickerlake.adjust.events import FIRST, STEPS, Key, by_symbol, days_of
from tickerlake.adjust.refusals import refusal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tickerlake.adjust.events import Days, Floats

    Mask: TypeAlias = npt.NDArray[np.bool_]

__all__ = ["ADJUSTMENTS", "UNADJUSTED_TYPES", "Adjust", "adjust"]

#: What prices shall be adjusted for: nothing (as traded), splits, or splits and dividends.
Adjust: TypeAlias = Literal["none", "splits", "all"]
ADJUSTMENTS: Final[tuple[str, ...]] = get_args(Adjust)

#: Instruments that have neither splits nor dividends.
UNADJUSTED_TYPES: Final = ("currency", "crypto", "future", "index", "option")

_PRICES: Final = ("open", "high", "low", "close")


def adjust(
    bars: pa.Table, steps: pa.Table, how: Adjust, *, bases: Callable[[str], Basis]
) -> pa.Table:
    """Prices and volumes on one basis.

    `none` gives prices as they were traded; `splits` and `all` those of the steps' `target`, which
    all later events would scale by one constant. Volume follows the splits alone. `adj_close` is
    null afterwards: it belonged to what was given.

    Args:
        bars: Bars in their schema, of any interval, providers and symbols.
        steps: Of the same symbols, by `steps`.
        how: What to adjust for.
        bases: What a provider's numbers include, by its name.

    Returns:
        The bars in their order; `split_basis` says up to when splits are in them now.

    Raises:
        AdjustmentError: A price cannot be derived, for one of the `REASONS`.
    """
    import numpy as np

    if how not in ADJUSTMENTS:
        raise refusal("word", provider="", symbol="", found=how)
    count = bars.num_rows
    factors, shares, basis = np.ones(count), np.ones(count), np.zeros(count, np.int64)
    steps_of = by_symbol(steps, "from_date")
    numbered = bars.append_column("row", pa.array(np.arange(count)))
    for key, own in by_symbol(numbered, "row").items():
        rows = own["row"].to_numpy()
        series = _Rows(key, own, steps_of.get(key, STEPS.empty_table()))
        factors[rows], shares[rows], basis[rows] = series.derived(how, bases(key[0]))
    changed = {name: bars[name].to_numpy() * factors for name in _PRICES}
    changed["volume"] = bars["volume"].to_numpy() * shares
    for name, values in changed.items():
        bars = _with(bars, name, pa.array(values, from_pandas=True))
    bars = _with(bars, "split_basis", pa.array(basis, pa.int32(), mask=basis < FIRST))
    return _with(bars, "adj_close", pa.nulls(count, pa.float64()))


class _Rows:
    """One symbol's bars, and the steps at their sessions and at their bases."""

    def __init__(self, key: Key, bars: pa.Table, steps: pa.Table) -> None:
        self._key = key
        self._bars = bars
        self._steps = steps
        self._sessions = days_of(bars["session_date"])
        self._bases = days_of(bars["split_basis"])
        self._told = True

    def derived(self, how: Adjust, basis: Basis) -> tuple[Floats, Floats, Days]:
        """What to multiply prices and volumes with, and the split basis that they have then."""
        import numpy as np

        exempt = pc.is_in(self._bars["instrument_type"], pa.array(UNADJUSTED_TYPES)).to_numpy()
        if basis.prices == "all":
            self._refuse("all", ~exempt & (how != "all"))
            return np.ones(len(exempt)), np.ones(len(exempt)), self._bases
        self._refuse("basis", ~exempt & (self._bars["split_basis"].is_null().to_numpy()))
        self._told = basis.tells_events
        if how == "none":
            splits, done = self._to_sessions(exempt)
        else:
            splits, done = self._to_target(exempt)
        dividends = self._dividends(exempt) if how == "all" else np.ones(len(exempt))
        splits, dividends = (np.where(exempt, 1.0, factor) for factor in (splits, dividends))
        return splits * dividends, 1 / splits, np.where(exempt, self._bases, done)

    def _to_sessions(self, exempt: Mask) -> tuple[Floats, Days]:
        """Take out the splits between session and basis."""
        same = self._sessions == self._bases
        if not self._steps.num_rows:
            self._refuse_events(~exempt & ~same)
            return self._ones(), self._sessions
        gaps = self._at("gaps_after", self._sessions) != self._at("gaps_beyond", self._bases)
        self._refuse_events(~exempt & ~same & (gaps | (self._bases > self._date("known_to"))))
        splits = self._at("splits", self._sessions) / self._at("splits", self._bases)
        return splits, self._sessions

    def _to_target(self, exempt: Mask) -> tuple[Floats, Days]:
        """Put in the splits between basis and target."""
        if not self._steps.num_rows:
            self._refuse_events(~exempt)
            return self._ones(), self._bases
        target, known_to = self._date("target"), self._date("known_to")
        gaps = (self._at("gaps_after", self._bases) > 0) | (target > known_to)
        self._refuse_events(~exempt & (self._bases != target) & gaps)
        return 1 / self._at("splits", self._bases), self._bases * 0 + target

    def _dividends(self, exempt: Mask) -> Floats:
        unknown = (self._at("gaps_after", self._sessions) > 0) | (
            self._sessions > self._date("known_to")
        )
        self._refuse_events(~exempt & unknown)
        factors = self._at("dividends", self._sessions)
        self._refuse("dividend", ~exempt & (factors != factors))  # noqa: PLR0124 - NaN
        return factors

    def _at(self, name: str, days: Days) -> npt.NDArray[np.float64]:
        import numpy as np

        at = np.searchsorted(days_of(self._steps["from_date"]), days, side="right") - 1
        values: Floats = self._steps[name].to_numpy()
        return values[np.clip(at, 0, None)]

    def _date(self, name: str) -> int:
        return int(days_of(self._steps[name])[0])

    def _ones(self) -> Floats:
        import numpy as np

        return np.ones(len(self._sessions))

    def _refuse_events(self, rows: Mask) -> None:
        self._refuse("events" if self._told else "untold", rows)

    def _refuse(self, reason: str, rows: Mask) -> None:
        """Raise for the first of these rows."""
        import numpy as np

        if not rows.any():
            return
        provider, symbol = self._key
        row = self._bars.slice(int(np.flatnonzero(rows)[0]), 1).to_pylist()[0]
        found = f"the {row['interval']} bar of {row['session_date']}"
        found += f" (split_basis {row['split_basis']})"
        if reason == "events":
            found += f"; {_unknown(self._steps, row['session_date'])}"
        raise refusal(reason, provider=provider, symbol=symbol, found=found)


def _unknown(steps: pa.Table, after: date) -> str:
    """From when on after a date events are not known, in words."""
    if not steps.num_rows or steps["known_to"][0].as_py() is None:
        return "no 1d bars are known"
    begins, days = steps["gaps_beyond"].to_pylist(), steps["from_date"].to_pylist()
    for gone, before, day in zip(begins[1:], begins, days[1:], strict=False):
        if gone < before and day > after:
            return f"events not known from {day} on"
    return f"events known up to {steps['known_to'][0].as_py()}"


def _with(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    position = table.schema.get_field_index(name)
    field = table.schema.field(position)
    return table.set_column(position, field, values.cast(field.type))

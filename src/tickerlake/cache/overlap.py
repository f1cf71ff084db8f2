"""Whether an answer agrees with what is held, by bars that both have and that were final.

Two ratios, new over held: r of open, high, low and close; a of adj_close. Volume never counts. r is
explained where it is 1, or constant between steps that all lie at ex-dates of known events: then
the provider has re-adjusted its prices. a is nobody's proof: it moves with each dividend.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from tickerlake.cache.basis import NOISE, Splits, days_of
from tickerlake.cache.rows import stamps

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Days = npt.NDArray[np.int64]

__all__ = ["Verdict", "compared", "matched", "settled"]

_PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True)
class Verdict:
    """`ratio` is r of each compared bar, `held` those bars as they are held."""

    explained: bool
    ratio: Floats
    held: pa.Table

    @property
    def readjusted(self) -> bool:
        """Prices moved, and events explain it."""
        return self.explained and bool((np.abs(self.ratio - 1) > NOISE).any())


def settled(rows: pa.Table) -> npt.NDArray[np.bool_]:
    """Which rows are final or revised."""
    states = rows["state"].to_numpy()
    found: npt.NDArray[np.bool_] = (states == "final") | (states == "revised")
    return found


def matched(held: pa.Table, new: pa.Table) -> tuple[Days, Days]:
    """Positions in both of the rows that have the same `ts`."""
    _, left, right = np.intersect1d(
        stamps(held), stamps(new), assume_unique=True, return_indices=True
    )
    return left, right


def compared(held: pa.Table, new: pa.Table, event_dates: Days, splits: Splits | None) -> Verdict:
    """Judge an answer against what is held.

    Where splits move prices, bars whose `split_basis` nothing proved say nothing of what moved the
    others: they need only be what some of the splits make of them.

    Args:
        held: Rows as they are held, in order of time.
        new: The answer's rows, in order of time.
        event_dates: Ex-dates (days since 1970) of the events that may move these prices.
        splits: All that are known, of a provider whose prices have those alone; of others None.
    """
    left, right = matched(held, new)
    both = settled(held)[left] & settled(new)[right]
    old, now = held.take(left[both]), new.take(right[both])
    dates = days_of(old, "session_date")
    if not len(dates):
        return Verdict(True, np.ones(0), old)
    ratios = np.column_stack([_ratio(old, now, name) for name in _PRICES])
    with np.errstate(invalid="ignore"):
        told = ~np.isnan(ratios).all(axis=1)
        low, high = np.ones(len(dates)), np.ones(len(dates))
        low[told], high[told] = np.nanmin(ratios[told], axis=1), np.nanmax(ratios[told], axis=1)
    ratio = (low + high) / 2
    if bool((high - low > 2 * NOISE * np.maximum(1, np.abs(ratio))).any()):
        return Verdict(False, ratio, old)
    if splits is not None:
        proven = old["split_basis"].is_valid().to_numpy()
        if not splits.turn(dates[~proven], ratio[~proven]):
            return Verdict(False, ratio, old)
        old, ratio, dates = old.filter(pa.array(proven)), ratio[proven], dates[proven]
    if bool((np.abs(ratio - 1) <= NOISE).all()):
        return Verdict(True, np.ones(len(dates)), old)
    return Verdict(_steps_at_events(ratio, dates, event_dates), ratio, old)


def _ratio(old: pa.Table, new: pa.Table, name: str) -> Floats:
    was, now = old[name].to_numpy(), new[name].to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: Floats = np.where((was == 0) & (now == 0), 1.0, now / was)
    return ratio


def _steps_at_events(ratio: Floats, dates: Days, event_dates: Days) -> bool:
    """Each step, and the one after the last bar if r is not 1 there, has an event of its own."""
    after = [*np.flatnonzero(np.abs(np.diff(ratio)) > NOISE * np.abs(ratio[1:])).tolist()]
    if abs(ratio[-1] - 1) > NOISE:
        after.append(len(ratio) - 1)
    for at in after:
        until = dates[at + 1] if at + 1 < len(dates) else 2**31
        if not bool(((event_dates > dates[at]) & (event_dates <= until)).any()):
            return False
    return True

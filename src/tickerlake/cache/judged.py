"""Held rows and an answer's, made comparable and compared."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.cache.basis import NO_BASIS, Splits, converted, days_of
from tickerlake.cache.overlap import Verdict, compared
from tickerlake.cache.rows import stamps
from tickerlake.cache.verified import verified

if TYPE_CHECKING:
    import numpy.typing as npt

    from tickerlake.cache.index import Series
    from tickerlake.cache.store import Store
    from tickerlake.sources.base import PriceBasis

    Days = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]

__all__ = ["Judged", "judge"]


@dataclass(frozen=True, slots=True)
class Judged:
    """The held rows on one basis, and how the answer compares to them.

    `in_doubt` = the times of those of which nothing shows whether they have what they claim.
    """

    as_read: pa.Table
    verdict: Verdict
    in_doubt: npt.NDArray[np.int64]

    def overlap(self, basis: Days) -> tuple[Days, Days, Floats] | None:
        """What the compared bars say of the new ones: session dates, basis, ratio; None: nothing.

        What nothing shows, and the ratio did not disprove, says nothing.

        Args:
            basis: Of the compared bars, in days, after what the ratio disproved.
        """
        held = self.verdict.held
        if not held.num_rows:
            return None
        kept = basis == days_of(held, "split_basis")
        unknown = np.isin(stamps(held), self.in_doubt) & kept
        return (
            days_of(held, "session_date"),
            np.where(unknown, NO_BASIS, basis),
            self.verdict.ratio,
        )


def judge(
    store: Store,
    series: Series,
    held_and_new: tuple[pa.Table, pa.Table],
    actions: pa.Table,
    price_basis: PriceBasis,
) -> Judged:
    """Compare an answer to what is held.

    Where splits move prices, rows that claim a split of before it was known are taken at their
    word as long as that explains the new prices: these show best who is right.

    Args:
        store: Where all rows are.
        series: Of the rows.
        held_and_new: Those that are held in the range, and the answer's; each in order of time.
        actions: All corporate actions that are known.
        price_basis: What is in the provider's prices.
    """
    held, new = held_and_new
    moving = _dates_that_move(actions, price_basis)
    if price_basis != "splits":
        return Judged(held, compared(held, new, moving, None), stamps(held)[:0])
    splits = Splits.of(actions)
    trusted = verified(held, actions, store, series, trust=True)
    shown = verified(held, actions, store, series)
    unknown = shown["split_basis"].is_null().to_numpy()
    in_doubt = stamps(held)[unknown & trusted["split_basis"].is_valid().to_numpy()]
    as_read = _on_one_basis(trusted, splits)
    verdict = compared(as_read, new, moving, splits)
    if not verdict.explained and len(in_doubt):
        as_read = _on_one_basis(shown, splits)
        verdict = compared(as_read, new, moving, splits)
    return Judged(as_read, verdict, in_doubt)


def _on_one_basis(held: pa.Table, splits: Splits) -> pa.Table:
    """Held rows may have come before and after a split: only on one basis they have one ratio."""
    latest = pc.max(held["split_basis"]).as_py()
    if latest is None:
        return held
    target = (latest - date(1970, 1, 1)).days
    return converted(held, target, splits, -(2**40))


def _dates_that_move(actions: pa.Table, price_basis: PriceBasis) -> Days:
    """Ex-dates of the events that may move the provider's prices."""
    if price_basis == "raw":
        return np.zeros(0, dtype=np.int64)
    if price_basis == "splits":
        actions = actions.filter(pc.equal(actions["action"], "split"))
    return days_of(actions, "ex_date")

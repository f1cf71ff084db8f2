"""Up to which split a row's prices are adjusted, and how rows of different bases become comparable.

A split invalidates nothing that is held: rows keep the values and the `split_basis` that they came
with, and reading multiplies by the splits between their basis and the newest one.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.records import SCHEMAS

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Days = npt.NDArray[np.int64]

__all__ = [
    "NEAR",
    "NOISE",
    "NO_BASIS",
    "YOUNG_DAYS",
    "Splits",
    "converted",
    "days_of",
    "disproved",
    "explained",
    "fetched_of",
    "proven",
    "with_basis",
]

#: 32-bit floats divided by a split differ by up to 4.1e-7 (seen).
NOISE: Final = 2e-6
_PRICES: Final = ("open", "high", "low", "close", "adj_close")
#: In days: that of a row of which nothing proves it.
NO_BASIS: Final = -(2**31)
#: Of a split's size (in logs): what prices may be off and still say whether they have it.
NEAR: Final = 1 / 3
#: Providers lost splits for days (seen): so young a one is believed only where prices prove it.
YOUNG_DAYS: Final = 14


@dataclass(frozen=True, slots=True)
class Splits:
    """Ex-dates in days since 1970, in order, and what each does to the prices before it."""

    dates: tuple[int, ...] = ()
    factors: tuple[float, ...] = ()

    @classmethod
    def of(cls, actions: pa.Table) -> Splits:
        """The splits among corporate actions, the last told of each date."""
        told = actions.filter(pc.equal(actions["action"], "split")).select(
            ["ex_date", "numerator", "denominator"]
        )
        found = {}
        for ex_date, new, old in zip(
            days_of(told, "ex_date").tolist(),
            told["numerator"].to_pylist(),
            told["denominator"].to_pylist(),
            strict=True,
        ):
            if new and old:
                found[ex_date] = old / new
        dates = tuple(sorted(found))
        return cls(dates, tuple(found[date] for date in dates))

    def turn(self, dates: Days, ratio: Floats) -> bool:
        """Whether each ratio of two prices may come of the splits that one has and one lacks.

        For bars of which nothing proves the basis: every one is possible.
        """
        bases = (NO_BASIS, *self.dates)
        left = np.abs(ratio - 1) > NOISE
        if not left.any():
            return True
        for since, until in itertools.permutations(bases, 2):
            factor = self.factor(dates, np.full(len(dates), since), until)
            left &= ~np.isclose(ratio, factor, rtol=10 * NOISE, atol=0)
        return not bool(left.any())

    def without(self, ex_date: int, claimed: Days) -> Days:
        """The basis of prices that lack a split: the day before it, at the latest.

        `NO_BASIS` where they have a later one, for no day says that.
        """
        following = next((date for date in self.dates if date > ex_date), 2**31)
        return np.where(claimed >= following, NO_BASIS, np.minimum(claimed, ex_date - 1))

    def factor(self, dates: Days, since: Days, until: int) -> Floats:
        """What turns prices of session `dates` with the basis `since` into those of `until`."""
        total = np.ones(len(dates))
        for ex_date, factor in zip(self.dates, self.factors, strict=True):
            before = dates < ex_date
            total[before & (since < ex_date) & (ex_date <= until)] *= factor
            total[before & (since >= ex_date) & (ex_date > until)] /= factor
        return total


def days_of(rows: pa.Table, name: str) -> Days:
    """A date column in days since 1970; null is long ago."""
    column = rows[name].cast(pa.int32()).cast(pa.int64())
    return pc.fill_null(column, NO_BASIS).to_numpy().copy()


def converted(rows: pa.Table, target: int, splits: Splits, known_since: int) -> pa.Table:
    """Rows as if all had been adjusted up to `target` (days since 1970).

    Only those whose basis is known, and lies so late that all splits since then are known: since
    the day `known_since`. Others stay as they came, with the basis that they came with.
    """
    basis = days_of(rows, "split_basis")
    able = (basis != NO_BASIS) & ((basis >= target) | (basis + 1 >= known_since))
    if not able.any() or bool((basis[able] == target).all()):
        return rows
    factor = splits.factor(days_of(rows, "session_date"), basis, target)
    factor[~able] = 1.0
    if bool((factor != 1.0).any()):
        for name in _PRICES:
            rows = _with(rows, name, pc.multiply(rows[name], pa.array(factor)))
        rows = _with(rows, "volume", pc.divide(rows["volume"], pa.array(factor)))
    return with_basis(rows, np.where(able, target, basis))


def explained(
    held: pa.Table, ratio: Floats, splits: Splits, until: int, *, all_known: bool
) -> bool:
    """Whether known splits, and nothing else, turn held prices into the new ones.

    The new ones have all splits up to the day `until`. Where all splits between their basis and
    that day are known, they may also lack the latest, and the held ones one that they claim: else
    a split that is not known may be what moved them.
    """
    dates, basis = days_of(held, "session_date"), days_of(held, "split_basis")
    maybe = splits.dates if all_known else ()
    for without in (None, *maybe):
        lacking = basis
        if without is not None:
            lacking = np.where((dates < without) & (basis >= without), without - 1, basis)
        for end in (until, *(ex_date - 1 for ex_date in maybe)):
            if np.allclose(ratio, splits.factor(dates, lacking, end), rtol=10 * NOISE, atol=0):
                return True
    return False


def disproved(
    rows: pa.Table, held: pa.Table, ratio: Floats, splits: Splits, until: int
) -> tuple[pa.Table, Days]:
    """Held rows whose basis claims a split that, as the ratio now shows, was not in their prices.

    A provider that lost a split for days says its prices are as of today, and they are not. Where
    splits after their basis explain the ratio, nothing is said of those before it.

    Args:
        rows: All rows of the series.
        held: Those of the overlap.
        ratio: New over held, of each of these.
        splits: All that are known.
        until: The day up to which the new prices should have all splits.

    Returns:
        All rows with the basis that they had, and that of the overlap in days.
    """
    basis, own = days_of(rows, "split_basis"), days_of(held, "split_basis")
    dates, own_dates = days_of(rows, "session_date"), days_of(held, "session_date")
    fetched, own_fetched = fetched_of(rows), fetched_of(held)
    came_since = np.isclose(ratio, splits.factor(own_dates, own, until), rtol=10 * NOISE, atol=0)
    for ex_date, factor in zip(splits.dates, splits.factors, strict=True):
        was_not = (own_dates < ex_date) & (own >= ex_date) & np.isclose(ratio, factor, rtol=1e-5)
        was_not &= ~came_since
        if was_not.any():
            last = own_fetched[was_not].max()
            lacks = (dates < ex_date) & (basis >= ex_date) & (fetched <= last)
            own_lack = (own_dates < ex_date) & (own >= ex_date) & (own_fetched <= last)
            basis = np.where(lacks, splits.without(ex_date, basis), basis)
            own = np.where(own_lack, splits.without(ex_date, own), own)
    return with_basis(rows, basis), own


def proven(
    rows: pa.Table,
    splits: Splits,
    as_of_day: int,
    overlap: tuple[Days, Days, Floats] | None,
) -> pa.Table:
    """The rows of one answer with the basis that they provably have; null where none fits.

    Args:
        rows: An answer of a provider that adjusts for splits, each row with the basis it claims.
        splits: All that are known.
        as_of_day: That of the last session that had opened when the answer was given.
        overlap: Session dates, held basis and new/held price ratio of bars that both have.
    """
    # A split is in the prices from its session's open on, not from midnight.
    claimed = np.minimum(days_of(rows, "split_basis"), as_of_day)
    dates = days_of(rows, "session_date")
    for ex_date, factor in reversed(list(zip(splits.dates, splits.factors, strict=True))):
        touched = (dates < ex_date) & (claimed >= ex_date)
        if not touched.any():
            continue
        verdict = _overlap_says(ex_date, splits, overlap)
        if verdict is None:
            verdict = _prices_say(rows, dates, ex_date, factor)
        if verdict is None and as_of_day - ex_date <= YOUNG_DAYS:
            claimed = np.where(touched, NO_BASIS, claimed)
        elif verdict is False:
            claimed = np.where(touched, splits.without(ex_date, claimed), claimed)
    if overlap is not None and not _fits(overlap, splits, dates, claimed):
        claimed = np.where(dates <= overlap[0].max(), NO_BASIS, claimed)
    return with_basis(rows, claimed)


def _overlap_says(
    ex_date: int, splits: Splits, overlap: tuple[Days, Days, Floats] | None
) -> bool | None:
    """Whether the answer is adjusted for a split, by bars before it that are held as well."""
    if overlap is None:
        return None
    dates, held, ratio = overlap
    before = (dates < ex_date) & (held != NO_BASIS)  # what nothing proved proves nothing
    if not before.any():
        return None
    with_it = splits.factor(dates[before], held[before], ex_date)
    without = splits.factor(dates[before], held[before], ex_date - 1)
    if np.allclose(ratio[before], with_it, rtol=10 * NOISE, atol=0):
        return True
    lacks = np.allclose(ratio[before], without, rtol=10 * NOISE, atol=0)
    return False if lacks and not _may_lack_another(ex_date, splits, overlap) else None


def _may_lack_another(ex_date: int, splits: Splits, overlap: tuple[Days, Days, Floats]) -> bool:
    """Whether the ratio is just as well that of prices that lack another split, of one size."""
    dates, held, ratio = (column[overlap[1] != NO_BASIS] for column in overlap)
    whole = splits.factor(dates, held, splits.dates[-1])
    for other, factor in zip(splits.dates, splits.factors, strict=True):
        lacking = np.where((dates < other) & (held < other), whole / factor, whole)
        if other != ex_date and np.allclose(ratio, lacking, rtol=10 * NOISE, atol=0):
            return True
    return False


def _prices_say(rows: pa.Table, dates: Days, ex_date: int, factor: float) -> bool | None:
    """The same by the step of the prices over the split, where the split is a large one."""
    before, after = np.flatnonzero(dates < ex_date), np.flatnonzero(dates >= ex_date)
    if not len(before) or not len(after) or abs(np.log(factor)) < np.log(1.4):
        return None
    closed, opened = rows["close"][int(before[-1])].as_py(), rows["open"][int(after[0])].as_py()
    if not closed or not opened or closed * opened <= 0:
        return None
    step, size = np.log(opened / closed), np.log(factor)
    if abs(step) <= NEAR * abs(size):
        return True
    return False if abs(step - size) <= NEAR * abs(size) else None


def _fits(overlap: tuple[Days, Days, Floats], splits: Splits, dates: Days, claimed: Days) -> bool:
    """Whether known splits explain the ratio of every bar of the overlap."""
    days, held, ratio = (column[overlap[1] != NO_BASIS] for column in overlap)
    basis = claimed[np.searchsorted(dates, days).clip(0, len(dates) - 1)]
    expected = np.array(
        [
            1.0
            if new == NO_BASIS
            else splits.factor(days[at : at + 1], held[at : at + 1], int(new))[0]
            for at, new in enumerate(basis)
        ]
    )
    return bool(np.allclose(ratio, expected, rtol=10 * NOISE, atol=0))


def with_basis(rows: pa.Table, basis: Days) -> pa.Table:
    """Rows with another `split_basis`, in days; `NO_BASIS` is null."""
    return _with(rows, "split_basis", _as_dates(basis))


def _as_dates(days: Days) -> pa.Array:
    known = days != NO_BASIS
    return pa.array(np.where(known, days, 0).astype(np.int32), mask=~known).cast(pa.date32())


def fetched_of(rows: pa.Table) -> Days:
    """When each row came, in microseconds since 1970."""
    return rows["fetched_at"].cast(pa.int64()).to_numpy()


def _with(rows: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    at = rows.schema.get_field_index(name)
    return rows.set_column(at, SCHEMAS["bar"].field(name), values)

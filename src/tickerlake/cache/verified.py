"""Rows that came before anybody told of a split that they claim to have: do their prices show it?

Hours come without events. A provider may lose a split for days, and say of prices that lack it
that they are as of today (seen; it re-adjusted days, and not hours). What is asked for while the
split is known is proven then (`basis.proven`); what came before is looked at when it is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.cache.axis import DAY
from tickerlake.cache.basis import (
    NEAR,
    NO_BASIS,
    YOUNG_DAYS,
    Splits,
    days_of,
    fetched_of,
    with_basis,
)
from tickerlake.cache.rows import stamps
from tickerlake.records import SCHEMAS
from tickerlake.sources import Answer

if TYPE_CHECKING:
    import numpy.typing as npt

    from tickerlake.cache.index import Series
    from tickerlake.cache.store import Store

    Days = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]
    Times = npt.NDArray[np.int64]
    Verdicts = npt.NDArray[np.int64]
    Mask = npt.NDArray[np.bool_]

__all__ = ["first_told", "may_claim", "newest_split", "verified"]

_EPOCH: Final = date(1970, 1, 1)
#: So far apart neighbours may lie: over more, any price may have moved as much.
_APART: Final = 6 * DAY
#: Smaller splits than these nobody can tell from how prices move: within a day, and overnight.
_LEAST_OF_DAYS: Final = 1.1
_LEAST_STEP: Final = 1.4
_UNKNOWN, _HAS, _LACKS = range(3)


def first_told(answer: Answer, held: pa.Table) -> pa.Table:
    """Corporate actions of an answer but for those that are held as they are.

    So `fetched_at` says since when each is known: since the bars of its answer at the latest,
    however many requests that took.
    """
    told, known = answer.actions, set(_without_times(held))
    new = told.filter(pa.array([row not in known for row in _without_times(told)], pa.bool_()))
    if not new.num_rows or not answer.bars.num_rows:
        return new
    at = new.schema.get_field_index("fetched_at")
    since = pa.array(np.minimum(fetched_of(new), fetched_of(answer.bars).min()))
    return new.set_column(at, new.schema.field(at), since.cast(new.schema.field(at).type))


def newest_split(actions: pa.Table) -> str:
    """The ex-date of the last split that is known, or ""."""
    last = pc.max(actions.filter(pc.equal(actions["action"], "split"))["ex_date"]).as_py()
    return "" if last is None else str(last.isoformat())


def may_claim(rows: pa.Table, target: date, split: str | None) -> bool:
    """Whether some rows may have come soon after the newest split, and claim to have it.

    `split` is what `newest_split` said; None is an index of before, which did not ask.
    """
    if not split:
        return split is None
    ex_date = date.fromisoformat(split)
    if ex_date > target:
        return True  # some of before
    earliest = int(fetched_of(rows).min())
    return bool(earliest < ((ex_date - _EPOCH).days + YOUNG_DAYS + 1) * DAY)


def verified(
    rows: pa.Table, actions: pa.Table, store: Store, series: Series, *, trust: bool = False
) -> pa.Table:
    """Rows with the basis that prices show; where they show none null, or with `trust` as claimed.

    Args:
        rows: Some of a series, each with the basis that it claims.
        actions: All corporate actions that are known, each with the time since when.
        store: Where all rows of the series are, and the symbol's days: read if some are in doubt.
        series: Of the rows.
        trust: Whether what they claim stands where prices show nothing.
    """
    splits, known = Splits.of(actions), _known_since(actions)
    doubtful = [at for at in splits.dates if _claims(rows, at, known[at]).any()]
    if not doubtful:
        return rows
    basis = days_of(rows, "split_basis")
    evidence = _Evidence(store.rows(series)[0], _days_of(store, series), splits)
    for ex_date in reversed(doubtful):
        claims = _claims(rows, ex_date, known[ex_date])
        verdict = evidence.of(fetched_of(rows), ex_date, known[ex_date])
        if not trust:
            basis[claims & (verdict == _UNKNOWN)] = NO_BASIS
        basis = np.where(claims & (verdict == _LACKS), splits.without(ex_date, basis), basis)
    return with_basis(rows, basis)


@dataclass(frozen=True, slots=True)
class _Evidence:
    """Of each answer, whether a split is in its prices."""

    rows: pa.Table
    days: pa.Table
    splits: Splits

    def of(self, fetched: Times, ex_date: int, known: int) -> Verdicts:
        """What shows of answers of these times, if they claim a split of which nobody had told.

        The bars of the same days, of an answer that was proven, show it best; else the step from
        its last bar to the next one, or to its first one from the one before.
        """
        claims = _claims(self.rows, ex_date, known)
        mine = self.rows.filter(pa.array(claims))
        if not mine.num_rows:  # replaced a moment ago
            return np.full(len(fetched), _UNKNOWN)
        answers, of = np.unique(fetched_of(mine), return_inverse=True)
        factor = self.splits.factors[self.splits.dates.index(ex_date)]
        against_days = _mean(self._against_days(mine, known), of, len(answers))
        shown = _nearest(against_days, factor, _LEAST_OF_DAYS)
        for steps in self._steps(mine, of, len(answers), claims):
            shown = np.where(shown == _UNKNOWN, _nearest(steps, factor, _LEAST_STEP), shown)
        at = np.searchsorted(answers, fetched)
        there = np.append(answers, 0)[at] == fetched  # else replaced, too
        return np.where(there, np.append(shown, _UNKNOWN)[at], _UNKNOWN)

    def _against_days(self, mine: pa.Table, known: int) -> Floats:
        """The log of each bar's price over its day's, on the basis that it claims; NaN: no day."""
        fetched, basis = fetched_of(self.days), days_of(self.days, "split_basis")
        days = self.days.filter(pa.array((fetched >= known) & (basis != NO_BASIS)))
        dates, wanted = days_of(days, "session_date"), days_of(mine, "session_date")
        found = np.full(len(wanted), np.nan)
        if not len(dates) or mine["interval"][0].as_py() == "1d":
            return found
        at = np.searchsorted(dates, wanted).clip(0, len(dates) - 1)
        there = dates[at] == wanted
        for one in np.unique(days_of(mine, "split_basis")[there]).tolist():
            part = there & (days_of(mine, "split_basis") == one)
            day = at[part]
            moved = self.splits.factor(dates[day], days_of(days, "split_basis")[day], one)
            with np.errstate(divide="ignore", invalid="ignore"):
                middle = np.sqrt(_prices(days, "high")[day] * _prices(days, "low")[day]) * moved
                found[part] = np.log(_prices(mine, "close")[part] / middle)
        return found

    def _steps(self, mine: pa.Table, of: Days, count: int, claims: Mask) -> Iterator[Floats]:
        """The log of each answer's price over its neighbour's: the next bar, then the one before.

        On the basis that it claims. Neighbours are bars of other answers that are not in doubt.
        """
        sound = ~claims & (days_of(self.rows, "split_basis") != NO_BASIS)
        others = self.rows.filter(pa.array(sound))
        at, own = stamps(others), stamps(mine)
        ends = np.full(count, -1), np.full(count, len(own))
        np.maximum.at(ends[0], of, np.arange(len(own)))
        np.minimum.at(ends[1], of, np.arange(len(own)))
        for end, side, names in ((ends[0], 0, ("close", "open")), (ends[1], -1, ("open", "close"))):
            beside = np.searchsorted(at, own[end]) + side
            there = (beside >= 0) & (beside < len(at))
            yield np.array([
                self._off(mine.slice(int(one), 1), others.slice(int(other), 1), names)
                if ok
                else np.nan
                for one, other, ok in zip(end, beside, there, strict=True)
            ])  # fmt: skip

    def _off(self, mine: pa.Table, other: pa.Table, names: tuple[str, str]) -> float:
        """The log of one bar's price over that of another close to it."""
        if abs(int(stamps(mine)[0] - stamps(other)[0])) > _APART:
            return np.nan
        dates, basis = days_of(other, "session_date"), days_of(other, "split_basis")
        moved = self.splits.factor(dates, basis, int(days_of(mine, "split_basis")[0]))
        price, beside = _prices(mine, names[0])[0], _prices(other, names[1])[0] * moved[0]
        return float(np.log(price / beside)) if price > 0 and beside > 0 else np.nan


def _days_of(store: Store, series: Series) -> pa.Table:
    """The symbol's bars of days that are held."""
    days = store.index.current(replace(series.key, interval="1d", session="regular"))
    return SCHEMAS["bar"].empty_table() if days is None else store.rows(days)[0]


def _claims(rows: pa.Table, ex_date: int, known: int) -> Mask:
    """Rows of before a split that claim to have it, of answers so young that it may be lost."""
    fetched = fetched_of(rows)
    young = fetched < min(known, (ex_date + YOUNG_DAYS + 1) * DAY)
    before = days_of(rows, "session_date") < ex_date
    return young & before & (days_of(rows, "split_basis") >= ex_date)


def _without_times(actions: pa.Table) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in actions.drop_columns("fetched_at").to_pylist()]


def _known_since(actions: pa.Table) -> dict[int, int]:
    splits = actions.filter(pc.equal(actions["action"], "split"))
    dates = days_of(splits, "ex_date").tolist()
    return dict(zip(dates, fetched_of(splits).tolist(), strict=True))


def _mean(values: Floats, of: Days, count: int) -> Floats:
    """Of each answer's bars; NaN where none has a value."""
    told = np.isfinite(values)
    sums = np.bincount(of[told], values[told], count)
    with np.errstate(invalid="ignore"):
        return sums / np.bincount(of[told], minlength=count)


def _nearest(logs: Floats, factor: float, least: float) -> Verdicts:
    """Prices that have a split meet others of then; that lack it, they are off by its factor.

    Of a split that is less than `least`, prices show nothing.
    """
    size = abs(np.log(factor))
    near = size * NEAR if size >= np.log(least) else -1.0
    with np.errstate(invalid="ignore"):
        has, lacks = np.abs(logs) <= near, np.abs(logs + np.log(factor)) <= near
    return np.where(has, _HAS, np.where(lacks, _LACKS, _UNKNOWN))


def _prices(rows: pa.Table, name: str) -> Floats:
    return rows[name].to_numpy()

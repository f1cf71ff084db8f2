"""The life of a bar: what a new answer does to held rows, and when each is to be seen again.

forming      lies beyond the coverage: asked for again with the live tail
provisional  due at the close of the next session, until the provider calls it final
final        not asked for again, but as overlap
revised      its volume moved after it was final: due once more after ten days
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.cache.axis import DAY, FOREVER, is_intraday, length, period_after
from tickerlake.cache.basis import NOISE
from tickerlake.cache.coverage import Coverage
from tickerlake.cache.market import Market
from tickerlake.cache.overlap import matched
from tickerlake.cache.planner import Held, Recheck
from tickerlake.cache.rows import stamps
from tickerlake.records import SCHEMAS, STATE_RANK

if TYPE_CHECKING:
    import numpy.typing as npt

    Mask = npt.NDArray[np.bool_]

__all__ = ["Merged", "merged", "rechecks_after"]

_TEN_DAYS: Final = 10 * DAY
_HOLE_TRIES: Final = 2
_PRICES: Final = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True)
class Merged:
    """The rows as they shall be held, and which of them were revised just now."""

    rows: pa.Table
    revised: npt.NDArray[np.int64]


def merged(
    held: pa.Table,
    as_read: pa.Table,
    new: pa.Table,
    coverage: Coverage,
    *,
    readjusted: bool,
    by_splits: bool,
) -> Merged:
    """All tables are of one range, in order of time; what is held and not told again stays.

    `as_read` are the held rows on one split basis: these are compared, and those are kept.

    `readjusted` says that events moved held prices, `by_splits` that splits are what may move them.
    Only rows that were still forming, or were never covered, go when they are not told again.
    """
    left, right = matched(held, new)
    old, now = as_read.take(left), new.take(right)
    rank, old_rank = _ranks(now), _ranks(old)
    same_prices = np.ones(len(left), dtype=bool)
    same_nulls = np.ones(len(left), dtype=bool)
    for name in _PRICES:
        was, told = old[name].to_numpy(), now[name].to_numpy()
        same_prices &= np.isclose(was, told, rtol=NOISE, atol=0, equal_nan=True)
        same_nulls &= np.isnan(was) == np.isnan(told)
    unproven = old["split_basis"].is_null().to_numpy()
    proven_now = unproven & now["split_basis"].is_valid().to_numpy()
    same_volume = _volume(old) == _volume(now)
    same_adjusted = np.isclose(
        old["adj_close"].to_numpy(), now["adj_close"].to_numpy(), rtol=NOISE, atol=0, equal_nan=True
    )
    final = old_rank == STATE_RANK["final"]
    falls = rank < old_rank
    revised = final & ~falls & (~same_volume | ~same_nulls)
    moved = ~same_prices | ~same_volume | ~same_adjusted
    changes = np.where(final, ~falls & (moved if readjusted else moved | revised), False)
    changes |= ~falls & (proven_now | (~final & (moved | (rank > old_rank))))
    # What moves prices may move volumes: splits do, and of unproven rows nobody knows which.
    revised &= same_prices | ~(readjusted | (unproven & by_splits))
    states = now["state"].to_numpy().copy()
    states[final] = old["state"].to_numpy()[final]
    states[revised] = "revised"
    now = now.set_column(
        now.schema.get_field_index("state"),
        SCHEMAS["bar"].field("state"),
        pa.array(states.tolist(), pa.string()),
    )
    take_new = np.zeros(new.num_rows, dtype=bool)
    take_new[np.setdiff1d(np.arange(new.num_rows), right)] = True
    keep_old = ~_vanishes(held, left, coverage)
    keep_old[left[changes]] = False
    rows = pa.concat_tables(
        [
            held.filter(pa.array(keep_old)),
            new.filter(pa.array(take_new)),
            now.filter(pa.array(changes)),
        ]
    ).sort_by([("ts", "ascending")])
    return Merged(rows, stamps(now)[revised & changes])


def _vanishes(held: pa.Table, told_again: npt.NDArray[np.int64], coverage: Coverage) -> Mask:
    """Rows that stay only while the provider tells them: forming, or outside the coverage."""
    gone = np.zeros(held.num_rows, dtype=bool)
    unmatched = np.setdiff1d(np.arange(held.num_rows), told_again)
    at = stamps(held)
    forming = _ranks(held) == 0
    for row in unmatched.tolist():
        gone[row] = bool(forming[row]) or coverage.holding(int(at[row])) is None
    return gone


def rechecks_after(
    held: Held,
    asked: tuple[int, int],
    rows: Merged,
    *,
    market: Market,
    as_of: int,
    interval: str,
) -> tuple[Recheck, ...]:
    """What is due, and when, after a range was asked for and came with rows."""
    start, end = asked
    before = [r for r in held.rechecks if r.overlaps(start, end)]
    kept = [r for old in held.rechecks for r in _outside(old, start, end, as_of)]
    provisional = rows.rows.filter(pc.equal(rows.rows["state"], "provisional"))
    at = stamps(provisional)
    # Whatever is older than yesterday waits for the same close: today's may be still to come.
    days = np.maximum(at // DAY, as_of // DAY - 1)
    for day in np.unique(days).tolist():
        due = market.settled_at(day * DAY, as_of)
        own = at[days == day]
        kept += [Recheck(low, high, due, "provisional") for low, high in _runs(own, interval)]
    for one in rows.revised.tolist():
        kept.append(Recheck(one, _end_of(one, interval), as_of + _TEN_DAYS, "revised"))
    if interval == "1d":
        kept += _holes(before, _hole_dates(asked, rows, market, as_of), market, as_of)
    return tuple(sorted(kept, key=lambda r: (r.start, r.due)))


def _outside(recheck: Recheck, start: int, end: int, as_of: int) -> tuple[Recheck, ...]:
    """What of a recheck was not asked for now; one of a revision waits for its own day."""
    if recheck.why == "revised" and recheck.due > as_of:
        return (recheck,)
    return recheck.outside(start, end)


def _hole_dates(asked: tuple[int, int], rows: Merged, market: Market, as_of: int) -> list[int]:
    """Sessions of the last days that the answer leaves out."""
    start = max(asked[0], as_of - _TEN_DAYS)
    end = min(asked[1], market.horizon(as_of, "1d"))
    dates = market.dates(start, end) if start < end else None
    told = set(stamps(rows.rows).tolist())
    return [date for date in dates or () if date >= start and date not in told]


def _holes(before: list[Recheck], dates: list[int], market: Market, as_of: int) -> list[Recheck]:
    """They are seen again at the next session and after ten days; then they are absent."""
    holes = []
    for date in dates:
        known = [r for r in before if r.why == "hole" and r.start == date]
        tries = max((r.tries + (r.due <= as_of) for r in known), default=1)
        if tries <= _HOLE_TRIES:
            due = market.settled_at(date, as_of) if tries == 1 else date + _TEN_DAYS
            holes.append(Recheck(date, date + DAY, max(due, as_of + 1), "hole", tries))
    return holes


def _runs(at: npt.NDArray[np.int64], interval: str) -> list[tuple[int, int]]:
    """What the bars of these starts, in order, cover together: bars that touch are one run."""
    if is_intraday(interval) and len(at):
        lasts = np.flatnonzero(np.diff(at, append=FOREVER) > length(interval))
        firsts = np.concatenate([[0], lasts[:-1] + 1]).astype(np.int64)
        return [
            (low, high + length(interval))
            for low, high in zip(at[firsts].tolist(), at[lasts].tolist(), strict=True)
        ]
    return list(Coverage.of((one, _end_of(one, interval)) for one in at.tolist()))


def _end_of(at: int, interval: str) -> int:
    if is_intraday(interval):
        return at + length(interval)
    return at + DAY if interval == "1d" else period_after(at, interval)


def _ranks(rows: pa.Table) -> npt.NDArray[np.int64]:
    states = pc.index_in(rows["state"], value_set=pa.array(list(STATE_RANK)))
    ranks = np.array([*STATE_RANK.values(), 0])
    return ranks[pc.fill_null(states, len(STATE_RANK)).to_numpy()]


def _volume(rows: pa.Table) -> npt.NDArray[np.float64]:
    return np.nan_to_num(rows["volume"].to_numpy())

"""What an answer does to what is held: `Change`s of bars and corporate actions."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.cache.axis import DAY, FOREVER, SECOND, anchor, instant, is_intraday
from tickerlake.cache.basis import (
    Splits,
    days_of,
    disproved,
    explained,
    proven,
)
from tickerlake.cache.coverage import Coverage
from tickerlake.cache.identity import as_of_answer, identified, market_of
from tickerlake.cache.index import Change, Series
from tickerlake.cache.judged import judge
from tickerlake.cache.life import merged, rechecks_after
from tickerlake.cache.looks import Look
from tickerlake.cache.market import Market
from tickerlake.cache.overlap import Verdict
from tickerlake.cache.planner import Ask, Held, Recheck
from tickerlake.cache.rows import between, newest, stamps
from tickerlake.cache.verified import first_told, newest_split
from tickerlake.errors import RangeError
from tickerlake.records import KEYS, Kind
from tickerlake.sources import Answer, Limits

if TYPE_CHECKING:
    from tickerlake.cache.store import Store

__all__ = ["Absorbed", "Case", "absorb", "emptied"]

_HOUR: Final = 3600 * SECOND
_TWO_DAYS: Final = 2 * DAY
#: How long after each "nothing there" the provider is asked again, if it is wanted.
_EMPTY_WAITS: Final = (_HOUR, DAY, 7 * DAY, 30 * DAY)
#: That many are believed of a provider that tells bars of this symbol; of others, none for ever.
_EMPTY_BELIEVED: Final = 3
#: What is no noise of adjusted closes any more (2e-6 was the most), and less than any dividend.
_STEP: Final = 1e-5
#: Some round them to four digits.
_ROUNDING: Final = 2e-4
#: As long for prices that nothing explains, and for events that vanished.
_DOUBT_WAITS: Final = (_HOUR, DAY)


@dataclass(frozen=True, slots=True)
class Case:
    """One ask: what was held when it was sent (its lock is held since), and of whom it was.

    `live` is how long a live tail stays, in microseconds.
    """

    store: Store
    look: Look
    ask: Ask
    limits: Limits
    live: int

    @property
    def span(self) -> tuple[int, int]:
        """What the answer replaces; of an open ask, all that follows."""
        return self.look.span_of(self.ask)

    def quiet(self, market: Market, series: Series, as_of: int) -> tuple[int, int, int] | None:
        """Beyond the horizon all is told for a while, if it was asked for."""
        if not self.ask.is_open:
            return series.held.quiet
        now, interval = self.look.now, series.key.interval
        horizon = market.horizon(as_of, interval)
        behind = horizon < market.horizon(now, interval)  # the provider's clock
        until = now + self.live if behind else market.quiet_until(now, self.live)
        return min(horizon, self.ask.end), until, now


@dataclass(frozen=True, slots=True)
class Absorbed:
    """What shall be kept, and what the user should know. `doubt` = nothing explains the prices."""

    changes: tuple[Change, ...]
    notes: tuple[str, ...] = ()
    doubt: bool = False


def absorb(case: Case, answer: Answer, *, insist: bool) -> Absorbed:
    """Judge and merge one answer that has bars.

    Args:
        case: What was asked for.
        answer: What came; at least one bar, or see `emptied`.
        insist: The answer was given twice: if nothing explains it, it is quarantined.
    """
    look, limits = case.look, case.limits
    series, notes = identified(look.series, answer, limits)
    market = market_of(series, limits, extended=look.market.extended)
    as_of, skew = as_of_answer(answer, look.now)
    notes += skew
    interval = series.key.interval
    start, end = case.span
    new = between(answer.bars.sort_by([("ts", "ascending")]), start, end)
    held, _ = case.store.rows(series, start, end)
    seen = (start, min(end, max(start, market.horizon(as_of, interval))))
    if answer.missing:
        seen = _between_bars(new, *seen)
    opened = market.opened_before(as_of)
    # Events are told from the open of their day on: so until its end they are known.
    told = (seen[0], max(seen[1], min(opened + DAY, end)))
    events = _Events.of(case, answer, series, told=told, expected=(start, min(end, as_of)))
    splits, by_splits = Splits.of(events.rows), limits.price_basis == "splits"
    judged = judge(case.store, series, (held, new), events.rows, limits.price_basis)
    verdict = judged.verdict
    resplit, last = verdict.readjusted and by_splits, opened // DAY
    if not insist and _is_in_doubt(verdict, events, opened, resplit=resplit):
        return Absorbed((), notes, doubt=True)
    if not verdict.explained:
        apart = _quarantined(case, series, new, (start, min(seen[1], case.ask.end)), notes)
        return replace(apart, changes=(*apart.changes, *events.changes(case, seen, series)))
    part, rows_before = (start, end), None
    basis = days_of(verdict.held, "split_basis")
    if resplit:
        whole, _ = case.store.rows(series)
        rows_before, basis = disproved(whole, verdict.held, verdict.ratio, splits, last)
        held = between(rows_before, start, end)
    if limits.price_basis != "raw" and new.num_rows:
        new = proven(new, splits, last, judged.overlap(basis))
        series = _with_newest_basis(series, new)
    rows = merged(
        held,
        judged.as_read,
        new,
        series.held.coverage,
        readjusted=verdict.readjusted,
        by_splits=by_splits,
    )
    rechecks = rechecks_after(
        series.held, (start, end), rows, market=market, as_of=as_of, interval=interval
    )
    coverage = series.held.coverage
    if verdict.readjusted and limits.price_basis == "all":
        coverage = Coverage()  # prices that dividends move cannot be converted: all is asked again
    coverage |= Coverage.of([seen])
    changed = replace(series, held=Held(coverage, rechecks, case.quiet(market, series, as_of)))
    kept = rows.rows
    if rows_before is not None:
        outside = [between(rows_before, -(2**62), start), between(rows_before, end, 2**62)]
        part, kept = (-(2**62), 2**62), pa.concat_tables([*outside, kept])
    bars = Change(changed, *case.store.replacing(series, *part, kept))
    if verdict.readjusted:
        notes += (f"{look.request.symbol} {interval}: the provider re-adjusted its prices",)
    return Absorbed((bars, *events.changes(case, seen, series)), notes)


def _is_in_doubt(verdict: Verdict, events: _Events, opened: int, *, resplit: bool) -> bool:
    """Whether nothing that is known explains the prices, or only what is known by half."""
    if not resplit:
        return not verdict.explained
    splits, all_known = Splits.of(events.rows), events.all_known(verdict.held, opened)
    held, ratio = verdict.held, verdict.ratio
    return not explained(held, ratio, splits, opened // DAY, all_known=all_known)


def emptied(case: Case, answer: Answer, why: RangeError | None) -> tuple[Change, ...]:
    """What an answer without bars says: of sessions that are long over, that there is nothing.

    Of younger ones it says nothing; but it stays for as long as a live tail does. `why` is the
    provider's error, if it was one.
    """
    look = case.look
    series, _ = identified(look.series, answer, case.limits)
    if series.generation != look.series.generation:
        series = look.series  # who has no bars takes no symbol
    market = market_of(series, case.limits, extended=look.market.extended)
    as_of, _ = as_of_answer(answer, look.now)
    interval = series.key.interval
    start, end = case.span
    over = market.closed_before(as_of - market.delay - _TWO_DAYS)
    until = max(start, min(end, over if is_intraday(interval) else anchor(over, interval)))
    young = max(until, min(end, market.horizon(as_of, interval)))
    rechecks = _empty_again(case, series, start, until)
    if until < young:
        rechecks.append(Recheck(until, young, look.now + case.live, "empty", 0))
    covered = Coverage.of([(start, young)])
    quiet = case.quiet(market, series, as_of)
    held = Held(series.held.coverage | covered, tuple(rechecks), quiet)
    about = {name: text for name, text in series.about.items() if name != "nothing"}
    if why is not None:
        about["nothing"] = json.dumps([why.problem, why.expected, why.todo])
    changes = [Change(replace(series, held=held, about=about))]
    if look.actions is not None:
        known = replace(look.actions.held, coverage=look.actions.held.coverage | covered)
        changes.append(Change(replace(look.actions, held=known)))
    return tuple(changes)


def _empty_again(case: Case, series: Series, start: int, until: int) -> list[Recheck]:
    """All rechecks after an answer without bars: each part counts how often it was empty.

    One that comes before its time, because it lay between others, confirms nothing.
    """
    end, now = case.span[1], case.look.now
    told = case.store.index.files(series)
    rechecks: list[Recheck] = []
    counts = [(part, 1) for part in Coverage.of([(start, until)]) - series.held.coverage]
    for old in series.held.rechecks:
        if old.why != "empty" or not old.overlaps(start, end):
            rechecks.append(old)
            continue
        rechecks += old.outside(start, end)
        part = (max(old.start, start), min(old.end, until))
        if old.tries and old.due > now:
            rechecks.append(replace(old, start=part[0], end=part[1]))
        else:
            counts.append((part, old.tries + 1))
    for (low, high), tries in counts:
        wait = _EMPTY_WAITS[min(tries, len(_EMPTY_WAITS)) - 1]
        believed = bool(told) and tries >= _EMPTY_BELIEVED
        rechecks.append(Recheck(low, high, FOREVER if believed else now + wait, "empty", tries))
    return [recheck for recheck in rechecks if recheck.start < recheck.end]


def _between_bars(rows: pa.Table, start: int, until: int) -> tuple[int, int]:
    """Of an answer that lacks parts, what lies between its first and its last bar is known."""
    at = stamps(rows)
    return (max(start, int(at[0])), min(until, int(at[-1]) + 1)) if len(at) else (start, start)


def _untold(bars: pa.Table, events: pa.Table) -> bool:
    """Whether adjusted closes step where no event is known: a dividend was left out (seen)."""
    told = bars.filter(pc.and_kleene(pc.is_valid(bars["adj_close"]), pc.greater(bars["close"], 0)))
    closes = told["close"].to_numpy()
    factors = told["adj_close"].to_numpy() / closes
    noise = np.maximum(_STEP * np.abs(factors), _ROUNDING / closes)
    stepped = np.flatnonzero(np.abs(np.diff(factors)) > np.maximum(noise[1:], noise[:-1]))
    dates, known = days_of(told, "session_date"), np.sort(days_of(events, "ex_date"))
    first, last = dates[stepped], dates[stepped + 1]
    explained = np.searchsorted(known, last, "right") > np.searchsorted(known, first, "right")
    return not bool(explained.all())


def _with_newest_basis(series: Series, new: pa.Table) -> Series:
    """To the newest basis all rows are converted when they are read."""
    latest = pc.max(new["split_basis"]).as_py()
    if latest is None or latest.isoformat() <= series.about.get("split_basis", ""):
        return series
    return replace(series, about=series.about | {"split_basis": latest.isoformat()})


def _quarantined(
    case: Case, series: Series, new: pa.Table, part: tuple[int, int], notes: tuple[str, ...]
) -> Absorbed:
    """Keep the new rows apart, serve the old ones, and ask again later.

    The events that came with them are believed: each is a fact of its own.
    """
    (low, high), now = part, case.look.now
    rechecks = series.held.rechecks
    before = [r for r in rechecks if r.why == "suspect" and r.overlaps(low, high)]
    tries = 1 + max((r.tries for r in before), default=0)
    wait = _DOUBT_WAITS[min(tries, len(_DOUBT_WAITS)) - 1]
    # What else is due in this part is asked for together with it.
    others = [
        part
        for r in rechecks
        for part in (r.outside(low, high) if r in before or r.due <= now else (r,))
    ]
    rechecks = (*others, Recheck(low, high, now + wait, "suspect", tries))
    covered = series.held.coverage | Coverage.of([part])
    quiet = (high, now + wait, now) if case.ask.is_open else series.held.quiet
    why = f"prices from {instant(low):%F} on contradict what is held, and no event explains it"
    change = Change(
        replace(series, held=Held(covered, rechecks, quiet)),
        quarantine=(case.store.quarantined(new),),
        why=why,
        at=now,
    )
    return Absorbed((change,), (*notes, f"{series.key.symbol} {series.key.interval}: {why}"))


@dataclass(frozen=True, slots=True)
class _Events:
    """All known corporate actions with the answer's.

    `coverage` = the days of which they are known; `vanished` = some were not told again; `untold` =
    adjusted closes know of more than was told.
    """

    rows: pa.Table
    held: pa.Table
    coverage: Coverage
    vanished: bool = False
    untold: bool = False

    @classmethod
    def of(
        cls,
        case: Case,
        answer: Answer,
        series: Series,
        *,
        told: tuple[int, int],
        expected: tuple[int, int],
    ) -> _Events:
        """What is known after an answer.

        Args:
            case: What was asked for.
            answer: What came.
            series: Of its bars: as they are identified now.
            told: The days of whose events it tells.
            expected: Those of which it should tell again what is held.
        """
        look, store = case.look, case.store
        kind: Kind = "corporate_action"
        none = answer.actions.slice(0, 0)
        if look.actions is None:
            key = replace(series.key, kind=kind, interval="", session="regular")
            known = store.index.current(key)
            if known is None:
                return cls(none, none, Coverage())
            return cls(store.rows(known)[0], none, known.held.coverage)
        answered = Coverage.of([told])
        if series.generation != look.series.generation:
            return cls(newest(answer.actions, kind), none, answered)
        held, _ = store.rows(look.actions)
        keys = list(KEYS[kind])
        again = between(held, *expected).select(keys)
        lost = again.join(answer.actions.select(keys), keys, join_type="left anti")
        rows = newest(pa.concat_tables([held, first_told(answer, held)]), kind)
        coverage = look.actions.held.coverage | answered
        return cls(rows, held, coverage, lost.num_rows > 0, _untold(answer.bars, rows))

    def all_known(self, bars: pa.Table, opened: int) -> bool:
        """Whether each split is known that came after any of these bars' basis.

        Args:
            bars: Some that are held; of those without a basis nothing is asked.
            opened: The last session that had opened, in microseconds.
        """
        oldest = pc.min(bars["split_basis"]).as_py()
        since = opened if oldest is None else (oldest - date(1970, 1, 1)).days * DAY + DAY
        return self.coverage.covers(since, opened + DAY)

    def changes(self, case: Case, seen: tuple[int, int], bars: Series) -> tuple[Change, ...]:
        """What shall be kept of them; events that vanished are kept, and asked for again."""
        series = case.look.actions
        if series is None:
            return ()
        if bars.generation != case.look.series.generation:
            series = Series(series.key, generation=series.generation + 1)
        before = [r for r in series.held.rechecks if r.overlaps(*seen)]
        rechecks = tuple(part for r in series.held.rechecks for part in r.outside(*seen))
        tries = 1 + max((r.tries for r in before), default=0)
        if self.vanished or (self.untold and tries <= len(_DOUBT_WAITS)):
            wait = _DOUBT_WAITS[min(tries, len(_DOUBT_WAITS)) - 1]
            rechecks += (Recheck(*seen, case.look.now + wait, "events", tries),)
        about = series.about | {"split": newest_split(self.rows)}
        changed = replace(series, held=Held(self.coverage, rechecks), about=about)
        if self.rows.drop("fetched_at").equals(self.held.drop("fetched_at")):
            return (Change(changed),)
        return (Change(changed, *case.store.replacing(series, -(2**62), 2**62, self.rows)),)

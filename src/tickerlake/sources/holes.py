"""What a socket missed: as gap records, and asked for again from the source's history.

A gap is told twice under one key: when it is found, as not filled, and once more when history was
asked; so whoever is killed in between leaves it told. The view `gaps` shows the later word.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake import clock
from tickerlake.errors import TickerlakeError, UnreachableError
from tickerlake.records import SCHEMAS, Kind, conform
from tickerlake.sources.base import BarsRequest, Source, Ticks, TicksRequest

if TYPE_CHECKING:
    from tickerlake.sources.sockets import SocketSettings

__all__ = ["Filled", "Filler", "Hole", "gap_records"]

#: How long the end waits for a request that is on its way.
_LAST_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.1
_PAGES_MAX: Final = 8
_FILLED_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Hole:
    """Records of a symbol that did not come, in market time; both ends are included."""

    symbol: str
    kind: Kind
    start: datetime
    end: datetime
    why: str
    #: Of bars: their length.
    interval: str | None = None
    #: What lies before it has been filled already.
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Filled:
    """A page of history, or the last word about a hole: `filled` and why."""

    hole: Hole
    table: pa.Table | None = None
    filled: bool | None = None
    reason: str = ""


def gap_records(
    provider: str,
    holes: Sequence[Hole],
    at: datetime,
    *,
    filled: bool = False,
    reason: str | None = None,
) -> pa.Table:
    """Holes in the gap's schema, learned `at`; `reason` takes the place of each hole's own."""
    if not holes:
        return SCHEMAS["gap"].empty_table()
    rows = [
        {
            "provider": provider,
            "symbol": hole.symbol,
            "ts": hole.start,
            "fetched_at": at,
            "interval": hole.interval,
            "gap_kind": hole.kind,
            # A gap of no length would be a dead letter; the clocks of two machines make such.
            "to_ts": max(hole.end, hole.start + timedelta(microseconds=1)),
            "filled": filled,
            "reason": reason or hole.why,
        }
        for hole in holes
    ]
    known = [field for field in SCHEMAS["gap"] if field.name in rows[0]]
    return conform(pa.Table.from_pylist(rows, schema=pa.schema(known)), "gap")


class Filler:
    """Asks history for holes, one after the other, in a thread of its own.

    Not promised: that history is complete. A hole is told as filled when history answered for all
    of it, however many records that were.
    """

    def __init__(self, source: Source, settings: SocketSettings) -> None:
        self._source = source
        self._settings = settings
        self._holes: queue.SimpleQueue[Hole | None] = queue.SimpleQueue()
        #: Few pages wait here, however slowly they are taken.
        self._done: queue.Queue[Filled] = queue.Queue(_PAGES_MAX)
        self._stop = threading.Event()
        #: What history has told by now, by series.
        self._filled: dict[tuple[Kind, str], deque[tuple[datetime, datetime]]] = {}
        #: Each with how far it is filled by what was handed out.
        self._open: dict[Hole, Hole] = {}
        self._thread: threading.Thread | None = None

    def ask(self, holes: Sequence[Hole]) -> None:
        """Put holes in line; those that history cannot fill are answered all the same."""
        for hole in holes:
            if hole not in self._open:
                self._open[hole] = hole
                self._holes.put(hole)
        if self._thread is None and holes:
            self._thread = threading.Thread(target=self._work, name="gap filler", daemon=True)
            self._thread.start()

    def done(self) -> list[Filled]:
        """What has come since the last look; never waits."""
        found: list[Filled] = []
        while True:
            try:
                found.append(self._done.get_nowait())
            except queue.Empty:
                break
        for one in found:
            if one.filled is not None:
                self._open.pop(one.hole, None)
            elif one.table is not None and one.hole.kind != "bar":  # bars come all at once
                self._open[one.hole] = _beyond(self._open[one.hole], one.table)
        return found

    @property
    def open(self) -> Sequence[Hole]:
        """Those about which the last word is still to come, as far as they are."""
        return tuple(self._open.values())

    def close(self) -> None:
        """Leave the rest open; a request that is on its way has a few seconds."""
        self._stop.set()
        self._holes.put(None)
        if self._thread is not None:
            self._thread.join(_LAST_SECONDS)

    def _work(self) -> None:
        while (hole := self._holes.get()) is not None and not self._stop.is_set():
            try:
                answer = self._answered(hole)
            except Exception as error:  # noqa: BLE001 - the thread must live for the other holes
                why_not = f"{type(error).__name__}: {error}"
                answer = Filled(hole, filled=False, reason=f"{hole.why}; not filled: {why_not}")
            if answer is not None:
                self._put(answer)

    def _put(self, one: Filled) -> bool:
        """Wait until there is room; False: nobody takes it any more."""
        while True:
            try:
                self._done.put(one, timeout=_LOOK_SECONDS)
            except queue.Full:
                if self._stop.is_set():
                    return False
            else:
                return True

    def _answered(self, hole: Hole) -> Filled | None:
        """The last word about it; None where it was left open."""
        why_not = self._out_of_reach(hole)
        if why_not is not None:
            return Filled(hole, filled=False, reason=f"{hole.why}; not filled: {why_not}")
        settings, pause = self._settings, self._settings.backfill_pause_seconds
        progress = _Progress(hole, *self._unasked(hole))
        self._wait_for_history(hole)
        for attempt in range(1, settings.backfill_attempts_max + 1):
            if self._stop.is_set():
                return None
            try:
                fetched = self._fetched(progress)
            except TickerlakeError as error:
                why_not = error.problem
                if not isinstance(error, UnreachableError):
                    break
                if attempt < settings.backfill_attempts_max:
                    self._stop.wait(pause * 2.0 ** (attempt - 1))
            else:
                if fetched is None:
                    return None
                missing = fetched
                if not missing:
                    filled = self._filled.setdefault(_series(hole), deque(maxlen=_FILLED_MAX))
                    filled.append((hole.start, hole.end))
                    said = f"{hole.why}; filled from history: {progress.records} records"
                    return Filled(hole, filled=True, reason=said)
                why_not = "; ".join(missing)
                break
        return Filled(hole, filled=False, reason=f"{hole.why}; not filled: {why_not}")

    def _out_of_reach(self, hole: Hole) -> str | None:
        source = self._source
        if not self._settings.backfill:
            return "[live] backfill is off"
        has = hole.kind in source.limits.history and (
            isinstance(source, Ticks)
            if hole.kind in ("trade", "quote")
            else hole.kind == "bar" and hole.interval in source.limits.intervals
        )
        return None if has else f"{source.name} has no history of {hole.interval or hole.kind}"

    def _wait_for_history(self, hole: Hole) -> None:
        """The newest records are there a little later than over the socket, at every provider."""
        behind = max(self._source.limits.delay_seconds, self._settings.backfill_settle_seconds)
        ripe = hole.end + timedelta(seconds=behind)
        while not self._stop.is_set() and clock.now() < ripe:
            self._stop.wait(min(_LOOK_SECONDS, (ripe - clock.now()).total_seconds() + 0.001))

    def _unasked(self, hole: Hole) -> tuple[datetime, datetime]:
        """The hole without what another one of its series has filled; its ends meet if all is.

        What comes twice far apart is beyond what delivery knows for a repeat.
        """
        start, end = hole.since or hole.start, hole.end
        if hole.kind == "bar":  # one that ran when it was asked for is another by now
            return start, end
        for first, last in sorted(self._filled.get(_series(hole), ())):
            if first <= start <= last:
                start = min(last, end)
        for first, last in sorted(self._filled.get(_series(hole), ()), reverse=True):
            if first <= end <= last:
                end = max(first, start)
        return start, end

    def _fetched(self, progress: _Progress) -> tuple[str, ...] | None:
        """What did not come; None where it was stopped before the end."""
        source, hole = self._source, progress.hole
        end = progress.end + timedelta(microseconds=1)
        if hole.kind == "bar":
            answer = source.bars(BarsRequest(hole.symbol, hole.interval or "1m", hole.start, end))
            progress.records = answer.bars.num_rows
            return answer.missing if self._put(Filled(hole, answer.bars)) else None
        assert isinstance(source, Ticks)  # noqa: S101 - `_out_of_reach` has looked
        kind: Literal["trade", "quote"] = "trade" if hole.kind == "trade" else "quote"
        missing: tuple[str, ...] = ()
        for answer in source.ticks(TicksRequest(hole.symbol, kind, progress.start, end)):
            table = answer.ticks.get(hole.kind)
            if table is not None:
                page = Filled(hole, _as_live(table, source.limits.live_unit_ns))
                if self._stop.is_set() or not self._put(page):
                    return None
                progress.add(table)
            missing += answer.missing
        return missing


@dataclass(slots=True)
class _Progress:
    """What of a hole is still to be asked for: what fails in the middle goes on from there."""

    hole: Hole
    start: datetime
    end: datetime
    records: int = 0

    def add(self, page: pa.Table) -> None:
        """A page was handed out; pages come in order of time."""
        self.start = min(max(self.start, pc.max(page["ts"]).as_py() or self.start), self.end)
        self.records += page.num_rows


def _series(hole: Hole) -> tuple[Kind, str]:
    return hole.kind, hole.symbol


def _beyond(hole: Hole, page: pa.Table) -> Hole:
    """What is left of a hole after a page; pages come in order of time."""
    newest = pc.max(page["ts"]).as_py()
    since = hole.since or hole.start
    return hole if newest is None else replace(hole, since=min(max(since, newest), hole.end))


def _as_live(table: pa.Table, unit_ns: int) -> pa.Table:
    """Trades or quotes with times as the socket tells them: one that both tell is one event."""
    if unit_ns == 1 or not table.num_rows:
        return table
    import numpy as np

    cut = table["ts_ns"].to_numpy() // np.int64(unit_ns) * np.int64(unit_ns)
    for name, values in (("ts_ns", pa.array(cut)), ("ts", pa.array(cut // 1000))):
        field = table.schema.field(name)
        at = table.schema.get_field_index(name)
        table = table.set_column(at, field, values.cast(field.type))
    return table

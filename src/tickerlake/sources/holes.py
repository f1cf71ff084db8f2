"""What a socket missed: as gap records, and asked for again from the source's history.

A gap is told twice under one key: when it is found, as not filled, and once more when history was
asked; so whoever is killed in between leaves it told. The view `gaps` shows the later word.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

import pyarrow as pa

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
        self._done: queue.SimpleQueue[Filled] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._left = 0
        self._thread: threading.Thread | None = None

    def ask(self, holes: Sequence[Hole]) -> None:
        """Put holes in line; those that history cannot fill are answered all the same."""
        for hole in holes:
            self._left += 1
            self._holes.put(hole)
        if self._thread is None and holes:
            self._thread = threading.Thread(target=self._work, name="gap filler", daemon=True)
            self._thread.start()

    def done(self) -> list[Filled]:
        """What has come since the last look; never waits."""
        found: list[Filled] = []
        while not self._done.empty():
            found.append(self._done.get())
        self._left -= sum(one.filled is not None for one in found)
        return found

    @property
    def busy(self) -> bool:
        """Whether the last word about some hole is still to come."""
        return self._left > 0

    def close(self) -> None:
        """Leave the rest; a request that is on its way has a few seconds."""
        self._stop.set()
        self._holes.put(None)
        if self._thread is not None:
            self._thread.join(_LAST_SECONDS)

    def _work(self) -> None:
        while (hole := self._holes.get()) is not None:
            if self._stop.is_set():
                return
            self._done.put(self._answered(hole))

    def _answered(self, hole: Hole) -> Filled:
        why_not = self._out_of_reach(hole)
        if why_not is not None:
            return Filled(hole, filled=False, reason=f"{hole.why}; not filled: {why_not}")
        self._wait_for_history(hole)
        for attempt in range(1, self._settings.backfill_attempts_max + 1):
            try:
                records, missing = self._fetched(hole)
            except TickerlakeError as error:
                why_not = error.problem
                if not isinstance(error, UnreachableError):
                    break
                if attempt < self._settings.backfill_attempts_max:
                    self._stop.wait(self._settings.backfill_pause_seconds)
            else:
                why_not = "; ".join(missing) or None
                if why_not is None:
                    said = f"{hole.why}; filled from history: {records} records"
                    return Filled(hole, filled=True, reason=said)
                break
            if self._stop.is_set():
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
        ripe = hole.end + timedelta(seconds=self._source.limits.delay_seconds)
        while not self._stop.is_set() and clock.now() < ripe:
            self._stop.wait(min(_LOOK_SECONDS, (ripe - clock.now()).total_seconds() + 0.001))

    def _fetched(self, hole: Hole) -> tuple[int, tuple[str, ...]]:
        source, end = self._source, hole.end + timedelta(microseconds=1)
        if hole.kind == "bar":
            answer = source.bars(BarsRequest(hole.symbol, hole.interval or "1m", hole.start, end))
            self._done.put(Filled(hole, answer.bars))
            return answer.bars.num_rows, answer.missing
        assert isinstance(source, Ticks)  # noqa: S101 - `_out_of_reach` has looked
        kind: Literal["trade", "quote"] = "trade" if hole.kind == "trade" else "quote"
        records = 0
        missing: tuple[str, ...] = ()
        for answer in source.ticks(TicksRequest(hole.symbol, kind, hole.start, end)):
            if self._stop.is_set():
                return records, ("stopped before all of it had come",)
            table = answer.ticks.get(hole.kind)
            if table is not None:
                self._done.put(Filled(hole, table))
                records += table.num_rows
            missing += answer.missing
        return records, missing

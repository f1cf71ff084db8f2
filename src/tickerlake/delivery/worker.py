"""The worker: one topic into one table, exactly once.

The numbers in the comments are those of the design's protocol; the fault suite kills the process
after each. 1: one topic feeds one table. 2: every change of an offset makes a new snapshot. 3: one
commit function, which neither retries nor deletes. 4: begin where the lake is. 5: read, drop what
is known, buffer. 6: write files once. 7: decide on one freshly loaded metadata. 8: commit. 9: after
a refusal or an unknown outcome, back to 7 with the same files. 10: tell the broker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake import clock
from tickerlake.delivery.assignment import Start, awaited, find_start, registration
from tickerlake.delivery.buffer import Buffer, MemoryBudget, stamped, with_dropped
from tickerlake.delivery.checkpoint import Unit, offsets_checked, refuse_open_copy
from tickerlake.delivery.closes import SessionCloses
from tickerlake.delivery.direct import DirectCommits, Heard
from tickerlake.delivery.handover import Commits
from tickerlake.delivery.repeats import origins_in_lake, windows_from_lake
from tickerlake.delivery.report import Assigned, Delivered, Event, KindReport, OnEvent, Refused
from tickerlake.delivery.settings import DeliverySettings
from tickerlake.errors import RetentionPassedError
from tickerlake.lake.base import LakeTable, Loaded
from tickerlake.lake.positions import Range
from tickerlake.observe import trace_span
from tickerlake.records import RepeatWindow, is_ended, lake_schema, repeated_origins
from tickerlake.streams import Batch, Membership, Topic, codec

__all__ = ["Failpoint", "Stop", "Worker"]

#: How often a worker looks whether its topic has other partitions, or is another one.
LOOK_EVERY_SECONDS = 1.0

#: Called after each step with its number and what the worker holds. For tests alone.
Failpoint = Callable[[str, Mapping[str, Any]], None]


class Stop(Protocol):
    """What a `threading.Event` gives a worker: whether to stop, and a pause that stopping ends."""

    def is_set(self) -> bool:
        """Whether to commit what was read and return."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Pause for so many seconds, or until told to stop."""
        ...


class Worker:
    """Delivers one topic's records into one table.

    Promise: every record below the table's offset is exactly one row, or was counted as a dropped
    repeat, whatever happens to this process, and however many workers believe that the same
    partitions are theirs. Rows and offsets change in one commit or not at all.

    Not promised: that files which were written for a commit that never came are removed at once
    (the sweep does it), nor any order of rows between partitions.

    Not to be shared between threads.

    Args:
        topic: Where records come from.
        table: Where they go: no other topic may feed it.
        settings: When to flush, and how much to hold.
        membership: Says which partitions are this worker's, and is told the lake's positions
            after each commit; null is all of them. Left to the caller to leave.
        accept_loss: Go on after a hole that the log's retention made.
        file_hours_max: Files that waited longer for their commit are written again: half of the
            sweep's age, which may be after them.
        budget: Memory shared with other workers.
        known: A copy's own worker asks it which records the lake has under positions of another
            stream; they are dropped as repeats are. While a copy is open no other worker delivers.
        committing: Who sees one transaction through; for tests that break the protocol.
        failpoint: Called after each numbered step.
        on_event: Told what happens.
    """

    def __init__(
        self,
        topic: Topic,
        table: LakeTable,
        *,
        settings: DeliverySettings,
        membership: Membership | None = None,
        accept_loss: bool = False,
        file_hours_max: float = 12.0,
        budget: MemoryBudget | None = None,
        known: Callable[[pa.Table], npt.NDArray[np.bool_]] | None = None,
        committing: Callable[[Heard], DirectCommits] | None = None,
        failpoint: Failpoint | None = None,
        on_event: OnEvent | None = None,
    ) -> None:
        self._topic = topic
        self._table = table
        self._settings = settings
        self._membership = membership
        self._accept_loss = accept_loss
        self._budget = budget or MemoryBudget(settings.memory_bytes)
        self._known = known
        self._failpoint = failpoint
        self._on_event = on_event
        self._closes = SessionCloses(settings)
        direct = committing(self) if committing else None
        self._commits = Commits(
            table,
            settings,
            direct or DirectCommits(table, settings, file_hours_max, self),
            self,
        )
        # 1. One topic feeds one table; the log's identity, not its name, owns the offsets.
        self._identity = topic.identity()
        self._buffer = Buffer({})
        self._windows: dict[str, RepeatWindow] = {}
        #: All partitions of the topic, and the share of this worker, as at the assignment.
        self._names: list[str] = []
        self._share: frozenset[str] = frozenset()
        self._start = Start({})
        #: Partitions that must not be begun yet, and what they wait for.
        self._awaits: Mapping[str, frozenset[str]] = {}
        #: Partitions whose end was seen since the assignment.
        self._read_out: set[str] = set()
        self._look_at_seconds = 0.0
        self._turn = 0
        self._report = KindReport()
        self.reached("1")

    @property
    def report(self) -> KindReport:
        """What it has done so far, also where `run` ended with an error."""
        return self._report

    def run(self, stop: Stop, *, once: bool) -> KindReport:
        """Deliver until `stop` is set, or with `once` up to the log's ends as seen now.

        What was read is committed before this returns.

        Raises:
            RolledBackError: Another tool turned the table back.
            RetentionPassedError: The log dropped records that the lake does not have.
            StorageError: The disk is full. Nothing is lost; run it again.
            CommitRefusedError: Others kept winning for `commit_seconds_max`.
            CommitUnknownError: No commit was answered for `commit_seconds_max`.
        """
        try:
            names, share = self._shared()
            ends = {n: self._topic.bounds(n).end for n in names if n in share} if once else None
            self._assign()
            while True:
                taken = self._fill(ends)
                cause = self._cause(ends, stop)
                if cause is not None:
                    self._flush(cause)
                if self._finished(ends, stop):
                    return self._report
                if not taken and cause is None:
                    self._wait(stop)
        finally:
            self._commits.close()
            self._budget.hold(self, 0)

    def _shared(self) -> tuple[list[str], frozenset[str]]:
        names = self._topic.partitions()
        share = frozenset(names) if self._membership is None else self._membership.share()
        return names, share

    def _finished(self, ends: Mapping[str, int | None] | None, stop: Stop) -> bool:
        return self._buffer.empty and (stop.is_set() or self._at(ends))

    def _at(self, ends: Mapping[str, int | None] | None) -> bool:
        if ends is None:
            return False
        return all(
            self._is_past(name, position, ends.get(name, 0))
            for name, position in self._buffer.positions().items()
        )

    def _is_past(self, partition: str, position: int, end: int | None) -> bool:
        if is_ended(position):
            return True
        if any(partition in parents for parents in self._awaits.values()):
            return False  # Others cannot begin before its very end is in the lake.
        return partition in self._read_out if end is None else position >= end

    def _cause(self, ends: Mapping[str, int | None] | None, stop: Stop) -> str | None:
        """Why what waits must be committed now; null: it may wait on."""
        if self._buffer.empty:
            return None
        if stop.is_set():
            return "stop"
        if self._at(ends):
            return "end"
        if self._buffer.age_seconds >= self._settings.flush_seconds:
            return "age"
        if any(is_ended(span.end) for span in self._buffer.ranges().values()):
            return "partition ended"  # Somebody may wait to begin those that follow on it.
        return self._full() or ("close" if self._closes.passed() else None)

    def _full(self) -> str | None:
        """Why no more may be read before a commit."""
        if self._buffer.rows >= self._settings.flush_rows:
            return "rows"
        if self._buffer.byte_count >= self._settings.flush_bytes:
            return "bytes"
        return "memory" if self._budget.full else None

    def _assign(self) -> None:
        """4. Load the table and stand at its offsets; what was buffered before is forgotten."""
        while True:
            self._identity = self._topic.identity()
            self._names, self._share = self._shared()
            self._commits.assigned(self._names, self._share)
            mine = [name for name in self._names if name in self._share]
            loaded = self._table.load()
            if self._known is None:
                refuse_open_copy(loaded, self._identity)
            start = find_start(
                self._topic, self._table, loaded, self._names, mine, accept_loss=self._accept_loss
            )
            pending = start.register or start.losses
            if pending is None:
                break
            pending = replace(pending, copies=self._known is not None)
            # Offsets that are new, or that jump over a hole, are written down before we read on.
            if self._commits.commit(pending) is not None:
                lost = sum(span.lost for span in pending.ranges.values())
                self._report = replace(self._report, lost=self._report.lost + lost)
        self._start, self._awaits = start, start.awaits
        self._windows = self._windows_at(loaded, start.positions)
        self._buffer = Buffer(start.positions)
        self._budget.hold(self, 0)
        self._read_out = set()
        self._report = replace(self._report, positions=dict(start.positions))
        if self._membership is not None:
            # After a rewind the broker stands ahead of the lake: never for long.
            self._membership.acknowledge(start.positions)
        self._tell(Assigned(self._topic.kind, dict(start.positions)))
        self.reached("4")

    def _windows_at(self, loaded: Loaded, positions: Mapping[str, int]) -> dict[str, RepeatWindow]:
        """Windows of these positions; those that stand there already are kept."""
        stand = self._buffer.positions() if self._buffer.empty else {}
        kept = {
            name: self._windows[name]
            for name, position in positions.items()
            if name in self._windows and str(stand.get(name)) == str(position)
        }
        read = windows_from_lake(
            self._table,
            loaded,
            kind=self._topic.kind,
            stream_id=self._identity.id,
            positions={name: at for name, at in positions.items() if name not in kept},
            size=self._settings.repeat_window,
        )
        return {**read, **kept}

    def _fill(self, ends: Mapping[str, int | None] | None) -> bool:
        """5. Read each partition once, until something makes us commit; false if all are idle."""
        if self._changed():
            self._flush("partitions")
            self._assign()
        taken = False
        for partition, position in self._in_turn():
            if self._full() is not None:
                break  # The memory cap's back-pressure: what is not read costs nothing.
            self._turn += 1
            if ends is not None and self._is_past(partition, position, ends.get(partition, 0)):
                continue
            end = self._topic.bounds(partition).end if self._accept_loss else None
            if end is not None and position > end:
                continue
            try:
                with trace_span("deliver.read", table=self._table.name, partition=partition):
                    batch = self._topic.read(
                        partition, position, records_max=self._settings.read_records, wait_seconds=0
                    )
            except RetentionPassedError:
                # The log let go of what we were about to read. Only an assignment may judge that.
                self._flush("retention")
                self._assign()
                return True
            if batch.at_end:
                self._read_out.add(partition)
            if str(batch.next_position) != str(position):
                self._take(partition, batch)
                taken = True
        return taken

    def _in_turn(self) -> list[tuple[str, int]]:
        """Partitions to read, beginning behind the last one read: none starves the others."""
        readable = list(self._readable().items())
        first = self._turn % len(readable) if readable else 0
        return readable[first:] + readable[:first]

    def _readable(self) -> dict[str, int]:
        return {
            name: position
            for name, position in self._buffer.positions().items()
            if not is_ended(position) and name not in self._awaits
        }

    def _changed(self) -> bool:
        """Whether other partitions are ours, or the topic has others, or is another one."""
        if self._membership is not None and self._membership.share() != self._share:
            return True
        now = clock.monotonic_seconds()
        if now < self._look_at_seconds:
            return False
        self._look_at_seconds = now + LOOK_EVERY_SECONDS
        if self._awaits:
            self._await_parents()
        return self._topic.partitions() != self._names or not self._is_same_log()

    def _is_same_log(self) -> bool:
        return self._topic.identity() == self._identity

    def _await_parents(self) -> None:
        """Begin partitions whose parents have ended in the lake meanwhile."""
        offsets = offsets_checked(self._table, self._table.load(), self._identity)
        self._awaits = awaited(self._topic, offsets, self._names, list(self._awaits))

    def _wait(self, stop: Stop) -> None:
        """Until there is something to read, or something else is due."""
        until_seconds = self._look_at_seconds
        if not self._buffer.empty:
            left_seconds = self._settings.flush_seconds - self._buffer.age_seconds
            until_seconds = min(until_seconds, clock.monotonic_seconds() + left_seconds)
        positions = self._readable()
        while not stop.is_set():
            left_seconds = until_seconds - clock.monotonic_seconds()
            if left_seconds <= 0:
                return
            # In short pieces, so that a stop and a change of our share are seen soon.
            wait_seconds = min(left_seconds, self._settings.poll_seconds)
            if not positions:
                stop.wait(wait_seconds)
            elif self._topic.wait(positions, wait_seconds=wait_seconds):
                return
            if self._membership is not None and self._membership.share() != self._share:
                return

    def _take(self, partition: str, batch: Batch) -> None:
        position = self._buffer.next_position(partition)
        with trace_span("deliver.decode", table=self._table.name, partition=partition):
            rows = codec.decode(self._topic.kind, batch.messages, coded=True)
        if batch.messages and batch.messages[0].first_position < position:
            # A message is never cut: what we have of it already is dropped here.
            rows = rows.filter(pc.greater_equal(rows.column("_offset"), int(position)))
        records = rows.num_rows
        # Records of one message may share its position; other positions hold no record at all.
        held = int(np.count_nonzero(np.diff(rows.column("_offset").to_numpy()))) + (records > 0)
        fresh = self._windows[partition].admit(rows)
        if self._known is not None:
            fresh &= ~self._known(rows)
        dropped = int(len(fresh) - fresh.sum())
        if dropped:
            rows = rows.filter(pa.array(fresh))
        end = batch.next_position
        span = Range(
            position, end, dropped, gaps=int(end) - int(position) - held, shared=records - held
        )
        self._buffer.add(partition, span, rows)
        self._budget.hold(self, self._buffer.byte_count)
        if self._buffer.byte_count > self._report.buffered_bytes_max:
            self._report = replace(self._report, buffered_bytes_max=self._buffer.byte_count)
        self.reached("5")

    def _flush(self, cause: str) -> None:
        """6 to 10: make all that waits one transaction, and see it through."""
        if self._buffer.empty:
            return
        if not self._is_same_log():
            self._assign()  # Whatever we hold may be of either: only the lake knows where we are.
            return
        if any(is_ended(span.end) for span in self._buffer.ranges().values()):
            self._register_heirs()
        began_seconds = clock.monotonic_seconds()
        # 6. Write data files once, under names that nobody else uses.
        rows, ranges, origins = self._prepared()
        with trace_span("deliver.write", table=self._table.name, rows=rows.num_rows):
            files = self._table.write(rows) if rows.num_rows else ()
        unit = Unit(
            self._identity,
            ranges,
            files,
            origins=origins,
            forgets=self._start.forgets,
            copies=self._known is not None,
        )
        self.reached("6")
        with trace_span(
            "deliver.commit",
            table=self._table.name,
            rows=rows.num_rows,
            partitions=len(ranges),
            cause=cause,
        ):
            snapshot_id = self._commits.commit(unit)
        if snapshot_id is None:
            self._assign()
            return
        self._buffer.clear()
        self._budget.hold(self, 0)
        delivered = Delivered(
            self._topic.kind,
            snapshot_id=snapshot_id,
            ranges=ranges,
            rows=rows.num_rows,
            dead_letters=rows.num_rows - rows.column("dead_reason").null_count,
            dropped=sum(span.dropped for span in ranges.values()),
            cause=cause,
            seconds=clock.monotonic_seconds() - began_seconds,
        )
        self._count(delivered)
        if self._awaits:
            self._await_parents()
        # 10. Tell the broker, for lag tools and retention only: nobody reads it back to decide.
        if self._membership is not None:
            self._membership.acknowledge({name: span.end for name, span in ranges.items()})
        self.reached("10")
        self._tell(delivered)

    def _register_heirs(self) -> None:
        """Give what goes on from an ended partition its offset before the lake has that end.

        Nobody stands before them then. Who came back when the log had dropped some of their
        records would take what is left for all that there ever was.
        """
        while True:
            offsets = offsets_checked(self._table, self._table.load(), self._identity)
            unit = registration(self._topic, offsets, self._topic.partitions())
            if unit is None:
                return
            self._commits.commit(replace(unit, copies=self._known is not None))

    def _prepared(self) -> tuple[pa.Table, dict[str, Range], tuple[str, ...]]:
        """The rows to write with where they came from, their ranges, and origins among them."""
        rows, ranges = self._buffer.table(), self._buffer.ranges()
        if rows is None:
            return lake_schema(self._topic.kind).empty_table(), ranges, ()
        origins: tuple[str, ...] = ()
        if rows.column("origin").null_count < rows.num_rows:
            known = origins_in_lake(self._table, self._table.load())
            repeated = repeated_origins(rows, known)
            ranges = with_dropped(ranges, rows.filter(repeated))
            rows = rows.filter(pc.invert(repeated))
            origins = tuple(rows.column("origin").drop_null().to_pylist())
        return stamped(rows, self._identity.id), ranges, origins

    def _count(self, delivered: Delivered) -> None:
        report = self._report
        self._report = replace(
            report,
            rows=report.rows + delivered.rows,
            dead_letters=report.dead_letters + delivered.dead_letters,
            dropped=report.dropped + delivered.dropped,
            commits=report.commits + 1,
            positions={
                **report.positions,
                **{name: span.end for name, span in delivered.ranges.items()},
            },
        )

    def refused(self, unit: Unit, why: str, *, fenced: bool) -> None:
        """A commit was refused or its outcome is unknown; with `fenced` the unit is void."""
        self._report = replace(self._report, refused=self._report.refused + 1)
        self._tell(Refused(self._topic.kind, why, tuple(unit.ranges), fenced))

    def _tell(self, event: Event) -> None:
        if self._on_event is not None:
            self._on_event(event)

    def reached(self, step: str) -> None:
        """A numbered step is done."""
        if self._failpoint is not None:
            self._failpoint(step, {"rows": self._buffer.rows})

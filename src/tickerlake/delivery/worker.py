"""The worker: one topic into one table, exactly once.

The numbers in the comments are those of the design's protocol; the fault suite kills the process
after each. 1: one topic feeds one table. 2: every change of an offset makes a new snapshot. 3: one
commit function, which neither retries nor deletes. 4: begin where the lake is. 5: read, drop what
is known, buffer. 6: write files once. 7: decide on one freshly loaded metadata. 8: commit. 9: after
a refusal or an unknown outcome, back to 7 with the same files. 10: tell the broker.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake import clock
from tickerlake.delivery.assignment import find_start
from tickerlake.delivery.buffer import Buffer, MemoryBudget, stamped, with_dropped
from tickerlake.delivery.checkpoint import Decision, Unit, change_of, decide
from tickerlake.delivery.closes import SessionCloses
from tickerlake.delivery.repeats import origins_in_lake, windows_from_lake
from tickerlake.delivery.report import Assigned, Delivered, Event, KindReport, OnEvent, Refused
from tickerlake.delivery.settings import DeliverySettings
from tickerlake.errors import (
    CommitRefusedError,
    CommitUnknownError,
    RetentionPassedError,
    StorageError,
)
from tickerlake.lake.base import LakeTable, Loaded
from tickerlake.lake.positions import Range
from tickerlake.records import RepeatWindow, lake_schema, repeated_origins
from tickerlake.streams import Batch, Membership, Topic, codec

__all__ = ["Failpoint", "Stop", "Worker"]

#: How often a worker looks whether its topic has new partitions.
PARTITIONS_EVERY_SECONDS = 1.0

#: The longest pause between two tries of one commit.
PAUSE_SECONDS_MAX = 1.0

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
        partitions: The share of this worker; null is all of them, new ones too.
        membership: Told the lake's positions after each commit, for lag tools.
        accept_loss: Go on after a hole that the log's retention made.
        file_hours_max: Files that waited longer for their commit are written again: half of the
            sweep's age, which may be after them.
        budget: Memory shared with other workers.
        failpoint: Called after each numbered step.
        on_event: Told what happens.
    """

    def __init__(
        self,
        topic: Topic,
        table: LakeTable,
        *,
        settings: DeliverySettings,
        partitions: Callable[[Sequence[str]], Sequence[str]] = lambda names: names,
        membership: Membership | None = None,
        accept_loss: bool = False,
        file_hours_max: float = 12.0,
        budget: MemoryBudget | None = None,
        failpoint: Failpoint | None = None,
        on_event: OnEvent | None = None,
    ) -> None:
        self._topic = topic
        self._table = table
        self._settings = settings
        self._share = partitions
        self._membership = membership
        self._accept_loss = accept_loss
        self._file_hours_max = file_hours_max
        self._budget = budget or MemoryBudget(settings.memory_bytes)
        self._failpoint = failpoint
        self._on_event = on_event
        self._closes = SessionCloses(settings)
        # 1. One topic feeds one table; the log's identity, not its name, owns the offsets.
        self._identity = topic.identity()
        self._buffer = Buffer({})
        self._windows: dict[str, RepeatWindow] = {}
        self._look_again_seconds = 0.0
        #: Partitions whose end was seen since the assignment.
        self._read_out: set[str] = set()
        self._given_up: Unit | None = None
        self._report = KindReport()
        self._reached("1")

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
            ends = self._ends() if once else None
            self._assign()
            while True:
                taken = self._fill(ends)
                cause = self._cause(ends, stop)
                if cause is not None:
                    self._flush(cause)
                if self._finished(ends, stop):
                    return self._report
                if not taken and cause is None:
                    stop.wait(self._settings.poll_seconds)
        finally:
            self._budget.hold(self, 0)

    def _ends(self) -> dict[str, int | None]:
        return {name: self._topic.bounds(name).end for name in self._partitions()}

    def _partitions(self) -> Sequence[str]:
        return self._share(self._topic.partitions())

    def _finished(self, ends: Mapping[str, int | None] | None, stop: Stop) -> bool:
        return self._buffer.empty and (stop.is_set() or self._at(ends))

    def _at(self, ends: Mapping[str, int | None] | None) -> bool:
        if ends is None:
            return False
        positions = self._buffer.positions()
        return all(
            name in self._read_out if end is None else positions[name] >= end
            for name, end in ends.items()
        )

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
            partitions = self._partitions()
            loaded = self._table.load()
            start = find_start(
                self._topic, self._table, loaded, partitions, accept_loss=self._accept_loss
            )
            pending = start.register or start.losses
            if pending is None or pending == self._given_up:
                break
            # Offsets that are new, or that jump over a hole, are written down before we read on.
            if self._commit(pending) is not None:
                self._given_up = pending
                lost = sum(span.lost for span in pending.ranges.values())
                self._report = replace(self._report, lost=self._report.lost + lost)
        self._buffer = Buffer(start.positions)
        self._read_out = set()
        self._windows = windows_from_lake(
            self._table,
            loaded,
            kind=self._topic.kind,
            stream_id=self._identity.id,
            positions=start.positions,
            size=self._settings.repeat_window,
        )
        self._report = replace(self._report, positions=dict(start.positions))
        self._tell(Assigned(self._topic.kind, dict(start.positions)))
        self._reached("4")

    def _fill(self, ends: Mapping[str, int | None] | None) -> bool:
        """5. Read each partition once, until something makes us commit; false if all are idle."""
        if self._grew():
            self._flush("partitions")
            self._assign()
        taken = False
        for partition, position in self._buffer.positions().items():
            if self._full() is not None:
                break  # The memory cap's back-pressure: what is not read costs nothing.
            if ends is not None and self._is_past(partition, position, ends.get(partition, 0)):
                continue
            end = self._topic.bounds(partition).end if self._accept_loss else None
            if end is not None and position > end:
                continue
            try:
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
            if batch.next_position != position:
                self._take(partition, batch)
                taken = True
        return taken

    def _is_past(self, partition: str, position: int, end: int | None) -> bool:
        return partition in self._read_out if end is None else position >= end

    def _grew(self) -> bool:
        now = clock.monotonic_seconds()
        if now < self._look_again_seconds:
            return False
        self._look_again_seconds = now + PARTITIONS_EVERY_SECONDS
        return set(self._partitions()) != set(self._buffer.positions())

    def _take(self, partition: str, batch: Batch) -> None:
        position = self._buffer.next_position(partition)
        rows = codec.decode(self._topic.kind, batch.messages)
        if batch.messages and batch.messages[0].first_position < position:
            # A message is never cut: what we have of it already is dropped here.
            rows = rows.filter(pc.greater_equal(rows.column("_offset"), position))
        fresh = self._windows[partition].admit(rows)
        dropped = int(len(fresh) - fresh.sum())
        if dropped:
            rows = rows.filter(pa.array(fresh))
        self._buffer.add(partition, rows, end=batch.next_position, dropped=dropped)
        self._budget.hold(self, self._buffer.byte_count)
        if self._buffer.byte_count > self._report.buffered_bytes_max:
            self._report = replace(self._report, buffered_bytes_max=self._buffer.byte_count)
        self._reached("5")

    def _flush(self, cause: str) -> None:
        """6 to 10: make all that waits one transaction, and see it through."""
        if self._buffer.empty:
            return
        began_seconds = clock.monotonic_seconds()
        # 6. Write data files once, under names that nobody else uses.
        rows, ranges, origins = self._prepared()
        files = self._table.write(rows) if rows.num_rows else ()
        unit = Unit(self._identity, ranges, len(self._windows), files, origins=origins)
        self._reached("6")
        snapshot_id = self._commit(unit)
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
        # 10. Tell the broker, for lag tools and retention only: nobody reads it back to decide.
        if self._membership is not None:
            self._membership.acknowledge(self._report.positions)
        self._reached("10")
        self._tell(delivered)

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

    def _commit(self, unit: Unit) -> int | None:
        """7 to 9: the snapshot in which the unit stands; null: others moved on, it is void."""
        deadline_seconds = clock.monotonic_seconds() + self._settings.commit_seconds_max
        pause_seconds = self._settings.commit_pause_seconds
        asked = False
        while True:
            # 7. Decide on one freshly loaded metadata, on which alone the commit is then built.
            loaded = self._table.load()
            decision = self.decide(loaded, unit)
            self._reached("7")
            if decision is Decision.DONE:
                # By an earlier try of ours, or by another: then our files are the sweep's.
                return loaded.snapshot_id
            if decision is Decision.DISCARD:
                if not asked:
                    self._table.discard(unit.files)
                self._refused("others moved on, or our files grew old: reading again")
                return None
            # 2. Every change of an offset is a new snapshot, with no files if there are no rows.
            change = change_of(loaded, unit)
            self._reached("2")
            try:
                # 3. and 8. Through the one commit function, on exactly `loaded`.
                self._reached("3")
                snapshot_id = self._table.commit(loaded, change)
            except (CommitRefusedError, CommitUnknownError) as error:
                # 9. It may have landed all the same: only what the table says counts.
                asked = True
                self._refused(error.problem)
                self._reached("9")
                if clock.monotonic_seconds() > deadline_seconds:
                    raise
                clock.sleep(pause_seconds * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
                pause_seconds = min(2 * pause_seconds, PAUSE_SECONDS_MAX)
            except StorageError:
                if not asked:  # The catalog never heard of these files.
                    self._table.discard(unit.files)
                raise
            else:
                self._reached("8")
                return snapshot_id

    def decide(self, loaded: Loaded, unit: Unit) -> Decision:
        """Step 7, on `loaded` and nothing else; `checkpoint.decide` says what it compares."""
        decision = decide(self._table, loaded, unit)
        if decision is not Decision.COMMIT:
            return decision
        oldest = min((file.written_at_seconds for file in unit.files), default=float("inf"))
        age_seconds = clock.real_now().timestamp() - oldest
        there = all(file.is_there for file in unit.files)
        if age_seconds > self._file_hours_max * 3600 or not there:
            return Decision.DISCARD  # The sweep may be after them: read and write them again.
        if unit.origins:
            known = set(origins_in_lake(self._table, loaded).to_pylist())
            if not known.isdisjoint(unit.origins):
                return Decision.DISCARD  # Another worker delivered the same mended record.
        return decision

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

    def _refused(self, why: str) -> None:
        self._report = replace(self._report, refused=self._report.refused + 1)
        self._tell(Refused(self._topic.kind, why))

    def _tell(self, event: Event) -> None:
        if self._on_event is not None:
            self._on_event(event)

    def _reached(self, step: str) -> None:
        if self._failpoint is not None:
            self._failpoint(step, {"rows": self._buffer.rows})

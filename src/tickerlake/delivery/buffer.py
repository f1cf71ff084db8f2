"""Records that were read and stand in no commit yet, and how much memory they may take."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake import clock
from tickerlake.lake.positions import Range
from tickerlake.records import united

__all__ = ["Buffer", "MemoryBudget", "stamped", "with_dropped"]


class MemoryBudget:
    """How many bytes all workers of a process hold together. Safe to share between threads.

    It does not block: a worker asks before each read, and commits what it holds instead of
    reading. So the bound is the cap plus one read per worker.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._held: dict[object, int] = {}

    @property
    def full(self) -> bool:
        """Whether nobody may read on before somebody has committed."""
        with self._lock:
            return sum(self._held.values()) >= self._bytes_max

    def hold(self, owner: object, byte_count: int) -> None:
        """Say what `owner` holds now."""
        with self._lock:
            self._held[owner] = byte_count


@dataclass(slots=True)
class _Partition:
    span: Range
    parts: list[pa.Table] = field(default_factory=list)


class Buffer:
    """Rows of one worker, per partition, with the positions that they cover.

    A partition whose records were all dropped as repeats holds no row, but still positions: they
    must be committed like any others.
    """

    def __init__(self, positions: Mapping[str, int]) -> None:
        self._partitions = {name: _Partition(Range(at, at)) for name, at in positions.items()}
        self._since_seconds: float | None = None
        self.rows = 0
        self.byte_count = 0

    @property
    def empty(self) -> bool:
        """Whether no position waits for a commit."""
        return self._since_seconds is None

    @property
    def age_seconds(self) -> float:
        """How long the oldest position has waited."""
        if self._since_seconds is None:
            return 0.0
        return clock.monotonic_seconds() - self._since_seconds

    def next_position(self, partition: str) -> int:
        """The next position to read."""
        return self._partitions[partition].span.end

    def positions(self) -> dict[str, int]:
        """Next positions of all partitions."""
        return {name: part.span.end for name, part in self._partitions.items()}

    def add(self, partition: str, span: Range, rows: pa.Table) -> None:
        """Take in the partition's next rows, and the range that was read to get them."""
        if not span.moves:
            return
        part = self._partitions[partition]
        if self._since_seconds is None:
            self._since_seconds = clock.monotonic_seconds()
        part.span += span
        if rows.num_rows:
            part.parts.append(rows)
            self.rows += rows.num_rows
            self.byte_count += rows.nbytes

    def ranges(self) -> dict[str, Range]:
        """What a commit of all this would deliver: changed partitions only."""
        return {name: part.span for name, part in self._partitions.items() if part.span.moves}

    def table(self) -> pa.Table | None:
        """All rows, or null if there are none."""
        parts = [table for part in self._partitions.values() for table in part.parts]
        return united(parts) if parts else None

    def clear(self) -> None:
        """Forget the rows: they are committed. Each partition goes on where it ended."""
        for part in self._partitions.values():
            part.span = Range(part.span.end, part.span.end)
            part.parts.clear()
        self._since_seconds, self.rows, self.byte_count = None, 0, 0


def stamped(rows: pa.Table, stream_id: str) -> pa.Table:
    """Say which log the rows came from, and when they were delivered."""
    codes = pa.array(np.zeros(rows.num_rows, np.int32))
    columns = {
        # One string for all: as a dictionary it costs the writer next to nothing.
        "_stream": pa.DictionaryArray.from_arrays(codes, pa.array([stream_id])),
        "_delivered_at": pa.repeat(
            pa.scalar(clock.now(), rows.schema.field("_delivered_at").type), rows.num_rows
        ),
    }
    for name, column in columns.items():
        rows = rows.set_column(rows.schema.get_field_index(name), name, column)
    return rows


def with_dropped(ranges: Mapping[str, Range], dropped: pa.Table) -> dict[str, Range]:
    """Count rows that were dropped after buffering in the ranges of their partitions."""
    counts = {
        item["values"].as_py(): item["counts"].as_py()
        for item in pc.value_counts(dropped.column("_partition").combine_chunks())
    }
    return {
        name: replace(span, dropped=span.dropped + counts.get(name, 0))
        for name, span in ranges.items()
    }

"""The stream's fresh tail: records that are published and not yet in the lake.

The tail begins at exactly the positions that one loaded metadata of the table names, is decoded by
the stream's codec and loses repeats by the rule by which delivery drops them. So whatever the
delivery does meanwhile, a record is either among that metadata's rows or in this tail, never in
both and never in neither.

What was decoded is kept and grows with the stream: a process that asks again reads only what is
new, and the repeats are recognised without reading the lake again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.errors import RetentionPassedError
from tickerlake.lake import LakeTable, Loaded
from tickerlake.lake.positions import copy_is_open, offsets_agree, offsets_of
from tickerlake.lake.windows import fill_windows
from tickerlake.records import Kind, RepeatWindow, lake_schema, repeated_origins
from tickerlake.streams import Stream, Topic
from tickerlake.streams.codec import decode

__all__ = ["Fresh", "Tail", "read_decoded", "whole_tail"]

_READ_RECORDS_MAX: Final = 65_536
_PARTS_MAX: Final = 32

#: Where each partition's tail begins, and where the log ends now; null: nobody knows before it
#: was read.
_Spans = dict[str, tuple[int, int | None]]


@dataclass(frozen=True, slots=True)
class Fresh:
    """One table's state: loaded metadata, and the tail that follows exactly it.

    `unread` records lie further on in the stream than the limit allows to read. Where the table
    was `turned_back`, records lie between its rows and its offsets that nobody sees.
    """

    loaded: Loaded
    rows: pa.Table
    unread: int = 0
    turned_back: bool = False
    #: A copy fills the stream: its records are rows already, so nothing of it is read.
    copying: bool = False


@dataclass(slots=True)
class _Segment:
    """What was decoded of one partition: rows of positions [`begin`, `end`)."""

    begin: int
    end: int
    window: RepeatWindow
    parts: list[pa.Table] = field(default_factory=list)

    def keep(self, rows: pa.Table) -> None:
        """Add the next rows."""
        self.parts.append(rows)
        if len(self.parts) > _PARTS_MAX:
            # Records that come one by one must not become as many tables.
            self.parts = [pa.concat_tables(self.parts).combine_chunks()]

    def rows_from(self, position: int) -> int:
        """Forget what lies before `position`; return how many rows stay."""
        kept = []
        for part in self.parts:
            offsets = part.column("_offset")
            if offsets[0].as_py() < position:
                part = part.filter(pc.greater_equal(offsets, position))  # noqa: PLW2901
            if part.num_rows:
                kept.append(part)
        self.parts = kept
        self.begin = position
        return sum(part.num_rows for part in kept)


class Tail:
    """The decoded tails of a stream's topics. Safe to use from several threads.

    Promise: `after` gives rows and metadata that belong together, and never goes back behind what
    it gave before, unless the table itself was rewound.
    """

    def __init__(self, stream: Stream, *, records_max: int, repeat_window: int) -> None:
        self._stream = stream
        self._records_max = records_max
        self._repeat_window = repeat_window
        self._locks: dict[Kind, threading.Lock] = {}
        self._locks_lock = threading.Lock()
        self._segments: dict[tuple[str, str], _Segment] = {}
        #: Kinds whose topics exist for certain.
        self._there: set[Kind] = set()
        #: By table: the newest metadata that was looked at, and whether it was turned back.
        self._judged: dict[str, tuple[str, bool]] = {}

    def after(self, kind: Kind, table: LakeTable) -> Fresh:
        """Load the table, and read the stream from exactly where it ends.

        Raises:
            RetentionPassedError: The stream does not reach back to the lake's offset.
            CorruptLogError: The stream's bytes are damaged.
        """
        # The lock spans the load: a thread with an older metadata never meets newer segments.
        with self._lock_of(kind):
            try:
                return self._after(kind, table, table.load())
            except RetentionPassedError:
                # Delivery may have moved on and retention behind it, after the load.
                return self._after(kind, table, table.load())

    def has(self, kind: Kind) -> bool:
        """Whether the kind has a topic; asking makes none."""
        if kind not in self._there and kind in self._stream.kinds():
            self._there.add(kind)
        return kind in self._there

    def _lock_of(self, kind: Kind) -> threading.Lock:
        with self._locks_lock:
            return self._locks.setdefault(kind, threading.Lock())

    def _after(self, kind: Kind, table: LakeTable, loaded: Loaded) -> Fresh:
        if not self.has(kind):  # opening a topic makes it, and asking shall make nothing
            turned_back = self._is_turned_back(table, loaded)
            return Fresh(loaded, lake_schema(kind).empty_table(), turned_back=turned_back)
        topic = self._stream.topic(kind)
        stream_id = topic.identity().id
        if copy_is_open(loaded.properties, stream_id):
            return Fresh(loaded, lake_schema(kind).empty_table(), copying=True)
        spans = _spans(topic, table.name, offsets_of(loaded.properties, stream_id))
        segments = self._segments_at(kind, table, loaded, stream_id, spans)
        held = sum(segment.rows_from(spans[name][0]) for name, segment in segments.items())
        room = max(0, self._records_max - held)
        missing = {
            name: _missing(segment.end, spans[name][1], room) for name, segment in segments.items()
        }
        # The smallest first, so that none starves another.
        waiting = sorted((count, name) for name, count in missing.items() if count > 0)
        for place, (_, name) in enumerate(waiting):
            share = room // (len(waiting) - place)
            room -= _extend(segments[name], topic, name, share, spans[name][1])
        parts = [part for segment in segments.values() for part in segment.parts]
        rows = pa.concat_tables([lake_schema(kind).empty_table(), *parts])
        rows = _without_second_mends(rows, table, loaded)
        unread = sum(_missing(each.end, spans[name][1], 0) for name, each in segments.items())
        return Fresh(loaded, rows, unread, self._is_turned_back(table, loaded))

    def _is_turned_back(self, table: LakeTable, loaded: Loaded) -> bool:
        location, turned_back = self._judged.get(table.name, ("", False))
        if location != loaded.metadata_location:
            turned_back = not offsets_agree(table.snapshots(loaded), loaded.properties)
            self._judged[table.name] = (loaded.metadata_location, turned_back)
        return turned_back

    def _segments_at(
        self, kind: Kind, table: LakeTable, loaded: Loaded, stream_id: str, spans: _Spans
    ) -> dict[str, _Segment]:
        """Each partition's segment; where it has a tail, its window knows what lies before."""
        segments = {}
        unseen: dict[str, int] = {}
        for name, (start, end) in spans.items():
            segment = self._segments.get((stream_id, name))
            if segment is not None and segment.begin <= start <= segment.end:
                segments[name] = segment
            elif end is None or end > start:
                unseen[name] = max(0, start - self._repeat_window)
                window = RepeatWindow(kind, self._repeat_window)
                if segment is not None and segment.end < start:
                    # Delivery has overtaken us: the lake tells only what we did not read.
                    window, unseen[name] = segment.window, max(unseen[name], segment.end)
                segments[name] = _Segment(start, start, window)
        unseen = {name: position for name, position in unseen.items() if position < spans[name][0]}
        if unseen:
            windows = {name: segments[name].window for name in unseen}
            fill_windows(table, loaded, windows, stream_id=stream_id, starts=unseen)
        # Kept only now: a window that could not be filled must not be taken for a full one.
        self._segments.update({(stream_id, name): each for name, each in segments.items()})
        return segments


def whole_tail(topic: Topic, kind: Kind, loaded: Loaded) -> Iterator[pa.Table]:
    """Every record that follows `loaded`, repeats too, in pieces of bounded size.

    Raises:
        RetentionPassedError: The stream does not reach back to the lake's offset.
    """
    offsets = offsets_of(loaded.properties, topic.identity().id)
    for partition, (start, end) in _spans(topic, loaded.name, offsets).items():
        for _, rows in read_decoded(topic, kind, partition, start, end):
            yield rows


def read_decoded(
    topic: Topic,
    kind: Kind,
    partition: str,
    start: int,
    end: int | None,
    *,
    cut: bool = False,
    at_once_max: int = _READ_RECORDS_MAX,
) -> Iterator[tuple[int, pa.Table]]:
    """Decoded rows of positions [`start`, `end`) in order, each with the position after them.

    Without an `end`, up to what is there now. What has come since the end was looked up is given
    too, unless it is `cut`: a reader that is sent back for it loses what it has fetched ahead.
    """
    stream_id = topic.identity().id
    at_end = False
    while not at_end and (end is None or start < end):
        limit = end if cut else None
        records_max = min(at_once_max, _missing(start, limit, at_once_max))
        batch = topic.read(partition, start, records_max=records_max, wait_seconds=0)
        at_end = batch.at_end
        rows = decode(kind, batch.messages)
        offsets = rows.column("_offset")
        inside = pc.greater_equal(offsets, start)
        if limit is not None:
            inside = pc.and_(inside, pc.less(offsets, limit))
        start = batch.next_position if limit is None else min(limit, batch.next_position)
        yield start, _with_stream(rows.filter(inside), stream_id)


def _missing(position: int, end: int | None, unknown: int) -> int:
    """How many positions lie before the end; `unknown` where nobody knows it."""
    return unknown if end is None else max(0, end - position)


def _without_second_mends(rows: pa.Table, table: LakeTable, loaded: Loaded) -> pa.Table:
    """The tail without records that mend a letter which another record has mended before."""
    if rows.column("origin").null_count == rows.num_rows:
        return rows
    known = table.read(loaded, columns=["origin"], not_null="origin").column("origin")
    return rows.filter(pc.invert(repeated_origins(rows, known.combine_chunks())))


def _with_stream(rows: pa.Table, stream_id: str) -> pa.Table:
    place = rows.schema.get_field_index("_stream")
    column = pa.repeat(pa.scalar(stream_id), rows.num_rows)
    return rows.set_column(place, rows.schema.field(place), column)


def _extend(
    segment: _Segment, topic: Topic, partition: str, records_max: int, log_end: int | None
) -> int:
    """Read on, up to so many positions and about so many records; return how many it took."""
    begin, records = int(segment.end), 0
    if records_max <= 0:
        return 0
    cut = log_end is not None and log_end - begin > records_max
    for position, rows in read_decoded(
        topic,
        topic.kind,
        partition,
        segment.end,
        segment.end + records_max if cut else log_end,
        cut=cut,
        at_once_max=min(records_max, _READ_RECORDS_MAX),
    ):
        if rows.num_rows:
            fresh = rows.filter(pa.array(segment.window.admit(rows)))
            if fresh.num_rows:
                segment.keep(fresh)
        segment.end = position
        # Many records may share a position, and a position may hold none.
        records += rows.num_rows
        if max(records, position - begin) >= records_max:
            break
    return max(records, int(segment.end) - begin)


def _spans(topic: Topic, table_name: str, offsets: Mapping[str, int]) -> _Spans:
    """Where each partition's tail begins and ends now."""
    spans = {}
    for partition in topic.partitions():
        bounds = topic.bounds(partition, offsets.get(partition))
        # What no delivery has seen yet begins where the log does, as delivery will.
        start = offsets.get(partition, bounds.beginning)
        end = start if bounds.end is None else bounds.end
        if not bounds.beginning <= start <= end:
            raise RetentionPassedError(
                f"Partition {partition} of the stream does not hold what follows {table_name}.",
                expected=f"a log that reaches from {start} on",
                found=f"a log of positions {bounds.beginning} to {end}",
                todo="put back a copy of the log that holds it, or run "
                "`tickerlake deliver --accept-loss`, which records the hole",
            )
        spans[partition] = (start, bounds.end)
    return spans

"""Every promise of delivery, checked from outside: nothing lost, nothing twice.

Reads the metadata JSON, the manifests and the Parquet files by itself, with none of the lake's own
code, and compares them with what the log holds. `Eyes` says where they are: of a SQLite catalog on
a local disk by itself, too (`DiskEyes`); of others through a client of their own.
"""

from __future__ import annotations

import functools
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import ManifestFile, read_manifest_list

from tickerlake.lake.positions import (
    CHECK,
    RANGES,
    Range,
    check_hash,
    decode_ranges,
    offsets_of,
    partitions_property,
)
from tickerlake.records import KEYS, TABLES, Kind, Position
from tickerlake.streams import Topic, codec

__all__ = [
    "DiskEyes",
    "Eyes",
    "TableState",
    "findings",
    "lake_offsets",
    "live_rows",
    "spans_of",
    "table_state",
]

_PLACE = ("_stream", "_partition", "_offset", "_index")


@dataclass(frozen=True, slots=True)
class TableState:
    """One table's newest metadata, as its JSON says."""

    metadata: Mapping[str, Any]

    @property
    def properties(self) -> dict[str, str]:
        """The table's properties."""
        return dict(self.metadata.get("properties", {}))

    def history(self) -> list[Mapping[str, Any]]:
        """The current snapshot and its ancestors, oldest first."""
        by_id = {snapshot["snapshot-id"]: snapshot for snapshot in self.metadata["snapshots"]}
        chain = []
        current = by_id.get(self.metadata.get("current-snapshot-id"))
        while current is not None:
            chain.append(current)
            current = by_id.get(current.get("parent-snapshot-id"))
        return chain[::-1]


class Eyes(Protocol):
    """How the judge sees a lake. Two of them are equal if they see the same lake."""

    def __hash__(self) -> int:
        """Equal eyes have equal hashes: what they have read once is kept."""
        ...

    def pointer(self, name: str) -> str | None:
        """The location of a table's newest metadata; null if there is no such table."""
        ...

    def io(self) -> FileIO:
        """Access to files by their location."""
        ...


@dataclass(frozen=True, slots=True)
class DiskEyes:
    """A SQLite catalog and a local disk, with nobody's code between."""

    catalog: Path

    def pointer(self, name: str) -> str | None:
        """Straight from the catalog's database."""
        if not self.catalog.exists():
            return None
        connection = sqlite3.connect(f"file:{self.catalog}?mode=ro", uri=True)
        try:
            row = connection.execute(
                "select metadata_location from iceberg_tables where table_name = ?", (name,)
            ).fetchone()
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error):
                raise
            return None  # its maker was killed before it had made anything
        finally:
            connection.close()
        return str(row[0]) if row else None

    def io(self) -> FileIO:
        """PyIceberg's own reader of local files."""
        return PyArrowFileIO()


def _eyes(lake: Path | Eyes) -> Eyes:
    return DiskEyes(lake) if isinstance(lake, Path) else lake


def table_state(lake: Path | Eyes, name: str) -> TableState | None:
    """The table's state, straight from catalog and store; null if there is no such table.

    Args:
        lake: The SQLite file of the catalog of a lake on disk, or eyes for another.
        name: Which table.
    """
    eyes = _eyes(lake)
    location = eyes.pointer(name)
    return TableState(_json(eyes.io(), location)) if location else None


def lake_offsets(lake: Path | Eyes, topic: Topic) -> Mapping[str, int]:
    """Next position by partition, as the table's properties say."""
    state = table_state(lake, TABLES[topic.kind])
    return offsets_of(state.properties, topic.identity().id) if state else {}


def findings(
    topic: Topic,
    lake: Path | Eyes,
    *,
    repeat_window: int,
    acknowledged: Mapping[str, int] | None = None,
) -> list[str]:
    """Everything that is wrong with the topic's table, one sentence each; empty = sound.

    Args:
        topic: The log, with all its records.
        lake: The SQLite file of the catalog of a lake on disk, or eyes for another.
        repeat_window: The window with which repeats were dropped.
        acknowledged: The broker's own offsets: never ahead of the lake's.
    """
    name, eyes = TABLES[topic.kind], _eyes(lake)
    state = table_state(eyes, name)
    if state is None:
        return []  # nothing was delivered yet, and nothing is promised
    stream_id = topic.identity().id
    offsets = offsets_of(state.properties, stream_id)
    found = list(_files_wrong(state, eyes))
    if found:
        return found
    rows = live_rows(state, eyes, [*_PLACE, *KEYS[topic.kind], "event_id", "origin"])
    spans = spans_of(state, eyes, stream_id)
    rewound = {name for name, ranges in spans.items() if any(r.end < r.start for r in ranges)}
    found += _properties_wrong(state, eyes, stream_id, offsets, rewound)
    for partition, offset in (acknowledged or {}).items():
        if offset > offsets.get(partition, 0):
            found.append(f"partition {partition}: the broker stands at {offset}, ahead of the lake")
    found += [
        f"partition {partition}: it goes on from one that has ended, and has no offset"
        for partition in topic.partitions()
        if partition not in offsets
        and any(_is_ended(offsets.get(parent, 0)) for parent in topic.parents(partition))
    ]
    forgotten = {
        partition: ranges[-1].end
        for partition, ranges in spans.items()
        if partition not in offsets and _is_ended(ranges[-1].end)
    }
    for partition, offset in {**offsets, **forgotten}.items():
        ranges = spans.get(partition, [])
        here = (pc.field("_stream") == stream_id) & (pc.field("_partition") == partition)
        mine = rows.filter(here)
        found += _chain_wrong(partition, offset, ranges)
        if not any(span.end < span.start for span in ranges):
            told = sum(span.rows for span in ranges)
            if told != mine.num_rows:
                found.append(f"partition {partition}: {mine.num_rows} rows, {told} were counted")
        known = partition in topic.partitions()
        log = _log(topic, partition) if known else None
        if log is not None and _is_the_log(mine, log, offset) and not _dropped(ranges):
            continue  # the very same records: there is nothing to be told apart
        found += _rows_wrong(partition, offset, mine.to_pylist())
        if log is not None:
            truth = _Truth(topic.kind, partition, offset, repeat_window)
            found += truth.compared(mine.to_pylist(), ranges, log)
    return found


def _dropped(ranges: Sequence[Range]) -> int:
    return sum(span.dropped + span.gaps + span.lost for span in ranges)


def _is_the_log(rows: pa.Table, log: pa.Table, offset: int) -> bool:
    """Whether the rows are exactly the log's records below `offset`, none of which repeats one."""
    log = log.filter(pc.field("_offset") < offset)
    ids = log.column("event_id").drop_null()
    if rows.num_rows != log.num_rows or pc.count_distinct(ids).as_py() != len(ids):
        return False
    if not rows.num_rows:
        return True
    order = [("_offset", "ascending"), ("_index", "ascending")]
    return rows.select(log.column_names).sort_by(order).equals(log.sort_by(order))


def _is_ended(position: int) -> bool:
    return isinstance(position, Position) and position.ended


def _json(io: FileIO, location: str) -> dict[str, Any]:
    with io.new_input(location).open() as file:
        return dict(json.loads(file.read()))


def _properties_wrong(
    state: TableState,
    eyes: Eyes,
    stream_id: str,
    offsets: Mapping[str, int],
    rewound: set[str],
) -> Iterator[str]:
    io = eyes.io()
    count = int(state.properties.get(partitions_property(stream_id), "0"))
    if len(offsets) != count:
        yield f"{len(offsets)} offsets for {count} partitions"
    checks = [s["summary"][CHECK] for s in state.history() if CHECK in s["summary"]]
    if checks and checks[-1] != check_hash(state.properties):
        yield "the newest check does not agree with the offsets"
    before: Mapping[str, int] = {}
    for entry in [*state.metadata.get("metadata-log", []), None]:
        if entry is None:
            now: Mapping[str, int] = offsets
        else:
            location = entry["metadata-file"]
            if not io.new_input(location).exists():
                yield f"the metadata file {location} of the log is gone"
                continue
            now = offsets_of(_properties_at(eyes, location), stream_id)
        for partition, offset in before.items():
            forgotten = partition not in now and _is_ended(offset)
            if now.get(partition, -1) < offset and partition not in rewound and not forgotten:
                yield f"partition {partition}: the offset went back from {offset} to {now}"
        before = now


@functools.lru_cache(maxsize=10_000)
def _properties_at(eyes: Eyes, location: str) -> dict[str, str]:
    """The properties in a metadata file. Such files never change, so each is read once."""
    return dict(_json(eyes.io(), location).get("properties", {}))


def _files_wrong(state: TableState, eyes: Eyes) -> Iterator[str]:
    io = eyes.io()
    there: dict[str, bool] = {}

    def exists(location: str) -> bool:
        if location not in there:
            there[location] = io.new_input(location).exists()
        return there[location]

    for snapshot in state.metadata["snapshots"]:
        number = snapshot["snapshot-id"]
        manifest_list = snapshot["manifest-list"]
        manifests = _manifests(eyes, manifest_list) if exists(manifest_list) else ()
        readable = [m for m in manifests if exists(m.manifest_path)]
        live = [path for manifest in readable for path in _data_files(eyes, manifest)]
        named = [manifest_list, *(manifest.manifest_path for manifest in manifests), *live]
        for location in dict.fromkeys(named):
            if not exists(location):
                yield f"the file {location} of snapshot {number} is gone"
        for location, times in Counter(live).items():
            if times > 1:
                yield f"the file {location} is live {times} times in snapshot {number}"


@functools.lru_cache(maxsize=10_000)
def _manifests(eyes: Eyes, manifest_list: str) -> tuple[ManifestFile, ...]:
    """The manifests that a list names. Such files never change, so each is read once."""
    return tuple(read_manifest_list(eyes.io().new_input(manifest_list)))


@functools.lru_cache(maxsize=10_000)
def _data_files(eyes: Eyes, manifest: ManifestFile) -> tuple[str, ...]:
    """The data files that a manifest calls live."""
    entries = manifest.fetch_manifest_entry(eyes.io())
    return tuple(entry.data_file.file_path for entry in entries)


def live_rows(state: TableState, eyes: Eyes, columns: Sequence[str] | None) -> pa.Table:
    """All rows of the table's current snapshot; of all columns if null."""
    history = state.history()
    parts = []
    for manifest in _manifests(eyes, history[-1]["manifest-list"]) if history else ():
        for location in _data_files(eyes, manifest):
            with eyes.io().new_input(location).open() as file:
                parts.append(pq.ParquetFile(pa.BufferReader(file.read())).read(columns=columns))
    if not parts:
        return pa.table({name: pa.nulls(0) for name in columns or ()})
    return pa.concat_tables(parts, promote_options="permissive")


def spans_of(state: TableState, eyes: Eyes, stream_id: str) -> dict[str, list[Range]]:
    """What snapshots and `deliveries` say was delivered, oldest first, by partition."""
    name = state.metadata["location"].rsplit("/", 1)[-1]
    known: dict[int, list[tuple[str, Range]]] = {}
    for row in _deliveries(eyes):
        if row["table_name"] == name and row["stream"] == stream_id:
            known.setdefault(row["snapshot_id"], []).append((row["partition"], _range(row)))
    for snapshot in state.history():
        if RANGES in snapshot["summary"]:
            packed = decode_ranges(snapshot["summary"][RANGES]).get(stream_id, {})
            known[snapshot["snapshot-id"]] = list(packed.items())
    spans: dict[str, list[Range]] = {}
    for ranges in known.values():
        for partition, span in ranges:
            spans.setdefault(partition, []).append(span)
    return spans


def _range(row: Mapping[str, Any]) -> Range:
    """A row of `deliveries`; columns of a later version may be missing in it."""
    start, gaps = row["from_position"], row.get("gaps") or 0
    end = Position(row["to_position"], row.get("to_address") or "")
    shared = row["rows"] + row["dropped"] + gaps - (end - start)
    delivered = row["event"] == "delivered"
    return Range(start, end, row["dropped"], row["lost"], gaps, shared if delivered else 0)


def _deliveries(eyes: Eyes) -> list[dict[str, Any]]:
    state = table_state(eyes, "deliveries")
    if state is None:
        return []
    rows = live_rows(state, eyes, None).to_pylist()
    return sorted(rows, key=lambda row: (row["committed_at"], row["from_position"]))


def _chain_wrong(partition: str, offset: int, spans: list[Range]) -> Iterator[str]:
    expected = spans[0].start if spans else offset
    for span in spans:
        # A rewind begins at an offset whose rows another tool had taken away.
        if span.start != expected and span.end >= span.start:
            yield f"partition {partition}: a range begins at {span.start}, not at {expected}"
        expected = span.end
    if expected != offset:
        yield f"partition {partition}: the ranges end at {expected}, the offset is {offset}"


def _rows_wrong(partition: str, offset: int, rows: list[dict[str, Any]]) -> Iterator[str]:
    counted = Counter((row["_offset"], row["_index"]) for row in rows)
    for place, times in sorted(counted.items()):
        if times > 1:
            yield f"partition {partition}: position {place} is {times} rows"
        if place[0] >= offset:
            yield f"partition {partition}: a row at {place}, but the offset is {offset}"


@dataclass(frozen=True, slots=True)
class _Truth:
    """What the log says must be in the lake of one partition, below the lake's offset."""

    kind: Kind
    partition: str
    offset: int
    repeat_window: int

    def compared(
        self, rows: list[dict[str, Any]], spans: list[Range], whole: pa.Table
    ) -> Iterator[str]:
        """Each record of the log is the row at its place, or a repeat that was counted."""
        in_lake = {(row["_offset"], row["_index"]): self._event(row) for row in rows}
        log = whole.filter(pc.field("_offset") < self.offset).to_pylist()
        kept_at: dict[tuple[Any, ...], int] = {}
        dropped = 0
        for record in log:
            place, event = (record["_offset"], record["_index"]), self._event(record)
            last = kept_at.get(event)
            repeats = last is not None and place[0] - last <= self.repeat_window
            if place in in_lake:
                if in_lake[place] != event:
                    yield f"partition {self.partition}: the row at {place} is another record"
                if repeats:
                    yield f"partition {self.partition}: the row at {place} repeats that at {last}"
                if record["event_id"] is not None:
                    kept_at[event] = place[0]
            elif repeats or record["origin"] is not None:  # may mend what was mended elsewhere
                dropped += 1
            else:
                yield f"partition {self.partition}: the record at {place} is lost"
        counted = sum(span.dropped for span in spans)
        rewound = any(span.end < span.start for span in spans)  # may have cut through a count
        whole_log = not rewound and (not log or (spans and log[0]["_offset"] == spans[0].start))
        if whole_log and dropped != counted:
            yield f"partition {self.partition}: {dropped} repeats are no rows, {counted} counted"
        if whole_log and spans:
            # A log may lose records that were delivered (compaction), but never get new ones.
            empty = spans[-1].end - spans[0].start - len({record["_offset"] for record in log})
            gaps = sum(span.gaps + span.lost for span in spans)
            if gaps > empty:
                yield f"partition {self.partition}: {gaps} gaps were counted, {empty} are there"

    def _event(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        return row["event_id"], *(row[key] for key in KEYS[self.kind])


def _log(topic: Topic, partition: str) -> pa.Table:
    """All records that the log still holds, in order."""
    columns = ["_offset", "_index", "event_id", "origin", *KEYS[topic.kind]]
    parts = [codec.decode(topic.kind, ()).select(columns)]
    position, at_end = topic.bounds(partition).beginning, False
    while not at_end:
        batch = topic.read(partition, position, records_max=100_000, wait_seconds=0)
        parts.append(codec.decode(topic.kind, batch.messages).select(columns))
        position, at_end = batch.next_position, batch.at_end
    return pa.concat_tables(parts)

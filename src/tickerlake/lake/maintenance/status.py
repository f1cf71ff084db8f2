"""`lake status`: what each table holds, and how far delivery is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from tickerlake.lake.base import Loaded
from tickerlake.lake.lake import Lake
from tickerlake.lake.positions import CHECK, check_hash, offsets_of, stream_ids, stream_property
from tickerlake.lake.table import IcebergTable

__all__ = ["CheckState", "StreamStatus", "TableStatus", "check_state", "status"]

#: `agrees`: offsets are what the newest checkpoint says. `disagrees`: somebody turned the table
#: back or changed its properties; `lake rewind` mends it. `none`: nothing was delivered yet.
CheckState = Literal["agrees", "disagrees", "none"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """How far one stream was delivered into one table."""

    id: str
    #: The stream's identity in clear text.
    text: str
    #: Next position by partition.
    offsets: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class TableStatus:
    """What one table holds."""

    name: str
    rows: int
    files: int
    #: Of these files, those that no compaction has seen.
    fresh_files: int
    bytes: int
    snapshots: int
    check: CheckState
    streams: tuple[StreamStatus, ...]
    newest_ts: datetime | None
    committed_at: datetime | None


def status(lake: Lake, names: Sequence[str] | None = None) -> list[TableStatus]:
    """Describe tables from their metadata alone; no data file is opened.

    Args:
        lake: The lake.
        names: Which tables; all that exist if null.
    """
    return [_status(lake.table(name)) for name in (names or lake.names())]


def _status(table: IcebergTable) -> TableStatus:
    loaded = table.load()
    files = table.live_files(loaded)
    snapshots = table.snapshots(loaded)
    newest = max((file.bounds["ts"][1] for file in files if "ts" in file.bounds), default=None)
    return TableStatus(
        name=table.name,
        rows=sum(file.row_count for file in files),
        files=len(files),
        fresh_files=sum(not file.compacted for file in files),
        bytes=sum(file.byte_count for file in files),
        snapshots=len(loaded.handle.metadata.snapshots),
        check=check_state(table, loaded),
        streams=tuple(
            StreamStatus(
                id=stream_id,
                text=loaded.properties.get(stream_property(stream_id), ""),
                offsets=offsets_of(loaded.properties, stream_id),
            )
            for stream_id in stream_ids(loaded.properties)
        ),
        newest_ts=None if newest is None else _EPOCH + timedelta(microseconds=newest),
        committed_at=snapshots[-1].committed_at if snapshots else None,
    )


def check_state(table: IcebergTable, loaded: Loaded) -> CheckState:
    """Whether the offsets are what the newest checkpoint among the ancestors says."""
    if not stream_ids(loaded.properties):
        return "none"
    for snapshot in reversed(table.snapshots(loaded)):
        if CHECK in snapshot.summary:
            agrees = snapshot.summary[CHECK] == check_hash(loaded.properties)
            return "agrees" if agrees else "disagrees"
    return "disagrees"

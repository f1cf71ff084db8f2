"""What the lake already holds, so that a record sent twice becomes one row.

Nothing of this is stored: at each assignment it is read from the table's own rows.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.lake import LakeTable, Loaded
from tickerlake.records import KEYS, Kind, RepeatWindow

__all__ = ["origins_in_lake", "repeated_origins", "windows_from_lake"]


def windows_from_lake(
    table: LakeTable,
    loaded: Loaded,
    *,
    kind: Kind,
    stream_id: str,
    positions: Mapping[str, int],
    size: int,
) -> dict[str, RepeatWindow]:
    """The window of each partition that stands at `positions`, from the rows before it."""
    windows = {partition: RepeatWindow(kind, size) for partition in positions}
    columns = ("_offset", "event_id", *KEYS[kind])
    for partition, position in positions.items():
        if position == 0:
            continue
        rows = table.read(
            loaded,
            columns=columns,
            stream=stream_id,
            partitions=[partition],
            offset_from=max(0, position - size),
        )
        windows[partition].remember(rows)
    return windows


def origins_in_lake(table: LakeTable, loaded: Loaded) -> pa.Array:
    """Positions of all dead letters of which a mended record has arrived."""
    rows = table.read(loaded, columns=["origin"], not_null="origin")
    return rows.column("origin").combine_chunks()


def repeated_origins(rows: pa.Table, known: pa.Array) -> pa.Array:
    """Mark the records whose `origin` is among `known`, or came earlier in these rows."""
    origins = rows.column("origin").combine_chunks()
    places = pa.array(range(len(origins)), pa.int64())
    groups = pa.table({"origin": origins, "place": places}).group_by("origin")
    first = groups.aggregate([("place", "min")]).column("place_min")
    again = pc.invert(pc.is_in(places, first.combine_chunks()))
    delivered = pc.is_in(origins, known.cast(pa.string()))
    return pc.and_(pc.is_valid(origins), pc.or_(again, delivered))

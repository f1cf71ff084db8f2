"""What the lake already holds, so that a record sent twice becomes one row.

Nothing of this is stored: at each assignment it is read from the table's own rows.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from tickerlake.lake import LakeTable, Loaded
from tickerlake.lake.windows import fill_windows
from tickerlake.records import Kind, RepeatWindow

__all__ = ["origins_in_lake", "windows_from_lake"]


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
    starts = {name: max(0, at - size) for name, at in positions.items() if at > 0}
    fill_windows(table, loaded, windows, stream_id=stream_id, starts=starts)
    return windows


def origins_in_lake(table: LakeTable, loaded: Loaded) -> pa.Array:
    """Positions of all dead letters of which a mended record has arrived."""
    rows = table.read(loaded, columns=["origin"], not_null="origin")
    return rows.column("origin").combine_chunks()

"""The rows of `deliveries` that the summaries of live snapshots tell."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from tickerlake.lake import LakeTable, Loaded, SnapshotInfo
from tickerlake.lake.positions import RANGES, Range, decode_ranges
from tickerlake.lake.tables import DELIVERIES, SPECS

__all__ = ["live_deliveries"]


def live_deliveries(table: LakeTable, loaded: Loaded) -> pa.Table:
    """One row for each partition that a live snapshot of the table moved."""
    rows = [
        _row(table.name, snapshot, stream, partition, span)
        for snapshot in table.snapshots(loaded)
        if RANGES in snapshot.summary
        for stream, spans in decode_ranges(snapshot.summary[RANGES]).items()
        for partition, span in spans.items()
    ]
    return pa.Table.from_pylist(rows, schema=SPECS[DELIVERIES].schema)


def _row(
    table_name: str, snapshot: SnapshotInfo, stream: str, partition: str, span: Range
) -> dict[str, Any]:
    event = "lost" if span.lost else "rewound" if span.end < span.start else "delivered"
    return {
        "table_name": table_name,
        "snapshot_id": snapshot.id,
        "committed_at": snapshot.committed_at,
        "event": event,
        "stream": stream,
        "partition": partition,
        "from_position": span.start,
        "to_position": span.end,
        "rows": max(0, span.end - span.start - span.dropped - span.lost),
        "dropped": span.dropped,
    }

"""`lake rewind`: after somebody turned a table back, set its offsets to what it really holds.

A rollback by another tool takes rows away and leaves the offsets, so a worker would go on behind
the rows that are gone. Delivery refuses that and names this verb. It sets each offset to where the
last delivery that is left had ended, behind the table's last position, in a new snapshot; the next
delivery fetches the rest again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.lake.base import Change, Loaded
from tickerlake.lake.derived import refresh_latest
from tickerlake.lake.lake import Lake
from tickerlake.lake.maintenance.history import history, history_of_state
from tickerlake.lake.maintenance.status import check_state
from tickerlake.lake.positions import (
    CHECK,
    RANGES,
    REWOUND,
    Range,
    check_hash,
    encode_ranges,
    offset_property,
    offsets_of,
    partitions_property,
    stream_ids,
)
from tickerlake.lake.retry import commit_until_landed
from tickerlake.lake.table import IcebergTable
from tickerlake.records import TABLES, Position

__all__ = ["RewindReport", "Rewound", "rewind"]


@dataclass(frozen=True, slots=True)
class Rewound:
    """One partition whose offset was set."""

    stream: str
    partition: str
    #: 0 where the offset was missing.
    before: Position
    after: Position


@dataclass(frozen=True, slots=True)
class RewindReport:
    """What the rewind of one table changed; nothing if its offsets agreed with its history."""

    table: str
    rewound: tuple[Rewound, ...]


def rewind(lake: Lake, names: Sequence[str] | None = None) -> list[RewindReport]:
    """Set the offsets of tables that were turned back; leave all others alone.

    Args:
        lake: The lake.
        names: Which tables; all that delivery feeds if null.
    """
    delivered = [name for name in lake.names() if name in TABLES.values()]
    reports = [_rewind(lake, lake.table(name)) for name in (names or delivered)]
    if any(report.rewound for report in reports):
        refresh_latest(lake, rebuild=True)
    return reports


def _rewind(lake: Lake, table: IcebergTable) -> RewindReport:
    rewound: list[Rewound] = []

    def decide(loaded: Loaded) -> Change | None:
        rewound.clear()
        turned = check_state(table, loaded) == "disagrees" or _some_missing(loaded)
        if not turned and _told(lake, table, loaded):
            return None
        offsets = _right_offsets(lake, table, loaded)
        rewound.extend(item for item in offsets if str(item.before) != str(item.after))
        properties = {
            offset_property(item.stream, item.partition): str(item.after) for item in offsets
        }
        # Offsets that were right are told too: the delivery that set them may be gone.
        ranges: dict[str, dict[str, Range]] = {}
        for item in offsets:
            ranges.setdefault(item.stream, {})[item.partition] = Range(item.before, item.after)
        for stream, spans in ranges.items():
            properties[partitions_property(stream)] = str(len(spans))
        return Change(
            properties=properties,
            summary={
                CHECK: check_hash({**loaded.properties, **properties}),
                RANGES: encode_ranges(ranges),
                REWOUND: "true",
            },
        )

    commit_until_landed(table, decide)
    return RewindReport(table.name, tuple(rewound))


def _told(lake: Lake, table: IcebergTable, loaded: Loaded) -> bool:
    """Whether each offset is where the last delivery that was told of ended.

    Turned back a second time to the same snapshot, a table's offsets agree with its checkpoint
    again; but what told of the rewind between is gone, and what was folded before it is not.
    """
    told = history(lake, table, loaded)
    return all(
        offset == told[stream, partition].next_position
        for stream in stream_ids(loaded.properties)
        for partition, offset in offsets_of(loaded.properties, stream).items()
        if (stream, partition) in told
    )


def _some_missing(loaded: Loaded) -> bool:
    """Whether a stream has other offsets than its partition count promises."""
    return any(
        loaded.properties.get(partitions_property(stream), count) != count
        for stream in stream_ids(loaded.properties)
        for count in [str(len(offsets_of(loaded.properties, stream)))]
    )


def _right_offsets(lake: Lake, table: IcebergTable, loaded: Loaded) -> list[Rewound]:
    last = _last_positions(table, loaded)
    told = history_of_state(lake, table, loaded)
    offsets = {
        (stream, partition): offset
        for stream in stream_ids(loaded.properties)
        for partition, offset in offsets_of(loaded.properties, stream).items()
    }
    found = []
    # Rows and history know of partitions whose offset another tool has removed.
    for key in sorted({*offsets, *last, *told}):
        chain = told.get(key)
        if key not in offsets and chain is not None and chain.ended:
            continue  # Delivered to its end, and forgotten since.
        least = last.get(key, -1) + 1
        # The history knows what came after the last row and became none, and the log's own
        # address of it.
        right = chain.next_position if chain else None
        if right is None or right < least:
            right = Position(least)
        found.append(Rewound(*key, offsets.get(key, Position(0)), right))
    return found


def _last_positions(table: IcebergTable, loaded: Loaded) -> dict[tuple[str, str], int]:
    rows = table.read(loaded, columns=["_stream", "_partition", "_offset"])
    for name in rows.column_names:
        rows = rows.filter(pc.is_valid(rows.column(name)))
    largest = pa.TableGroupBy(rows, ["_stream", "_partition"]).aggregate([("_offset", "max")])
    return {(row["_stream"], row["_partition"]): row["_offset_max"] for row in largest.to_pylist()}

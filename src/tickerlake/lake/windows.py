"""Repeat windows, filled from the table's own rows: nothing of them is stored anywhere else."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from tickerlake.lake.base import LakeTable, Loaded
from tickerlake.lake.positions import RANGES, decode_ranges
from tickerlake.records import KEYS, RepeatWindow

__all__ = ["fill_windows"]


def fill_windows(
    table: LakeTable,
    loaded: Loaded,
    windows: Mapping[str, RepeatWindow],
    *,
    stream_id: str,
    starts: Mapping[str, int],
) -> None:
    """Let each partition's window know what the lake holds of it from its start on.

    One read for all partitions: to open every file once for each of them costs far more. Where many
    records share a position only as much is read as a window holds.
    """
    if not starts:
        return
    sizes = {name: windows[name].size for name in starts}
    kind = windows[next(iter(starts))].kind
    columns = ["_partition", "_offset", "_index", "event_id", *KEYS[kind]]

    def read(starts: Mapping[str, int]) -> dict[str, pa.Table]:
        rows = table.read(loaded, columns=columns, stream=stream_id, starts=starts, encoded=True)
        return _by_partition(rows)

    near = _near(table, loaded, stream_id, starts, sizes)
    found = read(near)
    if any(near[name] > starts[name] and _known(found.get(name)) < sizes[name] for name in starts):
        found = read(starts)  # Dead letters count as rows, and are none that a window holds.
    for name, rows in found.items():
        windows[name].remember(rows)


def _near(
    table: LakeTable,
    loaded: Loaded,
    stream_id: str,
    starts: Mapping[str, int],
    sizes: Mapping[str, int],
) -> dict[str, int]:
    """Later starts, where the newest snapshots say that so many rows lie behind them."""
    near, left = dict(starts), dict(sizes)
    for snapshot in reversed(table.snapshots(loaded)):
        ranges = decode_ranges(snapshot.summary.get(RANGES, "{}")).get(stream_id, {})
        for name in ranges.keys() & left.keys():
            left[name] -= ranges[name].rows
            if left[name] <= 0:
                near[name] = max(starts[name], int(ranges[name].start))
                del left[name]
    return near


def _by_partition(rows: pa.Table) -> dict[str, pa.Table]:
    """The rows of each partition, in the order of its log."""
    partitions = rows.column("_partition").unify_dictionaries().combine_chunks()
    codes = partitions.indices.to_numpy(zero_copy_only=False)
    inside, offsets = (rows.column(name).to_numpy() for name in ("_index", "_offset"))
    order = np.lexsort((inside, offsets, codes))
    rows, codes = rows.take(order), codes[order]
    bounds = np.searchsorted(codes, np.arange(len(partitions.dictionary) + 1))
    spans = zip(partitions.dictionary.to_pylist(), bounds[:-1], bounds[1:], strict=True)
    return {name: rows.slice(first, end - first) for name, first, end in spans if first < end}


def _known(rows: pa.Table | None) -> int:
    return 0 if rows is None else rows.num_rows - rows.column("event_id").null_count

"""Repeat windows, filled from the table's own rows: nothing of them is stored anywhere else."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tickerlake.lake.base import LakeTable, Loaded
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

    One read for all partitions: to open every file once for each of them costs far more.
    """
    if not starts:
        return
    kind = windows[next(iter(starts))].kind
    columns = ("_partition", "_offset", "_index", "event_id", *KEYS[kind])
    rows = table.read(loaded, columns=columns, stream=stream_id, starts=starts, encoded=True)
    partitions = rows.column("_partition").unify_dictionaries().combine_chunks()
    codes = partitions.indices.to_numpy(zero_copy_only=False)
    inside, offsets = (rows.column(name).to_numpy() for name in ("_index", "_offset"))
    order = np.lexsort((inside, offsets, codes))
    rows, codes = rows.take(order), codes[order]
    names = partitions.dictionary.to_pylist()
    for code, name in enumerate(names):
        first, last = np.searchsorted(codes, [code, code + 1])
        if first < last:
            windows[name].remember(rows.slice(first, last - first))

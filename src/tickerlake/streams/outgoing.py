"""What every stream does with a table before it goes out: check it, and part it by symbol."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.errors import MalformedError
from tickerlake.records import TOPICS, Kind, conform
from tickerlake.streams.partitioning import partitions_of

__all__ = ["by_partition", "checked"]


def checked(table: pa.Table, kind: Kind) -> pa.Table:
    """The table in the kind's schema.

    Raises:
        MalformedError: It does not fit, or holds records of another kind.
    """
    records = conform(table, kind)
    others = pc.filter(records["kind"], pc.not_equal(records["kind"], kind))
    if len(others):
        raise MalformedError(
            f"A {others[0].as_py()} cannot be published as a {kind}.",
            expected=f"the kind {kind} in every record",
            found=f"{len(others)} records of another kind",
            todo=f"publish them to the topic of their own kind, not to {TOPICS[kind]}",
        )
    return records


def by_partition(
    symbols: pa.Array, count: int, rows_max: int
) -> tuple[pa.Array | None, list[tuple[int, int, int]]]:
    """An order that brings each partition's records together, keeping their order within it.

    Returns:
        Row numbers in that order (None = as they are), and cuts (partition, start, length).
    """
    numbers = partitions_of(symbols, count).to_numpy()
    counts = np.bincount(numbers, minlength=count)
    starts = np.cumsum(counts) - counts
    cuts = [
        (partition, start, min(rows_max, end - start))
        for partition, (first, length) in enumerate(zip(starts, counts, strict=True))
        for end in [int(first + length)]
        for start in range(int(first), end, rows_max)
    ]
    if np.count_nonzero(counts) == 1:
        return None, cuts
    return pa.array(np.argsort(numbers.astype(np.int16), kind="stable")), cuts

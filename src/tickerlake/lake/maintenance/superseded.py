"""Which bars another bar has replaced: the marks that let a full scan do without a window.

Current is the newest by (rank of state, fetched_at, event_id) of each key. A row that is not
current is marked with its successor's `fetched_at`; a current row with null.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.lake.writer import sort_key
from tickerlake.records import KEYS, STATE_RANK

__all__ = ["in_order_with_marks"]

#: File order first, so that one sort serves both the file and the marks.
_ORDER: Final = ("symbol", "ts", "provider", "interval", "session")


def in_order_with_marks(rows: pa.Table) -> pa.Table:
    """Sort bars by (symbol, ts, …) and set `_superseded_at` anew for all of them."""
    assert set(_ORDER) == set(KEYS["bar"])  # noqa: S101 - the key is what groups rows
    if rows.num_rows == 0:
        return rows
    # Dead letters replace nothing and are replaced by nothing: they stand after the sound rows.
    dead = pc.is_valid(rows.column("dead_reason")).combine_chunks().to_numpy(zero_copy_only=False)
    keys = [*(sort_key(rows.column(name)) for name in _ORDER), dead]
    newness = [_ranks(rows), *(sort_key(rows.column(name)) for name in ("fetched_at", "event_id"))]
    order = np.lexsort([*reversed(newness), *reversed(keys)])
    same = np.ones(rows.num_rows - 1, dtype=bool)
    for key in keys:
        ordered = key[order]
        same &= ordered[1:] == ordered[:-1]
    same &= ~dead[order][1:]
    return _marked(rows.take(pa.array(order)), same)


def _ranks(rows: pa.Table) -> np.ndarray:
    states = pa.array(list(STATE_RANK), pa.string())
    place = pc.fill_null(pc.index_in(rows.column("state").cast(pa.string()), states), -1)
    ranks = np.array([*STATE_RANK.values(), -1])  # -1, the last: no state
    return ranks[place.to_numpy()]


def _marked(rows: pa.Table, replaced: np.ndarray) -> pa.Table:
    """Give each row that the next one replaces the next one's `fetched_at`."""
    fetched = rows.column("fetched_at").combine_chunks()
    successors = pa.concat_arrays([fetched[1:], pa.nulls(1, fetched.type)])
    current = pa.array(~np.append(replaced, False))
    marks = pc.if_else(current, pa.scalar(None, fetched.type), successors)
    place = rows.column_names.index("_superseded_at")
    return rows.set_column(place, rows.schema.field(place), marks)

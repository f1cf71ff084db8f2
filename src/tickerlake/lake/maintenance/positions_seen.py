"""Which positions of each partition are rows: counted in flat arrays, one pass over the table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.lake.chain import Chain

__all__ = ["PositionsSeen"]

_Key = tuple[str, str]


class PositionsSeen:
    """Counts rows by position. Eight bytes a position, so 50M positions take 400 MB."""

    def __init__(self, history: Mapping[_Key, Chain], offsets: Mapping[_Key, int]) -> None:
        self._first = {key: chain.first_position for key, chain in history.items()}
        sizes = {key: max(0, offsets.get(key, 0) - self._first[key]) for key in history}
        self._rows = {key: np.zeros(size, np.int32) for key, size in sizes.items()}
        self._last_index = {key: np.zeros(size, np.int32) for key, size in sizes.items()}
        self._largest: dict[_Key, int] = {}
        #: Rows whose position lies in no delivery.
        self.strangers = 0

    def add(self, rows: pa.Table) -> None:
        """Count the rows of a batch with `_stream`, `_partition`, `_offset`, `_index`, `origin`.

        A row that came from no stream and names a dead letter says that somebody discarded it.
        """
        rows = rows.filter(
            pc.or_(pc.is_valid(rows.column("_stream")), pc.is_null(rows.column("origin")))
        )
        placed = rows.filter(
            pc.and_(pc.is_valid(rows.column("_stream")), pc.is_valid(rows.column("_partition")))
        )
        self.strangers += rows.num_rows - placed.num_rows
        pairs = pa.TableGroupBy(placed, ["_stream", "_partition"]).aggregate([]).to_pylist()
        for pair in pairs:
            key = (pair["_stream"], pair["_partition"])
            part = placed if len(pairs) == 1 else _of(placed, key)
            if key in self._rows:
                self._add(key, part)
            else:
                self.strangers += part.num_rows

    def _add(self, key: _Key, rows: pa.Table) -> None:
        offsets = pc.fill_null(rows.column("_offset"), -1).to_numpy()
        indexes = pc.fill_null(rows.column("_index"), 0).to_numpy()
        self._largest[key] = max(self._largest.get(key, -1), int(offsets.max(initial=-1)))
        places = offsets - self._first[key]
        inside = (places >= 0) & (places < len(self._rows[key]))
        self.strangers += int((~inside).sum())
        np.add.at(self._rows[key], places[inside], 1)
        np.maximum.at(self._last_index[key], places[inside], indexes[inside])

    def largest(self, key: _Key) -> int | None:
        """The largest position that is a row; null if none is."""
        return self._largest.get(key)

    def doubled(self, key: _Key) -> int:
        """Positions with more rows than their message held."""
        return int((self._rows[key] > self._last_index[key] + 1).sum())

    def records(self, key: _Key) -> int:
        """Records that are rows, each counted once."""
        return int(np.minimum(self._rows[key], self._last_index[key] + 1).sum())


def _of(rows: pa.Table, key: _Key) -> pa.Table:
    stream, partition = key
    return rows.filter(
        pc.and_(
            pc.equal(rows.column("_stream"), stream), pc.equal(rows.column("_partition"), partition)
        )
    )

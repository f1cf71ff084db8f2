"""What makes two records of two logs the same record, and which of them the lake has already."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.records import SCHEMAS, TABLES, Kind, key_hashes, with_event_ids

if TYPE_CHECKING:
    from tickerlake.lake.lake import Lake

__all__ = ["KnownRecords", "marks_of"]

_MARK_BYTES = 16


def marks_of(rows: pa.Table, kind: Kind) -> list[bytes]:
    """Sixteen bytes a record, equal for equal records whatever log they lie in.

    Key and event id; where a record has none, one over all its values. Of a dead letter: its
    bytes.
    """
    words = np.empty((rows.num_rows, 2), np.uint64)
    words[:, 0] = key_hashes(rows, kind)
    words[:, 1] = with_event_ids(rows, kind)["event_id"].to_numpy().view(np.uint64)
    every = words.tobytes()
    marks = [every[at : at + _MARK_BYTES] for at in range(0, len(every), _MARK_BYTES)]
    dead = rows.column("dead_reason").combine_chunks().is_valid()
    for row in np.flatnonzero(dead.to_numpy(zero_copy_only=False)).tolist():
        payload = rows.column("payload")[row].as_py() or b""
        marks[row] = hashlib.blake2b(payload, digest_size=_MARK_BYTES).digest()
    return marks


class KnownRecords:
    """Tells of records which ones the lake holds, as rows of whatever stream.

    What was `expect`ed is known without a look; only for others the table is read, whole but for
    the columns that no record has. Bounded memory: one file's rows and the unexpected marks.
    """

    def __init__(self, lake: Lake, kind: Kind) -> None:
        self._table = lake.table(TABLES[kind])
        self._kind = kind
        self._expected: frozenset[bytes] = frozenset()
        self._missing: set[bytes] = set()

    @property
    def has_missing(self) -> bool:
        """Whether some of those that were sent did not show yet."""
        return bool(self._missing)

    def sent(self, marks: Iterable[bytes]) -> None:
        """These were published; a log may show them later than it acknowledged them."""
        self._missing.update(marks)

    def shown(self, marks: Iterable[bytes]) -> None:
        """The log shows these."""
        self._missing.difference_update(marks)

    def expect(self, *marks: Iterable[bytes]) -> None:
        """These are in the lake for certain; what was expected before is forgotten."""
        self._expected = frozenset().union(*marks)

    def __call__(self, rows: pa.Table) -> npt.NDArray[np.bool_]:
        """True for each record that the lake holds."""
        marks = marks_of(rows, self._kind)
        self.shown(marks)
        unexpected = set(marks) - self._expected
        found = self._in_lake(unexpected) if unexpected else unexpected
        return np.array([mark in self._expected or mark in found for mark in marks], dtype=bool)

    def _in_lake(self, marks: set[bytes]) -> set[bytes]:
        found: set[bytes] = set()
        columns = [*SCHEMAS[self._kind].names, "dead_reason", "payload"]
        for rows in self._table.batches(self._table.load(), columns):
            found |= marks.intersection(marks_of(rows, self._kind))
            if len(found) == len(marks):
                break
        return found


def is_dead(rows: pa.Table) -> pa.Array:
    """Which rows are dead letters."""
    return pc.is_valid(rows.column("dead_reason"))

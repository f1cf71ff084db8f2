"""What a wire's decoder hands to the judge: exactly one row for each declared record."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from tickerlake.records import SCHEMAS, Kind, united

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Rows = npt.NDArray[np.int64]

__all__ = ["Decoded"]


@dataclass(frozen=True, slots=True)
class Decoded:
    """Records of one kind, and what is known about those that could not be decoded.

    Attributes:
        records: Columns of `SCHEMAS[kind]`; what could not be decoded is null.
        reasons: Why a record could not be decoded; null where it could.
        raw: The bytes of some rows (ascending numbers) as they lay in the stream, null where a
            record has none of its own. Asked for dead records alone, so nobody copies the others.
    """

    records: pa.Table
    reasons: pa.Array
    raw: Callable[[Rows], pa.Array]

    @staticmethod
    def sound(records: pa.Table) -> Decoded:
        """All could be decoded, and none has bytes of its own."""
        reasons = pa.nulls(records.num_rows, pa.string())
        return Decoded(records, reasons, lambda rows: pa.nulls(len(rows), pa.binary()))

    @staticmethod
    def dead(kind: Kind, count: int, reason: str, payload: bytes) -> Decoded:
        """None of a message's records could be told from the others.

        The first row keeps the message's bytes; to repeat them in each would let one damaged
        batch of ten thousand records grow ten thousand times.
        """
        schema = SCHEMAS[kind]
        columns = [pa.nulls(count, field.type) for field in schema]
        columns[schema.get_field_index("kind")] = pa.repeat(pa.scalar(kind, pa.string()), count)
        later = f"{reason}; its bytes stand with the first record of the message"
        raw = pa.array([payload, *[None] * (count - 1)], pa.binary())
        return Decoded(
            pa.table(columns, schema=schema),
            pa.array([reason, *[later] * (count - 1)], pa.string()),
            lambda rows: raw.take(pa.array(rows)),
        )

    @staticmethod
    def concat(parts: Iterable[Decoded]) -> Decoded:
        """All rows, in order."""
        found = list(parts)
        if len(found) == 1:
            return found[0]
        return Decoded(
            united([part.records for part in found]),
            pa.concat_arrays([part.reasons for part in found]),
            lambda rows: _raw_of(found, rows),
        )


def _raw_of(parts: list[Decoded], rows: Rows) -> pa.Array:
    """The bytes of rows that are numbered through all parts."""
    found, first = [pa.nulls(0, pa.binary())], 0
    for part in parts:
        count = part.records.num_rows
        inside = rows[(rows >= first) & (rows < first + count)]
        if len(inside):
            found.append(part.raw(inside - first))
        first += count
    return pa.concat_arrays(found)

"""What a wire's decoder hands to the judge: exactly one row for each declared record."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from tickerlake.records import SCHEMAS, Kind

__all__ = ["Decoded"]


@dataclass(frozen=True, slots=True)
class Decoded:
    """Records of one kind, and what is known about those that could not be decoded.

    Attributes:
        records: Columns of `SCHEMAS[kind]`; what could not be decoded is null.
        reasons: Why a record could not be decoded; null where it could.
        raw: The bytes of a record as they lay in the stream; null where it has none of its own.
    """

    records: pa.Table
    reasons: pa.Array
    raw: pa.Array

    @staticmethod
    def sound(records: pa.Table) -> Decoded:
        """All could be decoded, and none has bytes of its own."""
        count = records.num_rows
        return Decoded(records, pa.nulls(count, pa.string()), pa.nulls(count, pa.binary()))

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
        return Decoded(
            pa.table(columns, schema=schema),
            pa.array([reason, *[later] * (count - 1)], pa.string()),
            pa.array([payload, *[None] * (count - 1)], pa.binary()),
        )

    @staticmethod
    def concat(parts: Iterable[Decoded]) -> Decoded:
        """All rows, in order."""
        found = list(parts)
        return Decoded(
            pa.concat_tables([part.records for part in found]),
            pa.concat_arrays([part.reasons for part in found]),
            pa.concat_arrays([part.raw for part in found]),
        )

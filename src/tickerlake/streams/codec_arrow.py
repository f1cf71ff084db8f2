"""The `arrow` wire: one Arrow IPC stream holds many records.

On the wire strings are dictionaries, and columns that hold only nulls are left out: both come
back at decoding. Bytes may come from anybody, so what was read is validated in full.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.records import SCHEMAS, Kind
from tickerlake.streams.base import Message
from tickerlake.streams.decoded import Decoded

__all__ = ["decode_arrow", "encode_arrow"]


def encode_arrow(
    table: pa.Table, bounds: Sequence[tuple[int, int]], order: pa.Array | None
) -> list[bytes]:
    """One IPC stream for each slice (start, length) of a table, its rows taken in `order`."""
    names, columns = [], []
    for name, column in zip(table.column_names, table.columns, strict=True):
        if column.null_count < table.num_rows:
            names.append(name)
            columns.append(_packed(column))
    packed = pa.RecordBatch.from_arrays(columns, names=names)
    if order is not None:
        packed = packed.take(order)
    return [_sealed(packed.slice(start, length)) for start, length in bounds]


def _packed(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_string(array.type):
        array = array.dictionary_encode()
    if pa.types.is_dictionary(array.type):
        width = pa.int8() if len(array.dictionary) < 128 else pa.int16()
        if len(array.dictionary) < 1 << 15 and array.indices.type != width:
            return pa.DictionaryArray.from_arrays(array.indices.cast(width), array.dictionary)
    return array


def _sealed(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def decode_arrow(kind: Kind, messages: Sequence[Message]) -> Decoded:
    """Records of all messages, in order; a message that cannot be read is `count` dead rows."""
    parts: list[Decoded] = []
    sound: list[pa.Table] = []
    for message in messages:
        opened = _opened(kind, message)
        if isinstance(opened, pa.Table):
            sound.append(opened)
            continue
        if sound:
            parts.append(Decoded.sound(pa.concat_tables(sound)))
            sound = []
        parts.append(Decoded.dead(kind, message.count, opened, message.payload))
    if sound:
        parts.append(Decoded.sound(pa.concat_tables(sound)))
    return parts[0] if len(parts) == 1 else Decoded.concat(parts)


def _opened(kind: Kind, message: Message) -> pa.Table | str:
    """The records of one message, or why they cannot be read."""
    try:
        with pa.ipc.open_stream(message.payload) as reader:
            table = reader.read_all()
        table.validate(full=True)
        records = _unpacked(kind, table)
    except (pa.ArrowException, OSError, ValueError) as error:
        return f"the Arrow message cannot be read: {str(error).splitlines()[0]}"
    if records.num_rows != message.count:
        return f"the Arrow message holds {records.num_rows} records, {message.count} were declared"
    return records


def _unpacked(kind: Kind, table: pa.Table) -> pa.Table:
    columns: list[pa.ChunkedArray] = []
    for field in SCHEMAS[kind]:
        # A later version's producer may send columns that we do not know: they are left aside.
        if field.name not in table.column_names:
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        column = table.column(field.name)
        if pa.types.is_timestamp(field.type) and not getattr(column.type, "tz", None):
            raise ValueError(f"{field.name} has no time zone")
        columns.append(column if column.type == field.type else column.cast(field.type))
    records = pa.table(columns, schema=SCHEMAS[kind])
    if records["kind"].null_count:
        records = records.set_column(0, "kind", pc.fill_null(records["kind"], kind))
    return records

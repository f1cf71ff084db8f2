"""The `arrow` wire: one Arrow IPC stream holds many records.

On the wire strings that repeat are dictionaries, and columns that hold only nulls are left out:
both come back at decoding. Bytes may come from anybody, so what was read is validated in full.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final

import numpy as np
import pyarrow as pa

from tickerlake.records import CODED, is_constant
from tickerlake.streams.base import Message
from tickerlake.streams.decoded import Decoded
from tickerlake.streams.fields import Layout, plain_layout
from tickerlake.streams.lines import aside_of

__all__ = ["constant", "decode_arrow", "encode_arrow", "open_arrow"]

_DICTIONARY_ROWS_MIN: Final = 64


def encode_arrow(
    table: pa.Table, bounds: Sequence[tuple[int, int]], order: pa.Array | None
) -> list[bytes]:
    """One IPC stream for each slice (start, length) of a table, its rows taken in `order`."""
    # In a few records a dictionary takes more room than the strings it saves.
    small = table.num_rows < _DICTIONARY_ROWS_MIN
    names, columns = [], []
    for name, column in zip(table.column_names, table.columns, strict=True):
        if column.null_count < table.num_rows:
            names.append(name)
            columns.append(_flat(column) if small else _packed(_flat(column)))
    packed = pa.RecordBatch.from_arrays(columns, names=names)
    if order is not None:
        packed = packed.take(order)
    values_max = _dictionary_values_max(packed)
    return [_sealed(packed.slice(start, length), values_max) for start, length in bounds]


def _flat(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):  # of one chunk nothing need be copied
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return column


def _packed(array: pa.Array) -> pa.Array:
    """Strings that repeat as a dictionary with the narrowest indices; all else as it is."""
    if pa.types.is_string(array.type):
        if is_constant(array):
            return constant(array[0].as_py(), len(array))
        encoded = array.dictionary_encode()
        if 2 * len(encoded.dictionary) > len(array):
            return array
        array = encoded
    if pa.types.is_dictionary(array.type):
        for width in (pa.int8(), pa.int16()):
            if len(array.dictionary) <= 1 << (width.bit_width - 1):
                indices = array.indices.cast(width)
                return pa.DictionaryArray.from_arrays(indices, array.dictionary)
    return array


def constant(value: str, count: int) -> pa.DictionaryArray:
    """One string, `count` times, in a byte each."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int8)), pa.array([value]))


def _dictionary_values_max(batch: pa.RecordBatch) -> int:
    coded = [column for column in batch.columns if pa.types.is_dictionary(column.type)]
    return max((len(column.dictionary) for column in coded), default=0)


def _own(column: pa.Array) -> pa.Array:
    """The column of one slice: the dictionary of all slices may be larger than a slice itself."""
    if pa.types.is_dictionary(column.type) and len(column.dictionary) > len(column):
        return _packed(column.dictionary_decode())
    return column


def _sealed(batch: pa.RecordBatch, values_max: int) -> bytes:
    if values_max > batch.num_rows:
        columns = [_own(column) for column in batch.columns]
        batch = pa.RecordBatch.from_arrays(columns, batch.schema.names)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def decode_arrow(layout: Layout, messages: Sequence[Message], *, coded: bool = False) -> Decoded:
    """Records of all messages, in order; a message that cannot be read is `count` dead rows.

    With `coded` strings that came as dictionaries stay such (`CODED`).
    """
    opened = [(message, _opened(message)) for message in messages]
    parts: list[Decoded] = []
    # Messages of one shape are unpacked together: a column at a time, not a message at a time.
    for _, run in groupby(opened, key=lambda pair: getattr(pair[1], "schema", None)):
        parts.extend(_run(layout, list(run), coded))
    return Decoded.concat(parts)


def _run(
    layout: Layout, opened: Sequence[tuple[Message, pa.Table | str]], coded: bool
) -> list[Decoded]:
    tables = [table for _, table in opened if not isinstance(table, str)]
    if len(tables) == len(opened):
        try:
            messages = [message for message, _ in opened]
            return [Decoded.sound(_unpacked(layout, pa.concat_tables(tables), messages, coded))]
        except (pa.ArrowException, ValueError) as error:
            if len(opened) > 1:  # find out which
                return [part for pair in opened for part in _run(layout, [pair], coded)]
            opened = [(opened[0][0], _unreadable(error))]
    return [
        Decoded.dead(layout.kind, message.count, str(reason), message.payload)
        for message, reason in opened
    ]


def _opened(message: Message) -> pa.Table | str:
    """The table of one message as it was sent, or why it cannot be read."""
    table = message.opened
    try:
        if table is None:
            table = open_arrow(message.payload)
    except (pa.ArrowException, OSError, ValueError) as error:
        return _unreadable(error)
    if table.num_rows != message.count:
        return f"the Arrow message holds {table.num_rows} records, {message.count} were declared"
    return table


def open_arrow(payload: bytes) -> pa.Table:
    """What an Arrow message holds, as it was sent and validated by nobody; nothing is copied.

    Raises:
        pa.ArrowException: The bytes are no such message.
        OSError: The same.
        ValueError: The same.
    """
    with pa.ipc.open_stream(payload) as reader:
        return reader.read_all()


def _unreadable(error: Exception) -> str:
    return f"the Arrow message cannot be read: {str(error).splitlines()[0]}"


def _unpacked(
    layout: Layout, table: pa.Table, messages: Sequence[Message], coded: bool
) -> pa.Table:
    table.validate(full=True)
    aside = None
    if layout.foreign:
        if table.column_names[:1] == ["kind"]:  # our own, between those of others
            layout = plain_layout(layout.kind)
        else:
            aside, coded = aside_of(messages), False
    columns: dict[str, pa.Array] = {}
    for name in layout.names:
        # A later version's producer may send columns that we do not know: they are left aside.
        places = table.schema.get_all_field_indices(name)
        if len(places) > 1:
            raise ValueError(f"{name} is there {len(places)} times")
        if places:
            columns[name] = _whole(table.column(places[0]))
    if coded:
        kept = {name: _as_sent(name, column) for name, column in columns.items()}
        columns |= {name: column for name, column in kept.items() if column is not None}
        layout = layout.coded([name for name, column in kept.items() if column is not None])
    return layout.records(columns, table.num_rows, aside, None)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """In one chunk, whose strings have one dictionary."""
    if pa.types.is_dictionary(column.type) and column.type.value_type == pa.string():
        try:
            return column.combine_chunks()
        except pa.ArrowInvalid:  # all messages' words together need wider numbers than each alone
            return column.cast(CODED).combine_chunks()
    return column.combine_chunks()


def _as_sent(name: str, column: pa.Array) -> pa.Array | None:
    """The strings as they are numbered already; null where a number does not stand for one string.

    Others may number a string twice, or number nothing at all. What mends a letter is looked into.
    """
    if not pa.types.is_dictionary(column.type) or column.type.value_type != pa.string():
        return None
    words = column.dictionary
    if name == "origin" or words.null_count or len(words.unique()) < len(words):
        return None
    if name == "kind" and column.null_count:
        return None
    return pa.DictionaryArray.from_arrays(column.indices.cast(pa.int32()), words)

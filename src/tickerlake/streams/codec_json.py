"""The `json` wire: one object a record, joined by newlines where a message holds many.

Names are lower_snake, times ISO 8601 in UTC, dates ISO 8601, nulls are left out. Numbers that JSON
cannot say (NaN, Infinity) travel as strings, so that the value rules can name them at the far end.

No Python object is made per record. Encoding joins columns of text. Decoding lets DuckDB take each
line apart by itself, then casts whole columns: a bad line harms no other, and every line is exactly
one row. Parsers of whole blocks do not promise that (an object may span two lines, or two stand in
one), and pyarrow's reads a time without a zone as UTC and dies on a line that says `null`.
"""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.records import SCHEMAS, Kind, in_calendar
from tickerlake.streams.base import Message
from tickerlake.streams.decoded import Decoded

if TYPE_CHECKING:
    import duckdb

__all__ = ["decode_json", "encode_json"]


def encode_json(
    table: pa.Table, bounds: Sequence[tuple[int, int]], order: pa.Array | None
) -> list[bytes]:
    """Newline-joined objects for each slice (start, length), rows taken in `order`.

    Args:
        table: `kind` first, then other columns of its schema.
        bounds: The slices.
        order: Row numbers, or None for the rows as they are.
    """
    if order is not None:
        table = table.take(order)
    pieces = [
        pc.binary_join_element_wise(f',"{name}":', _text(column), "")
        for name, column in zip(table.column_names[1:], table.columns[1:], strict=True)
        if column.null_count < table.num_rows
    ]
    kinds = pc.fill_null(_text(table["kind"]), "null")
    lines = pc.binary_join_element_wise(
        '{"kind":', kinds, *pieces, "}\n", "", null_handling="replace", null_replacement=""
    )
    # The lines lie one behind the other in memory, so a message is one stretch of it.
    _, offsets, data = lines.cast(pa.large_string()).buffers()
    ends = np.frombuffer(offsets, np.int64)[lines.offset :] if len(lines) else np.zeros(1, int)
    return [
        data[int(ends[start]) : int(ends[start + length]) - 1].to_pybytes() if length else b""
        for start, length in bounds
    ]


def _text(column: pa.ChunkedArray) -> pa.Array:
    """Each value as it stands in JSON, null where null."""
    values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_string(values.type):
        values = values.dictionary_encode()
    if pa.types.is_dictionary(values.type):
        quoted = [json.dumps(text, ensure_ascii=False) for text in values.dictionary.to_pylist()]
        return pa.array(quoted, pa.string()).take(values.indices)
    if pa.types.is_timestamp(values.type):
        # Ours are UTC. Without its zone a time is written thirty times faster.
        written = values.cast(pa.timestamp("us")).cast(pa.string())
        written = pc.replace_substring(written, " ", "T", max_replacements=1)
        return pc.binary_join_element_wise('"', written, 'Z"', "")
    written = values.cast(pa.string())
    if pa.types.is_floating(values.type):
        if pc.all(pc.is_finite(values)).as_py() is not False:
            return written
        return pc.if_else(pc.is_finite(values), written, _quoted(written))
    return _quoted(written) if pa.types.is_date(values.type) else written


def _quoted(written: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise('"', written, '"', "")


def decode_json(kind: Kind, messages: Sequence[Message]) -> Decoded:
    """Records of all messages, in order; exactly `message.count` rows for each."""
    parts: list[Decoded] = []
    lines: list[bytes] = []
    for message in messages:
        found = _lines(message)
        if len(found) == message.count:
            lines.extend(found)
            continue
        if lines:
            parts.append(_parsed(kind, lines))
            lines = []
        reason = f"the JSON message holds {len(found)} lines, {message.count} records were declared"
        parts.append(Decoded.dead(kind, message.count, reason, message.payload))
    if lines:
        parts.append(_parsed(kind, lines))
    return parts[0] if len(parts) == 1 else Decoded.concat(parts)


def _lines(message: Message) -> list[bytes]:
    if message.count == 1:  # one record, however many lines it was written in
        return [message.payload]
    lines = message.payload.split(b"\n")
    ended = len(lines) == message.count + 1 and not lines[-1]
    return lines[:-1] if ended else lines


def _parsed(kind: Kind, lines: list[bytes]) -> Decoded:
    raw = pa.array(lines, pa.binary())
    try:
        text = raw.cast(pa.string())
    except pa.ArrowInvalid:
        text = pa.array([_utf8_or_none(line) for line in lines], pa.string())
    objects = _objects(kind, text)
    reasons: dict[int, str] = {}
    if objects.null_count:
        missing = pc.indices_nonzero(objects.is_null()).to_pylist()
        reasons = dict.fromkeys(missing, "not a JSON object")
    columns = {
        field.name: _typed(values, field, reasons)
        for field, values in zip(SCHEMAS[kind], objects.flatten(), strict=True)
    }
    columns["kind"] = pc.fill_null(columns["kind"], kind)
    records = pa.table(list(columns.values()), schema=SCHEMAS[kind])
    if not reasons:
        return Decoded(records, pa.nulls(len(lines), pa.string()), raw)
    why = [reasons.get(row) for row in range(len(lines))]
    return Decoded(records, pa.array(why, pa.string()), raw)


def _utf8_or_none(line: bytes) -> str | None:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return None


_local: Final = threading.local()


def _objects(kind: Kind, text: pa.Array) -> pa.StructArray:
    """Each line's fields as text, null where missing; a line that is no object is null itself."""
    import duckdb

    if not hasattr(_local, "connection"):
        # One in-memory engine a thread: one core, no files, no network.
        _local.connection = duckdb.connect(config={"threads": 1, "enable_external_access": False})
    connection: duckdb.DuckDBPyConnection = _local.connection
    connection.register("lines", pa.table({"line": text}))
    try:
        answer = connection.sql(_query(kind)).to_arrow_table()
        found: pa.StructArray = answer["fields"].combine_chunks()
    finally:
        connection.unregister("lines")
    return found


@functools.lru_cache(maxsize=8)
def _query(kind: Kind) -> str:
    # As text first, so that a value of the wrong type is told from a missing one. `try` makes a
    # line that is no JSON at all null instead of an error.
    shape = json.dumps(dict.fromkeys(SCHEMAS[kind].names, "VARCHAR"))
    return f"select try(json_transform(line, '{shape}')) as fields from lines"


# Without a zone nobody knows which instant was meant.
_ZONED: Final = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*(Z|[+-]\d\d(:?\d\d)?)$"

_EXPECTED: Final = {
    pa.float64(): "a number",
    pa.int64(): "a whole number of 64 bits",
    pa.bool_(): "true or false",
    pa.date32(): "a date such as 2013-03-01",
    pa.timestamp("us", tz="UTC"): "a time with its zone, such as 2013-03-01T14:30:00Z",
}


def _typed(values: pa.Array, field: pa.Field, reasons: dict[int, str]) -> pa.Array:
    """The column in its type; what is not of it becomes null, with its row's reason noted."""
    if values.type == field.type:
        return values
    if values.null_count == len(values):
        return pa.nulls(len(values), field.type)
    try:
        return _cast(values, field.type)
    except pa.ArrowInvalid:
        pass
    # Something in this column is wrong: look at each value by itself.
    sound: list[str | None] = []
    for row, value in enumerate(values):
        if value.is_valid and not _can_be(value, field.type):
            found = f"{field.name} is not {_EXPECTED[field.type]}: {value.as_py()[:80]}"
            reasons.setdefault(row, found)
            sound.append(None)
        else:
            sound.append(value.as_py())
    return _cast(pa.array(sound, pa.string()), field.type)


def _cast(values: pa.Array, type_: pa.DataType) -> pa.Array:
    found = _converted(values, type_)
    if not in_calendar(found):
        raise pa.ArrowInvalid("a time lies outside the years 1 to 9999")
    return found


def _converted(values: pa.Array, type_: pa.DataType) -> pa.Array:
    if not pa.types.is_timestamp(type_):
        return values.cast(type_)
    if pc.all(pc.match_substring_regex(values, _ZONED)).as_py() is False:
        raise pa.ArrowInvalid("a time has no zone")
    try:
        return values.cast(type_)
    except pa.ArrowInvalid:
        # Some producers write nanoseconds.
        return values.cast(pa.timestamp("ns", tz="UTC")).cast(type_, safe=False)


def _can_be(value: pa.Scalar, type_: pa.DataType) -> bool:
    try:
        _cast(pa.array([value.as_py()], pa.string()), type_)
    except pa.ArrowInvalid:
        return False
    return True

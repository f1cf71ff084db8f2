"""The `json` wire: one object a record, joined by newlines where a message holds many.

Names are lower_snake, times ISO 8601 in UTC, dates ISO 8601, nulls are left out. Numbers that JSON
cannot say (NaN, Infinity) travel as strings, so that the value rules can name them at the far end.

Encoding joins columns of text, decoding is one SQL query over the column of lines: no Python
object is made per record. The query looks at each line by itself, so a bad line harms no other
and every line is exactly one row, which parsers of whole blocks do not promise (an object may span
two lines, or two stand in one).
"""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, cast

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.records import SCHEMAS, Kind
from tickerlake.streams.base import Message
from tickerlake.streams.decoded import Decoded

if TYPE_CHECKING:
    import duckdb

__all__ = ["decode_json", "encode_json"]


def encode_json(
    table: pa.Table, bounds: Sequence[tuple[int, int]], order: pa.Array | None
) -> list[bytes]:
    """Newline-joined objects for each slice (start, length), rows taken in `order`."""
    if order is not None:
        table = table.take(order)
    pieces = [
        pc.binary_join_element_wise(f',"{name}":', _text(column), "")
        for name, column in zip(table.column_names, table.columns, strict=True)
        if column.null_count < table.num_rows
    ]
    if not pieces:
        return [b"\n".join([b"{}"] * length) for _, length in bounds]
    joined = pc.binary_join_element_wise(
        *pieces, "", null_handling="replace", null_replacement=""
    ).to_pylist()
    # Each text starts with the comma of its first field.
    return [
        "\n".join("{" + text[1:] + "}" for text in joined[start : start + length]).encode()
        for start, length in bounds
    ]


def _text(column: pa.ChunkedArray) -> pa.Array:
    """Each value as it stands in JSON, null where null."""
    values = column.combine_chunks()
    if pa.types.is_string(values.type):
        encoded = values.dictionary_encode()
        quoted = [json.dumps(text, ensure_ascii=False) for text in encoded.dictionary.to_pylist()]
        return pa.array(quoted, pa.string()).take(encoded.indices)
    if pa.types.is_timestamp(values.type):
        written = pc.replace_substring(values.cast(pa.string()), " ", "T", max_replacements=1)
        return pc.binary_join_element_wise('"', written, '"', "")
    if pa.types.is_date(values.type):
        return pc.binary_join_element_wise('"', values.cast(pa.string()), '"', "")
    written = values.cast(pa.string())
    if pa.types.is_floating(values.type):
        quoted = pc.binary_join_element_wise('"', written, '"', "")
        written = pc.if_else(pc.is_finite(values), written, quoted)
    return written


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
        reason = f"the JSON message holds {len(found)} lines, {message.count} records declared"
        parts.append(Decoded.dead(kind, message.count, reason, message.payload))
    if lines:
        parts.append(_parsed(kind, lines))
    return parts[0] if len(parts) == 1 else Decoded.concat(parts)


def _lines(message: Message) -> list[bytes]:
    if message.count == 1:  # one record, however many lines it was written in
        return [message.payload]
    return message.payload.removesuffix(b"\n").split(b"\n")


def _parsed(kind: Kind, lines: list[bytes]) -> Decoded:
    raw = pa.array(lines, pa.binary())
    try:
        text = raw.cast(pa.string())
    except pa.ArrowInvalid:
        text = pa.array([_decoded_or_none(line) for line in lines], pa.string())
    lines_table = _connection().from_arrow(pa.table({"line": text}))
    relation = cast("duckdb.DuckDBPyRelation", lines_table.query("lines", _query(kind)))
    answer = relation.to_arrow_table()
    reasons = answer.column("dead_reason").combine_chunks()
    records = answer.select(SCHEMAS[kind].names).cast(SCHEMAS[kind])
    return Decoded(records, reasons, raw)


def _decoded_or_none(line: bytes) -> str | None:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return None


_local: Final = threading.local()


def _connection() -> duckdb.DuckDBPyConnection:
    """One in-memory engine a thread: one core, no files, no network."""
    import duckdb

    if not hasattr(_local, "connection"):
        _local.connection = duckdb.connect(config={"threads": 1, "enable_external_access": False})
    return _local.connection


_SQL_TYPES: Final = {
    pa.string(): "VARCHAR",
    pa.float64(): "DOUBLE",
    pa.int64(): "BIGINT",
    pa.bool_(): "BOOLEAN",
    pa.date32(): "DATE",
    # Without zone: the engine then turns offsets into UTC, and needs no zone database for it.
    pa.timestamp("us", tz="UTC"): "TIMESTAMP",
}
_NAMES: Final = {
    "VARCHAR": "text",
    "DOUBLE": "a number",
    "BIGINT": "a whole number of 64 bits",
    "BOOLEAN": "true or false",
    "DATE": "a date such as 2013-03-01",
    "TIMESTAMP": "a time with its zone, such as 2013-03-01T14:30:00Z",
}
# A zone is a must: without one nobody knows which instant was meant.
_ZONED: Final = r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d.*([Zz]|[+-]\d\d(:?\d\d)?)$"


@functools.lru_cache(maxsize=8)
def _query(kind: Kind) -> str:
    """One query for a column of lines.

    Every field is taken as text first, then cast: so a value of the wrong type is told from a
    missing one. `try` makes a line that is no JSON at all null instead of an error.
    """
    fields = [(field.name, _SQL_TYPES[field.type]) for field in SCHEMAS[kind]]
    shape = json.dumps({name: "VARCHAR" for name, _ in fields})
    reasons = "\n".join(
        f"""when field.{name} is not null and {_value(name, kind_of_value)} is null
            then '{name} is not {_NAMES[kind_of_value]}: ' || field.{name}[:80]"""
        for name, kind_of_value in fields
        if kind_of_value != "VARCHAR"
    )
    values = ", ".join(
        f"{_value(name, type_)} as {name}" for name, type_ in fields if name != "kind"
    )
    return f"""
        with parsed as (select try(json_transform(line, '{shape}')) as field, line from lines)
        select coalesce(field.kind, '{kind}') as kind, {values},
            case
                when line is null then 'not UTF-8 text'
                when field is null then 'not a JSON object'
                {reasons}
            end as dead_reason
        from parsed"""


def _value(name: str, type_: str) -> str:
    if type_ == "VARCHAR":
        return f"field.{name}"
    value = f"try_cast(field.{name} as {type_})"
    if type_ == "TIMESTAMP":
        return f"case when regexp_matches(field.{name}, '{_ZONED}') then {value} end"
    return value

"""The `avro` and `json_schema` wires: a record a message, its schema in a registry.

A message is framed as Confluent's serializers do it: a zero byte, four bytes of the schema's id,
the record. Both wires look alike from outside, so the registry says which it is. What was read
goes on as a line of JSON: there is one way from a record's fields to our columns, and a dead
letter can be read by people whatever wire it came on.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.records import Kind
from tickerlake.streams.base import Message, Wire
from tickerlake.streams.codec_json import decode_json, encode_json
from tickerlake.streams.decoded import Decoded
from tickerlake.streams.fields import Layout
from tickerlake.streams.registered_schemas import schema_text
from tickerlake.streams.schema_registry import RegisteredSchema, SchemaRegistry

__all__ = ["decode_registered", "encode_registered"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

_FRAME: Final = struct.Struct(">bI")

# What becomes of a record: its line of JSON, or why there is none.
_Read = tuple[str | bytes | None, str | None]


def encode_registered(
    registry: SchemaRegistry, table: pa.Table, kind: Kind, wire: Wire, topic: str
) -> list[bytes]:
    """One message a record, its schema registered under `TOPIC-value`.

    Raises:
        UnreachableError: The registry did not answer; nothing was encoded.
        ConfigError: It refuses us or our schema.
    """
    type_ = "AVRO" if wire == "avro" else "JSON"
    text = schema_text(kind, type_)
    frame = _FRAME.pack(0, registry.id_of(f"{topic}-value", type_, text))
    if not table.num_rows:
        return []
    if type_ == "JSON":
        (lines,) = encode_json(table, [(0, table.num_rows)], None)
        return [frame + line for line in lines.split(b"\n")]
    from fastavro import schemaless_writer

    schema = _parsed(text, ())
    found = []
    for record in table.to_pylist():
        sink = io.BytesIO()
        sink.write(frame)
        schemaless_writer(sink, schema, record)
        found.append(sink.getvalue())
    return found


def decode_registered(
    layout: Layout, registry: SchemaRegistry | None, messages: Sequence[Message]
) -> Decoded:
    """Records of all messages, in order; exactly `message.count` rows for each.

    Without a registry they are dead letters, whole, to be sent again once the settings name one:
    a stray record that begins with a zero byte must not stop all others.

    Raises:
        UnreachableError: The registry did not answer: nothing is known of these records.
        ConfigError: It does not let us in.
    """
    return Decoded.concat([_message(layout, registry, message) for message in _joined(messages)])


def _joined(messages: Sequence[Message]) -> list[Message]:
    """Messages with their values one by one; neighbours as one, for they are small."""
    parts = [
        value
        for message in messages
        for value in (message.parts if message.parts is not None else [message.payload])
    ]
    counts = [
        len(message.parts) if message.parts is not None else message.count for message in messages
    ]
    if len(messages) == 1 or len(parts) != sum(counts):
        return list(messages)
    keys = [key for message in messages for key in (message.keys or [None] * message.count)]
    times = [
        message.times
        if message.times is not None
        else np.full(message.count, (message.published_at - _EPOCH) // _MICROSECOND)
        for message in messages
    ]
    whole = replace(messages[0], payload=b"", count=len(parts), places=None, parts=parts)
    return [replace(whole, keys=keys, times=np.concatenate(times))]


def _message(layout: Layout, registry: SchemaRegistry | None, message: Message) -> Decoded:
    values = message.parts if message.parts is not None else [message.payload]
    if len(values) != message.count:
        reason = f"the message holds {len(values)} records, {message.count} were declared"
        return Decoded.dead(layout.kind, message.count, reason, message.payload)
    unknown: set[int] = set()  # asked once a batch: a registry may be late, but not for each record
    read = [_record(registry, value, unknown) for value in values]
    lines = [line.encode() if isinstance(line, str) else line for line, _ in read]
    decoded = decode_json(layout, [replace(message, payload=b"", places=None, parts=lines)])
    own = pa.array([reason for _, reason in read], pa.string())
    raw = pa.array(
        [
            None if reason is None else value
            for value, (_, reason) in zip(values, read, strict=True)
        ],
        pa.binary(),
    )
    return Decoded(
        decoded.records,
        pc.coalesce(own, decoded.reasons),
        lambda rows: pc.coalesce(raw.take(pa.array(rows)), decoded.raw(rows)),
    )


def _record(registry: SchemaRegistry | None, value: bytes | None, unknown: set[int]) -> _Read:
    if value is None or len(value) < _FRAME.size or value[0] != 0:
        return None, "not a record with a schema's id before it"
    _, number = _FRAME.unpack_from(value)
    if registry is None:
        return None, f"it names schema {number} of a registry; [streams.schema_registry] names none"
    schema = None if number in unknown else registry.schema(number)
    if schema is None:
        unknown.add(number)
        return None, f"its schema {number} is not in the registry {registry.url}"
    if schema.type == "JSON":
        return value[_FRAME.size :], None
    if schema.type != "AVRO":
        return None, f"its schema {number} is of the type {schema.type}; AVRO and JSON are read"
    try:
        return _from_avro(schema, value), None
    except Exception as error:  # noqa: BLE001 - damaged bytes lead a parser anywhere
        return None, f"the Avro record cannot be read by its schema {number}: {error}"


def _from_avro(schema: RegisteredSchema, value: bytes) -> str:
    from fastavro import schemaless_reader

    source = io.BytesIO(value)
    source.seek(_FRAME.size)
    record = schemaless_reader(source, _parsed(schema.text, schema.references), None)
    if source.read(1):
        raise ValueError("bytes are left over")
    return json.dumps(record, default=_plain, ensure_ascii=False, separators=(",", ":"))


def _plain(value: object) -> object:
    """What JSON has no word for."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


@lru_cache(maxsize=256)
def _parsed(text: str, references: tuple[str, ...]) -> dict[str, Any]:
    from fastavro import parse_schema

    names: dict[str, Any] = {}
    for reference in references:
        parse_schema(json.loads(reference), named_schemas=names)
    return cast("dict[str, Any]", parse_schema(json.loads(text), named_schemas=names))

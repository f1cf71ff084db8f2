"""Bytes to checked Arrow, and back: the one decoder and judge for every reader.

Delivery, the fresh tail and the live page all read through `decode`, so all agree on what a
record is, and on which records are dead letters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.errors import ConfigError
from tickerlake.records import LAKE_COLUMNS, Kind, dead_reasons, lake_schema, united, with_event_ids
from tickerlake.streams.base import Message, Wire
from tickerlake.streams.codec_arrow import constant, decode_arrow, encode_arrow
from tickerlake.streams.codec_json import decode_json, encode_json
from tickerlake.streams.codec_registered import decode_registered, encode_registered
from tickerlake.streams.decoded import Decoded
from tickerlake.streams.fields import plain_layout
from tickerlake.streams.form import Form

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["decode", "encode", "encode_records", "encode_slices"]

#: A dead letter's place: stream, partition, offset and index.
_POSITION: Final = r"^[^/]+/[^/]+/\d+/\d+$"


def encode(table: pa.Table, kind: Kind, wire: Wire) -> bytes:
    """All records of the table as one message. The table has the columns of `SCHEMAS[kind]`."""
    return encode_slices(table, kind, wire, [(0, table.num_rows)])[0]


def encode_slices(
    table: pa.Table,
    kind: Kind,
    wire: Wire,
    bounds: Sequence[tuple[int, int]],
    *,
    order: pa.Array | None = None,
) -> list[bytes]:
    """One message for each slice (start, length); the work over columns is done once for all.

    With `order` (row numbers) the slices are cut from the rows in that order. Whatever the `kind`
    column holds, the message says `kind`: a topic holds one kind only.
    """
    place = table.schema.get_field_index("kind")
    table = table.set_column(place, "kind", constant(kind, table.num_rows))
    return (encode_json if wire == "json" else encode_arrow)(table, bounds, order)


def encode_records(
    table: pa.Table, kind: Kind, wire: Wire, form: Form | None, topic: str
) -> list[bytes]:
    """One message for each record of a wire that keeps its schemas in a registry.

    Raises:
        UnreachableError: The registry did not answer; nothing was encoded.
        ConfigError: There is no registry in the settings, or it refuses us or our schema.
    """
    if form is None or form.registry is None:
        raise ConfigError(f"The wire {wire!r} needs a registry in [streams.schema_registry].")
    return encode_registered(form.registry, table, kind, wire, topic)


def decode(kind: Kind, messages: Sequence[Message], *, coded: bool = False) -> pa.Table:
    """Exactly one row for each record that the messages declare, in their order.

    Columns are those of `lake_schema(kind)`; `_stream`, `_delivered_at` and `_superseded_at` stay
    null, and so does `_sequence` where the log has none. A record that cannot be decoded or breaks
    a value rule has `dead_reason` and `payload` (the record as JSON, or the raw bytes); both are
    null in all others. Where a record could not be decoded, its `event_id` is null: it repeats
    nothing.

    With `coded` strings may be `CODED`: those that came so, and `_partition`. Who writes files of
    dictionaries is spared to make strings of numbers, and numbers of strings.
    """
    runs = [
        _judged(kind, _decoded(kind, wire, form, list(run), coded))
        for (wire, form), run in groupby(messages, key=attrgetter("wire", "form"))
    ]
    if not runs:
        return lake_schema(kind).empty_table()
    table = united(runs)
    count = table.num_rows
    columns = {name: pa.nulls(count, type_) for name, type_ in _lake_columns()} | _places(
        messages, coded
    )
    for name in ("dead_reason", "payload"):
        columns[name] = table[name]
    schema = lake_schema(kind)
    arrays = [
        columns[field.name] if field.name in columns else table[field.name] for field in schema
    ]
    return pa.table(arrays, names=schema.names) if coded else pa.table(arrays, schema=schema)


def _decoded(
    kind: Kind, wire: Wire, form: Form | None, run: Sequence[Message], coded: bool
) -> Decoded:
    layout = plain_layout(kind) if form is None else form.layout
    if wire in {"avro", "json_schema"}:
        return decode_registered(layout, None if form is None else form.registry, run)
    return decode_json(layout, run) if wire == "json" else decode_arrow(layout, run, coded=coded)


def _lake_columns() -> list[tuple[str, pa.DataType]]:
    return [(field.name, field.type) for field in LAKE_COLUMNS]


def _places(messages: Sequence[Message], coded: bool) -> dict[str, pa.Array]:
    """Where each record came from: `_partition`, `_offset`, `_sequence`, `_index`."""
    counts = np.array([message.count for message in messages])
    firsts = np.array([message.first_position for message in messages])
    dense = np.array([message.per_record for message in messages])
    starts = np.cumsum(counts) - counts
    inside = np.arange(counts.sum()) - np.repeat(starts, counts)
    offsets, indexes = np.repeat(firsts, counts), inside.astype(np.int32)
    if dense.any():
        each = np.repeat(dense, counts)
        offsets += np.where(each, inside, 0)
        indexes[each] = 0
    for start, message in zip(starts, messages, strict=True):
        if message.places is not None:
            rows = slice(start, start + message.count)
            offsets[rows] = message.places.positions
            indexes[rows] = 0 if message.places.indexes is None else message.places.indexes
    return {
        "_partition": _repeated([message.partition for message in messages], counts, coded),
        "_offset": pa.array(offsets),
        "_sequence": _sequences(messages),
        "_index": pa.array(indexes),
    }


def _repeated(values: Sequence[str], counts: npt.NDArray[np.int64], coded: bool) -> pa.Array:
    if coded:
        words, numbers = np.unique(np.array(values), return_inverse=True)
        each = pa.array(np.repeat(numbers.astype(np.int32), counts))
        return pa.DictionaryArray.from_arrays(each, pa.array(words, pa.string()))
    if len(set(values)) == 1:  # as nearly always, and much cheaper
        return pa.repeat(pa.scalar(values[0], pa.string()), int(counts.sum()))
    which = pa.array(np.repeat(np.arange(len(values)), counts))
    return pa.array(values, pa.string()).take(which)


def _sequences(messages: Sequence[Message]) -> pa.Array:
    given = [
        message.places.sequences if message.places is not None else None for message in messages
    ]
    if all(each is None for each in given):
        return pa.nulls(sum(message.count for message in messages), pa.string())
    return pa.concat_arrays(
        pa.nulls(message.count, pa.string()) if each is None else each
        for message, each in zip(messages, given, strict=True)
    )


def _judged(kind: Kind, decoded: Decoded) -> pa.Table:
    """The records with `dead_reason` and `payload`, and with event ids where none were given."""
    reasons = decoded.reasons
    rules = dead_reasons(decoded.records, kind)
    if rules.null_count < len(rules):
        reasons = pc.coalesce(reasons, rules)
    decoded = replace(decoded, records=_with_our_origins(decoded.records, reasons))
    records = _identified(kind, decoded)
    payloads = pa.nulls(records.num_rows, pa.binary())
    if reasons.null_count < len(reasons):
        payloads = _payloads(records, decoded, reasons)
    return records.append_column("dead_reason", reasons).append_column("payload", payloads)


def _with_our_origins(records: pa.Table, reasons: pa.Array) -> pa.Table:
    """Null where `origin` names no dead letter (a foreign field of that name), or mends none.

    Of records that mend one letter only the first is kept, so any other word would cost records,
    and a record that is dead itself would keep the sound one out.
    """
    origins = records["origin"]
    if origins.null_count == len(origins):
        return records
    mends = pc.and_(pc.match_substring_regex(origins, _POSITION), reasons.is_null())
    ours = pc.if_else(mends, origins, None)
    return records.set_column(records.schema.get_field_index("origin"), "origin", ours)


def _identified(kind: Kind, decoded: Decoded) -> pa.Table:
    records = decoded.records
    if records["event_id"].null_count == 0:
        return records
    filled = with_event_ids(records, kind)
    # Nothing to tell two of them apart by, so neither may pass for a repeat of the other:
    # records that could not be decoded, and trades of a provider without trade ids.
    nameless = decoded.reasons.is_valid()
    if kind == "trade":
        without = pc.and_(records["trade_id"].is_null(), records["origin"].is_null())
        nameless = pc.or_(nameless, without.combine_chunks())
    ids = pc.if_else(nameless, records["event_id"], filled["event_id"])
    return records.set_column(records.schema.get_field_index("event_id"), "event_id", ids)


def _payloads(records: pa.Table, decoded: Decoded, reasons: pa.Array) -> pa.Array:
    """The bytes of dead records: their own, or the record written as JSON."""
    dead = np.flatnonzero(reasons.is_valid().to_numpy(zero_copy_only=False))
    payloads = decoded.raw(dead)
    readable = decoded.reasons.take(pa.array(dead)).is_null()
    if pc.any(pc.and_(payloads.is_null(), readable)).as_py():
        lines = encode_json(records.take(pa.array(dead)), [(0, len(dead))], None)[0].split(b"\n")
        written = pc.if_else(readable, pa.array(lines, pa.binary()), None)
        payloads = pc.coalesce(payloads, written)
    places = np.full(records.num_rows, -1)
    places[dead] = np.arange(len(dead))
    return payloads.take(pa.array(places, mask=places < 0))

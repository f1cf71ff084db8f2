"""From a table to a broker's messages: a record each, or as many as a message may hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.errors import LimitError
from tickerlake.records import Kind
from tickerlake.streams.base import Wire
from tickerlake.streams.codec import encode_records, encode_slices
from tickerlake.streams.form import Form
from tickerlake.streams.kafka.publisher import Outgoing
from tickerlake.streams.outgoing import by_partition

__all__ = ["not_too_large", "outgoing", "small_enough"]

#: So many records are encoded at a time: while the client sends them, the next are encoded.
_CHUNK_ROWS: Final = 65_536

#: A block of text that is cut into messages stays in the processor's cache.
_BLOCK_ROWS: Final = 1_000

#: More in one message costs a reader memory and saves nothing.
_MESSAGE_ROWS_MAX: Final = 16_384
_MESSAGE_BYTES: Final = 1024 * 1024

#: What a record holds beside its strings: names, numbers and times; or an Arrow schema.
_BARE_BYTES_MAX: Final = 8192

#: A character may be written as six.
_ESCAPED: Final = 6


def outgoing(
    records: pa.Table,
    kind: Kind,
    wire: Wire,
    partition_count: int,
    room: int,
    *,
    form: Form | None = None,
    topic: str = "",
) -> Iterator[Outgoing]:
    """All records as messages of at most `room` bytes, in order within their partition.

    Wires whose schemas a registry keeps need the topic's `form` and name.
    """
    for start in range(0, records.num_rows, _CHUNK_ROWS):
        chunk = records.slice(start, _CHUNK_ROWS).combine_chunks()
        symbols = chunk["symbol"].combine_chunks().dictionary_encode()
        place = chunk.schema.get_field_index("symbol")
        chunk = chunk.set_column(place, "symbol", symbols)
        if wire in {"avro", "json_schema"}:
            order, cuts = by_partition(symbols, partition_count, _BLOCK_ROWS)
            ordered = chunk if order is None else chunk.take(order)
            values = encode_records(ordered, kind, wire, form, topic)
            keys = _keys(_in_order(symbols, order))
            for number, first, length in cuts:
                rows = slice(first, first + length)
                yield Outgoing(number, values[rows], keys[rows])
        elif wire == "json":
            yield from _lines(chunk, symbols, kind, partition_count)
        else:
            yield from _batches(chunk, symbols, kind, partition_count, room)


def _lines(
    chunk: pa.Table, symbols: pa.DictionaryArray, kind: Kind, partition_count: int
) -> Iterator[Outgoing]:
    """One message a record, its symbol the key."""
    order, cuts = by_partition(symbols, partition_count, _BLOCK_ROWS)
    bounds = [(start, length) for _, start, length in cuts]
    payloads = encode_slices(chunk, kind, "json", bounds, order=order)
    keys = _keys(_in_order(symbols, order))
    for (partition, start, length), payload in zip(cuts, payloads, strict=True):
        yield Outgoing(partition, payload.split(b"\n"), keys[start : start + length])


def _batches(
    chunk: pa.Table, symbols: pa.DictionaryArray, kind: Kind, partition_count: int, room: int
) -> Iterator[Outgoing]:
    """Many records a message; its key is the symbol where all share one."""
    target = min(room, _MESSAGE_BYTES)
    rows_max = min(max(1, target * chunk.num_rows // max(1, chunk.nbytes)), _MESSAGE_ROWS_MAX)
    order, cuts = by_partition(symbols, partition_count, rows_max)
    ordered = _in_order(symbols, order)
    while cuts:
        bounds = [(start, length) for _, start, length in cuts]
        payloads = encode_slices(chunk, kind, "arrow", bounds, order=order)
        halves: list[tuple[int, int, int]] = []
        for (partition, start, length), payload in zip(cuts, payloads, strict=True):
            if len(payload) > room and length > 1:
                # Those after it in the partition must wait for it.
                halves.extend(_halved(partition, start, length))
            elif any(part == partition for part, _, _ in halves):
                halves.append((partition, start, length))
            else:
                key = _only(ordered.slice(start, length))
                yield Outgoing(partition, [payload], [key], records=length)
        cuts = halves


def _halved(partition: int, start: int, length: int) -> list[tuple[int, int, int]]:
    half = length // 2
    return [(partition, start, half), (partition, start + half, length - half)]


def _in_order(symbols: pa.DictionaryArray, order: pa.Array | None) -> pa.DictionaryArray:
    return symbols if order is None else symbols.take(order)


def _keys(symbols: pa.DictionaryArray) -> list[str | None]:
    """Each symbol as one Python string, which all its records share."""
    names = np.array([*symbols.dictionary.to_pylist(), None], object)
    codes = pc.fill_null(symbols.indices, len(names) - 1)
    keys: list[str | None] = names[codes.to_numpy()].tolist()
    return keys


def _only(symbols: pa.DictionaryArray) -> str | None:
    codes = symbols.indices
    first: str | None = symbols[0].as_py()
    return first if pc.all(pc.equal(codes, codes[0])).as_py() else None


def not_too_large(records: pa.Table, kind: Kind, wire: Wire, room: int, topic: str) -> None:
    """Raise where a record alone is larger than a message may be.

    Raises:
        LimitError: Names the first such records.
    """
    texts = [
        column
        for column in records.columns
        if pa.types.is_string(column.type) or pa.types.is_binary(column.type)
    ]
    lengths = [pc.fill_null(pc.binary_length(column), 0) for column in texts]
    if sum(pc.max(one).as_py() or 0 for one in lengths) * _ESCAPED + _BARE_BYTES_MAX <= room:
        return
    total = sum(one.to_numpy().astype(np.int64) for one in lengths)
    suspects = np.flatnonzero(total * _ESCAPED + _BARE_BYTES_MAX > room)
    found = []
    # What a registry's schema frames is no longer than the JSON of it, but for five bytes.
    measured: Wire = "arrow" if wire == "arrow" else "json"
    for row in suspects.tolist():
        (payload,) = encode_slices(records.slice(row, 1), kind, measured, [(0, 1)])
        if len(payload) > room:
            found.append((row, len(payload)))
    if found:
        row, size = found[0]
        where = f"{size} bytes in record {row}, of {records['symbol'][row].as_py()}"
        raise _too_large(len(found), room, where, topic)


def small_enough(values: Sequence[bytes], room: int, topic: str) -> None:
    """Raise where a value is larger than a message may be.

    Raises:
        LimitError: Names the first such value.
    """
    found = [row for row, value in enumerate(values) if len(value) > room]
    if found:
        where = f"{len(values[found[0]])} bytes in record {found[0]}"
        raise _too_large(len(found), room, where, topic)


def _too_large(count: int, room: int, where: str, topic: str) -> LimitError:
    return LimitError(
        f"{count} of the records are larger than a message of the topic {topic} may be. Nothing "
        "was published.",
        expected=f"at most {room} bytes",
        found=where,
        todo="leave them out, or raise the topic's max.message.bytes",
    )

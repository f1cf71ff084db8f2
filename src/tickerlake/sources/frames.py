"""From many frames at once to Arrow columns: what dialects are written with.

    class _Talk:
        def __init__(self) -> None:
            self._frames = FrameColumns(pa.schema([("type", pa.string()), ("data", TRADES)]))

        def read(self, frames):
            told = self._frames.read(frames)           # one row a frame
            rows = told.explode("data")                # one row a trade, `received_at` beside it
            trades = ticks("trade", "acme", rows["received_at"], symbol=rows["s"], ...)

Frames are parsed as one block by Arrow's reader of JSON, so no Python object is made for a record.
Each is proven to be one JSON document before: Arrow's reader must not meet anything else (a bare
`null` ends the process: seen with pyarrow 26).

A schema names the fields that matter; others are passed over, absent ones are null. Numbers in
text are declared as text and cast once (`numbers`), so nothing is rounded twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.records import SCHEMAS, Kind, conform
from tickerlake.sources.live import Frame

__all__ = ["FrameColumns", "Told", "epoch_ns", "instants", "numbers", "text_ns", "ticks"]

_INSTANT = SCHEMAS["trade"].field("fetched_at").type
_ITEMS = "items"
_PROVEN = msgspec.json.Decoder(msgspec.Raw)
_EXACT = msgspec.json.Decoder(float_hook=str)
_ALL_PROVEN = msgspec.json.Decoder(list[msgspec.Raw])
_NOTED_CHARS = 120


@dataclass(frozen=True, slots=True)
class Told:
    """Frames as columns: one row for each that could be read, in their order."""

    #: The fields of the schema; of array frames the one column `items`.
    table: pa.Table
    #: When each row's frame came: timestamp[us, UTC].
    received_at: pa.Array
    #: The frames that are not of the schema, as sentences.
    notes: tuple[str, ...] = field(default=())

    def explode(self, column: str = _ITEMS) -> pa.Table:
        """One row an element of a list of structs: its fields, and `received_at` of its frame."""
        lists = self.table[column].combine_chunks()
        parents = pc.list_parent_indices(lists)
        rows = pa.Table.from_struct_array(lists.flatten())
        return rows.append_column("received_at", self.received_at.take(parents))


class FrameColumns:
    """Reads frames of one schema. Keeps nothing between two calls."""

    def __init__(self, schema: pa.Schema, *, arrays: bool = False) -> None:
        """`arrays`: a frame is an array of objects of this schema, not one object."""
        fields: pa.DataType = pa.struct(list(schema))
        self._row = pa.list_(fields) if arrays else fields
        self._schema = pa.schema([(_ITEMS, self._row)])
        self._told = self._schema if arrays else schema

    def read(self, frames: Sequence[Frame]) -> Told:
        """The incoming ones as columns; what is not of the schema is told in the notes."""
        incoming = [frame for frame in frames if frame.direction == "in"]
        together = [frame.data for frame in incoming]
        table = self._block(together) if incoming and _all_proven(together) else None
        if table is not None:
            return Told(table, pa.array([frame.received_at for frame in incoming], _INSTANT))
        return self._one_by_one(incoming)

    def _one_by_one(self, incoming: list[Frame]) -> Told:
        """Something among them is odd, or not on one line."""
        proven: list[Frame] = []
        texts: list[str] = []
        notes: list[str] = []
        for frame in incoming:
            text = _document(frame.data)
            if text is None:
                notes.append(_odd(frame.data))
            else:
                proven.append(frame)
                texts.append(text)
        kept: list[int] = []
        tables: list[pa.Table] = []
        self._read(texts, 0, kept, tables, notes)
        table = pa.concat_tables(tables) if tables else self._told.empty_table()
        received = [proven[position].received_at for position in kept]
        return Told(table, pa.array(received, _INSTANT), tuple(dict.fromkeys(notes)))

    def _read(
        self,
        texts: list[str],
        first: int,
        kept: list[int],
        tables: list[pa.Table],
        notes: list[str],
    ) -> None:
        """As one block; where that fails in halves, so that one odd frame costs only itself."""
        if not texts:
            return
        table = self._block(texts)
        if table is None and len(texts) == 1:
            table = self._alone(texts[0])
        if table is not None:
            tables.append(table)
            kept.extend(range(first, first + len(texts)))
        elif len(texts) == 1:
            notes.append(_odd(texts[0]))
        else:
            half = len(texts) // 2
            self._read(texts[:half], first, kept, tables, notes)
            self._read(texts[half:], first + half, kept, tables, notes)

    def _block(self, texts: list[str]) -> pa.Table | None:
        import pyarrow.json as reader

        opening = f'{{"{_ITEMS}":'
        payload = (opening + f"}}\n{opening}".join(texts) + "}").encode()
        try:
            table = reader.read_json(
                pa.BufferReader(payload),
                read_options=reader.ReadOptions(use_threads=False, block_size=len(payload) + 1),
                parse_options=reader.ParseOptions(
                    explicit_schema=self._schema, unexpected_field_behavior="ignore"
                ),
            )
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return None
        return self._unwrapped(table)

    def _alone(self, text: str) -> pa.Table | None:
        """One frame by another road, which is slower and takes more: 1.5 for "1.5", and back."""
        try:
            document = _EXACT.decode(text)
            if not isinstance(document, list if pa.types.is_list(self._row) else dict):
                return None
            documents = pa.array([_fitted(document, self._row)], self._row)
        except (ArithmeticError, pa.ArrowException, TypeError, ValueError, RecursionError):
            return None
        return self._unwrapped(pa.table([documents], schema=self._schema))

    def _unwrapped(self, table: pa.Table) -> pa.Table | None:
        if table[_ITEMS].null_count:  # a frame `null`
            return None
        if self._told is self._schema:
            return table
        return pa.Table.from_struct_array(table[_ITEMS].combine_chunks())


def _fitted(value: Any, kind: pa.DataType) -> Any:  # noqa: ANN401 - JSON, and what Arrow takes
    """A value as its field wants it; decimals come as text, so that none is rounded twice.

    Raises:
        TypeError, ValueError: It cannot be.
    """
    if value is None:
        return None
    if pa.types.is_struct(kind) and isinstance(value, dict):
        return {field.name: _fitted(value.get(field.name), field.type) for field in kind}
    if pa.types.is_list(kind) and isinstance(value, list | str):
        items = value if isinstance(value, list) else [value] if value else []
        return [_fitted(item, kind.value_type) for item in items]
    if pa.types.is_boolean(kind) and isinstance(value, bool):
        return value
    if isinstance(value, str | int) and not isinstance(value, bool):
        if pa.types.is_string(kind):
            return str(value)
        if pa.types.is_integer(kind):
            return int(value) if str(value).lstrip("-").isdigit() else _whole(str(value))
        if pa.types.is_floating(kind) and "_" not in str(value) and math.isfinite(float(value)):
            return float(value)
    raise TypeError(value)


def _whole(text: str) -> int:
    """A whole number that is written as a decimal, such as 1e3."""
    if "_" in text or not float(text).is_integer():
        raise ValueError(text)
    return int(float(text))


def _all_proven(texts: list[str | bytes]) -> TypeGuard[list[str]]:
    """Whether each is one JSON document on one line, by one look at all of them.

    Documents that only together are as many could be none by themselves, such as `{"a":[1` and
    `2]}` beside `3,4`. The first of them is refused by the reader before anything behind it: it
    leaves the object open in which the reader meets it.
    """
    try:
        joined = ",".join(texts)  # type: ignore[arg-type]  # bytes are another road's
        if "\n" in joined or "\r" in joined:
            return False
        return len(_ALL_PROVEN.decode(f"[{joined}]")) == len(texts)
    except (TypeError, UnicodeError, msgspec.DecodeError, RecursionError):
        return False


def _document(data: str | bytes) -> str | None:
    """The frame's text on one line, if it is one JSON document."""
    text = data if isinstance(data, str) else data.decode(errors="replace")
    try:
        _PROVEN.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    # Inside a JSON string no newline stands as itself.
    return text.replace("\n", " ").replace("\r", " ") if "\n" in text or "\r" in text else text


def _odd(data: str | bytes) -> str:
    return f"a frame that we cannot read: {data[:_NOTED_CHARS]!r}"


def ticks(
    kind: Kind,
    provider: str,
    received_at: pa.Array | pa.ChunkedArray,
    **columns: pa.Array | pa.ChunkedArray | str | None,
) -> pa.Table:
    """Records in the schema of their kind; `fetched_at` is when the frame came.

    Args:
        kind: Also "bar"; then `columns` say `ts`.
        provider: Every record's `provider`.
        received_at: One instant a record.
        columns: By name; a text stands for all records, what is not named is null. `ts` follows
            from `ts_ns` where it is not given.
    """
    rows = len(received_at)
    filled: dict[str, pa.Array | pa.ChunkedArray] = {
        name: pa.repeat(pa.scalar(value, pa.string()), rows)
        if value is None or isinstance(value, str)
        else value
        for name, value in columns.items()
    }
    if "ts" not in filled and "ts_ns" in filled:
        filled["ts"] = instants(filled["ts_ns"])
    filled |= {
        "provider": pa.repeat(pa.scalar(provider), rows),
        "fetched_at": received_at.cast(_INSTANT),
    }
    return conform(pa.table(filled), kind)


def instants(ns: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Nanoseconds since 1970 (int64) as timestamp[us, UTC]; what is finer is cut."""
    return pc.divide(ns, 1000).cast(_INSTANT)


def epoch_ns(epochs: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Whole numbers since 1970 as nanoseconds, the unit told by their size.

    Below 10^11: seconds; 10^14: milliseconds; 10^17: microseconds; else nanoseconds. The years
    1973 to 5138 are told apart.
    """
    size = pc.abs(epochs)
    factor = pc.case_when(
        pc.make_struct(pc.less(size, 10**11), pc.less(size, 10**14), pc.less(size, 10**17)),
        pa.scalar(10**9),
        pa.scalar(10**6),
        pa.scalar(10**3),
        pa.scalar(1),
    )
    return pc.multiply(epochs, factor)


def text_ns(texts: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """ISO 8601 with a zone, with up to nine digits of a second, as nanoseconds; else null."""
    return _cast_or_null(texts, pa.timestamp("ns", "UTC")).cast(pa.int64())


def numbers(texts: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Decimal text as float64, rounded once; what is no finite number is null."""
    if not pa.types.is_string(texts.type):
        return texts.cast(pa.float64())
    found = _cast_or_null(texts, pa.float64())
    return pc.if_else(pc.is_finite(found), found, pa.scalar(None, pa.float64()))


def _cast_or_null(
    texts: pa.Array | pa.ChunkedArray, type_: pa.DataType
) -> pa.Array | pa.ChunkedArray:
    try:
        return texts.cast(type_)
    except pa.ArrowInvalid:  # such as the 31st of February: one by one, for this batch alone
        return pa.array([_cast_one(text, type_) for text in texts], type_)


def _cast_one(text: pa.Scalar, type_: pa.DataType) -> pa.Scalar | None:
    try:
        return text.cast(type_)
    except pa.ArrowInvalid:
        return None

"""The `json` wire: one object a record, joined by newlines where a message holds many.

Names are lower_snake, times ISO 8601 in UTC, dates ISO 8601, nulls are left out. Numbers that JSON
cannot say (NaN, Infinity) travel as strings, so that the value rules can name them at the far end.

No Python object is made per record. Encoding joins columns of text. Decoding lets DuckDB take each
line apart by itself, then casts whole columns: a bad line harms no other, and every line is exactly
one row. Parsers of whole blocks do not promise that (an object may span two lines, or two stand in
one), and pyarrow's reads a time without a zone as UTC and dies on a line that says `null`.

Most blocks hold lines that are all alike and as they should be: these are read straight into their
types (`json_block.py`). Where that has doubts, every value is read as text first and looked at.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.records import is_constant
from tickerlake.streams.base import Message
from tickerlake.streams.decoded import Decoded
from tickerlake.streams.fields import Aside, Layout, plain_layout
from tickerlake.streams.json_alike import read_alike
from tickerlake.streams.json_block import engine, read_block
from tickerlake.streams.lines import aside_of, lines_of

__all__ = ["decode_json", "encode_json"]

#: Where a block has a line that wants a closer look, its neighbours are tried again in pieces of
#: this many lines.
_PIECE_LINES: Final = 2_048

#: Records, and why some of them could not be read.
Judged = tuple[pa.Table, pa.Array]


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
    pieces = _pieces(table)
    if len(pieces) == 1:  # all lines are the same
        pieces[0] = pa.repeat(pieces[0], table.num_rows)
    lines = pc.binary_join_element_wise(*pieces, "")
    # The lines lie one behind the other in memory, so a message is one stretch of it.
    _, offsets, data = lines.cast(pa.large_string()).buffers()
    ends = np.frombuffer(offsets, np.int64)[lines.offset :] if len(lines) else np.zeros(1, int)
    return [
        data[int(ends[start]) : int(ends[start + length]) - 1].to_pybytes() if length else b""
        for start, length in bounds
    ]


def _pieces(table: pa.Table) -> list[str | pa.Array]:
    """What each line is joined from: literals between columns of text.

    Constant columns, as most are, are part of the literals.
    """
    pieces: list[str | pa.Array] = []
    literal = "{"
    for name, column in zip(table.column_names, table.columns, strict=True):
        values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        if values.null_count == len(values):
            continue
        key = f'"{name}":' if literal == "{" else f',"{name}":'
        if _is_constant(values):
            literal += key + _text(values[:1])[0].as_py()
        elif values.null_count:
            pieces += [
                literal,
                pc.fill_null(pc.binary_join_element_wise(key, _text(values), ""), ""),
            ]
            literal = ""
        else:
            pieces += [literal + key, _text(values)]
            literal = ""
    return [*pieces, literal + "}\n"]


def _is_constant(values: pa.Array) -> bool:
    if pa.types.is_string(values.type):
        return is_constant(values)
    if values.null_count or values[0] != values[-1]:
        return False
    if pa.types.is_dictionary(values.type):
        values = values.indices
    return bool(pc.all(pc.equal(values, values[0])).as_py())


def _text(values: pa.Array) -> pa.Array:
    """Each value as it stands in JSON, null where null."""
    if pa.types.is_string(values.type) or pa.types.is_temporal(values.type):
        # Days and minutes repeat, too: text is made once for each.
        values = values.dictionary_encode()
    if pa.types.is_dictionary(values.type):
        return _words(values.dictionary).take(values.indices)
    written = values.cast(pa.string())
    if pa.types.is_floating(values.type) and pc.all(pc.is_finite(values)).as_py() is False:
        return pc.if_else(pc.is_finite(values), written, _quoted(written))
    return written


def _words(values: pa.Array) -> pa.Array:
    """Different values of a column, as they stand in JSON."""
    if pa.types.is_string(values.type):
        quoted = [json.dumps(text, ensure_ascii=False) for text in values.to_pylist()]
        return pa.array(quoted, pa.string())
    if pa.types.is_timestamp(values.type):
        # Ours are UTC. Without its zone a time is written thirty times faster.
        written = values.cast(pa.timestamp("us")).cast(pa.string())
        written = pc.replace_substring(written, " ", "T", max_replacements=1)
        return pc.binary_join_element_wise('"', written, 'Z"', "")
    return _quoted(values.cast(pa.string()))


def _quoted(written: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise('"', written, '"', "")


def decode_json(layout: Layout, messages: Sequence[Message]) -> Decoded:
    """Records of all messages, in order; exactly `message.count` rows for each."""
    parts: list[Decoded] = []
    aside = aside_of(messages) if layout.foreign else None
    first = 0
    for found in lines_of(layout.kind, messages):
        count = found.records.num_rows if isinstance(found, Decoded) else len(found)
        if isinstance(found, Decoded):
            parts.append(found)
        elif aside is None:
            parts.append(Decoded(*_read(layout, found.values, None), found.raw))
        else:
            beside = aside.slice(first, count)
            parts.append(Decoded(*_read_foreign(layout, found.values, beside), found.raw))
        first += count
    return Decoded.concat(parts)


def _read_foreign(layout: Layout, lines: pa.Array, aside: Aside) -> Judged:
    """Lines of others, with our own between them: a requeued dead letter, say."""
    ours = pc.starts_with(lines, _head(layout.kind)).fill_null(False)
    parts: list[Judged] = []
    places = []
    for mask, its in ((pc.invert(ours), layout), (ours, plain_layout(layout.kind))):
        rows = pc.indices_nonzero(mask)
        if len(rows) == len(lines):
            return _read(its, lines, aside)
        parts.append(_read(its, lines.take(rows), aside.take(rows)))
        places.append(rows)
    order = pc.sort_indices(pa.concat_arrays(places))
    records, reasons = _concat(parts)
    return records.take(order), reasons.take(order)


def _head(kind: str) -> bytes:
    """How each line of ours begins."""
    return f'{{"kind":"{kind}",'.encode()


def _concat(parts: Sequence[Judged]) -> Judged:
    records, reasons = zip(*parts, strict=True)
    return pa.concat_tables(records), pa.concat_arrays(reasons)


def _read(layout: Layout, lines: pa.Array, aside: Aside | None) -> Judged:
    count = len(lines)
    records = read_alike(layout, lines, aside)
    if records is None:
        records = read_block(layout, lines, aside)
    if records is not None:
        return records, pa.nulls(count, pa.string())
    if count <= _PIECE_LINES:
        return _read_carefully(layout, lines, aside)
    pieces = range(0, count, _PIECE_LINES)
    return _concat(
        [
            _read(
                layout,
                lines.slice(start, _PIECE_LINES),
                None if aside is None else aside.slice(start, _PIECE_LINES),
            )
            for start in pieces
        ]
    )


def _read_carefully(layout: Layout, lines: pa.Array, aside: Aside | None) -> Judged:
    try:
        text = lines.cast(pa.string())
    except pa.ArrowInvalid:
        text = pa.array([_utf8_or_none(line) for line in lines.to_pylist()], pa.string())
    objects = _objects(layout, text)
    reasons: dict[int, str] = {}
    if objects.null_count:
        missing = pc.indices_nonzero(objects.is_null()).to_pylist()
        reasons = dict.fromkeys(missing, "not a JSON object")
    columns = dict(zip(layout.names, objects.flatten(), strict=True))
    records = layout.records(columns, len(lines), aside, reasons)
    if not reasons:
        return records, pa.nulls(len(lines), pa.string())
    return records, pa.array([reasons.get(row) for row in range(len(lines))], pa.string())


def _utf8_or_none(line: bytes | None) -> str | None:
    try:
        return None if line is None else line.decode()
    except UnicodeDecodeError:
        return None


def _objects(layout: Layout, text: pa.Array) -> pa.StructArray:
    """Each line's fields as text, null where missing; a line that is no object is null itself."""
    connection = engine()
    connection.register("lines", pa.table({"line": text}))
    try:
        answer = connection.sql(_query(layout)).to_arrow_table()
        found: pa.StructArray = answer["fields"].combine_chunks()
    finally:
        connection.unregister("lines")
    return found


@functools.lru_cache(maxsize=32)
def _query(layout: Layout) -> str:
    # As text first, so that a value of the wrong type is told from a missing one. `try` makes a
    # line that is no JSON at all null instead of an error; a list or a word is no object either.
    shape = json.dumps(dict.fromkeys(layout.names, "VARCHAR")).replace("'", "''")
    return (
        "select case when try(json_type(line)) = 'OBJECT' "
        f"then try(json_transform(line, '{shape}')) end as fields from lines"
    )

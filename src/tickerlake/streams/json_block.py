"""The fast way through a block of JSON lines, with proof that nothing was read loosely.

One call of the engine reads all lines into typed columns. It is lenient: it takes `" 1_0 "` and
`true` for numbers and numbers for text, so its answer counts only if the block proves that nothing
of the kind was there. Otherwise the careful way (`codec_json.py`) reads those lines, and a record
means the same on both: which way it went depends on its neighbours.

The proof. The engine's strict form has seen an object in each line, each with all `k` fields of the
first line. Without a backslash every quote opens or closes a string: 2k of the fields' names in
every line, and two of each text that we got, which still has its quotes and so was one. If the
block holds exactly as many, there is no other string in it (nor another field): no number was made
of a text. Numbers made of `true` or `false` are 1 or 0; lines that have one are searched for them.
"""

from __future__ import annotations

import json
import re
import threading
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.streams.fields import Aside, Layout

if TYPE_CHECKING:
    import duckdb

__all__ = ["engine", "read_block"]

#: Names that are safe inside a query, whoever sent them.
_NAME: Final = re.compile(r"[\w .:/-]{1,64}", re.ASCII)
_NAMES_MAX: Final = 64

#: What the engine is asked for; what it should not make a number of is looked at as text.
_TYPES: Final = {"number": "DOUBLE", "text": "JSON", "whole": "VARCHAR", "truth": "VARCHAR"}

_QUOTE, _BACKSLASH = b'"\\'
_PIECE_BYTES: Final = 1 << 16

_local: Final = threading.local()


def engine() -> duckdb.DuckDBPyConnection:
    """One in-memory engine a thread: one core, no files, no network."""
    import duckdb

    if not hasattr(_local, "connection"):
        _local.connection = duckdb.connect(config={"threads": 1, "enable_external_access": False})
    connection: duckdb.DuckDBPyConnection = _local.connection
    return connection


def read_block(layout: Layout, lines: pa.Array, aside: Aside | None) -> pa.Table | None:
    """The records of all lines; null if any of them wants a closer look.

    Args:
        layout: What the records should look like.
        lines: JSON, as binary, one behind the other in memory.
        aside: What stands beside the records.
    """
    if not len(lines) or lines.null_count:
        return None
    shape = _shape(layout, lines[0].as_py())
    quotes = _quotes(lines)
    if shape is None or quotes is None:
        return None
    found = _read(shape, lines)
    if found is None or found.null_count:
        return None
    columns = dict(zip(shape, found.flatten(), strict=True))
    texts = [name for name, type_ in shape.items() if type_ == "JSON"]
    quoted = {name: pc.starts_with(columns[name], '"') for name in texts}
    strings = sum(pc.sum(each).as_py() or 0 for each in quoted.values())
    if quotes != 2 * (len(shape) * len(lines) + strings):
        return None
    names = set(layout.names)
    numbers = [columns[name] for name in names if shape.get(name) == "DOUBLE"]
    if any(_is_a_word(values, lines) for values in numbers):
        return None
    for name in names.intersection(texts):
        if pc.all(quoted[name]).as_py() is False:
            return None  # a number, a list, …: as text these look different on each way
        columns[name] = pc.ascii_trim(columns[name], '"')
    try:
        return layout.records(columns, len(lines), aside, None)
    except pa.ArrowInvalid:
        return None


def _shape(layout: Layout, line: bytes) -> dict[str, str] | None:
    """The engine's type for each field of a block whose first line is this."""
    try:
        first = json.loads(line)
    except ValueError:
        return None
    if not isinstance(first, dict) or not 0 < len(first) <= _NAMES_MAX:
        return None
    if not all(_NAME.fullmatch(name) for name in first):
        return None
    shapes = layout.shapes
    if shapes is None:
        return None
    # Fields that nobody asked for are read all the same: their quotes must be counted.
    return {
        name: _TYPES[shapes[name]] if name in shapes else _type_of(value)
        for name, value in first.items()
    }


def _type_of(value: object) -> str:
    return "DOUBLE" if isinstance(value, int | float) and not isinstance(value, bool) else "JSON"


def _quotes(lines: pa.Array) -> int | None:
    """How many quotes there are in all lines; null if there is a backslash."""
    _, offsets, data = lines.buffers()
    ends = np.frombuffer(offsets, np.int32)[lines.offset : lines.offset + len(lines) + 1]
    block = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]]
    count = 0
    for start in range(
        0, len(block), _PIECE_BYTES
    ):  # small enough to stay in the processor's cache
        piece = block[start : start + _PIECE_BYTES]
        if (piece == _BACKSLASH).any():
            return None
        count += int(np.count_nonzero(piece == _QUOTE))
    return count


def _read(shape: dict[str, str], lines: pa.Array) -> pa.StructArray | None:
    import duckdb

    try:
        text = lines.cast(pa.string())
    except pa.ArrowInvalid:  # not UTF-8
        return None
    connection = engine()
    connection.register("lines", pa.table({"line": text}))
    try:
        query = f"select json_transform_strict(line, '{json.dumps(shape)}') as fields from lines"
        found: pa.StructArray = connection.sql(query).to_arrow_table()["fields"].combine_chunks()
    except (duckdb.Error, UnicodeDecodeError):  # its message may cut a letter of the line in two
        return None
    finally:
        connection.unregister("lines")
    return found


def _is_a_word(values: pa.Array, lines: pa.Array) -> bool:
    """Whether some number was perhaps made of `true` or `false`."""
    words = pc.or_(pc.equal(values, 0.0), pc.equal(values, 1.0))
    if not pc.any(words).as_py():
        return False
    suspects = lines.filter(pc.fill_null(words, False))
    return bool(pc.any(pc.match_substring_regex(suspects, "true|false")).as_py())

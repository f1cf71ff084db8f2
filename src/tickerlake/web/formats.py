"""One table, three ways to write it: JSON for programs and people, CSV for sheets, Arrow."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from datetime import date
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.query.values import plain

__all__ = ["FORMATS", "distinct_names", "json_value", "to_arrow", "to_csv", "to_json"]


def to_json(table: pa.Table) -> bytes:
    """An array of objects: times in ISO 8601 with Z, NaN and infinity as null, bytes as text."""
    table = distinct_names(table)
    columns = [_json_column(table.column(i)) for i in range(table.num_columns)]
    names = table.column_names
    rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    return json.dumps(rows, separators=(",", ":"), allow_nan=False).encode()


def to_csv(table: pa.Table) -> bytes:
    """A header line, then a line per row; nested values as JSON, bytes as text."""
    from pyarrow import csv

    table = distinct_names(table)
    columns = [_csv_column(table.column(i)) for i in range(table.num_columns)]
    sink = io.BytesIO()
    csv.write_csv(pa.table(columns, names=table.column_names), sink)
    return sink.getvalue()


def to_arrow(table: pa.Table) -> bytes:
    """An Arrow IPC file, with every type as the engine gave it."""
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


#: Suffix of a view's path → media type and writer.
FORMATS: Final[dict[str, tuple[str, Callable[[pa.Table], bytes]]]] = {
    "json": ("application/json", to_json),
    "csv": ("text/csv; charset=utf-8", to_csv),
    "arrow": ("application/vnd.apache.arrow.file", to_arrow),
}


def distinct_names(table: pa.Table) -> pa.Table:
    """Number the later ones of columns that share a name: JSON objects could not hold both."""
    seen: dict[str, int] = {}
    names = []
    for name in table.column_names:
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return table.rename_columns(names)


def json_value(value: Any) -> Any:  # noqa: ANN401 - whatever a cell holds
    """One cell as JSON can say it."""
    value = plain(value)
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, date):  # a datetime is one too
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, dict):
        return {str(key): json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    return str(value)


def _json_column(column: pa.ChunkedArray) -> list[Any]:
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_boolean(kind):
        return column.to_pylist()
    if pa.types.is_floating(kind):
        return pc.if_else(pc.is_finite(column), column, None).to_pylist()
    return [json_value(value) for value in column.to_pylist()]


def _csv_column(column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    kind = column.type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return pa.array([json_value(value) for value in column.to_pylist()], pa.string())
    if pa.types.is_nested(kind) or pa.types.is_map(kind):
        texts = [None if v is None else json.dumps(json_value(v)) for v in column.to_pylist()]
        return pa.array(texts, pa.string())
    if pa.types.is_interval(kind) or pa.types.is_duration(kind):
        return pa.array([json_value(v) for v in column.to_pylist()], pa.string())
    return column

"""An Arrow table as a file or on stdout: CSV, JSON, JSON lines, Arrow, Parquet."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from tickerlake.cli.formats import plain_cell, to_json
from tickerlake.errors import StorageError, UsageError

__all__ = ["FORMATS_BY_SUFFIX", "rows_of", "write_file", "write_table"]

FORMATS_BY_SUFFIX = {
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".arrow": "arrow",
    ".parquet": "parquet",
}


def rows_of(table: pa.Table) -> list[tuple[object, ...]]:
    """The rows as tuples, in the order of the columns; two columns may share a name."""
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def write_table(table: pa.Table, form: str, file: BinaryIO) -> None:
    """Write the table in the form that is asked for."""
    if form == "csv":
        import pyarrow.csv

        pyarrow.csv.write_csv(_plain(table), file)
    elif form == "arrow":
        with pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    elif form == "parquet":
        import pyarrow.parquet

        # Through memory: a pipe cannot be told where it is.
        sink = pa.BufferOutputStream()
        pyarrow.parquet.write_table(table, sink)
        file.write(sink.getvalue())
    else:
        names = table.column_names
        lines = (to_json(dict(zip(names, row, strict=True))) for row in rows_of(table))
        text = "".join(f"{line}\n" for line in lines) if form == "jsonl" else _array(list(lines))
        file.write(text.encode())
    file.flush()


def write_file(table: pa.Table, path: Path) -> None:
    """Write the table in the form that the file's name ends in.

    A file that is there before stays until the new one is whole.

    Raises:
        UsageError: The name ends in nothing that we write.
        StorageError: The file cannot be written.
    """
    form = FORMATS_BY_SUFFIX.get(path.suffix.lower())
    if form is None:
        raise UsageError(
            f"{path} does not say in its name what it should be.",
            expected=" ".join(FORMATS_BY_SUFFIX),
            found=path.suffix or "no ending",
        )
    target = path.resolve()
    is_plain = target.is_file() or not target.exists()  # no pipe, and no device
    part = target.with_name(f".{target.name}.{os.getpid()}.part") if is_plain else target
    try:
        with part.open("wb") as file:
            write_table(table, form, file)
        if is_plain:
            part.replace(target)
    except OSError as error:
        if is_plain:
            part.unlink(missing_ok=True)
        raise StorageError(
            f"{path} cannot be written: {error.strerror}.", todo="name another place"
        ) from error


def _array(lines: list[str]) -> str:
    return "[" + ",\n ".join(lines) + "]\n"


def _plain(table: pa.Table) -> pa.Table:
    """CSV knows no nesting, no bytes and no spans: such columns become text."""
    return pa.table([_as_text(column) for column in table.columns], names=table.column_names)


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    if pa.types.is_interval(column.type):
        write = plain_cell
    elif pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
        write = to_json
    else:
        return column
    return pa.array([None if v is None else write(v) for v in column.to_pylist()], pa.string())

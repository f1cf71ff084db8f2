"""Immutable files of rows: one Arrow file each, checked by its checksum at every reading.

A column whose rows all say the same is kept as one value beside the rows, and words as numbers. The
file is complete and fsynced with its folder before anybody names it.
"""

from __future__ import annotations

import functools
import json
import os
import uuid
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.records import SCHEMAS, Kind

__all__ = ["RowFile", "decoded", "read_rows", "sync_folder", "write_rows"]

_CONSTANTS: Final = b"tickerlake.constants"
_PLAIN: Final = pa.ipc.IpcWriteOptions()
#: Larger files are compressed: smaller ones are read in the time that unpacking takes.
_PACKED: Final = pa.ipc.IpcWriteOptions(compression="lz4")
_PLAIN_BYTES_MAX: Final = 1 << 20
#: Threads cost more than they save on files of this size.
_READING: Final = pa.ipc.IpcReadOptions(use_threads=False)


@dataclass(frozen=True, slots=True)
class RowFile:
    """What the index says of a file. It holds the rows in `[low, high)`, or a part of these."""

    name: str
    low: int
    high: int
    rows: int
    bytes: int
    checksum: int


def write_rows(folder: Path, rows: pa.Table, low: int, high: int) -> RowFile:
    """Write rows under a new name; when it returns, they are on the disk.

    Raises:
        OSError: The disk is full, or not writable.
    """
    payload = _encoded(rows)
    name = f"{uuid.uuid4().hex}.arrow"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("xb") as file:
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(folder)
    return RowFile(name, low, high, rows.num_rows, len(payload), zlib.crc32(payload))


def read_rows(folder: Path, file: RowFile, kind: Kind) -> pa.Table | None:
    """The rows in their kind's schema; None if the file is not what was written.

    Raises:
        FileNotFoundError: There is no such file: somebody replaced it, or it was lost.
        OSError: The disk cannot be read.
    """
    payload = (folder / file.name).read_bytes()
    if len(payload) != file.bytes or zlib.crc32(payload) != file.checksum:
        return None
    return decoded(payload, kind)


def decoded(payload: bytes, kind: Kind) -> pa.Table:
    """The rows of a whole file, in their kind's schema.

    Raises:
        pyarrow.ArrowInvalid: It is none of ours, or damaged.
    """
    with pa.ipc.open_file(pa.BufferReader(payload), options=_READING) as reader:
        stored = reader.read_all()
    constants = json.loads(stored.schema.metadata[_CONSTANTS])
    columns: list[pa.Array | pa.ChunkedArray] = []
    for field in SCHEMAS[kind]:
        at = stored.schema.get_field_index(field.name)
        if at < 0:
            columns.append(_constant(constants.get(field.name), field.type, stored.num_rows))
            continue
        column = stored.column(at)
        columns.append(column if column.type == field.type else column.cast(field.type))
    return pa.Table.from_arrays(columns, schema=SCHEMAS[kind])


def sync_folder(folder: Path) -> None:
    """Make new names in a folder last."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _constant(value: str | None, type_: pa.DataType, count: int) -> pa.Array:
    """The same value again and again; the memory is shared by all who need it."""
    return _repeated(value, type_, 1 << max(count - 1, 0).bit_length()).slice(0, count)


@functools.lru_cache(maxsize=256)
def _repeated(value: str | None, type_: pa.DataType, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, type_), count)


def _encoded(rows: pa.Table) -> bytes:
    constants: dict[str, str | None] = {}
    kept: dict[str, pa.Array] = {}
    for name in rows.column_names:
        column = rows[name].combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = (
                pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
            )
        if column.null_count == len(column):
            continue
        if not pa.types.is_string(column.type):
            kept[name] = column
        elif column.null_count == 0 and len(pc.unique(column)) == 1:
            constants[name] = column[0].as_py()
        else:
            kept[name] = column.dictionary_encode()
    # A table of no columns would forget how many rows it has: `ts` is never null.
    table = pa.table(kept).replace_schema_metadata({_CONSTANTS: json.dumps(constants)})
    sink = pa.BufferOutputStream()
    options = _PLAIN if table.nbytes <= _PLAIN_BYTES_MAX else _PACKED
    with pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()

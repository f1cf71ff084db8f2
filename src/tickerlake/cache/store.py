"""Rows that a source gave, on disk: immutable Parquet files and an index of them in SQLite.

A file is complete, fsynced with its folder, and only then named in the index, in one transaction:
after a crash a file may lie there that the index does not name, never the other way round.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from tickerlake.errors import NewerVersionError, StorageError
from tickerlake.records import KEYS, SCHEMAS, Kind, with_event_ids

__all__ = ["Store"]

_VERSION: Final = 1
_BUSY_SECONDS: Final = 30.0


class Store:
    """What one folder keeps. Safe to use from several processes at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, source: str, kind: Kind, rows: pa.Table) -> int:
        """Keep the rows that are not there yet with the same values; returns their number.

        Raises:
            StorageError: The disk is full or not writable; nothing was kept.
        """
        kept = 0
        for symbol in pc.unique(rows["symbol"]).to_pylist():
            own = rows.filter(pc.equal(rows["symbol"], symbol))
            fresh = _unlike(own, self.rows(source, kind, symbol), kind)
            if fresh.num_rows:
                self._write(source, kind, symbol, fresh)
                kept += fresh.num_rows
        return kept

    def rows(self, source: str, kind: Kind, symbol: str) -> pa.Table:
        """The newest row of each key that was kept of a symbol, in order of time.

        Raises:
            StorageError: A file that the index names cannot be read.
        """
        if not (self._folder / "index.sqlite").exists():
            return SCHEMAS[kind].empty_table()
        with self._index() as index:
            found = index.execute(
                "select file from kept where source = ? and kind = ? and symbol = ? order by id",
                (source, kind, symbol),
            ).fetchall()
        tables = [SCHEMAS[kind].empty_table(), *(self._read(file, kind) for (file,) in found)]
        return _newest(pa.concat_tables(tables), kind)

    def symbol_like(self, source: str, symbol: str) -> str | None:
        """The symbol as it is kept, whatever its case; None if nothing is."""
        if not (self._folder / "index.sqlite").exists():
            return None
        with self._index() as index:
            found = index.execute(
                "select symbol from kept where source = ? and upper(symbol) = upper(?) limit 1",
                (source, symbol),
            ).fetchone()
        return found[0] if found else None

    def _write(self, source: str, kind: Kind, symbol: str, rows: pa.Table) -> None:
        name = f"{kind}-{uuid.uuid4().hex}.parquet"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            unnamed = self._folder / f".{name}"
            with unnamed.open("wb") as file:
                pyarrow.parquet.write_table(rows, file, compression="zstd")
                file.flush()
                os.fsync(file.fileno())
            unnamed.rename(self._folder / name)
            _sync(self._folder)
            with self._index() as index:
                index.execute(
                    "insert into kept (source, kind, symbol, file, row_count)"
                    " values (?, ?, ?, ?, ?)",
                    (source, kind, symbol, name, rows.num_rows),
                )
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> StorageError:
        return StorageError(
            f"The cache in {self._folder} cannot be written.",
            expected="room and the right to write",
            found=str(error),
            todo="free some room, or mend the folder's rights",
        )

    def _read(self, file: str, kind: Kind) -> pa.Table:
        try:
            return pyarrow.parquet.read_table(self._folder / file, schema=SCHEMAS[kind])
        except (OSError, pa.ArrowException) as error:
            raise StorageError(
                f"The cache's file {file} cannot be read.",
                expected="the rows that the index names",
                found=str(error),
                todo=f"delete the folder {self._folder}: everything in it can be fetched again",
            ) from error

    @contextlib.contextmanager
    def _index(self) -> Iterator[sqlite3.Connection]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            index = sqlite3.connect(self._folder / "index.sqlite", timeout=_BUSY_SECONDS)
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error
        try:
            index.execute("pragma journal_mode = wal")
            (version,) = index.execute("pragma user_version").fetchone()
            if version > _VERSION:
                raise NewerVersionError(
                    f"The cache in {self._folder} was written by a later tickerlake.",
                    expected=f"version {_VERSION}",
                    found=f"version {version}",
                    todo="upgrade tickerlake, or use another folder",
                )
            with index:
                index.execute(
                    "create table if not exists kept (id integer primary key, source text not null,"
                    " kind text not null, symbol text not null, file text not null,"
                    " row_count integer not null)"
                )
                index.execute("create index if not exists of on kept (source, kind, symbol)")
                index.execute(f"pragma user_version = {_VERSION}")
            with index:
                yield index
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        finally:
            index.close()


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _newest(rows: pa.Table, kind: Kind) -> pa.Table:
    """Of each key the row that was kept last."""
    if not rows.num_rows:
        return rows
    numbered = rows.append_column("row", pa.array(range(rows.num_rows), pa.int64()))
    last = numbered.group_by(list(KEYS[kind])).aggregate([("row", "max")])["row_max"]
    return rows.take(last.combine_chunks()).sort_by([("ts", "ascending")])


def _unlike(rows: pa.Table, kept: pa.Table, kind: Kind) -> pa.Table:
    """The rows that say something else than what is kept; when they were fetched says nothing."""
    if not kept.num_rows:
        return rows
    said, before = (
        with_event_ids(table.drop_columns(["event_id", "fetched_at"]), kind)["event_id"]
        for table in (rows, kept)
    )
    return rows.filter(pc.invert(pc.is_in(said, value_set=before.combine_chunks())))

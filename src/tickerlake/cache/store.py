"""What one folder keeps: immutable files of rows, and the index that says which of them count.

index.sqlite        series, coverage, rechecks, file names (`tickerlake.cache.index`)
rows/*.arrow        rows that count, once the index names them
quarantine/*.arrow  answers that contradict what is held
damaged/*           files that were not what was written
locks/*             who fetches what at the moment
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import pyarrow as pa

from tickerlake import clock
from tickerlake.cache.coverage import Coverage
from tickerlake.cache.index import Change, Index, Series, unusable, usable
from tickerlake.cache.row_files import RowFile, decoded, read_rows, sync_folder, write_rows
from tickerlake.cache.rows import CHUNKS, between, chunked
from tickerlake.records import SCHEMAS, Kind

__all__ = ["Store"]

_READINGS: Final = 5
#: A file of a writer that lives is never so old.
_ORPHAN_SECONDS: Final = 3600


class Store:
    """Safe to use from several threads and processes; who changes a series holds its lock.

    Promise: what a change names is on the disk before, so a crash at any moment leaves the state
    before it or after it. Files that no index names are orphans; `sweep` removes them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = Index(folder)
        self._swept = False

    def close(self) -> None:
        """Give back the index's connection."""
        self.index.close()

    def rows(
        self, series: Series, low: int = -(2**62), high: int = 2**62
    ) -> tuple[pa.Table, list[RowFile]]:
        """The rows in `[low, high)` in order of time, and the files that turned out damaged.

        Raises:
            StorageError: The disk cannot be read.
        """
        for _ in range(_READINGS):
            files = self.index.files(series, low, high)
            tables: list[pa.Table] = []
            damaged: list[RowFile] = []
            lost = False
            for file in files:
                table, is_lost = self._read(file, series)
                lost |= is_lost
                if table is None:
                    damaged.append(file)
                else:
                    tables.append(between(table, low, high))
            # A file that is gone was replaced a moment ago, unless the index still names it.
            if not lost or {f.name for f in self.index.files(series, low, high)} == {
                f.name for f in files
            }:
                break
        if len(tables) == 1:
            return tables[0], damaged
        return (pa.concat_tables(tables) if tables else _empty(series.key.kind)), damaged

    def _read(self, file: RowFile, series: Series) -> tuple[pa.Table | None, bool]:
        with usable(self.folder):
            try:
                return read_rows(self.folder / "rows", file, series.key.kind), False
            except FileNotFoundError:
                return None, True

    def replacing(
        self, series: Series, low: int, high: int, rows: pa.Table
    ) -> tuple[tuple[RowFile, ...], tuple[RowFile, ...]]:
        """Write files in which `rows` stand in the place of all rows in `[low, high)`.

        Returns the files that shall go and those that shall come, for a `Change`.

        Raises:
            StorageError: The disk is full or not writable; nothing has changed.
        """
        files = self.index.files(series, low, high)
        outside = [rows]
        for file in files:
            table, _ = self._read(file, series)
            if table is None:
                raise unusable(self.folder, OSError(f"{file.name} is damaged"))
            outside += [between(table, -(2**62), low), between(table, high, 2**62)]
        whole = pa.concat_tables(outside).sort_by([("ts", "ascending")])
        months = CHUNKS.get(series.key.interval)
        with usable(self.folder):
            added = tuple(
                write_rows(self.folder / "rows", part, start, end)
                for start, end, part in chunked(whole, months)
            )
        return tuple(files), added

    def quarantined(self, rows: pa.Table) -> RowFile:
        """Write rows that shall not count.

        Raises:
            StorageError: The disk is full or not writable.
        """
        with usable(self.folder):
            return write_rows(self.folder / "quarantine", rows, -(2**62), 2**62)

    def set_apart(self, series: Series) -> list[pa.Table]:
        """What is quarantined of a series, the oldest first; what was pruned meanwhile is not.

        Raises:
            StorageError: A file is damaged, or the disk does not answer.
        """
        tables = []
        for file in self.index.quarantined(series):
            path = self.folder / "quarantine" / file.name
            with usable(self.folder), contextlib.suppress(FileNotFoundError):
                payload = path.read_bytes()
                try:
                    tables.append(decoded(payload, series.key.kind))
                except pa.ArrowException as error:
                    raise OSError(f"{path.name} is damaged: cache prune deletes it") from error
        return tables

    def commit(self, changes: Sequence[Change]) -> tuple[Series, ...]:
        """All changes in one transaction; then the files that went are deleted.

        Raises:
            StorageError: Nothing has changed, or what has gone could not be deleted.
        """
        kept = self.index.commit(changes)
        if not self._swept:  # once a process: what crashes left an hour ago and more
            self._swept = True
            self.sweep()
        gone = [file for change in changes for file in change.remove]
        self.delete(self.folder / "rows" / file.name for file in gone)
        return kept

    def set_aside(self, series: Series, damaged: Sequence[RowFile]) -> Series:
        """Take damaged files out of the index, and what they held out of the coverage."""
        lost = Coverage.of((file.low, file.high) for file in damaged)
        held = replace(series.held, coverage=series.held.coverage - lost, quiet=None)
        change = Change(replace(series, held=held), remove=tuple(damaged))
        (kept,) = self.index.commit([change])
        target = self.folder / "damaged"
        with usable(self.folder):
            target.mkdir(parents=True, exist_ok=True)
            for file in damaged:
                with contextlib.suppress(FileNotFoundError):
                    (self.folder / "rows" / file.name).rename(target / file.name)
            sync_folder(target)
        return kept

    def orphans(self) -> list[Path]:
        """Files that no index names and no living writer can be about to name."""
        counted, aside = self.index.names()
        youngest = clock.real_now().timestamp() - _ORPHAN_SECONDS
        found = []
        for folder, names in (("rows", counted), ("quarantine", aside)):
            for path in sorted((self.folder / folder).glob("*.arrow")):
                with contextlib.suppress(FileNotFoundError):
                    if path.name not in names and path.stat().st_mtime < youngest:
                        found.append(path)
        return found

    def sweep(self) -> int:
        """Delete orphans; returns their number."""
        orphans = self.orphans()
        self.delete(orphans)
        return len(orphans)

    def delete(self, paths: Iterable[Path]) -> None:
        """Files that nobody names any more.

        Raises:
            StorageError: The folder cannot be written; what is left becomes orphans.
        """
        with usable(self.folder):
            for path in paths:
                path.unlink(missing_ok=True)


@functools.cache
def _empty(kind: Kind) -> pa.Table:
    return SCHEMAS[kind].empty_table()

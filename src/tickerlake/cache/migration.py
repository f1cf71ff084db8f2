"""What the first version of the cache kept, taken over: its rows, without any coverage.

That version did not know what it had asked for. So its rows are served offline and where the
provider fails, and every range is asked for once more.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from tickerlake.cache.row_files import write_rows
from tickerlake.cache.rows import CHUNKS, chunked, newest
from tickerlake.records import SCHEMAS, Kind

__all__ = ["take_over"]


def take_over(index: sqlite3.Connection, folder: Path) -> None:
    """Write the old rows into new files and name them; the old files stay, as `*.parquet`.

    Files that cannot be read are left where they are.
    """
    kept = index.execute("select source, kind, symbol, file from kept order by id").fetchall()
    for source, kind, symbol in dict.fromkeys((row[0], row[1], row[2]) for row in kept):
        files = [row[3] for row in kept if row[:3] == (source, kind, symbol)]
        rows = newest(_read(folder, files, kind), kind)
        intervals = pc.unique(rows["interval"]).to_pylist() if kind == "bar" else [""]
        for interval in intervals:
            own = rows.filter(pc.equal(rows["interval"], interval)) if kind == "bar" else rows
            cursor = index.execute(
                "insert or ignore into series (provider, symbol, kind, interval, session, current,"
                " generation, traits, about, lead, extended, coverage, rechecks)"
                " values (?, ?, ?, ?, 'regular', 1, 1, '{}', '{}', 0, 0, '[]', '[]')",
                (source, symbol.upper(), kind, interval),
            )
            for low, high, part in chunked(own, CHUNKS.get(interval)):
                file = write_rows(folder / "rows", part, low, high)
                index.execute(
                    "insert into files values (?, ?, ?, ?, ?, ?, ?)",
                    (file.name, cursor.lastrowid, low, high, file.rows, file.bytes, file.checksum),
                )
    index.execute("drop table kept")


def _read(folder: Path, files: list[str], kind: Kind) -> pa.Table:
    tables = [SCHEMAS[kind].empty_table()]
    for file in files:
        try:
            tables.append(pyarrow.parquet.read_table(folder / file, schema=SCHEMAS[kind]))
        except (OSError, pa.ArrowException):
            continue
    return pa.concat_tables(tables)

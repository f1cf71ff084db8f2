"""Data files: what they look like inside, and what happens when the disk is full."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tickerlake.errors import MalformedError
from tickerlake.lake import Change
from tickerlake.lake.lake import Lake
from tickerlake.lake.registry import open_lake
from tickerlake.lake.settings import LakeSettings
from tickerlake.records import lake_schema
from tickerlake.testing.lake_suite import bars

START = datetime(2013, 5, 1, tzinfo=UTC)


def test_a_file_says_which_column_is_which(lake: Lake) -> None:
    """Iceberg's field ids stand in the Parquet schema; types are plain, statistics there."""
    (file,) = lake.table("bars_log").write(bars(0, 100, start=START))
    parquet = pq.ParquetFile(file.path)
    schema = parquet.schema_arrow
    assert [field.metadata[b"PARQUET:field_id"] for field in schema] == [
        str(number).encode() for number in range(1, len(schema) + 1)
    ]
    assert schema.types == lake_schema("bar").types
    group = parquet.metadata.row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert columns["symbol"].compression == "ZSTD"
    assert columns["symbol"].statistics.min == "AAPL"
    assert "RLE_DICTIONARY" in columns["ts"].encodings
    assert all(not e.startswith("DELTA") for c in columns.values() for e in c.encodings)


def test_row_groups_have_the_size_that_was_asked_for(tmp_path: Path) -> None:
    """Small row groups let a query on one symbol skip most of a file."""
    settings = LakeSettings(row_group_rows=40)
    lake = open_lake("./lake", "sqlite:", workspace=tmp_path, settings=settings)
    (file,) = lake.table("bars_log").write(bars(0, 100, start=START))
    metadata = pq.ParquetFile(file.path).metadata
    assert [metadata.row_group(i).num_rows for i in range(3)] == [40, 40, 20]
    lake.close()


def test_chunks_and_dictionaries_are_taken_as_they_come(lake: Lake) -> None:
    """Rows in several chunks, strings as dictionaries or plain: the same rows are read."""
    table = lake.table("bars_log")
    rows = pa.concat_tables([bars(0, 10, start=START), bars(10, 10, start=START)])
    symbols = rows.column("symbol").dictionary_encode()
    place = rows.column_names.index("symbol")
    table.commit(
        table.load(), Change(append=table.write(rows.set_column(place, "symbol", symbols)))
    )
    assert table.read(table.load()).sort_by("_offset").equals(bars(0, 20, start=START))


def test_strings_that_each_batch_numbers_anew_are_sorted_as_strings(lake: Lake) -> None:
    """Coded with other words in each chunk, some of them in no row: in order of symbol and time."""
    table = lake.table("bars_log")
    orders = (["MSFT", "ZZZ", "IBM", "AAPL"], ["IBM", "AAPL", "MSFT"], ["AAPL", "MSFT", "IBM"])
    rows = pa.concat_tables(
        coded(bars(first, 40, start=START), words)
        for first, words in zip((0, 40, 80), orders, strict=True)
    )
    (file,) = table.write(rows)
    symbols, times = (pq.read_table(file.path)[name].to_pylist() for name in ("symbol", "ts"))
    pairs = list(zip(symbols, times, strict=True))
    assert pairs == sorted(pairs)
    assert sorted(set(symbols)) == ["AAPL", "IBM", "MSFT"]
    table.commit(table.load(), Change(append=(file,)))
    plain = rows.cast(lake_schema("bar"))
    assert table.read(table.load()).sort_by("_offset").equals(plain.sort_by("_offset"))


def coded(rows: pa.Table, words: list[str]) -> pa.Table:
    numbers = pa.array([words.index(symbol) for symbol in rows["symbol"].to_pylist()], pa.int32())
    symbols = pa.DictionaryArray.from_arrays(numbers, pa.array(words))
    return rows.set_column(rows.column_names.index("symbol"), "symbol", symbols)


def test_no_rows_no_file(lake: Lake) -> None:
    """Writing nothing makes nothing."""
    assert lake.table("bars_log").write(bars(0, 0)) == ()


def test_wrong_columns_are_refused(lake: Lake) -> None:
    """Rows of another shape are refused before anything is written."""
    with pytest.raises(MalformedError, match="columns of bars_log"):
        lake.table("bars_log").write(bars(0, 5).drop_columns(["close"]))


FULL = """
import resource, signal, sys
from pathlib import Path
from tickerlake.errors import StorageError
from tickerlake.lake.registry import open_lake
from tickerlake.testing.lake_suite import bars

table = open_lake("./lake", "sqlite:", workspace=Path(sys.argv[1])).table("bars_log")
rows = bars(0, 600)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, 8_000))
try:
    table.write(rows)
except StorageError as error:
    print(error)
"""


def test_a_file_that_cannot_be_completed_is_removed(tmp_path: Path) -> None:
    """No room for the second file: a storage error, and none of that write's files is left."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "cannot be written" in done.stdout
    assert "what to do: make room" in done.stdout
    assert not list((tmp_path / "lake").rglob("*.parquet"))


def test_a_new_folder_survives_a_power_cut(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The names of file, month and `data` are on the disk before the file may be committed."""
    sync, synced = os.fsync, set()

    def note(descriptor: int) -> None:
        synced.add(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    (file,) = lake.table("bars_log").write(bars(0, 10, start=START))
    month = Path(file.path).parent
    assert {file.path, str(month), str(month.parent), str(month.parent.parent)} <= synced

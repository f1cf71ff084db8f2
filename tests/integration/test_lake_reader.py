"""Other people's DuckDB reads the lake by folder: fresh after each commit, without a lock."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tickerlake
from tickerlake.config import make_workspace
from tickerlake.lake.lake import Lake
from tickerlake.lake.maintenance import compact, expire, sweep
from tickerlake.lake.tables import SPECS
from tickerlake.sources import BarsRequest
from tickerlake.testing.lake_suite import deliver

PYTHON = Path(__file__).resolve().parents[2] / ".venvs" / "duckdb-reader" / "bin" / "python"

READER = """
import json, sys
import duckdb, duckdb_extension_avro, duckdb_extension_iceberg

connection = duckdb.connect()
for module, name in ((duckdb_extension_avro, "avro"), (duckdb_extension_iceberg, "iceberg")):
    folder = f"{list(module.__path__)[0]}/extensions/v{duckdb.__version__}"
    connection.execute(f"load '{folder}/{name}.duckdb_extension'")
for line in sys.stdin:
    print(json.dumps(connection.execute(json.loads(line)).fetchall()), flush=True)
"""


class Reader:
    """A process of its own that stays open, as a Superset does."""

    def __init__(self) -> None:
        if not PYTHON.exists():
            pytest.fail(f"{PYTHON} is missing: run `make test` once, which makes it")
        self._process = subprocess.Popen(
            [str(PYTHON), "-c", READER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def sql(self, query: str) -> list[Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(query) + "\n")
        self._process.stdin.flush()
        answer: list[Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture
def reader() -> Iterator[Reader]:
    fresh = Reader()
    yield fresh
    fresh.close()


def test_every_commit_is_seen_at_once(lake: Lake, reader: Reader) -> None:
    """After each commit the open reader counts its rows, and its sums agree with ours."""
    table = lake.table("bars_log")
    count = f"select count(*), sum(close), max(_offset) from iceberg_scan('{table.folder}')"
    for number in range(1, 5):
        deliver(table, 10)
        total = number * 10
        assert reader.sql(count) == [[total, total * (total - 1) / 2, total - 1]]


def test_types_and_nulls_arrive_as_they_are(lake: Lake, reader: Reader) -> None:
    """Instants are UTC, empty columns are null, symbols are text."""
    table = lake.table("bars_log")
    deliver(table, 1)
    scan = f"from iceberg_scan('{table.folder}')"
    assert reader.sql(f"select epoch(ts)::bigint, symbol, adj_close, dead_reason {scan}") == [
        [1359633600, "MSFT", None, None]
    ]
    assert reader.sql(f"select typeof(ts), typeof(payload), typeof(session_date) {scan}") == [
        ["TIMESTAMP WITH TIME ZONE", "BLOB", "DATE"]
    ]


def test_the_reader_follows_through_maintenance(lake: Lake, reader: Reader) -> None:
    """Compaction, expiry and sweep do not change what it counts, and break nothing for it."""
    table = lake.table("bars_log")
    for _ in range(25):
        deliver(table, 4)
    count = f"select count(*), count(distinct _offset) from iceberg_scan('{table.folder}')"
    assert reader.sql(count) == [[100, 100]]
    compact(lake, ["bars_log"])
    assert reader.sql(count) == [[100, 100]]
    expire(lake, ["bars_log"], keep=2)
    sweep(lake, ["bars_log"], age_hours=0)
    assert reader.sql(count) == [[100, 100]]
    deliver(table, 1)
    assert reader.sql(count) == [[101, 101]]


def test_all_tables_are_there_after_one_delivery(tmp_path: Path, reader: Reader) -> None:
    """A finished delivery leaves the derived tables as fresh as the logs, for every engine."""
    folder, _ = make_workspace(tmp_path / "one")
    with tickerlake.open(folder) as workspace:
        workspace.publisher("sample").publish([BarsRequest("FB"), BarsRequest("IBM")])
        workspace.deliver(once=True)
        ours = {
            view: workspace.sql(f"select count(*) as n from {view}").table["n"][0].as_py()
            for view in ("latest", "deliveries")
        }

    def rows(table: str) -> int:
        count: int = reader.sql(f"select count(*) from iceberg_scan('{folder}/lake/{table}')")[0][0]
        return count

    assert {table: rows(table) for table in SPECS} == {
        **dict.fromkeys(SPECS, 0),
        "bars_log": 196 + 3270,
        **ours,
    }
    assert ours["latest"] == 2

"""Compaction beside workers, other compactions, late rows and kills."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tickerlake.errors import CommitRefusedError, StorageError
from tickerlake.lake import Change
from tickerlake.lake.lake import Lake
from tickerlake.lake.maintenance import compact, sweep, verify
from tickerlake.lake.registry import open_lake
from tickerlake.lake.settings import LakeSettings
from tickerlake.testing.lake_suite import STREAM, bars, deliver


def test_compaction_wins_against_steady_commits(lake: Lake, tmp_path: Path) -> None:
    """While a worker commits many times a second, compaction lands and loses or doubles nothing."""
    table = lake.table("bars_log")
    for _ in range(8):
        deliver(table, 10)
    other = open_lake("./lake", "sqlite:", workspace=tmp_path)
    stop, delivered = threading.Event(), threading.Semaphore(0)

    def work() -> None:
        while not stop.wait(0.02):
            # As a worker does: refused by the compaction, it reads again and decides anew.
            with contextlib.suppress(CommitRefusedError):
                deliver(other.table("bars_log"), 3, partition="1")
                delivered.release()

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(3):
            assert all(report.landed for report in compact(lake, ["bars_log"]))
            for _ in range(5):
                assert delivered.acquire(timeout=30)
    finally:
        stop.set()
        worker.join()
        other.close()
    loaded = table.load()
    rows = table.read(loaded, columns=["_partition", "_offset"])
    late = int(loaded.properties[f"tickerlake.offset.{STREAM}.1"])
    assert late >= 45
    assert rows.num_rows == 80 + late
    report = verify(lake)
    assert report.sound, report.findings


def test_late_rows_of_a_compacted_day_are_kept(lake: Lake) -> None:
    """Rows that arrive for a month that was compacted before come in beside it, then into it."""
    table = lake.table("bars_log")
    may = datetime(2013, 5, 1, tzinfo=UTC)
    deliver(table, 10, start=may)
    compact(lake)
    deliver(table, 10, start=may)
    assert [file.compacted for file in table.live_files(table.load())] == [False, True]
    compact(lake)
    assert [file.compacted for file in table.live_files(table.load())] == [True]
    assert table.read(table.load()).num_rows == 20


def test_a_running_day_is_left_alone(lake: Lake) -> None:
    """Files that hold a row of today wait for tomorrow."""
    table = lake.table("bars_log")
    deliver(table, 10)
    assert compact(lake, before=datetime(2013, 1, 31, tzinfo=UTC)) == []
    assert len(compact(lake, before=datetime(2013, 2, 2, tzinfo=UTC))) == 1


def test_of_two_compactions_one_lands(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another compaction lands just before ours: ours gives up, and harms nothing."""
    table = lake.table("bars_log")
    for _ in range(4):
        deliver(table, 5)
    other = open_lake("./lake", "sqlite:", workspace=tmp_path)
    send = lake.catalog.commit_table

    def let_the_other_go_first(table: Any, *request: Any) -> Any:
        if table.name()[-1] == "bars_log":
            monkeypatch.undo()
            assert all(report.landed for report in compact(other))
        return send(table, *request)

    monkeypatch.setattr(lake.catalog, "commit_table", let_the_other_go_first)
    reports = compact(lake)
    other.close()
    assert {report.landed for report in reports} == {False}
    assert table.read(table.load()).num_rows == 20
    live = set(table.files(table.load()))
    assert live < {str(path) for path in Path(table.folder).rglob("compacted-*")}
    # What was refused may have landed: only the sweep can be certain.
    sweep(lake, age_hours=0)
    assert live == {str(path) for path in Path(table.folder).rglob("compacted-*")}
    assert verify(lake).sound


KILLED = """
import os, signal, sys
from pathlib import Path
from tickerlake.lake.maintenance import compact
from tickerlake.lake.registry import open_lake

lake = open_lake("./lake", "sqlite:", workspace=Path(sys.argv[1]))
send = lake.catalog.commit_table

def die(table, *request):
    if table.name()[-1] != "bars_log":
        return send(table, *request)
    if sys.argv[2] == "after":
        send(table, *request)
    os.kill(os.getpid(), signal.SIGKILL)

lake.catalog.commit_table = die
compact(lake)
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_killed_compaction_harms_nothing(lake: Lake, tmp_path: Path, when: str) -> None:
    """Killed just before or after its commit landed: every row is there once, and hint and all."""
    table = lake.table("bars_log")
    for _ in range(4):
        deliver(table, 5)
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), when], check=False)
    assert done.returncode == -9
    report = verify(lake)
    assert report.sound, report.findings
    assert report.mended_hints == (("bars_log",) if when == "after" else ())
    offsets = table.read(table.load(), columns=["_offset"]).column("_offset")
    assert pc.count_distinct(offsets).as_py() == len(offsets) == 20


@pytest.mark.parametrize("table_name", ["bars_log", "corporate_actions_log"])
def test_every_row_stays_whole(lake: Lake, table_name: str) -> None:
    """Files with other values in each: after compaction each row holds what it held before."""
    table = lake.table(table_name)
    start = datetime(2013, 5, 1, tzinfo=UTC)
    for number in (2, 0, 1):
        rows = bars(number, 1, start=start, partition=f"p{number}")
        columns = [
            rows.column(field.name) if field.name in rows.column_names else pa.nulls(1, field.type)
            for field in table.spec.schema
        ]
        written = table.write(pa.table(columns, schema=table.spec.schema))
        table.commit(table.load(), Change(append=written))
    before = table.read(table.load()).sort_by("_offset")
    compact(lake, [table_name])
    assert [file.compacted for file in table.live_files(table.load())] == [True]
    assert table.read(table.load()).sort_by("_offset").equals(before)


def test_a_month_that_does_not_fit_into_memory(tmp_path: Path) -> None:
    """Cut by symbol into slices and several files: every row is there, in order, marked."""
    settings = LakeSettings(compaction_rows_max=50, compacted_file_rows_max=80)
    lake = open_lake("./lake", "sqlite:", workspace=tmp_path, settings=settings)
    table = lake.table("bars_log")
    start = datetime(2013, 5, 1, tzinfo=UTC)
    deliver(table, 120, start=start)
    untold = bars(120, 5, start=start).set_column(2, "symbol", pa.nulls(5, pa.string()))
    twice = bars(0, 3, start=start)
    table.commit(table.load(), Change(append=table.write(pa.concat_tables([untold, twice]))))
    (report,) = compact(lake, ["bars_log"])
    assert (report.rows, report.files_after) == (128, 2)
    rows = table.read(table.load())
    assert rows.num_rows == 128
    assert pc.sum(pc.is_valid(rows.column("_superseded_at"))).as_py() == 3
    for file in table.live_files(table.load()):
        part = table.read_files([file], columns=["symbol", "ts"]).to_pylist()
        places = [(row["symbol"] or "", row["ts"]) for row in part]
        assert places == sorted(places)
    lake.close()


def test_a_full_disk_removes_what_was_begun(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the second output cannot be written, the first one is removed too."""
    table = lake.table("bars_log")
    table.commit(table.load(), Change(append=table.write(bars(0, 40))))
    monkeypatch.setattr("tickerlake.lake.local_store.sync_file", _disk_full)
    with pytest.raises(StorageError, match="cannot be written"):
        compact(lake)
    assert not list(Path(table.folder).rglob("compacted-*"))
    assert table.read(table.load()).num_rows == 40


def _disk_full(path: Path) -> None:
    raise OSError(28, "No space left on device", str(path))

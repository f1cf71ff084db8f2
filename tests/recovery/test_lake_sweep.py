"""The sweep against paused workers, slow readers and killed writers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tickerlake import clock
from tickerlake.errors import CommitRefusedError
from tickerlake.lake import Change
from tickerlake.lake.lake import Lake
from tickerlake.lake.maintenance import compact, expire, sweep, verify
from tickerlake.testing.lake_suite import bars, deliver

TWO_DAYS_SECONDS = 48 * 3600


def age(folder: Path) -> None:
    """Make every file look two days old."""
    for path in folder.rglob("*"):
        if path.is_file():
            then = time.time() - TWO_DAYS_SECONDS  # noqa: TID251 - what file systems count in
            os.utime(path, (then, then))


def test_a_paused_worker_is_fenced(lake: Lake) -> None:
    """A worker wrote its files, was paused for days, and wakes after a sweep: it is refused."""
    table = lake.table("bars_log")
    deliver(table, 10)
    loaded, files = table.load(), table.write(bars(10, 10))
    age(Path(table.folder))
    (report,) = sweep(lake)
    assert report.deleted_files == len(files)
    with pytest.raises(CommitRefusedError):
        table.commit(loaded, Change(append=files))
    assert verify(lake).sound
    deliver(table, 10)
    assert table.read(table.load()).num_rows == 20


def test_a_paused_compaction_gives_up(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """It wrote its files, was paused for days, and a sweep took them: the inputs stay live."""
    table = lake.table("bars_log")
    for _ in range(3):
        deliver(table, 10)
    send, awake = lake.catalog.commit_table, clock.real_now

    def sleep_and_be_swept(asked: Any, *request: Any) -> Any:
        if asked.name()[-1] == "bars_log":
            monkeypatch.undo()
            later = awake() + timedelta(seconds=TWO_DAYS_SECONDS)
            monkeypatch.setattr(clock, "real_now", lambda: later)
            assert sweep(lake, ["bars_log"])[0].deleted_files
        return send(asked, *request)

    monkeypatch.setattr(lake.catalog, "commit_table", sleep_and_be_swept)
    assert not any(report.landed for report in compact(lake, ["bars_log"]))
    assert verify(lake).sound
    assert table.read(table.load()).num_rows == 30


def test_a_sweep_that_is_too_eager_loses_nothing(lake: Lake) -> None:
    """A sweep of age 0 takes the files of a waiting worker: its commit is refused, not hollow."""
    table = lake.table("bars_log")
    deliver(table, 10)
    files = table.write(bars(10, 10))
    assert sweep(lake, age_hours=0)[0].deleted_files >= len(files)
    with pytest.raises(CommitRefusedError, match="is gone"):
        table.commit(table.load(), Change(append=files))
    assert verify(lake).sound


def test_young_files_stay(lake: Lake) -> None:
    """A file that was written a moment ago may be committed after the sweep."""
    table = lake.table("bars_log")
    deliver(table, 10)
    age(Path(table.folder))
    files = table.write(bars(10, 10))
    (report,) = sweep(lake)
    assert (report.deleted_files, report.young_files) == (0, len(files))
    table.commit(table.load(), Change(append=files))
    assert table.read(table.load()).num_rows == 20


def test_what_expiry_and_compaction_left_goes_and_nothing_else(lake: Lake) -> None:
    """Old data files, manifests and metadata are deleted; every row and every check is there."""
    table = lake.table("bars_log")
    for _ in range(12):
        deliver(table, 10)
    compact(lake, ["bars_log"])
    expire(lake, ["bars_log"], keep=2)
    # Metadata files are kept for slow readers until a hundred commits have passed.
    age(Path(table.folder))
    before = len(list(Path(table.folder).rglob("*")))
    sweep(lake)
    assert len(list((Path(table.folder) / "data").rglob("*.parquet"))) == 2
    assert len(list(Path(table.folder).rglob("*"))) < before
    assert table.read(table.load()).num_rows == 120
    report = verify(lake)
    assert report.sound, report.findings


def test_a_slow_reader_finds_its_snapshot(lake: Lake) -> None:
    """A query that began before compaction and sweep reads on: its files stand in a snapshot."""
    table = lake.table("bars_log")
    for _ in range(3):
        deliver(table, 10)
    slow = table.load()
    compact(lake)
    age(Path(table.folder))
    sweep(lake)
    assert table.read(slow).num_rows == 30


KILLED_PROBE = """
import os, signal, sys
from pathlib import Path
from tickerlake.lake.registry import open_lake

lake = open_lake("./lake", "sqlite:", workspace=Path(sys.argv[1]))
lake.catalog.commit_table = lambda *request: os.kill(os.getpid(), signal.SIGKILL)
lake.probe()
"""


def test_a_killed_probe_is_forgotten(lake: Lake, tmp_path: Path) -> None:
    """Its scratch table is no table of the lake; a later sweep removes it."""
    done = subprocess.run([sys.executable, "-c", KILLED_PROBE, str(tmp_path)], check=False)
    assert done.returncode == -9
    assert len(list(Path(lake.folder).glob(".probe_*"))) == 1
    assert lake.names() == []
    sweep(lake)
    assert len(list(Path(lake.folder).glob(".probe_*"))) == 1
    sweep(lake, age_hours=0)
    assert not list(Path(lake.folder).glob(".probe_*"))
    assert lake.catalog.list_tables("tickerlake") == []

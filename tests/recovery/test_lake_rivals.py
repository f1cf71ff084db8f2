"""Rival processes, each with a catalog connection of its own, commit on one state."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tickerlake.lake.lake import Lake
from tickerlake.testing.lake_suite import deliver

RIVAL = """
import sys
from pathlib import Path
from tickerlake.errors import CommitRefusedError
from tickerlake.lake import Change
from tickerlake.lake.registry import open_lake
from tickerlake.testing.lake_suite import bars

lake = open_lake("./lake", "sqlite:", workspace=Path(sys.argv[1]))
table = lake.table("bars_log")
for line in sys.stdin:
    loaded = table.load()
    files = table.write(bars(0, 5)) if line == "rows\\n" else ()
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        table.commit(loaded, Change(append=files))
        print("landed", flush=True)
    except CommitRefusedError:
        table.discard(files)
        print("refused", flush=True)
"""


@pytest.mark.slow
def test_of_six_rival_processes_one_wins(lake: Lake, tmp_path: Path) -> None:
    """Round after round, with rows and without: one process lands, five are refused."""
    table = lake.table("bars_log")
    deliver(table, 5)
    rivals = [
        subprocess.Popen(
            [sys.executable, "-c", RIVAL, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    rounds = ["rows", "nothing", "rows"]
    try:
        for what in rounds:
            _tell(rivals, what)
            assert _heard(rivals) == ["ready"] * 6
            _tell(rivals, "go")
            assert sorted(_heard(rivals)) == ["landed"] + ["refused"] * 5
    finally:
        for rival in rivals:
            rival.communicate()
    loaded = table.load()
    assert table.read(loaded).num_rows == 15
    assert len(table.snapshots(loaded)) == 1 + len(rounds)


def _tell(rivals: list[subprocess.Popen[str]], word: str) -> None:
    for rival in rivals:
        assert rival.stdin is not None
        rival.stdin.write(f"{word}\n")
        rival.stdin.flush()


def _heard(rivals: list[subprocess.Popen[str]]) -> list[str]:
    return [rival.stdout.readline().strip() for rival in rivals if rival.stdout is not None]

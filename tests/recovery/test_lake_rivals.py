"""Rival processes, each with a catalog connection of its own, commit on one state."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lakes import Place
from tickerlake.testing.lake_suite import deliver

RIVAL = """
import sys
import tickerlake
from tickerlake.errors import CommitRefusedError
from tickerlake.lake import Change
from tickerlake.testing.lake_suite import bars

tables = [tickerlake.open(folder).lake.table("bars_log") for folder in sys.argv[1:]]
for line in sys.stdin:
    what, number = line.split()
    table = tables[int(number)]
    loaded = table.load()
    files = table.write(bars(0, 5)) if what == "rows" else ()
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
@pytest.mark.xdist_group("lakes")
def test_of_six_rival_processes_one_wins(
    sqlite_local: Place, postgres_s3: Place, rest_s3: Place
) -> None:
    """Over each catalog, with rows and without: one process lands, five are refused."""
    places = [sqlite_local, postgres_s3, rest_s3]
    tables = [place.open().table("bars_log") for place in places]
    for table in tables:
        deliver(table, 5)
    rivals = [
        subprocess.Popen(
            [sys.executable, "-c", RIVAL, *(str(place.folder) for place in places)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    rounds = ["rows", "nothing", "rows"]
    try:
        for number in range(len(places)):
            for what in rounds:
                _tell(rivals, f"{what} {number}")
                assert _heard(rivals) == ["ready"] * 6
                _tell(rivals, "go")
                assert sorted(_heard(rivals)) == ["landed"] + ["refused"] * 5
    finally:
        for rival in rivals:
            rival.communicate()
    for table in tables:
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

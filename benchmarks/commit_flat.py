"""Does a commit stay as fast as the first? Five hundred appends to one table, beside a peer.

python benchmarks/commit_flat.py [--quick]

Ours: load, commit of a file that is written already, version hint; every 50 commits what a
delivering worker does for its table (expiry, `deliveries`, `latest`), counted apart. The peer is
PyIceberg as its documentation shows it: `table.append` of the same rows, on a SQLite catalog. Its
append writes the file too, so look at how it grows, not at how high it begins.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pyiceberg.catalog import load_catalog

from tickerlake.lake import Change
from tickerlake.lake.lake import Lake
from tickerlake.lake.maintenance import tend
from tickerlake.lake.positions import Range, check_hash, encode_ranges, offset_property
from tickerlake.lake.registry import open_lake
from tickerlake.testing.lake_suite import STREAM, bars

ROWS = 200
SHARE = 20
GOAL = 1.2
#: The machine's speed changes within a run by more than a commit does.
ROUNDS = 5


def milliseconds(work: Callable[[], object]) -> float:
    """CPU milliseconds: other processes of the machine do not count."""
    began = time.process_time()
    work()
    return (time.process_time() - began) * 1000


def ours(lake: Lake, commits: int) -> tuple[list[float], float]:
    """CPU milliseconds of each commit, and of all maintenance between them."""
    table = lake.table("bars_log")
    maintenance = 0.0
    taken = []
    for number in range(commits):
        files = table.write(bars(number * ROWS, ROWS))

        def commit(number: int = number, files: tuple = files) -> None:
            loaded = table.load()
            changed = {offset_property(STREAM, "0"): str((number + 1) * ROWS)}
            span = Range(number * ROWS, (number + 1) * ROWS)
            summary = {
                "tickerlake.check": check_hash({**loaded.properties, **changed}),
                "tickerlake.ranges": encode_ranges({STREAM: {"0": span}}),
            }
            table.commit(loaded, Change(append=files, properties=changed, summary=summary))

        taken.append(milliseconds(commit))
        if number % lake.settings.expire_every_commits == lake.settings.expire_every_commits - 1:
            maintenance += milliseconds(lambda: tend(lake, "bars_log"))
    return taken, maintenance


def peer(folder: Path, commits: int) -> list[float]:
    """CPU milliseconds of each of PyIceberg's own appends, with its default properties."""
    catalog = load_catalog(
        "peer", type="sql", uri=f"sqlite:///{folder}/peer.db", warehouse=f"file://{folder}/peer"
    )
    rows = bars(0, ROWS)
    catalog.create_namespace("peer")
    catalog.create_table("peer.bars", rows.schema).append(rows)
    return [
        milliseconds(lambda: catalog.load_table("peer.bars").append(rows)) for _ in range(commits)
    ]


def ends(taken: list[float]) -> tuple[float, float]:
    """Medians of the first and of the last commits."""
    return statistics.median(taken[:SHARE]), statistics.median(taken[-SHARE:])


def ratio(taken: list[float]) -> float:
    """How many times as long the last commits took as the first."""
    first, last = ends(taken)
    return last / first


def one_run(folder: Path, commits: int) -> tuple[list[float], float]:
    """`ours` on a lake of its own."""
    folder.mkdir()
    lake = open_lake("./lake", "sqlite:", workspace=folder)
    try:
        return ours(lake, commits)
    finally:
        lake.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    commits = 120 if parser.parse_args().quick else 500
    with tempfile.TemporaryDirectory() as folder:
        warm = open_lake("./lake", "sqlite:", workspace=Path(folder) / "warm")
        ours(warm, 60)
        warm.close()
        runs = [one_run(Path(folder) / str(number), commits) for number in range(ROUNDS)]
        others = peer(Path(folder), commits)
    taken, maintenance = sorted(runs, key=lambda run: ratio(run[0]))[ROUNDS // 2]
    spread = ", ".join(f"{ratio(run[0]):.2f}" for run in runs)
    first, last = ends(taken)
    peer_first, peer_last = ends(others)
    print(
        json.dumps(
            {
                "name": "commit_flat",
                "what": f"median of the last {SHARE} of {commits} commits, over the first {SHARE}; "
                f"the middle one of {ROUNDS} rounds",
                "figure": f"{last / first:.2f} times ({first:.1f} → {last:.1f} ms); all: {spread}",
                "records": commits,
                "cpu_seconds": round(sum(taken) / 1000, 3),
                "first_milliseconds": round(first, 2),
                "last_milliseconds": round(last, 2),
                "worst_milliseconds": round(max(taken), 2),
                "maintenance_milliseconds_per_commit": round(maintenance / commits, 2),
                "ratio": round(last / first, 3),
                "goal": f"<= {GOAL}",
                "met": last / first <= GOAL,
                "peer": "PyIceberg table.append, its defaults: "
                f"{peer_last / peer_first:.2f} times ({peer_first:.1f} → {peer_last:.1f} ms)",
                "peer_first_milliseconds": round(peer_first, 2),
                "peer_last_milliseconds": round(peer_last, 2),
                "peer_ratio": round(peer_last / peer_first, 3),
            }
        )
    )
    print(
        f"commit {first:.1f} ms at first, {last:.1f} after {commits} ({last / first:.2f} times); "
        f"PyIceberg's append {peer_first:.1f} → {peer_last:.1f} ms "
        f"({peer_last / peer_first:.2f} times)",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()

"""Live over a real broker: from published to queryable, and how fast a killed worker is replaced.

python benchmarks/kafka_live.py [--quick]

A publisher sends 50,000 records a second (four processes share the machine: broker, publisher,
delivery, reader). Beside it single records are published, and asked for in `bars` until they are
there. Then two deliveries share the topic, one is killed with SIGKILL, and the clock runs until
each of its partitions has moved in the lake.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _broker import bars, broker, tell

from tickerlake import open as open_workspace
from tickerlake.lake.positions import offsets_of
from tickerlake.testing.sample_records import sample_bars

PER_SECOND = 50_000
BEAT_SECONDS = 0.05
GOAL_SECONDS = 1.0
SESSION_SECONDS = 6.0


def publish_steadily(folder: str, seconds: float) -> None:
    """The publisher's process: a batch a beat, never ahead of the clock."""
    workspace = open_workspace(Path(folder))
    topic = workspace.stream.topic("bar")
    size = int(PER_SECOND * BEAT_SECONDS)
    batches = [bars(number * size, size) for number in range(40)]
    began, sent = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        topic.publish(batches[sent % len(batches)])
        sent += 1
        time.sleep(max(0.0, began + sent * BEAT_SECONDS - time.monotonic()))
    print(json.dumps({"per_second": sent * size / (time.monotonic() - began)}), flush=True)


def spawn(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True)


def delivery(folder: Path) -> subprocess.Popen[str]:
    return spawn("-m", "tickerlake", "deliver", "--json", "--workspace", str(folder))


def offsets(workspace: object, stream_id: str) -> dict[str, int]:
    loaded = workspace.lake.table("bars_log").load()  # type: ignore[attr-defined]
    return dict(offsets_of(loaded.properties, stream_id))


def visible(folder: Path, samples: int) -> tuple[list[float], float]:
    """Seconds from the return of `publish` until a query shows the record."""
    flood = spawn(__file__, "--publish", str(folder), str(10 + samples * 0.35))
    worker = delivery(folder)
    workspace = open_workspace(folder)
    topic = workspace.stream.topic("bar")
    time.sleep(6)
    seconds = []
    for number in range(samples):
        record = sample_bars(1, symbols=["PROBE"], first=10_000_000 + number)
        topic.publish(record)
        began = time.perf_counter()
        query = (
            f"select count(*) from bars where symbol = 'PROBE' and volume = {10_000_000 + number}"
        )
        while not workspace.sql(query).table.column(0)[0].as_py():
            time.sleep(0.01)
        seconds.append(time.perf_counter() - began)
        time.sleep(max(0.0, 0.3 - seconds[-1]))
    said, _ = flood.communicate()
    worker.send_signal(signal.SIGINT)
    worker.wait(60)
    workspace.close()
    return seconds, float(json.loads(said.splitlines()[-1])["per_second"])


def recovered(folder: Path) -> float:
    """Seconds from a SIGKILL until all partitions move in the lake again."""
    flood = spawn(__file__, "--publish", str(folder), "40")
    workers = [delivery(folder) for _ in range(2)]
    workspace = open_workspace(folder)
    stream_id = workspace.stream.topic("bar").identity().id
    time.sleep(12)
    workers[0].kill()
    began = time.perf_counter()
    before = offsets(workspace, stream_id)
    # What the living one commits of its own share counts too: every partition must move.
    while any(offsets(workspace, stream_id)[name] <= at for name, at in before.items()):
        time.sleep(0.05)
    seconds = time.perf_counter() - began
    flood.kill()
    workers[1].send_signal(signal.SIGINT)
    workers[1].wait(60)
    workspace.close()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer records")
    parser.add_argument("--publish", nargs=2, metavar=("FOLDER", "SECONDS"))
    given = parser.parse_args()
    if given.publish:
        publish_steadily(given.publish[0], float(given.publish[1]))
        return
    samples = 20 if given.quick else 120
    with broker() as bootstrap, tempfile.TemporaryDirectory() as name:
        for what in ("visible", "recovered"):
            folder = Path(name) / what
            folder.mkdir()
            (folder / "tickerlake.toml").write_text(
                f'stream = "kafka://{bootstrap}/{what}"\n\n[delivery]\nflush_seconds = 1.0\n\n'
                f"[streams.kafka]\nsession_timeout_seconds = {SESSION_SECONDS}\n"
            )
        seconds, per_second = visible(Path(name) / "visible", samples)
        p99 = statistics.quantiles(seconds, n=100)[98]
        tell(
            {
                "name": "kafka_live",
                "what": f"published → queryable, {samples} records, while {per_second:,.0f}/s flow",
                "figure": f"p50 {statistics.median(seconds) * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms",
                "goal": f"p99 < {GOAL_SECONDS:g} s",
                "met": p99 < GOAL_SECONDS and per_second > 0.95 * PER_SECOND,
            }
        )
        took = recovered(Path(name) / "recovered")
        tell(
            {
                "name": "kafka_live",
                "what": "SIGKILL of one of two workers → all its partitions move in the lake",
                "figure": f"{took:.1f} s",
                "goal": f"session time-out ({SESSION_SECONDS:g} s) + 2 s",
                "met": took <= SESSION_SECONDS + 2,
            }
        )


if __name__ == "__main__":
    main()

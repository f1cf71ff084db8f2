"""Live over a real broker: from published to queryable, and how fast a killed worker is replaced.

python benchmarks/kafka_live.py [--quick]

A publisher sends 50,000 records a second and `tickerlake deliver` commits them each second. Beside
them single records are published, and asked for in `bars` until they are there; the clock starts
when `publish` returns. Broker, publisher, delivery and reader share the machine. Then two workers
share a topic, one is killed with SIGKILL, and the clock runs until each of the topic's partitions
has moved in the lake. Whatever happens, a run ends within three minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from types import FrameType

from _broker import bars, broker, tell

from tickerlake import open as open_workspace
from tickerlake.app import Workspace
from tickerlake.lake.positions import offsets_of
from tickerlake.streams import Wire
from tickerlake.testing.sample_records import sample_bars

FIRST_DAY = date(2020, 1, 1)
PER_SECOND = 50_000
BEAT_SECONDS = 0.05
GOAL_SECONDS = 1.0
SESSION_SECONDS = 6.0
#: From one record that is asked for to the next.
SAMPLE_SECONDS = 0.3
#: On a machine that is too slow there are fewer samples.
SAMPLING_SECONDS_MAX = 50.0
RUN_SECONDS_MAX = 175
STEP_SECONDS_MAX = 40.0


def publish_steadily(folder: Path) -> None:
    """The publisher's process: a new batch a beat, never ahead of the clock; says how fast."""
    size = int(PER_SECOND * BEAT_SECONDS)
    with open_workspace(folder) as workspace:
        topic = workspace.stream.topic("bar")
        began, sent = time.monotonic(), 0
        while time.monotonic() - began < RUN_SECONDS_MAX:
            topic.publish(bars(sent * size, size))
            sent += 1
            print(sent * size / (time.monotonic() - began), flush=True)
            time.sleep(max(0.0, began + sent * BEAT_SECONDS - time.monotonic()))


class Child:
    """A process of ours. What it prints goes into a file: a pipe that nobody empties fills up."""

    def __init__(self, folder: Path, arguments: tuple[str, ...]) -> None:
        self._printed = folder / f"printed-{time.monotonic_ns()}"
        with self._printed.open("wb") as file:
            self.process = subprocess.Popen([sys.executable, *arguments], stdout=file)

    def lines(self) -> list[str]:
        return self._printed.read_text().rpartition("\n")[0].splitlines()

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Child]:
    child = Child(folder, arguments)
    try:
        yield child
    finally:
        child.kill()


def flood(folder: Path) -> tuple[str, ...]:
    return (__file__, "--publish", str(folder))


def deliver(folder: Path) -> tuple[str, ...]:
    return ("-m", "tickerlake", "deliver", "--json", "--workspace", str(folder))


def until(done: Callable[[], bool], what: str) -> float:
    """Seconds until it is done."""
    began = time.perf_counter()
    while not done():
        if time.perf_counter() - began > STEP_SECONDS_MAX:
            raise TimeoutError(f"{what}: not within {STEP_SECONDS_MAX:g} s")
        time.sleep(0.01)
    return time.perf_counter() - began


def offsets(workspace: Workspace) -> dict[str, int]:
    """How far the lake is, by partition."""
    stream_id = workspace.stream.topic("bar").identity().id
    loaded = workspace.lake.table("bars_log").load()
    return dict(offsets_of(loaded.properties, stream_id))


def visible(folder: Path, wire: Wire, samples: int) -> dict[str, object]:
    """Seconds from the return of `publish` until a query shows the record."""
    with (
        open_workspace(folder) as workspace,
        running(folder, *flood(folder)) as publisher,
        running(folder, *deliver(folder)) as delivery,
    ):
        topic = workspace.stream.topic("bar")

        def shows(number: int) -> bool:
            query = f"select count(*) from bars where symbol = 'PROBE' and volume = {number}"
            return bool(workspace.sql(query).table.column(0)[0].as_py())

        until(lambda: min(offsets(workspace).values(), default=0) > 0, "the first commits")
        seconds, ours = [], time.process_time()
        theirs, began = [child.cpu_seconds() for child in (publisher, delivery)], time.monotonic()
        for number in range(samples):
            # Days of about the time that the others' are of.
            day = 60 + number * 5
            topic.publish(sample_bars(1, symbols=["PROBE"], first=day, first_day=FIRST_DAY))
            seconds.append(until(partial(shows, day), "a record that is asked for"))
            if time.monotonic() - began > SAMPLING_SECONDS_MAX:
                break
            time.sleep(max(0.0, SAMPLE_SECONDS - seconds[-1]))
        took = time.monotonic() - began
        cores = [
            (time.process_time() - ours) / took,
            *(
                (c.cpu_seconds() - b) / took
                for c, b in zip((publisher, delivery), theirs, strict=True)
            ),
        ]
        per_second = float(publisher.lines()[-1])
    p99 = statistics.quantiles(seconds, n=100)[98]
    return {
        "name": "kafka_live",
        "what": f"{wire}: published → queryable, {len(seconds)} records, "
        f"while {per_second:,.0f}/s flow",
        "figure": f"p50 {statistics.median(seconds) * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms",
        "peer": "cores in use: reader {:.2f}, publisher {:.2f}, delivery {:.2f}; ".format(*cores)
        + load(),
        "goal": f"p99 < {GOAL_SECONDS:g} s",
        "met": p99 < GOAL_SECONDS and per_second > 0.95 * PER_SECOND,
    }


def load() -> str:
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def share_a_topic(one: Child, two: Child) -> bool:
    """Whether the last commits of two workers were of different partitions."""
    shares = []
    for worker in (one, two):
        commits = [line for line in worker.lines() if '"bars_log"' in line]
        shares.append(set(json.loads(commits[-1])["ranges"]) if commits else set())
    return all(shares) and not shares[0] & shares[1]


def have_moved(workspace: Workspace, before: dict[str, int]) -> bool:
    now = offsets(workspace)
    return all(now[name] > at for name, at in before.items())


def recovered(folder: Path, kills: int) -> dict[str, object]:
    """Seconds from a SIGKILL until all partitions move in the lake again."""
    seconds = []
    with open_workspace(folder) as workspace, running(folder, *flood(folder)):
        for _ in range(kills):
            with running(folder, *deliver(folder)) as one, running(folder, *deliver(folder)) as two:
                until(partial(share_a_topic, one, two), "two workers that share the topic")
                one.kill()
                flow = partial(have_moved, workspace, offsets(workspace))
                seconds.append(until(flow, "partitions that flow again"))
    return {
        "name": "kafka_live",
        "what": f"one of two workers killed → all partitions flow into the lake, worst of {kills}",
        "figure": f"{max(seconds):.1f} s",
        "peer": load(),
        "goal": f"session time-out ({SESSION_SECONDS:g} s) + 2 s",
        "met": max(seconds) <= SESSION_SECONDS + 2,
    }


def workspace_at(folder: Path, bootstrap: str, wire: Wire) -> Path:
    folder.mkdir()
    (folder / "tickerlake.toml").write_text(
        f'stream = "kafka://{bootstrap}/{folder.name}"\n\n[streams]\nwire = "{wire}"\n\n'
        f"[streams.kafka]\nsession_timeout_seconds = {SESSION_SECONDS}\n\n"
        "[delivery]\nflush_seconds = 1.0\n"
    )
    return folder


def end(number: int, _frame: FrameType | None) -> None:
    """Told to end, or out of time: by an error, so that every child is ended, too."""
    if number == signal.SIGALRM:
        raise TimeoutError(f"the benchmark did not end within {RUN_SECONDS_MAX} s")
    raise SystemExit(128 + number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer records")
    parser.add_argument("--publish", type=Path, metavar="FOLDER")
    given = parser.parse_args()
    if given.publish:
        publish_steadily(given.publish)
        return
    for number in (signal.SIGALRM, signal.SIGTERM):
        signal.signal(number, end)
    signal.alarm(RUN_SECONDS_MAX)
    samples, kills = (30, 1) if given.quick else (100, 2)
    with broker() as bootstrap, tempfile.TemporaryDirectory() as name:
        for wire in ("json", "arrow"):
            folder = workspace_at(Path(name) / f"live-{wire}", bootstrap, wire)
            tell(visible(folder, wire, samples))
        tell(recovered(workspace_at(Path(name) / "killed", bootstrap, "json"), kills))


if __name__ == "__main__":
    main()

"""What others see of stream, lake and workers: `status`, its files, and `/metrics`."""

from __future__ import annotations

import json
import re
import select
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

import tickerlake
from command import running
from command import tickerlake as command
from tickerlake import config
from tickerlake.cli.lag import lag_told
from tickerlake.cli.output import Output
from tickerlake.delivery import Delivered, Refused, Tally, status_file, worker_statuses
from tickerlake.flow import Flow
from tickerlake.lake.maintenance import tend
from tickerlake.lake.positions import Range
from tickerlake.testing.sample_records import sample_bars

#: One line of the text exposition format.
LINE = re.compile(
    r"# (HELP|TYPE) [a-z_]+ .+"
    r'|[a-z_]+(\{[a-z_]+="([^"\\\n]|\\.)*"(,[a-z_]+="([^"\\\n]|\\.)*")*\})? '
    r"(-?\d+(\.\d+)?(e[+-]?\d+)?|NaN|[+-]Inf)"
)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder, _ = config.make_workspace(tmp_path / "one")
    return folder


def test_each_partition_tells_what_became_of_its_records(workspace: Path) -> None:
    """End, lake, lag in records and seconds, last commit, dead letters, repeats, per partition."""
    settings = {"streams.partitions": 1}
    with tickerlake.open(workspace, settings=settings) as opened:
        bars = opened.stream.topic("bar")
        bars.publish(sample_bars(100))
        bars.publish(sample_bars(10))
        opened.stream.append_raw("bar", "0", [b"rubbish", b"more of it"])
        opened.deliver(once=True)
        bars.publish(sample_bars(7, first=1_000))
        (part,) = opened.flow.topics()[0].positions
    assert (part.end, part.lake, part.lag) == (119, 112, 7)
    assert (part.totals.rows, part.totals.dropped, part.totals.lost) == (102, 10, 0)
    assert part.totals.dead_letters == 2
    assert part.totals.committed_at is not None
    assert part.lag_seconds is not None
    assert part.lag_seconds > 0

    said = command("status", "--json", cwd=workspace).json["topics"][0]
    (told,) = said["partitions"]
    assert (told["end"], told["lake"], told["lag"]) == (119, 112, 7)
    assert (told["dead_letters"], told["dropped"], told["rows"]) == (2, 10, 102)
    assert said["lag_seconds"] == told["lag_seconds"] > 0
    plain = command("status", cwd=workspace).out
    assert re.search(r"bars +0 +119 +112 +7 ", plain)


def test_asking_creates_nothing(workspace: Path) -> None:
    """Neither topic nor table comes into being because somebody looks."""
    assert command("status", "--json", cwd=workspace).json["topics"][0]["partitions"] == []
    command("stream", "list", cwd=workspace)
    with tickerlake.open(workspace) as opened:
        assert opened.lake.names() == []
        assert opened.sql("select count(*) as n from bars").table["n"].to_pylist() == [0]
        assert opened.stream.kinds() == []


def test_sums_stay_right_however_commits_expire_between_two_looks(workspace: Path) -> None:
    """A flow that looks now and then says what one says that looks for the first time."""
    settings = {
        "streams.partitions": 2,
        "tables.snapshots_max": 2,
        "tables.expire_every_commits": 1_000,
    }
    with tickerlake.open(workspace, settings=settings) as opened:

        def step(number: int) -> None:
            opened.stream.topic("bar").publish(sample_bars(20, first=20 * number))
            opened.deliver(["bar"], once=True)

        for number, expire in enumerate([False, False, True, False, True, True, False]):
            step(number)
            if expire:
                step(100 + number)
                step(200 + number)
                tend(opened.lake, "bars_log")
            old = opened.flow.topics()[0].positions
            new = Flow(opened.stream, opened.lake).topics()[0].positions
            assert [each.totals for each in old] == [each.totals for each in new]
            assert sum(each.totals.rows for each in old) == sum(each.end or 0 for each in old)


def test_what_a_worker_counts_is_seen_from_other_processes(tmp_path: Path) -> None:
    """Retries and fences stand in a file while the worker lives, and go with it."""
    tally = Tally()
    folder = tmp_path / "workers"
    assert worker_statuses(folder) == []
    spans = {"0": Range(0, 5), "1": Range(3, 9)}
    tally(Delivered("bar", 1, spans, rows=11, dead_letters=0, dropped=0, cause="age", seconds=0.5))
    tally(Refused("bar", "a rival was faster", ("1",)))
    tally(Refused("bar", "others moved on", ("0", "1"), fenced=True))
    with status_file(folder, tally):
        while not (seen := worker_statuses(folder)):
            pass
    (worker,) = seen
    counts = {
        each.partition: (each.commits, each.retries, each.fences) for each in worker.partitions
    }
    assert counts == {"0": (1, 0, 1), "1": (1, 1, 1)}
    assert list(folder.iterdir()) == []


def test_the_file_of_a_killed_worker_shows_nothing_and_goes(tmp_path: Path) -> None:
    """A process that is gone is no worker; the next one on that machine tidies up."""
    folder = tmp_path / "workers"
    code = (
        "import os, sys, pathlib\n"
        "from tickerlake.delivery import Tally, status_file, worker_statuses\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "with status_file(folder, Tally()):\n"
        "    while not worker_statuses(folder): pass\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    (left,) = folder.glob("*.json")
    assert worker_statuses(folder) == []
    with status_file(folder, Tally()):
        while not worker_statuses(folder):
            pass
        assert not left.exists()
    (folder / "half.json").write_text('{"host": ')
    assert worker_statuses(folder) == []


def test_a_delivering_process_serves_its_figures(workspace: Path) -> None:
    """`deliver --metrics-port` tells all partitions, and its own commits; `status` sees them."""
    with tickerlake.open(workspace) as opened:
        opened.stream.topic("bar").publish(sample_bars(100))
        opened.stream.append_raw("bar", "0", [b"rubbish"])
    words = ("deliver", "--metrics-port", "0", "--json", "--log-format", "json")
    with running(*words, cwd=workspace, TICKERLAKE_DELIVERY_FLUSH_SECONDS="0") as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        rows = 0
        while rows < 101:
            assert select.select([process.stdout], [], [], 60)[0], "no commit within a minute"
            said = json.loads(process.stdout.readline())
            rows += said["rows"]
        answer = httpx.get(url, timeout=30)
        assert httpx.get(url.replace("metrics", "healthz"), timeout=30).text == "ok\n"
        while not (workers := command("status", "--json", cwd=workspace).json["workers"]):
            pass
        while not sum(each["commits"] for each in workers[0]["partitions"]):
            workers = command("status", "--json", cwd=workspace).json["workers"]
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = answer.text.splitlines()
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    assert 'tickerlake_dead_letters_total{topic="bars",partition="0"} 1' in lines
    delivered = [line for line in lines if line.startswith("tickerlake_delivered_rows_total{")]
    assert sum(int(line.rpartition(" ")[2]) for line in delivered) == 101
    for name in ("stream_end_position", "lake_position", "lag_records", "lag_seconds"):
        assert f'tickerlake_{name}{{topic="bars",partition="5"}}' in answer.text
    for name in ("last_commit_timestamp_seconds", "worker_retries_total", "worker_fences_total"):
        assert f"# TYPE tickerlake_{name} " in answer.text
    assert workers[0]["pid"] == process.pid
    events = [json.loads(line) for line in err.splitlines()]
    delivered_events = [event for event in events if event["event"] == "delivered"]
    assert sum(event["rows"] for event in delivered_events) == 101
    assert all(event["snapshot_id"] and event["ranges"] for event in delivered_events)


def test_long_work_says_how_far_each_table_is(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line while a table lags, and one when it has caught up; then silence."""
    said = ""

    def until(text: str) -> None:
        nonlocal said
        while text not in said:
            said += capsys.readouterr().err

    with tickerlake.open(workspace) as opened:
        opened.stream.topic("bar").publish(sample_bars(30))
        with lag_told(opened, Output(json_mode=False), every_seconds=0.01):
            until("bars_log: 30 positions behind")
            opened.deliver(["bar"], once=True)
            until("bars_log: has all that the stream holds")
    said += capsys.readouterr().err
    assert said.rstrip().endswith("has all that the stream holds")
    assert "trades_log" not in said


def test_status_looks_again_until_it_is_stopped(workspace: Path) -> None:
    """`status --watch --json` prints one object a line; Ctrl-C ends it."""
    with running("status", "--watch", "10ms", "--json", cwd=workspace) as process:
        assert process.stdout is not None
        looks = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert [look["event"] for look in looks] == ["status", "status"]
    assert process.returncode == 130

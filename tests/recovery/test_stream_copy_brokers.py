"""`stream copy` between different kinds of logs, killed in the middle: each bar is there once."""

from __future__ import annotations

import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tickerlake
from command import running
from command import tickerlake as command
from kinesis_double import Streams, namespace
from tickerlake import clock, config
from tickerlake.delivery.copies import marks_of
from tickerlake.streams import Topic, codec
from tickerlake.testing.sample_records import sample_bars
from tickerlake.testing.services.http_proxy import Answer, Exchange, HttpProxy
from tickerlake.testing.services.kinesis import REGION

BARS = 12_000
SYMBOLS = [f"S{number}" for number in range(600)]


class Move:
    """A workspace, and the streams that its history is copied between."""

    def __init__(self, folder: Path, source: str, target: str, proxy: HttpProxy) -> None:
        self.folder, _ = config.make_workspace(folder)
        self.source, self.target, self.proxy = source, target, proxy
        self.words = ("stream", "copy", source, target, "--kinds", "bar", "--json")
        self.settings: dict[str, Any] = {
            "streams.partitions": 2,
            "streams.wire": "json",
            "streams.kinesis.endpoint_url": proxy.url,
            "streams.kinesis.shard_bytes_per_second": 0,
            "streams.kinesis.shard_records_per_second": 0,
            "streams.kinesis.call_bytes_max": 300_000,
            "streams.kinesis.reads_per_second": 200,
            "tables.fsync": False,
        }
        self.variables = {
            f"TICKERLAKE_{name.replace('.', '_').upper()}": str(value).lower()
            for name, value in self.settings.items()
        }

    def opened(self, stream: str) -> Any:
        return tickerlake.open(self.folder, settings={**self.settings, "stream": stream})

    def copy(self) -> list[dict[str, Any]]:
        copied: list[dict[str, Any]] = command(*self.words, cwd=self.folder, **self.variables).json
        return copied

    def kill_at(self, call: str, *, after: int, done: bool) -> None:
        """Begin a copy, and kill its process with a call of Kinesis in flight, `done` or not."""
        begun: list[subprocess.Popen[str]] = []

        def strike(exchange: Exchange) -> Answer:
            if done:
                exchange.forward()
            begun[0].send_signal(signal.SIGKILL)
            raise ConnectionAbortedError

        fault = self.proxy.add(call, strike, after=after)
        with running(*self.words, cwd=self.folder, **self.variables) as process:
            begun.append(process)
            assert process.wait(60) == -signal.SIGKILL, process.communicate()
        assert fault.struck == 1

    def kill_when(self, is_time: Callable[[], bool]) -> None:
        """Begin a copy, and kill its process as soon as it is time."""
        with running(*self.words, cwd=self.folder, **self.variables) as process:
            while not is_time():
                assert process.poll() is None, process.communicate()
                clock.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            assert process.wait(30) == -signal.SIGKILL

    def counts(self, stream: str) -> tuple[int, int]:
        """Rows and different bars in `bars_history`, the fresh tail of a stream included."""
        with self.opened(stream) as workspace:
            sql = "select count(*) as n, count(distinct event_id) as d from bars_history"
            (row,) = workspace.sql(sql).table.to_pylist()
            return row["n"], row["d"]

    def deliver(self, stream: str) -> int:
        with self.opened(stream) as workspace:
            return int(workspace.deliver(["bar"], once=True).total.rows)


def marks(topic: Topic) -> Counter[bytes]:
    """Every record that a log holds."""
    found: Counter[bytes] = Counter()
    for partition in topic.partitions():
        at, at_end = topic.bounds(partition).beginning, False
        while not at_end:
            batch = topic.read(partition, at, records_max=50_000, wait_seconds=0.2)
            found.update(marks_of(codec.decode("bar", batch.messages), "bar"))
            at, at_end = batch.next_position, batch.at_end
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "way", [("embedded", "kinesis"), ("kinesis", "embedded"), ("kafka", "kinesis")], ids="-".join
)
def test_a_copy_to_another_kind_of_log_goes_on_after_kills(
    way: tuple[str, str],
    tmp_path: Path,
    kinesis_streams: Streams,
    request: pytest.FixtureRequest,
) -> None:
    """Killed twice while it reads or publishes, with a call in flight; the new stream goes on."""
    urls = {"embedded": "embedded:", "kinesis": f"kinesis://{REGION}/{namespace(tmp_path)}"}
    if "kafka" in way:
        broker = request.getfixturevalue("kafka").bootstrap
        urls["kafka"] = f"kafka://{broker}/{namespace(tmp_path)}"
    move = Move(tmp_path / "one", *(urls[kind] for kind in way), kinesis_streams.proxy)
    with move.opened(move.source) as workspace:
        workspace.stream.topic("bar").publish(sample_bars(BARS, symbols=SYMBOLS))
        workspace.stream.append_raw("bar", "1", [b"rubbish", b"rubbish"])
        before = marks(workspace.stream.topic("bar"))
    with move.opened(move.target) as workspace:
        topic = workspace.stream.topic("bar")
        if way[1] == "kinesis":
            move.kill_at("PutRecords", after=2, done=True)
            move.kill_at("PutRecords", after=1, done=False)
            sent = marks(topic).total()
            assert 0 < sent < BARS
            (copied,) = move.copy()
            assert (copied["records"], copied["found"]) == (BARS + 2 - sent, sent)
        else:
            move.kill_at("GetRecords", after=3, done=True)
            move.kill_when(lambda: any(topic.bounds(name).end for name in topic.partitions()))
            move.copy()
        assert marks(topic) == before
        assert move.counts(move.source) == move.counts(move.target) == (BARS, BARS)
        assert move.deliver(move.source) == move.deliver(move.target) == 0
        topic.publish(sample_bars(600, first=BARS, symbols=SYMBOLS))
        assert move.deliver(move.target) == 600
        assert move.counts(move.target) == (BARS + 600, BARS + 600)

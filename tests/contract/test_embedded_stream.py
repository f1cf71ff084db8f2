"""The embedded log keeps the contract of streams, and promises of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pyarrow as pa
import pytest

from tickerlake.errors import ConfigError, RetentionPassedError
from tickerlake.streams import Bounds, Stream, StreamsSettings, Topic, open_stream
from tickerlake.testing.sample_records import sample_bars
from tickerlake.testing.stream_machine import StreamMachine
from tickerlake.testing.stream_suite import StreamSuite, drain


class TestEmbedded(StreamSuite):
    """The contract, on the embedded log."""

    def open(self, folder: Path, settings: StreamsSettings) -> Stream:
        """The log in the folder's `stream`."""
        return open_stream("embedded:", workspace=folder, settings=settings)


class Logs:
    """Opens the log in a folder and closes what it opened."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._streams: list[Stream] = []

    def open(self, url: str = "embedded:", **settings: Any) -> Stream:
        stream = open_stream(url, workspace=self._folder, settings=StreamsSettings(**settings))
        self._streams.append(stream)
        return stream

    def fifty_bars(self, **settings: Any) -> Topic:
        """A topic of one partition, published in batches of ten."""
        topic = self.open(partitions=1, **settings).topic("bar")
        for batch in range(5):
            topic.publish(sample_bars(10, first=batch * 10))
        return topic

    def acknowledge(self, position: int, **settings: Any) -> None:
        self.open(**settings).join("bar", "test", alone=True).acknowledge({"0": position})

    def close(self) -> None:
        for stream in self._streams:
            stream.close()


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Logs]:
    """Logs in a fresh folder."""
    opened = Logs(tmp_path)
    yield opened
    opened.close()


def test_by_default_nothing_ever_goes(logs: Logs) -> None:
    """Without a limit of age or size the log keeps what was delivered, too."""
    topic = logs.fifty_bars()
    logs.acknowledge(50)
    assert topic.bounds("0") == Bounds(0, 50)


def test_age_lets_only_delivered_batches_go_and_only_whole_ones(logs: Logs) -> None:
    """The lake is at 25: two batches of ten go, the third is still needed."""
    topic = logs.fifty_bars()
    logs.acknowledge(25, retention_hours=0)
    assert topic.bounds("0") == Bounds(20, 50)
    with pytest.raises(RetentionPassedError, match="retention has dropped"):
        topic.read("0", 19, records_max=1, wait_seconds=0)
    assert topic.read("0", 20, records_max=1, wait_seconds=0).messages[0].first_position == 20


def test_size_keeps_the_newest_batches(logs: Logs) -> None:
    """The limit holds two of five equal batches: the three oldest go once they are delivered."""
    topic = logs.fifty_bars()
    (message,) = topic.read("0", 40, records_max=10, wait_seconds=0).messages
    limit = len(message.payload) * 5 // 2
    logs.acknowledge(0, retention_bytes=limit)
    assert topic.bounds("0") == Bounds(0, 50)
    logs.acknowledge(50, retention_bytes=limit)
    assert topic.bounds("0") == Bounds(30, 50)


def test_what_is_young_stays(logs: Logs) -> None:
    """An hour has not passed since these were published."""
    topic = logs.fifty_bars()
    logs.acknowledge(50, retention_hours=1)
    assert topic.bounds("0") == Bounds(0, 50)


def test_a_lake_that_was_turned_back_protects_what_it_needs_again(logs: Logs) -> None:
    """After `lake rewind` the lake acknowledges less: from then on only that may go."""
    topic = logs.fifty_bars()
    logs.acknowledge(50)
    logs.acknowledge(10)
    logs.acknowledge(10, retention_hours=0)
    assert topic.bounds("0") == Bounds(10, 50)


def test_undelivered_records_go_only_when_the_settings_say_so(logs: Logs) -> None:
    """Then publishing itself keeps the log small, whether anybody delivers or not."""
    topic = logs.fifty_bars(retention_bytes=0, retention_drops_undelivered=True)
    assert topic.bounds("0") == Bounds(50, 50)
    topic.publish(sample_bars(3))
    assert topic.bounds("0") == Bounds(53, 53)


def test_a_long_batch_is_read_in_pieces(logs: Logs) -> None:
    """No reader is handed 40,000 records at once when it asked for 100."""
    topic = logs.open(partitions=1).topic("bar")
    (published,) = topic.publish(sample_bars(40_000))
    assert published.count == 40_000
    found = topic.read("0", 0, records_max=100, wait_seconds=0).messages
    assert sum(part.count for part in found) < 20_000
    assert drain(topic)["volume"].to_pylist() == list(range(40_000))


def test_large_records_are_read_a_few_at_a_time(logs: Logs) -> None:
    """A reader's memory is bounded by bytes, too: foreign records may have any size."""
    stream = logs.open(partitions=1)
    stream.append_raw("bar", "0", [b"%d" % number * (16 << 20) for number in range(6)])
    read = stream.topic("bar").read("0", 0, records_max=100_000, wait_seconds=0).messages
    assert 0 < sum(message.count for message in read) < 6


def test_strings_that_never_repeat_are_stored_once(logs: Logs, tmp_path: Path) -> None:
    """A batch of many pieces does not carry all its trade ids in each of them."""
    count = 100_000
    time = pa.array(range(count), pa.timestamp("us", tz="UTC"))
    logs.open().topic("trade").publish(
        pa.table(
            {
                "provider": pa.repeat("x", count),
                "symbol": pa.array(["A", "B", "C", "D"] * (count // 4)),
                "ts": time,
                "fetched_at": time,
                "price": pa.repeat(1.0, count),
                "trade_id": pa.array([f"{number:020d}" for number in range(count)]),
                "ts_ns": pa.array(range(count), pa.int64()),
            }
        )
    )
    assert (tmp_path / "stream" / "trades.sqlite-wal").stat().st_size < 100 * count


def test_a_stream_of_no_known_kind_is_a_clear_error(logs: Logs) -> None:
    """The message names what can be opened."""
    for url in ("pigeons://market", "embedded", ""):
        with pytest.raises(ConfigError, match="embedded:") as caught:
            logs.open(url)
        assert caught.value.exit_code == 2


def test_a_stream_may_lie_in_another_folder(logs: Logs, tmp_path: Path) -> None:
    """`embedded:FOLDER` starts at the workspace."""
    stream = logs.open("embedded:other")
    stream.topic("trade")
    assert stream.kinds() == ["trade"]
    assert (tmp_path / "other" / "trades.sqlite").exists()


class EmbeddedMachine(StreamMachine):
    """Any order of steps, on the embedded log."""

    def open(self, folder: Path, settings: StreamsSettings) -> Stream:
        return open_stream("embedded:", workspace=folder, settings=settings)


TestEmbeddedMachine = pytest.mark.slow(EmbeddedMachine.TestCase)
TestEmbeddedMachine.settings = hypothesis.settings(
    max_examples=25, stateful_step_count=25, deadline=None
)

"""Enhanced fan-out, against the one emulator we found that pushes (it reshards wrongly)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kinesis_double import open_kinesis
from tickerlake.streams import Stream, StreamsSettings, Topic
from tickerlake.streams.codec import decode
from tickerlake.testing.sample_records import sample_bars
from tickerlake.testing.services.ministack import Ministack
from tickerlake.testing.services.process import LOOPBACK
from tickerlake.testing.services.tcp_proxy import TcpProxy


@pytest.fixture
def proxy(ministack: Ministack) -> Iterator[TcpProxy]:
    """Connections that can be cut."""
    with TcpProxy(ministack.port) as between:
        yield between


@pytest.fixture
def stream(proxy: TcpProxy, tmp_path: Path, kinesis_credentials: None) -> Iterator[Stream]:
    """A namespace whose readers are pushed to."""
    settings = StreamsSettings(partitions=2)
    url = f"http://{LOOPBACK}:{proxy.port}"
    opened = open_kinesis(tmp_path, url, settings, fan_out="lake")
    yield opened
    opened.close()


class Follower:
    """Reads a topic as a worker does: wait, then read each partition."""

    def __init__(self, topic: Topic, positions: dict[str, int] | None = None) -> None:
        self.topic = topic
        self.positions = positions or {
            name: topic.bounds(name).beginning for name in topic.partitions()
        }
        self.volumes: list[float] = []

    def read_until(self, count: int) -> list[float]:
        for _ in range(200):
            if len(self.volumes) >= count:
                break
            if not self.topic.wait(self.positions, wait_seconds=1):
                continue
            for name, position in self.positions.items():
                batch = self.topic.read(name, position, records_max=500, wait_seconds=0)
                self.volumes += decode("bar", batch.messages)["volume"].to_pylist()
                self.positions[name] = batch.next_position
        return sorted(self.volumes)


def test_what_is_pushed_is_read_once_in_order(stream: Stream) -> None:
    """Records from before the subscription and after it; a second reader polls beside it."""
    topic = stream.topic("bar")
    topic.publish(sample_bars(100))
    first = Follower(topic)
    assert first.read_until(100) == list(range(100))
    second = Follower(topic, {name: topic.tip(name) for name in topic.partitions()})
    for start in (100, 150):
        topic.publish(sample_bars(50, first=start))
        assert first.read_until(start + 50) == list(range(start + 50))
    assert second.read_until(100) == list(range(100, 200))


def test_two_who_read_the_same_each_get_all(stream: Stream) -> None:
    """Only one of them is pushed to; neither misses what the other was given."""
    topic = stream.topic("bar")
    readers = [Follower(topic), Follower(topic)]
    for start in range(0, 200, 50):
        topic.publish(sample_bars(50, first=start))
        for reader in readers if start % 100 else reversed(readers):
            assert reader.read_until(start + 50) == list(range(start + 50))


def test_a_subscription_that_is_cut_is_made_anew(stream: Stream, proxy: TcpProxy) -> None:
    """Nothing is lost and nothing comes twice."""
    topic = stream.topic("bar")
    topic.publish(sample_bars(50))
    reader = Follower(topic)
    assert reader.read_until(50) == list(range(50))
    proxy.reset()
    topic.publish(sample_bars(50, first=50))
    assert reader.read_until(100) == list(range(100))


def test_a_reader_goes_on_where_it_was(stream: Stream, tmp_path: Path, proxy: TcpProxy) -> None:
    """Another process's subscription begins at the position, and its predecessor's ends."""
    topic = stream.topic("bar")
    topic.publish(sample_bars(50))
    before = Follower(topic)
    assert before.read_until(50) == list(range(50))
    topic.publish(sample_bars(50, first=50))
    stream.close()
    again = open_kinesis(
        tmp_path,
        f"http://{LOOPBACK}:{proxy.port}",
        StreamsSettings(partitions=2),
        fan_out="lake",
    )
    after = Follower(again.topic("bar"), dict(before.positions))
    assert after.read_until(50) == list(range(50, 100))
    again.close()

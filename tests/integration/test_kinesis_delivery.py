"""Shards are split and merged while workers deliver from them, over an emulator of Kinesis."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from kinesis_double import Streams
from tickerlake.delivery import Delivered, DeliverySettings, Event, Worker, deliver
from tickerlake.lake.lake import Lake
from tickerlake.lake.maintenance import verify
from tickerlake.lake.positions import RANGES, decode_ranges, offsets_of
from tickerlake.lake.registry import open_lake
from tickerlake.lake.settings import LakeSettings
from tickerlake.records import Position, address_of, is_ended
from tickerlake.streams import StreamsSettings, Topic
from tickerlake.testing.invariants import findings
from tickerlake.testing.sample_records import sample_bars

HALF = 1 << 127
HOUR = 3600
SYMBOLS = [f"SYM{number}" for number in range(40)]
WINDOW = 10_000


class Killed(BaseException):
    """The process was killed here."""


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    lake = open_lake("./lake", "sqlite:", workspace=tmp_path, settings=LakeSettings(fsync=False))
    yield lake
    lake.close()


class Publisher:
    """Publishes all along from a thread of its own: bars whose volumes count up."""

    def __init__(self, topic: Topic) -> None:
        self.count = 0
        self._topic = topic
        self._news = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait_for(self, more: int) -> None:
        """Until so many more bars are on the stream."""
        with self._news:
            goal = self.count + more
            assert self._news.wait_for(lambda: self.count >= goal, timeout=60)

    def _run(self) -> None:
        while not self._stop.wait(0.01):
            self._topic.publish(sample_bars(40, first=self.count, symbols=SYMBOLS))
            with self._news:
                self.count += 40
                self._news.notify_all()


def offsets(topic: Topic, lake: Lake) -> dict[str, Position]:
    return offsets_of(lake.table("bars_log").load().properties, topic.identity().id)


def dated(position: int) -> int:
    """Until when all had been read, in seconds."""
    return int(address_of(position).split("/")[2])


def assert_in_order(rows: pa.Table) -> None:
    """The bars of each symbol came into the lake in the order in which they were published."""
    for symbol in SYMBOLS:
        own = rows.filter(pc.equal(rows["symbol"], symbol)).sort_by("volume")
        arrived = own["_delivered_at"].to_pylist()
        assert arrived == sorted(arrived), symbol
        for partition in pc.unique(own["_partition"]):
            places = own.filter(pc.equal(own["_partition"], partition))["_offset"].to_pylist()
            assert places == sorted(places), symbol


def assert_parents_first(topic: Topic, lake: Lake) -> None:
    """No commit holds records of a partition before an earlier one has ended all its parents."""
    table = lake.table("bars_log")
    ended: set[str] = set()
    for snapshot in table.snapshots(table.load()):
        summary = snapshot.summary.get(RANGES, "{}")
        ranges = decode_ranges(summary).get(topic.identity().id, {})
        for name, span in ranges.items():
            assert int(span.end) == int(span.start) or set(topic.parents(name)) <= ended, name
        ended |= {name for name, span in ranges.items() if is_ended(span.end)}
    assert ended == {"0", "1", "2", "3", "4"}


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_shards_split_and_merge_under_running_workers(
    kinesis_streams: Streams, lake: Lake, tmp_path: Path, workers: int
) -> None:
    """Records flow all along: each is one row, and a symbol's rows stay in order."""
    settings = StreamsSettings(partitions=3)
    stream = kinesis_streams.open(settings)
    topic = stream.topic("bar")
    stop, news = threading.Event(), threading.Condition()
    delivered: list[Delivered] = []
    who: set[str] = set()

    def note(event: Event) -> None:
        with news:
            if isinstance(event, Delivered):
                delivered.append(event)
                who.add(threading.current_thread().name)
            news.notify_all()

    def has_come(partition: str) -> bool:
        return any(partition in each.ranges for each in delivered)

    def wait_until_delivered(*partitions: str) -> None:
        with news:
            assert news.wait_for(lambda: all(map(has_come, partitions)), timeout=60)

    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(
            deliver,
            stream,
            lake,
            ["bar"],
            once=False,
            stop=stop,
            settings=DeliverySettings(
                workers=workers, flush_seconds=0.3, poll_seconds=0.05, repeat_window=WINDOW
            ),
            on_event=note,
        )
        try:
            with Publisher(kinesis_streams.open(settings).topic("bar")) as publisher:
                publisher.wait_for(200)
                wait_until_delivered("0", "1", "2")
                kinesis_streams.split("0", HALF // 3)
                publisher.wait_for(200)
                kinesis_streams.merge("1", "2")
                wait_until_delivered("3", "4", "5")
                kinesis_streams.merge("3", "4")
                publisher.wait_for(200)
            with news:
                assert news.wait_for(
                    lambda: sum(each.rows for each in delivered) >= publisher.count, timeout=60
                )
        finally:
            stop.set()
        working.result(timeout=60)
    assert len(who) == workers
    assert topic.parents("5") == ["1", "2"]
    assert sorted(topic.parents("6")) == ["3", "4"]
    ended = {name for name, offset in offsets(topic, lake).items() if offset.ended}
    assert ended == {"0", "1", "2", "3", "4"}
    table = lake.table("bars_log")
    rows = table.read(table.load())
    assert sorted(rows["volume"].to_pylist()) == list(range(publisher.count))
    assert {"0", "1", "3", "5", "6"} <= set(rows["_partition"].to_pylist())
    assert_in_order(rows)
    assert_parents_first(topic, lake)
    assert findings(topic, tmp_path / "catalog.db", repeat_window=WINDOW) == []
    assert verify(lake).sound


def test_a_shards_end_is_not_in_the_lake_before_its_children_are(
    kinesis_streams: Streams, lake: Lake
) -> None:
    """Split between two looks at the shards: the worker dies as soon as the end is committed."""
    topic = kinesis_streams.bars(partitions=2)
    topic.publish(sample_bars(200, symbols=SYMBOLS))
    split = False

    def reached(step: str, _: Mapping[str, Any]) -> None:
        nonlocal split
        if step == "5" and not split:
            split = True
            kinesis_streams.split("0", HALF // 2)
        if step == "8" and offsets(topic, lake)["0"].ended:
            raise Killed

    worker = Worker(
        topic,
        lake.table("bars_log"),
        settings=DeliverySettings(),
        failpoint=reached,
    )
    with pytest.raises(Killed):
        worker.run(threading.Event(), once=False)
    assert sorted(offsets(topic, lake)) == ["0", "1", "2", "3"]


def test_a_child_that_is_met_late_is_as_old_as_its_parent(kinesis_streams: Streams) -> None:
    """Nobody ran when a shard was split: what comes first in its children may go as early."""
    topic = kinesis_streams.bars(partitions=2)
    topic.publish(sample_bars(200, symbols=SYMBOLS))
    read = topic.read("0", 0, records_max=1_000, wait_seconds=0).next_position
    sequence, subsequence, _ = address_of(read).split("/")
    parent = Position(read, f"{sequence}/{subsequence}/{dated(read) - 20 * HOUR}")
    kinesis_streams.split("0", HALF // 2)
    met = kinesis_streams.bars()
    assert dated(met.bounds("2").beginning) >= dated(read)
    child = met.bounds("2", parents=[parent]).beginning
    assert dated(child) == dated(parent)
    assert met.bounds("2", child).beginning == child
    place = address_of(child).rsplit("/", 1)[0]
    away = Position(0, f"{place}/{dated(child) - 5 * HOUR}")
    assert met.bounds("2", away).beginning > away

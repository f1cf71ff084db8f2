"""Kinesis on bad days: each fault struck on the wire, between us and an emulator."""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import Any

import pytest

from kinesis_double import Streams, read_out
from tickerlake.delivery import deliver
from tickerlake.errors import RateLimitedError, UnreachableError
from tickerlake.lake.lake import Lake
from tickerlake.streams import Stream, StreamsSettings
from tickerlake.testing.sample_records import sample_bars
from tickerlake.testing.services.http_proxy import Answer, Exchange, lose_answer
from tickerlake.testing.services.kinesis_faults import EXPIRED, THROTTLED, fail, fail_records

SYMBOLS = [f"SYM{number}" for number in range(12)]


def volumes_by_symbol(rows: Any) -> dict[str, list[float]]:
    """What came of each symbol, in order."""
    found: dict[str, list[float]] = {}
    for symbol, volume in zip(rows["symbol"].to_pylist(), rows["volume"].to_pylist(), strict=True):
        found.setdefault(symbol, []).append(volume)
    return found


@pytest.mark.parametrize("aggregate", [True, False])
def test_records_that_were_not_taken_are_put_again_in_order(
    kinesis_streams: Streams, aggregate: bool
) -> None:
    """Half of many calls fails: each record is there once, each symbol's in their order."""
    topic = kinesis_streams.bars(partitions=2, aggregate=aggregate)
    fault = kinesis_streams.proxy.add("PutRecords", fail_records(every=2), times=6)
    for first in (0, 120):
        topic.publish(sample_bars(120, symbols=SYMBOLS, first=first))
    assert fault.struck == 6
    found = volumes_by_symbol(read_out(topic)[0])
    assert {symbol: len(volumes) for symbol, volumes in found.items()} == dict.fromkeys(SYMBOLS, 20)
    assert all(volumes == sorted(set(volumes)) for volumes in found.values())


def test_throttling_of_every_kind_of_call_is_waited_out(kinesis_streams: Streams) -> None:
    """Each other call is refused for a while, and nothing but time is lost."""
    fault = kinesis_streams.proxy.add("Kinesis", fail(THROTTLED), times=20, every=2)
    topic = kinesis_streams.bars(partitions=2)
    topic.publish(sample_bars(100))
    rows, _ = read_out(topic)
    assert sorted(rows["volume"].to_pylist()) == list(range(100))
    assert fault.struck > 5
    calls = {
        what.rpartition(".")[2] for what, status in kinesis_streams.proxy.seen if status == 400
    }
    assert {"DescribeStreamSummary", "ListShards"} <= calls


def test_throttling_without_end_is_said(kinesis_streams: Streams) -> None:
    """When patience is at its end the message says what is in: nothing."""
    topic = kinesis_streams.bars(partitions=1, patience_seconds=0.3)
    topic.publish(sample_bars(1))
    kinesis_streams.proxy.add("PutRecords", fail(THROTTLED), times=None)
    with pytest.raises(RateLimitedError, match="come back later"):
        topic.publish(sample_bars(10, first=1))
    kinesis_streams.proxy.heal()
    assert read_out(topic)[0].num_rows == 1


def test_reading_outlasts_errors_of_the_service(kinesis_streams: Streams) -> None:
    """500, a lost answer, an old iterator, credentials that ran out: all are read all the same."""
    topic = kinesis_streams.bars(partitions=2)
    topic.publish(sample_bars(100))
    proxy = kinesis_streams.proxy
    faults = [
        proxy.add("GetRecords", fail("InternalFailure", status=500), every=3, times=3),
        proxy.add("GetRecords", fail(EXPIRED), after=1, every=3, times=3),
        proxy.add("GetRecords", lose_answer, every=4, times=2),
        proxy.add("GetShardIterator", fail("ExpiredTokenException"), times=1),
        proxy.add("GetShardIterator", fail("ServiceUnavailable", status=503), after=1, times=2),
    ]
    again = kinesis_streams.bars(partitions=2)
    for _ in range(3):
        rows, _ = read_out(again)
        assert sorted(rows["volume"].to_pylist()) == list(range(100))
    assert all(fault.struck for fault in faults)


def deliver_all(stream: Stream, lake: Lake) -> list[float]:
    """One `deliver --once`; the volumes that the lake holds then."""
    deliver(stream, lake, ["bar"], once=True, stop=threading.Event())
    table = lake.table("bars_log")
    rows = table.read(table.load(), columns=["volume"])
    return sorted(rows["volume"].to_pylist())


@pytest.mark.parametrize("fault", ["answer lost", "500"])
def test_an_unknown_outcome_is_said_and_putting_again_doubles_nothing_in_the_lake(
    kinesis_streams: Streams, lake: Lake, fault: str
) -> None:
    """The caller publishes the same again: once in the lake, however often in the stream."""
    stream = kinesis_streams.open(StreamsSettings(partitions=2))
    topic = stream.topic("bar")
    topic.publish(sample_bars(50))
    action = lose_answer if fault == "answer lost" else fail("InternalFailure", status=500)
    struck = kinesis_streams.proxy.add("PutRecords", action, times=1)
    bars = sample_bars(50, first=50)
    with pytest.raises(UnreachableError, match="Nobody knows"):
        topic.publish(bars)
    assert struck.struck == 1
    topic.publish(bars)
    held = Counter(read_out(topic)[0]["volume"].to_pylist())
    assert max(held.values()) == (2 if fault == "answer lost" else 1)
    assert deliver_all(stream, lake) == list(range(100))
    assert deliver_all(stream, lake) == list(range(100))


def test_a_delivery_goes_on_through_splits_and_merges(kinesis_streams: Streams, lake: Lake) -> None:
    """Reshard between deliveries and within: each record is once in the lake."""
    topic = kinesis_streams.bars(partitions=2)
    published = 0
    for step in ("", "split", "merge", ""):
        if step == "split":
            kinesis_streams.split("0", 1 << 126)
        if step == "merge":
            kinesis_streams.merge("3", "1")
        topic.publish(sample_bars(300, first=published))
        published += 300
        # A fresh handle, as another process would have.
        assert deliver_all(kinesis_streams.open(), lake) == list(range(published))


def test_no_call_breaks_a_limit(kinesis_streams: Streams) -> None:
    """At most 500 records, the bytes of the setting, and one record of each symbol at a time."""
    calls: list[list[dict[str, str]]] = []

    def note(exchange: Exchange) -> Answer:
        calls.append(json.loads(exchange.body)["Records"])
        return exchange.forward()

    topic = kinesis_streams.bars(partitions=2, aggregate=False, call_bytes_max=100_000)
    kinesis_streams.proxy.add("PutRecords", note, times=None)
    symbols = [f"S{number}" for number in range(520)]
    topic.publish(sample_bars(1040, symbols=symbols))
    assert sum(map(len, calls)) == 1040
    for records in calls:
        assert len(records) <= 500
        assert sum(len(record["Data"]) for record in records) <= 100_000 * 4 / 3
        keys = [record["PartitionKey"] for record in records]
        assert len(keys) == len(set(keys))
    assert sorted(read_out(topic)[0]["volume"].to_pylist()) == list(range(1040))

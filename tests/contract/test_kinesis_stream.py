"""Kinesis: the contract of every stream, and what is its own, against an emulator."""

from __future__ import annotations

import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from kinesis_double import Streams, open_kinesis, read_out
from tickerlake.errors import (
    ConfigError,
    LimitError,
    RangeError,
    RetentionPassedError,
)
from tickerlake.records import Position
from tickerlake.streams import Stream, StreamsSettings, open_stream
from tickerlake.streams.codec import decode
from tickerlake.streams.partitioning import partitions_of
from tickerlake.testing.sample_records import sample_bars
from tickerlake.testing.services.kinesis import Kinesis
from tickerlake.testing.services.process import wait_until
from tickerlake.testing.stream_suite import StreamSuite

HALF = 1 << 127
HOUR = 3600


class TestKinesisStream(StreamSuite):
    """The contract."""

    @pytest.fixture(autouse=True)
    def emulator(self, kinesis: Kinesis, kinesis_credentials: None) -> None:
        self.url = kinesis.url

    def open(self, folder: Path, settings: StreamsSettings) -> Stream:
        return open_kinesis(folder, self.url, settings)


def dated(position: int, *, hours_ago: float) -> Position:
    """The position as if it had been read so long ago."""
    assert isinstance(position, Position)
    sequence, subsequence, caught_up = position.address.split("/")
    then = int(caught_up) - int(hours_ago * HOUR)
    return Position(int(position), f"{sequence}/{subsequence}/{then}")


def in_order(rows: pa.Table) -> bool:
    """Whether the bars of each symbol come in the order in which they were published."""
    return all(
        pc.is_in(name, rows["symbol"]).as_py()
        and (found := rows.filter(pc.field("symbol") == name)["volume"].to_pylist())
        == sorted(found)
        for name in pc.unique(rows["symbol"])
    )


def test_a_split_shard_ends_and_its_children_go_on(kinesis_streams: Streams) -> None:
    """Nothing is lost or out of order, and each child names the shard that comes before it."""
    symbols = [f"SYM{number}" for number in range(40)]
    topic = kinesis_streams.bars(partitions=2)
    topic.publish(sample_bars(200, symbols=symbols))
    kinesis_streams.split("0", HALF // 2)
    topic.publish(sample_bars(200, symbols=symbols, first=200))
    again = kinesis_streams.bars(partitions=2)
    assert again.partitions() == ["0", "1", "2", "3"]
    assert [again.parents(name) for name in again.partitions()] == [[], [], ["0"], ["0"]]
    rows, positions = read_out(again)
    assert sorted(rows["volume"].to_pylist()) == list(range(400))
    assert in_order(rows)
    ended = {name for name, position in positions.items() if getattr(position, "ended", False)}
    assert ended == {"0"}
    assert set(rows["_partition"].to_pylist()) == {"0", "1", "2", "3"}


def test_merged_shards_end_both_before_their_child(kinesis_streams: Streams) -> None:
    """The child of a merge waits for two parents."""
    topic = kinesis_streams.bars(partitions=2)
    topic.publish(sample_bars(200))
    kinesis_streams.merge("0", "1")
    topic.publish(sample_bars(200, first=200))
    again = kinesis_streams.bars()
    assert sorted(again.parents("2")) == ["0", "1"]
    rows, positions = read_out(again)
    assert sorted(rows["volume"].to_pylist()) == list(range(400))
    assert in_order(rows)
    assert positions["0"].ended  # type: ignore[attr-defined]
    after = again.read("0", positions["0"], records_max=1, wait_seconds=0)
    assert (list(after.messages), after.at_end) == ([], True)


def test_a_reader_goes_on_inside_an_aggregate(kinesis_streams: Streams) -> None:
    """From the middle of one Kinesis record the rest is read, under the same places."""
    topic = kinesis_streams.bars(partitions=1)
    topic.publish(sample_bars(10, symbols=("AAPL",)))
    whole = topic.read("0", 0, records_max=100, wait_seconds=0)
    rows = decode("bar", whole.messages)
    assert rows["_offset"].to_pylist() == list(range(10))
    assert rows["_index"].to_pylist() == list(range(10))
    (sequence,) = set(rows["_sequence"].to_pylist())
    caught_up = whole.next_position.address.split("/")[2]  # type: ignore[attr-defined]
    middle = Position(4, f"{sequence}/3/{caught_up}")
    rest = decode("bar", topic.read("0", middle, records_max=100, wait_seconds=0).messages)
    places = ["_offset", "_index", "_sequence", "volume"]
    assert rest.select(places).equals(rows.select(places).slice(4))


def test_retention_that_may_have_passed_fails_loudly(kinesis_streams: Streams) -> None:
    """A reader that was away for longer than the stream keeps records is told, in all ways."""
    topic = kinesis_streams.bars(partitions=1)
    topic.publish(sample_bars(10))
    position = topic.read("0", 0, records_max=100, wait_seconds=0).next_position
    topic.publish(sample_bars(10, first=10))
    assert topic.bounds("0", dated(position, hours_ago=23)).beginning <= position
    away = dated(position, hours_ago=25)
    topic = kinesis_streams.bars(partitions=1)  # a handle that was here all the time knows better
    with pytest.raises(RetentionPassedError, match="--accept-loss"):
        topic.read("0", away, records_max=100, wait_seconds=0)
    beyond = topic.bounds("0", away).beginning
    assert beyond == position + 1
    rest = topic.read("0", beyond, records_max=100, wait_seconds=0)
    assert decode("bar", rest.messages)["_offset"].to_pylist() == list(range(11, 31))


def test_a_place_at_the_tip_is_dated_anew(kinesis_streams: Streams) -> None:
    """A quiet shard's position changes its date alone, and only after a quarter of the time."""
    topic = kinesis_streams.bars(partitions=1)
    topic.publish(sample_bars(10))
    position = topic.read("0", 0, records_max=100, wait_seconds=0).next_position
    for hours_ago, changes in ((5, False), (7, True)):
        before = dated(position, hours_ago=hours_ago)
        after = topic.read("0", before, records_max=100, wait_seconds=0).next_position
        assert after == before
        assert (str(after) != str(before)) == changes


def test_a_plain_number_is_no_entrance(kinesis_streams: Streams) -> None:
    """Nobody can find the thousandth record of a shard."""
    topic = kinesis_streams.bars(partitions=1)
    for read in (
        topic.read,
        lambda *where, **how: topic.wait({where[0]: where[1]}, wait_seconds=0),
    ):
        with pytest.raises(RangeError, match="position that the lake holds"):
            read("0", 1000, records_max=1, wait_seconds=0)


def test_a_stream_made_anew_under_the_same_name_is_another(kinesis_streams: Streams) -> None:
    """Their identities differ, and a position of the first is none of the second."""
    topic = kinesis_streams.bars(partitions=1)
    topic.publish(sample_bars(10))
    position = topic.read("0", 0, records_max=100, wait_seconds=0).next_position
    kinesis_streams.client.delete_stream(StreamName=kinesis_streams.name)
    other = kinesis_streams.bars(partitions=1)
    while other.identity() == topic.identity():  # created within the same second
        kinesis_streams.client.delete_stream(StreamName=kinesis_streams.name)
        other = kinesis_streams.bars(partitions=1)
    other.publish(sample_bars(10))
    with pytest.raises(RetentionPassedError):
        other.read("0", position, records_max=100, wait_seconds=0)


def test_without_aggregation_each_record_is_a_kinesis_record(kinesis_streams: Streams) -> None:
    """As Firehose and Lambda like it: one JSON object each, its symbol the partition key."""
    topic = kinesis_streams.bars(partitions=1, aggregate=False)
    topic.publish(sample_bars(40))
    rows, _ = read_out(topic)
    assert sorted(rows["volume"].to_pylist()) == list(range(40))
    assert in_order(rows)
    assert len(set(rows["_sequence"].to_pylist())) == 40
    iterator = kinesis_streams.client.get_shard_iterator(
        StreamName=kinesis_streams.name,
        ShardId="shardId-000000000000",
        ShardIteratorType="TRIM_HORIZON",
    )["ShardIterator"]
    records = kinesis_streams.client.get_records(ShardIterator=iterator)["Records"]
    assert {record["PartitionKey"] for record in records} == set(rows["symbol"].to_pylist())
    assert all(record["Data"].startswith(b'{"kind":"bar"') for record in records)


@pytest.mark.parametrize("aggregate", [True, False])
def test_a_symbol_keeps_its_partition(kinesis_streams: Streams, aggregate: bool) -> None:
    """Of six shards each symbol goes to the one with the number that it has on every stream."""
    topic = kinesis_streams.bars(partitions=6, aggregate=aggregate)
    symbols = [f"SYM{number}" for number in range(60)]
    bars = sample_bars(60, symbols=symbols)
    topic.publish(bars)
    rows, _ = read_out(topic)
    expected = dict(zip(symbols, partitions_of(bars["symbol"], 6).to_pylist(), strict=True))
    found = zip(rows["symbol"].to_pylist(), rows["_partition"].to_pylist(), strict=True)
    assert {symbol: int(partition) for symbol, partition in found} == expected


def test_a_record_that_is_too_large_stops_all(kinesis_streams: Streams) -> None:
    """Nothing of the table is published."""
    topic = kinesis_streams.bars(partitions=1, record_bytes_max=20_000)
    bars = sample_bars(3, symbols=("AAPL",))
    place = bars.schema.get_field_index("provider")
    huge = bars.set_column(place, "provider", pa.array(["a", "b" * 30_000, "c"]))
    with pytest.raises(LimitError, match="nothing was published"):
        topic.publish(huge)
    assert read_out(topic)[0].num_rows == 0


def test_a_stream_that_we_create_keeps_records_as_long_as_was_asked(
    kinesis_streams: Streams,
) -> None:
    """More than the day that Kinesis gives; a position may then be as old."""
    settings = StreamsSettings(partitions=1, retention_hours=72)
    topic = kinesis_streams.open(settings).topic("bar")
    found = kinesis_streams.client.describe_stream_summary(StreamName=kinesis_streams.name)
    assert found["StreamDescriptionSummary"]["RetentionPeriodHours"] == 72
    topic.publish(sample_bars(10))
    position = topic.read("0", 0, records_max=100, wait_seconds=0).next_position
    assert topic.bounds("0", dated(position, hours_ago=71)).beginning == 0
    assert topic.bounds("0", dated(position, hours_ago=73)).beginning == position + 1


def test_the_tip_follows_what_was_there(kinesis_streams: Streams) -> None:
    """Only what is published after it is read from there, also by another reader of the topic."""
    topic = kinesis_streams.bars(partitions=1)
    topic.publish(sample_bars(10))
    tip = topic.tip("0")
    assert not topic.wait({"0": tip}, wait_seconds=0)
    topic.publish(sample_bars(5, first=10))
    assert topic.wait({"0": tip}, wait_seconds=0)
    rows = decode("bar", topic.read("0", tip, records_max=100, wait_seconds=0).messages)
    assert sorted(rows["volume"].to_pylist()) == list(range(10, 15))


def test_one_who_resumes_at_the_tip_waits_and_then_reads_what_comes(
    kinesis_streams: Streams,
) -> None:
    """A fresh handle is given its last record again; only what comes after it ends the wait."""
    topic = kinesis_streams.bars(partitions=1)
    topic.publish(sample_bars(10, symbols=("AAPL",)))
    position = topic.read("0", 0, records_max=100, wait_seconds=0).next_position
    again = kinesis_streams.bars(partitions=1)
    assert not again.wait({"0": position}, wait_seconds=0.2)
    found: list[bool] = []
    waiting = threading.Thread(
        target=lambda: found.append(again.wait({"0": position}, wait_seconds=60))
    )
    waiting.start()
    topic.publish(sample_bars(10, symbols=("AAPL",), first=10))
    waiting.join(30)
    assert found == [True]
    rows = decode("bar", again.read("0", position, records_max=100, wait_seconds=0).messages)
    assert rows["volume"].to_pylist() == list(range(10, 20))


def test_readers_of_one_process_share_what_they_are_told(kinesis_streams: Streams) -> None:
    """Two who stand at one place cost one question, and both get the records."""
    topic = kinesis_streams.bars(partitions=1)
    topic.publish(sample_bars(10))
    start = topic.read("0", 0, records_max=100, wait_seconds=0).next_position
    topic.publish(sample_bars(10, first=10))
    assert topic.wait({"0": start}, wait_seconds=10)
    asked = sum("GetRecords" in what for what, _ in kinesis_streams.proxy.seen)
    batches = [topic.read("0", start, records_max=100, wait_seconds=0) for _ in range(2)]
    assert sum("GetRecords" in what for what, _ in kinesis_streams.proxy.seen) == asked
    for batch in batches:
        volumes = decode("bar", batch.messages)["volume"].to_pylist()
        assert sorted(volumes) == list(range(10, 20))


@pytest.mark.parametrize("url", ["kinesis:market", "kinesis:///market", "kinesis://eu-west-1/a/b"])
def test_a_url_without_a_region_is_refused(tmp_path: Path, url: str) -> None:
    """The message shows what is missing."""
    with pytest.raises(ConfigError, match="REGION/NAMESPACE"):
        open_stream(url, workspace=tmp_path, settings=StreamsSettings())


def test_without_credentials_the_message_says_what_to_do(
    kinesis: Kinesis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a profile nor a variable."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(ConfigError, match="AWS_ACCESS_KEY_ID"):
        open_kinesis(tmp_path, kinesis.url).kinds()


@pytest.fixture
def workers(kinesis_streams: Streams) -> list[Stream]:
    """Two workers on one namespace, with short leases."""
    settings = StreamsSettings(partitions=4, lease_seconds=1.0)
    return [kinesis_streams.open(settings) for _ in range(2)]


def test_workers_share_the_shards(workers: list[Stream]) -> None:
    """Each gets half; one that is alone gets all."""
    one, two = (stream.join("bar", "group") for stream in workers)
    wait_until(lambda: len(one.share()) == len(two.share()) == 2)
    assert one.share() | two.share() == {"0", "1", "2", "3"}
    assert workers[0].join("bar", "group", alone=True).share() == {"0", "1", "2", "3"}
    for member in (one, two):
        member.leave()

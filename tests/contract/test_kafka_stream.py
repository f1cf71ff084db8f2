"""A real broker behind the contract of streams, and what only Kafka does to us."""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis
import pyarrow as pa
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import ConfigResource
from confluent_kafka.cimpl import NewPartitions
from hypothesis.stateful import initialize, run_state_machine_as_test

from services import Kafka
from tickerlake import clock
from tickerlake.errors import (
    ConfigError,
    DataLossError,
    LimitError,
    PartlyDoneError,
    RetentionPassedError,
    UnreachableError,
)
from tickerlake.records import Kind
from tickerlake.streams import Stream, StreamsSettings, Topic, open_stream
from tickerlake.streams.codec import decode
from tickerlake.streams.kafka.settings import KafkaSettings
from tickerlake.streams.settings import TopicSettings
from tickerlake.testing.sample_records import sample_bars
from tickerlake.testing.services.kafka import KafkaCluster
from tickerlake.testing.services.process import free_ports
from tickerlake.testing.stream_machine import StreamMachine
from tickerlake.testing.stream_suite import StreamSuite, drain

SHORT = KafkaSettings(timeout_seconds=2, publish_timeout_seconds=2)


class TestKafka(StreamSuite):
    """The contract, on a broker; each test has a namespace of its own."""

    @pytest.fixture(autouse=True)
    def _broker(self, kafka: Kafka) -> None:
        self.kafka = kafka

    def open(self, folder: Path, settings: StreamsSettings) -> Stream:
        """The folder's namespace."""
        namespace = "test-" + hashlib.sha256(str(folder).encode()).hexdigest()[:12]
        url = f"kafka://{self.kafka.bootstrap}/{namespace}"
        return open_stream(url, workspace=folder, settings=settings)


class Namespace:
    """A fresh namespace of the broker, and a way past us into it."""

    def __init__(self, kafka: Kafka) -> None:
        self.kafka = kafka
        self.name = f"test-{uuid.uuid4().hex[:12]}"
        self.bars = f"{self.name}.bars"
        self._streams: list[Stream] = []

    def open(self, **settings: Any) -> Stream:
        url = f"kafka://{self.kafka.bootstrap}/{self.name}"
        stream = open_stream(url, workspace=Path(), settings=StreamsSettings(**settings))
        self._streams.append(stream)
        return stream

    def topic(self, kind: Kind = "bar", **settings: Any) -> Topic:
        return self.open(**settings).topic(kind)

    def producer(self, **config: Any) -> Producer:
        """Somebody else's."""
        return Producer({"bootstrap.servers": self.kafka.bootstrap, "log_level": 0, **config})

    def close(self) -> None:
        for stream in self._streams:
            stream.close()


@pytest.fixture
def namespace(kafka: Kafka) -> Iterator[Namespace]:
    """Closed at the end."""
    fresh = Namespace(kafka)
    yield fresh
    fresh.close()


def drop_before(cluster: KafkaCluster, topic: str, offset: int) -> None:
    """As retention does."""
    place = TopicPartition(topic, 0, offset)
    admin = cluster.admin()
    admin.delete_records([place])[place].result(10)


def config_of(cluster: KafkaCluster, topic: str) -> dict[str, str]:
    """The broker's word for it."""
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    admin = cluster.admin()
    found = admin.describe_configs([resource])[resource].result(10)
    return {name: entry.value for name, entry in found.items()}


def volumes(topic: Topic, partition: str = "0", position: int = 0) -> list[float]:
    """What is read from there to the end, as a delivery reads."""
    found, at_end = [], False
    while not at_end:
        batch = topic.read(partition, position, records_max=100, wait_seconds=0)
        found += decode(topic.kind, batch.messages)["volume"].to_pylist()
        position, at_end = batch.next_position, batch.at_end
    return found


def test_a_broker_killed_in_the_middle_of_publishing_loses_and_doubles_nothing(
    namespace: Namespace,
) -> None:
    """SIGKILL and restart while batches go out: each acknowledged record is there once."""
    cluster = namespace.kafka.ours()
    topic = namespace.topic(wire="json", partitions=3)
    topic.publish(sample_bars(10))
    under_way = threading.Event()
    published = 10

    def publish() -> None:
        nonlocal published
        for _ in range(20):
            topic.publish(sample_bars(5_000, first=published))
            published += 5_000
            under_way.set()

    thread = threading.Thread(target=publish)
    thread.start()
    assert under_way.wait(30)
    cluster.nodes[0].kill9()
    cluster.start()
    thread.join(120)
    assert not thread.is_alive()
    assert published == 100_010
    found = drain(topic, records_max=50_000)["volume"].to_pylist()
    assert sorted(found) == list(range(published))


def test_what_was_aborted_is_passed_over_and_what_is_open_is_not_there(
    namespace: Namespace,
) -> None:
    """Markers and aborted records are holes in the positions: reading goes on behind them."""
    topic = namespace.topic(partitions=1, wire="json")
    topic.publish(sample_bars(3))
    producer = namespace.producer(**{"transactional.id": namespace.name})
    producer.init_transactions()
    for end in (producer.commit_transaction, producer.abort_transaction, lambda: None):
        producer.begin_transaction()
        for number in range(100):
            producer.produce(namespace.bars, b'{"volume": %d}' % number, partition=0)
        producer.flush()
        end()
    read = []
    position, at_end = 0, False
    while not at_end:
        batch = topic.read("0", position, records_max=1000, wait_seconds=0)
        read += decode("bar", batch.messages)["_offset"].to_pylist()
        position, at_end = batch.next_position, batch.at_end
    assert read == list(range(103))
    assert position == topic.bounds("0").end == topic.tip("0") == 3 + 101 + 101
    assert not topic.wait({"0": position}, wait_seconds=0)
    producer.abort_transaction()
    assert topic.wait({"0": position}, wait_seconds=30)
    batch = topic.read("0", position, records_max=1000, wait_seconds=0)
    assert (batch.messages, batch.next_position) == ((), position + 101)


def test_holes_inside_a_block_keep_their_places(namespace: Namespace) -> None:
    """Records of two transactions with an aborted one between them: each has its own offset."""
    topic = namespace.topic(partitions=1, wire="json")
    producer = namespace.producer(**{"transactional.id": namespace.name})
    producer.init_transactions()
    for number in range(20):
        producer.begin_transaction()
        producer.produce(namespace.bars, b'{"volume": %d}' % number, partition=0)
        if number % 3 == 1:
            producer.flush()
            producer.abort_transaction()
        else:
            producer.commit_transaction()
    rows = drain(topic)
    kept = [number for number in range(20) if number % 3 != 1]
    assert rows["_offset"].to_pylist() == [2 * number for number in kept]
    assert rows["payload"].to_pylist() == [b'{"volume": %d}' % number for number in kept]


def test_a_position_that_retention_has_passed_fails_loudly(namespace: Namespace) -> None:
    """Also where a reader was already there when the records went: it never jumps to the end."""
    cluster = namespace.kafka.ours()
    topic = namespace.topic(partitions=1, wire="json")
    for start in range(0, 60, 10):
        topic.publish(sample_bars(10, first=start))
    first = topic.read("0", 0, records_max=5, wait_seconds=0)
    assert first.messages
    drop_before(cluster, namespace.bars, 40)
    assert topic.bounds("0").beginning == 40
    other = namespace.topic()
    for position in (10, 39, 61):
        with pytest.raises(RetentionPassedError, match="what to do"):
            other.read("0", position, records_max=10, wait_seconds=0)
    assert volumes(other, position=40) == list(range(40, 60))


def test_partitions_that_are_added_are_noticed(namespace: Namespace) -> None:
    """The topic grows under a reader: it shows the new partition, and reads it."""
    cluster = namespace.kafka.ours()
    topic = namespace.topic(partitions=2, wire="json")
    topic.publish(sample_bars(10))
    admin = cluster.admin()
    admin.create_partitions([NewPartitions(namespace.bars, 3)])[namespace.bars].result(10)
    assert topic.bounds("2").end == 0
    assert topic.partitions() == ["0", "1", "2"]
    stream = namespace.open()
    stream.append_raw("bar", "2", [b'{"volume": 7}'])
    assert topic.read("2", 0, records_max=10, wait_seconds=30).messages[0].count == 1


def test_a_topic_made_anew_is_another_one(namespace: Namespace) -> None:
    """Whoever still reads the old one is told; opened again it has another identity."""
    cluster = namespace.kafka.ours()
    stream = namespace.open(partitions=1, wire="json")
    topic = stream.topic("bar")
    before = topic.identity()
    topic.publish(sample_bars(10))
    assert topic.read("0", 0, records_max=5, wait_seconds=0).messages
    admin = cluster.admin()
    admin.delete_topics([namespace.bars])[namespace.bars].result(10)
    while namespace.open().kinds():
        pass
    namespace.topic(partitions=1, wire="json").publish(sample_bars(50, first=100))
    with pytest.raises(DataLossError, match="made anew"):
        topic.read("0", 10, records_max=100, wait_seconds=30)
    with pytest.raises(DataLossError):
        topic.publish(sample_bars(1))
    again = stream.topic("bar")
    assert again.identity().id != before.id
    assert volumes(again) == list(range(100, 150))


def test_a_record_that_is_too_large_publishes_nothing(namespace: Namespace) -> None:
    """The call says which one it is, before anything was sent; the others can be sent again."""
    topic = namespace.topic(wire="json", kafka=KafkaSettings(message_bytes_max=20_000))
    bars = sample_bars(20)
    names = bars["symbol"].to_pylist()
    names[13] = "X" * 30_000
    place = bars.schema.get_field_index("symbol")
    with pytest.raises(LimitError, match="in record 13"):
        topic.publish(bars.set_column(place, "symbol", pa.array(names)))
    assert drain(topic).num_rows == 0
    topic.publish(bars)
    assert drain(topic).num_rows == 20


def test_arrow_messages_stay_below_the_topics_limit(namespace: Namespace) -> None:
    """Long strings that never repeat: more messages, each small enough, all in order."""
    topic = namespace.topic(
        "trade", wire="arrow", partitions=2, kafka=KafkaSettings(message_bytes_max=30_000)
    )
    time = pa.array(range(2_000), pa.timestamp("us", tz="UTC"))
    trades = pa.table(
        {
            "provider": pa.repeat("x", 2_000),
            "symbol": pa.array(["A", "B"] * 1_000),
            "ts": time,
            "fetched_at": time,
            "price": pa.repeat(1.0, 2_000),
            "trade_id": pa.array([f"{number:0100d}" for number in range(2_000)]),
        }
    )
    topic.publish(trades)
    rows = drain(topic)
    for symbol in ("A", "B"):
        of_one = rows.filter(pa.compute.field("symbol") == symbol)
        assert of_one["trade_id"].to_pylist() == sorted(of_one["trade_id"].to_pylist())
    assert rows.sort_by("trade_id")["trade_id"].equals(trades["trade_id"])


def test_records_that_the_broker_refuses_are_told_apart(namespace: Namespace) -> None:
    """A compacted topic takes no record without a key: one partition is stored, one is not."""
    cluster = namespace.kafka.ours()
    cluster.create_topic(namespace.bars, partitions=2, cleanup_policy="compact")
    topic = namespace.topic(wire="json")
    bars = sample_bars(40)
    assert len(topic.publish(bars)) == 2
    names = bars["symbol"].to_pylist()
    names[13] = None
    place = bars.schema.get_field_index("symbol")
    with pytest.raises(PartlyDoneError, match="INVALID_RECORD") as caught:
        topic.publish(bars.set_column(place, "symbol", pa.array(names)))
    assert caught.value.exit_code == 3
    stored = drain(topic).num_rows - 40
    assert 0 < stored < 40
    assert f"{stored} of 40 messages are stored" in str(caught.value)
    assert "None in partition 1" in str(caught.value)


def test_foreign_values_that_are_too_large_are_not_sent(namespace: Namespace) -> None:
    """Nothing of the call is published, and the error names the first of them."""
    stream = namespace.open(partitions=1, kafka=KafkaSettings(message_bytes_max=5_000))
    with pytest.raises(LimitError, match="50000 bytes in record 1"):
        stream.append_raw("bar", "0", [b"1", b"x" * 50_000, b"2"])
    assert drain(stream.topic("bar")).num_rows == 0


def test_nobody_there_is_said_within_the_time_out(tmp_path: Path) -> None:
    """A port where nobody listens, a host that does not exist: exit code 4, and what to check."""
    (port,) = free_ports(1)
    for address in (f"127.0.0.1:{port}", "no-such-host.invalid:9092"):
        stream = open_stream(
            f"kafka://{address}/market", workspace=tmp_path, settings=StreamsSettings(kafka=SHORT)
        )
        with pytest.raises(UnreachableError, match="check the") as caught:
            stream.topic("bar")
        assert caught.value.exit_code == 4
        assert address in str(caught.value)
        stream.close()


def test_a_publish_whose_outcome_is_unknown_says_so(namespace: Namespace) -> None:
    """The broker stands still in the middle: an error within the time-out, and no word of loss."""
    cluster = namespace.kafka.ours()
    stream = namespace.open(partitions=1, wire="json", kafka=SHORT)
    stream.append_raw("bar", "0", [b'{"volume": 0}'])
    cluster.nodes[0].pause()
    try:
        with pytest.raises(UnreachableError, match="publish again"):
            stream.append_raw("bar", "0", [b'{"volume": 1}'])
    finally:
        cluster.nodes[0].resume()
    stream.append_raw("bar", "0", [b'{"volume": 2}'])
    assert set(volumes(stream.topic("bar"))) >= {0, 2}


@pytest.mark.slow
def test_too_few_replicas_store_nothing_more_and_lose_nothing(
    kafka_cluster3: KafkaCluster,
) -> None:
    """Two of three brokers die: a publish says so within its time-out; what was stored stays."""
    settings = StreamsSettings(
        partitions=1,
        wire="json",
        kafka=KafkaSettings(timeout_seconds=5, publish_timeout_seconds=8),
    )
    stream = open_stream(
        f"kafka://{kafka_cluster3.bootstrap}/market", workspace=Path(), settings=settings
    )
    topic = stream.topic("bar")
    topic.publish(sample_bars(100))
    for node in kafka_cluster3.nodes[1:]:
        node.kill9()
    with pytest.raises(UnreachableError, match=r"min\.insync\.replicas"):
        topic.publish(sample_bars(10, first=100))
    for node in kafka_cluster3.nodes[1:]:
        node.start()
    topic.publish(sample_bars(10, first=200))
    found = volumes(topic)
    assert [number for number in found if not 100 <= number < 200] == [
        *range(100),
        *range(200, 210),
    ]
    assert len(found) == len(set(found))
    stream.close()


def test_what_is_compacted_away_is_passed_over(namespace: Namespace) -> None:
    """Only the newest record of each key is left: its position stays, holes are no error."""
    cluster = namespace.kafka.ours()
    cluster.create_topic(
        namespace.bars,
        cleanup_policy="compact",
        min_cleanable_dirty_ratio="0.01",
        segment_ms="1",
        min_compaction_lag_ms="0",
    )
    topic = namespace.topic(wire="json")
    for start in range(0, 70, 7):
        topic.publish(sample_bars(7, first=start))
    while (left := drain(topic).num_rows) == 70:  # the broker's cleaner takes its time
        clock.sleep(0.1)
        topic.publish(sample_bars(0))
    assert left >= 7
    rows = drain(topic)
    assert rows["_offset"].to_pylist() == rows["volume"].to_pylist()
    assert rows["_offset"].to_pylist()[-7:] == list(range(63, 70))


def test_a_topic_of_others_is_read_and_never_made(namespace: Namespace) -> None:
    """`[streams.bars] topic` names it; a name that is not there is an error, not a new topic."""
    cluster = namespace.kafka.ours()
    foreign = cluster.create_topic(f"{namespace.name}-prices", partitions=2)
    stream = namespace.open(bars=TopicSettings(topic=foreign))
    assert stream.kinds() == ["bar"]
    stream.append_raw("bar", "1", [b'{"volume": 7}'])
    assert drain(stream.topic("bar")).num_rows == 1
    with pytest.raises(ConfigError, match="does not exist"):
        namespace.topic("trade", trades=TopicSettings(topic="not-there"))


def test_what_we_create_has_what_the_settings_say(namespace: Namespace) -> None:
    """Partitions, retention, replicas, the size of messages; other settings change nothing."""
    cluster = namespace.kafka.ours()
    said = StreamsSettings(
        partitions=2,
        retention_hours=1,
        retention_bytes=10_000_000,
        kafka=KafkaSettings(replication_factor=1, min_insync_replicas=1, message_bytes_max=123_456),
    )
    open_stream(
        f"kafka://{namespace.kafka.bootstrap}/{namespace.name}", workspace=Path(), settings=said
    ).topic("bar")
    namespace.topic(retention_hours=2, partitions=5)
    config = config_of(cluster, namespace.bars)
    assert config["retention.ms"] == "3600000"
    assert config["retention.bytes"] == "10000000"
    assert config["min.insync.replicas"] == "1"
    assert config["max.message.bytes"] == "123456"
    assert len(namespace.topic().partitions()) == 2


def test_an_address_that_is_none_is_wrong_use(tmp_path: Path) -> None:
    """No port, no host, a password in the address: exit code 2, the password not repeated."""
    for url in ("kafka:", "kafka://", "kafka://host", "kafka://a:b@host:9092/market"):
        with pytest.raises(ConfigError, match="HOST:PORT") as caught:
            open_stream(url, workspace=tmp_path, settings=StreamsSettings())
        assert "a:b@" not in str(caught.value)


def test_a_partition_that_nobody_takes_does_not_hold_back_another(namespace: Namespace) -> None:
    """Many megabytes wait in one partition: the other flows, memory is bounded, nothing is lost."""
    stream = namespace.open(
        partitions=2, wire="json", kafka=KafkaSettings(buffer_bytes_max=2_000_000)
    )
    topic = stream.topic("bar")
    filler = b" " * 2_000
    for block in range(10):
        values = [
            b'{"volume": %d%b}' % (number, filler)
            for number in range(block * 1_000, block * 1_000 + 1_000)
        ]
        stream.append_raw("bar", "0", values)
    assert topic.wait({"0": 0, "1": 0}, wait_seconds=30)
    for number in range(5):
        stream.append_raw("bar", "1", [b'{"volume": %d}' % number])
        assert topic.read("1", number, records_max=10, wait_seconds=30).messages
    assert volumes(topic) == list(range(10_000))
    assert volumes(topic, "1") == list(range(5))


def test_a_tombstone_is_a_dead_letter(namespace: Namespace) -> None:
    """A null value is a record of the log like any other: one row, not none."""
    topic = namespace.topic(partitions=1, wire="json")
    producer = namespace.producer()
    for value in (b'{"volume": 1}', None, b'{"volume": 2}'):
        producer.produce(namespace.bars, value, key=b"A", partition=0)
        producer.flush()
    rows = drain(topic)
    assert rows["_offset"].to_pylist() == [0, 1, 2]
    assert rows["dead_reason"].is_valid().to_pylist()[1]


class KafkaMachine(StreamMachine):
    """Any order of steps, on a broker. Retention is the broker's own and takes no word from us."""

    bootstrap = ""

    @initialize()
    def begin(self) -> None:
        """JSON: an Arrow message is one position, however many records it holds."""
        super().begin("json")

    def open(self, folder: Path, settings: StreamsSettings) -> Stream:
        settings = replace(settings, retention_bytes=None, retention_hours=None)
        url = f"kafka://{self.bootstrap}/machine-{folder.name}"
        return open_stream(url, workspace=folder, settings=settings)


@pytest.mark.slow
def test_any_order_of_steps(kafka: Kafka) -> None:
    """Publishes, foreign bytes, reads from anywhere, reopening: always what the model says."""
    KafkaMachine.bootstrap = kafka.bootstrap
    run_state_machine_as_test(
        KafkaMachine,
        settings=hypothesis.settings(max_examples=6, stateful_step_count=15, deadline=None),
    )

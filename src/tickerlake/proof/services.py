"""Brokers that the proof starts by itself: over these it has every power."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tickerlake import clock
from tickerlake.errors import UsageError
from tickerlake.records import TOPICS

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

    from tickerlake.proof.ground import Logs, Place
    from tickerlake.testing.services.http_proxy import HttpProxy
    from tickerlake.testing.services.kafka import KafkaCluster
    from tickerlake.testing.services.kinesis import Kinesis

__all__ = ["OwnKafka", "OwnKinesis", "environment", "start", "topic_of"]


def start(name: str, folder: Path) -> AbstractContextManager[Logs]:
    """Start the broker of that name; it ends with the context.

    Raises:
        UsageError: There is none of that name.
    """
    if name not in _SERVICES:
        raise UsageError(
            f"The proof cannot start {name!r}.",
            expected=", ".join(_SERVICES),
            todo="name one of these, or a broker of your own with --stream",
        )
    return _SERVICES[name](folder)


def topic_of(place: Place) -> str:
    """The name of a run's topic of bars in Kafka."""
    return f"{urlsplit(place.stream).path.strip('/')}.{TOPICS['bar']}"


class OwnKafka:
    """One or three nodes, each behind a proxy."""

    def __init__(self, cluster: KafkaCluster) -> None:
        self.cluster = cluster
        self.kind = "kafka" if len(cluster.nodes) == 1 else f"kafka{len(cluster.nodes)}"
        self.admin: AdminClient = cluster.admin()
        powers = {"broker": self}
        self.powers: Mapping[str, Any] = (
            {**powers, "three brokers": self} if len(cluster.nodes) > 1 else powers
        )
        self.settings: Mapping[str, Any] = {
            "streams.kafka.session_timeout_seconds": 1.2,
            "streams.kafka.heartbeat_seconds": 0.2,
            "streams.kafka.timeout_seconds": 15.0,
            "streams.kafka.publish_timeout_seconds": 20.0,
        }

    def url(self, name: str) -> str:
        """A namespace of the cluster, through its proxies."""
        return f"kafka://{self.cluster.bootstrap}/{name}"

    def acknowledged(self, place: Place, group: str) -> Mapping[str, int] | None:
        """The group's offsets."""
        from confluent_kafka import KafkaException

        for _ in range(200):
            try:
                return self._acknowledged(topic_of(place), group)
            except KafkaException as error:
                if not error.args[0].retriable():
                    return None
                clock.sleep(0.05)  # the group's coordinator has only just come up
        return None

    def _acknowledged(self, topic: str, group: str) -> dict[str, int]:
        from confluent_kafka import Consumer, TopicPartition

        # Not through an admin client: asked while the group's coordinator moves, it crashes.
        consumer = Consumer({"bootstrap.servers": self.cluster.inside, "group.id": group})
        try:
            numbers = consumer.list_topics(topic, timeout=20).topics[topic].partitions
            found = consumer.committed([TopicPartition(topic, n) for n in numbers], timeout=20)
        finally:
            consumer.close()
        return {str(place.partition): place.offset for place in found if place.offset >= 0}

    def heal(self) -> None:
        """All nodes run, no proxy stands in the way."""
        dead = [node for node in self.cluster.nodes if not node.running]
        for node in self.cluster.nodes:
            if node.proxy is not None:
                node.proxy.heal()
            if node in dead:
                node.launch()
            else:
                node.resume()
        if dead:
            self.cluster.wait()


class OwnKinesis:
    """An emulator behind a proxy that can make each call fail."""

    kind = "kinesis"

    def __init__(self, kinesis: Kinesis, proxy: HttpProxy) -> None:
        self.proxy = proxy
        self.client: Any = kinesis.client()
        self.powers: Mapping[str, Any] = {"kinesis": self}
        self.settings: Mapping[str, Any] = {
            "streams.kinesis.endpoint_url": proxy.url,
            # An emulator has no limits that others could want their share of.
            "streams.kinesis.reads_per_second": 50.0,
            "streams.kinesis.patience_seconds": 20.0,
        }

    def url(self, name: str) -> str:
        """A namespace of the emulated region."""
        return f"kinesis://us-east-1/{name}"

    def acknowledged(self, place: Place, group: str) -> Mapping[str, int] | None:  # noqa: ARG002
        """Kinesis keeps no position of anybody."""
        return None

    def heal(self) -> None:
        """No call fails any more."""
        self.proxy.heal()

    def reshard(self, place: Place, drawn: Random) -> None:
        """Split an open shard, or merge two neighbours."""
        name = f"{urlsplit(place.stream).path.strip('/')}-{TOPICS['bar']}"
        listed = self.client.list_shards(StreamName=name)["Shards"]
        shards = [s for s in listed if "EndingSequenceNumber" not in s["SequenceNumberRange"]]
        shards.sort(key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))
        if len(shards) > 1 and drawn.random() < 0.5:
            at = drawn.randrange(len(shards) - 1)
            left, right = shards[at]["ShardId"], shards[at + 1]["ShardId"]
            self.client.merge_shards(StreamName=name, ShardToMerge=left, AdjacentShardToMerge=right)
        else:
            chosen = drawn.choice(shards)
            first, last = (
                int(chosen["HashKeyRange"][f"{w}HashKey"]) for w in ("Starting", "Ending")
            )
            self.client.split_shard(
                StreamName=name,
                ShardToSplit=chosen["ShardId"],
                NewStartingHashKey=str((first + last) // 2 + 1),
            )
        self.client.get_waiter("stream_exists").wait(
            StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30}
        )


@contextmanager
def _kinesis(folder: Path) -> Iterator[OwnKinesis]:
    from tickerlake.testing.services.http_proxy import HttpProxy
    from tickerlake.testing.services.kinesis import Kinesis

    # Workers find credentials as boto3 does; any will do for an emulator.
    keys = {"AWS_ACCESS_KEY_ID": "tickerlake", "AWS_SECRET_ACCESS_KEY": "emulated"}
    with environment(keys), Kinesis(folder) as kinesis, HttpProxy(kinesis.port) as proxy:
        yield OwnKinesis(kinesis, proxy)


@contextmanager
def environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """Variables of the environment, which workers inherit; as they were afterwards."""
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _kafka(folder: Path, *, nodes: int) -> Iterator[OwnKafka]:
    from tickerlake.testing.services.kafka import KafkaCluster

    with KafkaCluster(folder, nodes=nodes, proxied=True) as cluster:
        yield OwnKafka(cluster)


_SERVICES: dict[str, Callable[[Path], AbstractContextManager[Logs]]] = {
    "kafka": partial(_kafka, nodes=1),
    "kafka3": partial(_kafka, nodes=3),
    "kinesis": _kinesis,
}

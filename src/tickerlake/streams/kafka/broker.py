"""What a broker knows of its topics, asked through its admin protocol."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from tickerlake import clock
from tickerlake.streams.base import StreamIdentity
from tickerlake.streams.kafka.client import client_config
from tickerlake.streams.kafka.faults import Troubles, translated
from tickerlake.streams.kafka.settings import KafkaSettings

if TYPE_CHECKING:
    from confluent_kafka.admin import (
        AdminClient,
        ClusterMetadata,
        OffsetSpec,
    )

__all__ = ["Broker", "TopicFacts"]

T = TypeVar("T")

_SLICE_SECONDS: Final = 0.05
_LEADERLESS: Final = frozenset(
    {"NOT_LEADER_FOR_PARTITION", "LEADER_NOT_AVAILABLE", "KAFKA_STORAGE_ERROR", "_LEADER_UNKNOWN"}
)
_MISSING: Final = frozenset({"UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "UNKNOWN_TOPIC_ID"})


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """A topic as it is now."""

    name: str
    identity: StreamIdentity
    partition_count: int
    replica_count: int
    known_at: float


class Broker:
    """A cluster, through one admin client, which is made when first asked."""

    def __init__(self, servers: str, settings: KafkaSettings) -> None:
        self.servers = servers
        self.troubles = Troubles(servers)
        self._settings = settings
        self._lock = threading.Lock()
        self._admin: AdminClient | None = None
        self._cluster_id: str | None = None

    def topic_names(self) -> set[str]:
        """All topics that this user may see."""
        return set(self._metadata().topics)

    def facts(self, topic: str) -> TopicFacts | None:
        """What the topic is now; None = there is none of that name."""
        from confluent_kafka import KafkaException, TopicCollection

        if self._cluster_id is None:
            self._cluster_id = self._metadata().cluster_id
        known_at = clock.monotonic_seconds()
        future = self._client().describe_topics(TopicCollection([topic]))[topic]
        doing = f"The topic {topic} cannot be described."
        try:
            found = self._answer(future, doing)
        except KafkaException as error:
            if error.args[0].name() in _MISSING:
                return None
            with translated(doing, self.troubles):
                raise
        text = f"Kafka cluster {self._cluster_id} topic {topic} {found.topic_id}"
        identity = StreamIdentity(hashlib.sha256(text.encode()).hexdigest()[:16], text)
        replicas = min((len(part.replicas) for part in found.partitions), default=0)
        return TopicFacts(topic, identity, len(found.partitions), replicas, known_at)

    def config(self, topic: str) -> Mapping[str, str]:
        """The topic's settings, as the broker names them."""
        from confluent_kafka.admin import ConfigResource, ResourceType

        resource = ConfigResource(ResourceType.TOPIC, topic)
        doing = f"The settings of the topic {topic} cannot be read."
        with translated(doing, self.troubles):
            future = self._client().describe_configs([resource])[resource]
            found = self._answer(future, doing)
        return {name: entry.value for name, entry in found.items()}

    def create(self, topic: str, partitions: int, config: Mapping[str, str]) -> None:
        """Make a topic; one that others have made meanwhile is as good."""
        from confluent_kafka import KafkaException
        from confluent_kafka.cimpl import NewTopic

        doing = f"The topic {topic} cannot be created."
        new = NewTopic(
            topic,
            num_partitions=partitions,
            replication_factor=self._settings.replication_factor or -1,
            config=dict(config),
        )
        try:
            self._answer(self._client().create_topics([new])[topic], doing)
        except KafkaException as error:
            if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
                with translated(doing, self.troubles):
                    raise

    def delete(self, topic: str) -> None:
        """Delete a topic with all that it holds; one that is not there is as good."""
        from confluent_kafka import KafkaException

        doing = f"The topic {topic} cannot be deleted."
        try:
            self._answer(self._client().delete_topics([topic])[topic], doing)
        except KafkaException as error:
            if error.args[0].name() not in _MISSING:
                with translated(doing, self.troubles):
                    raise

    def ends(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """The position of the next record, by partition: no open transaction lies below it."""
        from confluent_kafka.admin import OffsetSpec

        return self._offsets(topic, partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]

    def beginnings(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """The first position still held, by partition."""
        from confluent_kafka.admin import OffsetSpec

        return self._offsets(topic, partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Give the connection back."""
        with self._lock:
            self._admin = None

    def _offsets(self, topic: str, partitions: Iterable[int], which: OffsetSpec) -> dict[int, int]:
        from confluent_kafka import IsolationLevel, KafkaException, TopicPartition

        doing = f"The bounds of the topic {topic} cannot be read."
        asked = {TopicPartition(topic, number): which for number in partitions}
        deadline = clock.monotonic_seconds() + self._settings.timeout_seconds
        while True:
            try:
                futures = self._client().list_offsets(
                    asked, isolation_level=IsolationLevel.READ_COMMITTED
                )
                return {
                    place.partition: self._answer(future, doing).offset
                    for place, future in futures.items()
                }
            except KafkaException as error:
                # Leaders change: for a moment after creation, and when a broker dies.
                if error.args[0].name() in _LEADERLESS and clock.monotonic_seconds() < deadline:
                    clock.sleep(_SLICE_SECONDS)
                    continue
                with translated(doing, self.troubles):
                    raise

    def _metadata(self) -> ClusterMetadata:
        """Names and addresses; the first call that fails says why nothing can be reached."""
        from confluent_kafka import KafkaException

        doing = f"The Kafka broker {self.servers} does not answer."
        seconds = self._settings.timeout_seconds
        deadline = clock.monotonic_seconds() + seconds
        client = self._client()
        while True:
            try:
                return client.list_topics(timeout=min(0.5, max(0.01, seconds)))
            except KafkaException as error:
                client.poll(0)
                self.troubles.check(doing)
                if clock.monotonic_seconds() > deadline:
                    raise self.troubles.timed_out(doing, seconds) from error

    def _answer(self, future: Future[T], doing: str) -> T:
        """What an admin call gives, within the time-out; the library's own error otherwise."""
        seconds = self._settings.timeout_seconds
        deadline = clock.monotonic_seconds() + seconds
        while True:
            try:
                return future.result(timeout=_SLICE_SECONDS)
            except FutureTimeoutError as error:
                self._client().poll(0)
                self.troubles.check(doing)
                if clock.monotonic_seconds() > deadline:
                    raise self.troubles.timed_out(doing, seconds) from error

    def _client(self) -> AdminClient:
        from confluent_kafka.admin import AdminClient

        with self._lock:
            if self._admin is None:
                config = client_config(self.servers, self._settings, self.troubles)
                with translated("The Kafka client cannot be made.", self.troubles):
                    self._admin = AdminClient(config)
            return self._admin

"""What a broker knows of its topics, asked through its admin protocol."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from tickerlake import clock
from tickerlake.errors import NotFoundError
from tickerlake.streams.base import StreamIdentity
from tickerlake.streams.kafka.client import client_config
from tickerlake.streams.kafka.faults import MISSING, Troubles, is_passing, translated
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

#: A broker that has just started knows all topics by then.
_MISSING_SECONDS: Final = 3.0


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

    def facts(self, topic: str, *, known: bool = False) -> TopicFacts | None:
        """What the topic is now; None = there is none of that name.

        Of one that was `known` to be there this takes a moment longer: a broker that has just
        started may not have heard of it yet.
        """
        from confluent_kafka import TopicCollection

        if self._cluster_id is None:
            self._cluster_id = self._metadata().cluster_id
        known_at = clock.monotonic_seconds()
        try:
            found = self._asked(
                lambda: self._wait(self._client().describe_topics(TopicCollection([topic]))[topic]),
                f"The topic {topic} cannot be described.",
                missing_seconds=_MISSING_SECONDS if known else 0,
            )
        except NotFoundError:
            return None
        text = f"Kafka cluster {self._cluster_id} topic {topic} {found.topic_id}"
        identity = StreamIdentity(hashlib.sha256(text.encode()).hexdigest()[:16], text)
        replicas = min((len(part.replicas) for part in found.partitions), default=0)
        return TopicFacts(topic, identity, len(found.partitions), replicas, known_at)

    def config(self, topic: str) -> Mapping[str, str]:
        """The topic's settings, as the broker names them."""
        from confluent_kafka.admin import ConfigResource, ResourceType

        resource = ConfigResource(ResourceType.TOPIC, topic)
        found = self._asked(
            lambda: self._wait(self._client().describe_configs([resource])[resource]),
            f"The settings of the topic {topic} cannot be read.",
            missing_seconds=_MISSING_SECONDS,
        )
        return {name: entry.value for name, entry in found.items()}

    def create(self, topic: str, partitions: int, config: Mapping[str, str]) -> None:
        """Make a topic; one that others have made meanwhile is as good."""
        from confluent_kafka import KafkaException
        from confluent_kafka.cimpl import NewTopic

        new = NewTopic(
            topic,
            num_partitions=partitions,
            replication_factor=self._settings.replication_factor or -1,
            config=dict(config),
        )

        def ask() -> None:
            try:
                self._wait(self._client().create_topics([new])[topic])
            except KafkaException as error:
                if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
                    raise

        self._asked(ask, f"The topic {topic} cannot be created.")

    def delete(self, topic: str) -> None:
        """Delete a topic with all that it holds; one that is not there is as good."""
        with contextlib.suppress(NotFoundError):
            self._asked(
                lambda: self._wait(self._client().delete_topics([topic])[topic]),
                f"The topic {topic} cannot be deleted.",
            )

    def ends(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """The position of the next record, by partition: no open transaction lies below it."""
        from confluent_kafka.admin import OffsetSpec

        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        return self._offsets(topic, partitions, latest)[0]

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """The first position still held, and the position of the next record."""
        from confluent_kafka.admin import OffsetSpec

        earliest = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        first, end = self._offsets(topic, [partition], earliest, latest)
        return first[partition], end[partition]

    def close(self) -> None:
        """Give the connection back."""
        with self._lock:
            self._admin = None

    def _offsets(
        self, topic: str, partitions: Iterable[int], *wanted: OffsetSpec
    ) -> list[dict[int, int]]:
        """One answer for each that is wanted; all are asked for before the first is waited for."""
        from confluent_kafka import IsolationLevel, TopicPartition

        places = [TopicPartition(topic, number) for number in partitions]
        committed = IsolationLevel.READ_COMMITTED

        def ask() -> list[dict[int, int]]:
            asked = [
                self._client().list_offsets(dict.fromkeys(places, which), isolation_level=committed)
                for which in wanted
            ]
            return [
                {place.partition: _told(self._wait(f).offset) for place, f in futures.items()}
                for futures in asked
            ]

        doing = f"The bounds of the topic {topic} cannot be read."
        return self._asked(ask, doing, missing_seconds=_MISSING_SECONDS)

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

    def _asked(self, ask: Callable[[], T], doing: str, *, missing_seconds: float = 0.0) -> T:
        """What the broker answers; asked again while leaders change or a broker restarts.

        For `missing_seconds` a topic that is said to be unknown may only be so to a broker that
        has just started.
        """
        from confluent_kafka import KafkaException

        started = clock.monotonic_seconds()
        while True:
            try:
                return ask()
            except KafkaException as error:
                self.troubles.check(doing)
                found, waited = error.args[0], clock.monotonic_seconds() - started
                missing = found.name() in MISSING and waited < missing_seconds
                passing = is_passing(found) and waited < self._settings.timeout_seconds
                if not missing and not passing:
                    with translated(doing, self.troubles):
                        raise
            except FutureTimeoutError as error:
                raise self.troubles.timed_out(doing, self._settings.timeout_seconds) from error
            clock.sleep(_SLICE_SECONDS)
            # What the client remembers of leaders may be what was wrong.
            with contextlib.suppress(KafkaException):
                self._client().list_topics(timeout=_SLICE_SECONDS * 10)

    def _wait(self, future: Future[T]) -> T:
        """The answer, or the library's own error; ends early where waiting cannot help."""
        deadline = clock.monotonic_seconds() + self._settings.timeout_seconds
        while True:
            try:
                return future.result(timeout=_SLICE_SECONDS)
            except FutureTimeoutError:
                self._client().poll(0)
                if self.troubles.hopeless or clock.monotonic_seconds() > deadline:
                    raise

    def _client(self) -> AdminClient:
        from confluent_kafka.admin import AdminClient

        with self._lock:
            if self._admin is None:
                config = client_config(self.servers, self._settings, self.troubles)
                with translated("The Kafka client cannot be made.", self.troubles):
                    self._admin = AdminClient(config)
            return self._admin


def _told(offset: int) -> int:
    """An offset that the broker gave. The library's own -1001 says that no answer came.

    Raises:
        KafkaException: No answer came: the connection broke.
    """
    if offset < 0:
        from confluent_kafka import KafkaError, KafkaException

        raise KafkaException(KafkaError(KafkaError._TRANSPORT, "no answer about an offset"))  # noqa: SLF001
    return offset

"""A namespace of topics in a broker: `kafka://HOST:PORT[,HOST:PORT]/NAMESPACE`."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Sequence
from typing import Final

from tickerlake import clock
from tickerlake.errors import ConfigError, StorageError, UnreachableError
from tickerlake.records import KINDS, TOPICS, Kind
from tickerlake.streams.base import Membership, Published, Wire
from tickerlake.streams.form import form_of
from tickerlake.streams.kafka.broker import Broker, TopicFacts
from tickerlake.streams.kafka.client import client_config, require_client
from tickerlake.streams.kafka.membership import Alone, Member
from tickerlake.streams.kafka.topic import KafkaTopic
from tickerlake.streams.settings import StreamsSettings

__all__ = ["KafkaStream", "parsed"]

_URL: Final = re.compile(r"kafka://([^/?#]+)(?:/([A-Za-z0-9._-]*))?/?")
_NAMESPACE: Final = "market"
_PORT: Final = re.compile(r":\d+$")
_ARROW_MESSAGE_BYTES: Final = 4 * 1024 * 1024

_LOOK_SECONDS: Final = 0.02

_log = logging.getLogger(__name__)


class KafkaStream:
    """The topics NAMESPACE.bars, NAMESPACE.trades … of one cluster, or such as settings name."""

    def __init__(self, url: str, settings: StreamsSettings) -> None:
        require_client()
        self.url = url
        servers, self._namespace = parsed(url)
        self._settings = settings
        self._broker = Broker(servers, settings.kafka)
        self._lock = threading.Lock()
        self._topics: dict[Kind, KafkaTopic] = {}
        self._members: list[Member | Alone] = []
        self._closed = False
        # So that contradictions are told at once, whether or not a broker is there.
        client_config(servers, settings.kafka, self._broker.troubles)

    def kinds(self) -> list[Kind]:
        """Kinds whose topic exists already; asking creates none."""
        names = self._broker.topic_names()
        return [kind for kind in KINDS if self._name(kind) in names]

    def topic(self, kind: Kind) -> KafkaTopic:
        """The kind's topic; created with our settings if it does not exist yet."""
        with self._lock:
            if self._closed:
                raise StorageError(f"The stream {self.url} has been closed.", todo="open it again")
            found = self._topics.get(kind)
            if found is None or found.replaced:
                if found is not None:
                    found.close()
                found = self._topics[kind] = self._opened(kind)
            return found

    def append_raw(self, kind: Kind, partition: str, payloads: Sequence[bytes]) -> Published:
        """Append values as they are, one record each, checked by nobody."""
        return self.topic(kind).append_raw(partition, payloads)

    def join(self, kind: Kind, group: str, *, alone: bool = False) -> Membership:
        """Become a member of the consumer group, or take all partitions without one."""
        topic = self.topic(kind)
        settings = self._settings.kafka
        config = client_config(self._broker.servers, settings, self._broker.troubles)
        member = (Alone if alone else Member)(topic, group, config, settings)
        with self._lock:
            self._members.append(member)
        return member

    def remove(self, kind: Kind) -> None:
        """Delete the kind's topic and all that it holds, for ever; nothing if there is none."""
        self._broker.delete(self._name(kind))

    def close(self) -> None:
        """Leave all groups and close all clients."""
        with self._lock:
            self._closed = True
            for member in self._members:
                member.leave()
            for topic in self._topics.values():
                topic.close()
            self._broker.close()

    def _name(self, kind: Kind) -> str:
        return self._settings.of(kind).topic or f"{self._namespace}.{TOPICS[kind]}"

    def _wire(self) -> Wire:
        return self._settings.wire or "json"

    def _opened(self, kind: Kind) -> KafkaTopic:
        name = self._name(kind)
        facts = self._broker.facts(name)
        if facts is None:
            facts = self._created(kind, name)
        form = form_of(self._settings, kind, keys=True)
        topic = KafkaTopic(self._broker, facts, kind, self._wire(), self._settings.kafka, form=form)
        self._note_differences(name, facts)
        return topic

    def _created(self, kind: Kind, name: str) -> TopicFacts:
        if self._settings.of(kind).topic is not None:
            raise ConfigError(
                f"The topic {name}, which [streams.{TOPICS[kind]}] names, does not exist.",
                todo="check its name and this user's rights; topics of others are never created",
            )
        deadline = clock.monotonic_seconds() + self._settings.kafka.timeout_seconds
        while True:
            # Again and again: one of that name may be on its way out, and brokers take a moment
            # to tell each other of a new one.
            self._broker.create(name, self._settings.partitions, self._topic_config())
            facts = self._broker.facts(name)
            if facts is not None and facts.partition_count:
                return facts
            if clock.monotonic_seconds() > deadline:
                raise UnreachableError(
                    f"The topic {name} was created, but the broker does not show it.",
                    todo="try again; check that this user may Describe it",
                )
            clock.sleep(_LOOK_SECONDS)

    def _topic_config(self) -> dict[str, str]:
        """What a topic that we create gets; all else is the broker's default."""
        streams, kafka = self._settings, self._settings.kafka
        config = {"cleanup.policy": "delete"}
        if streams.retention_hours is not None:
            config["retention.ms"] = str(int(streams.retention_hours * 3_600_000))
        if streams.retention_bytes is not None:
            config["retention.bytes"] = str(streams.retention_bytes)
        if kafka.min_insync_replicas is not None:
            config["min.insync.replicas"] = str(kafka.min_insync_replicas)
        bytes_max = kafka.message_bytes_max
        if bytes_max is None and self._wire() == "arrow":
            bytes_max = _ARROW_MESSAGE_BYTES
        if bytes_max is not None:
            config["max.message.bytes"] = str(bytes_max)
        return config

    def _note_differences(self, name: str, facts: TopicFacts) -> None:
        """Say once what of an existing topic endangers what we promise; we never change it."""
        config = self._broker.config(name)
        if "compact" in config.get("cleanup.policy", ""):
            _log.warning(
                "The topic %s is compacted: the broker drops records, delivered or not, once a "
                "newer one has their key.",
                name,
            )
        if facts.replica_count > 1 and config.get("min.insync.replicas") == "1":
            _log.warning(
                "The topic %s has %d replicas, but min.insync.replicas is 1: a record that was "
                "acknowledged can be lost with one broker.",
                name,
                facts.replica_count,
            )


def parsed(url: str) -> tuple[str, str]:
    """Addresses and namespace of a URL.

    Raises:
        ConfigError: It is not of the form that is expected.
    """
    match = _URL.fullmatch(url)
    if match is None or "@" in url or not all(map(_PORT.search, match.group(1).split(","))):
        raise ConfigError(
            f"The stream {url!r} names no Kafka broker.",
            expected="kafka://HOST:PORT/NAMESPACE, with more HOST:PORT after commas",
            found=url,
            todo="users and passwords stand in [streams.kafka], never in the address"
            if "@" in url
            else "a broker's usual port is 9092",
        )
    return match.group(1), match.group(2) or _NAMESPACE

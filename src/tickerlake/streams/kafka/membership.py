"""Who of several workers reads which partition: a consumer group that decides, and reads nothing.

The lake decides who may commit, so a member that believes too long that a partition is its own
does no harm; it only works for nothing.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from tickerlake import clock
from tickerlake.streams.kafka.faults import Troubles, translated
from tickerlake.streams.kafka.settings import KafkaSettings

if TYPE_CHECKING:
    from confluent_kafka import Consumer, TopicPartition

    from tickerlake.streams.kafka.topic import KafkaTopic

__all__ = ["Alone", "Member"]

#: A worker that does not ask for its share for so long is stuck: others get its partitions.
_STUCK_SECONDS: Final = 300.0

_POLL_SECONDS: Final = 0.1

#: A broker that is there has answered by then.
_CLOSE_SECONDS: Final = 5.0


class Member:
    """A member of a consumer group; a thread of its own answers the broker.

    A worker that is killed or stopped is missed after `session_timeout_seconds`, one that leaves
    at once.
    """

    def __init__(
        self, topic: KafkaTopic, group: str, config: dict[str, Any], settings: KafkaSettings
    ) -> None:
        self._topic = topic
        self._troubles = Troubles(config["bootstrap.servers"])
        self._doing = f"The group {group} of the topic {topic.name} cannot be joined."
        self._lock = threading.Lock()
        self._share: frozenset[str] = frozenset()
        self._asked_at = clock.monotonic_seconds()
        self._leaving = threading.Event()
        self._untold: dict[str, int] = {}
        self._consumer = _consumer(config | _group(settings), group, self._troubles, self._doing)
        self._consumer.subscribe(
            [topic.name],
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_revoke,
        )
        self._thread = threading.Thread(target=self._answer, name=f"member of {group}", daemon=True)
        self._thread.start()

    def share(self) -> frozenset[str]:
        """Partitions that the group gave us; changes as members come and go.

        Raises:
            UnreachableError: The broker refuses us: a password, a right that is missing.
        """
        self._asked_at = clock.monotonic_seconds()
        self._troubles.check(self._doing)
        return self._share

    def acknowledge(self, positions: Mapping[str, int]) -> None:
        """Commit how far the lake is, for lag tools; nobody waits for it or reads it back.

        The thread does it that polls: the client lets one thread in at a time, and whoever polls
        again and again keeps the others out.
        """
        with self._lock:
            self._untold.update(positions)

    def leave(self) -> None:
        """Give the partitions to the others at once."""
        if self._leaving.is_set():
            return
        self._leaving.set()
        self._thread.join()
        self._share = frozenset()
        _close(self._consumer)

    def _answer(self) -> None:
        """Take part in the group: the client calls back from inside `poll`."""
        from confluent_kafka import KafkaException

        while not self._leaving.is_set():
            if clock.monotonic_seconds() - self._asked_at > _STUCK_SECONDS:
                self._leaving.wait(_POLL_SECONDS)
                continue
            try:
                message = self._consumer.poll(_POLL_SECONDS)
            except KafkaException as error:
                self._troubles.note(error.args[0])
                continue
            if message is not None and (failed := message.error()) is not None:
                self._troubles.note(failed)
            self._tell_untold()
        self._tell_untold()

    def _tell_untold(self) -> None:
        with self._lock:
            positions, self._untold = self._untold, {}
        if positions:
            _commit(self._consumer, self._topic.name, positions)

    def _on_assign(self, consumer: Consumer, given: list[TopicPartition]) -> None:
        consumer.incremental_assign(given)
        consumer.pause(given)  # another consumer reads, where the lake says
        with self._lock:
            self._share |= {str(place.partition) for place in given}

    def _on_revoke(self, consumer: Consumer, taken: list[TopicPartition]) -> None:
        with self._lock:
            self._share -= {str(place.partition) for place in taken}
        consumer.incremental_unassign(taken)


class Alone:
    """Reads all partitions without a group; tells it how far the lake is, if nobody is in it."""

    def __init__(
        self, topic: KafkaTopic, group: str, config: dict[str, Any], settings: KafkaSettings
    ) -> None:
        self._topic = topic
        self._troubles = Troubles(config["bootstrap.servers"])
        self._doing = f"The group {group} of the topic {topic.name} cannot be told."
        self._lock = threading.Lock()
        self._config = config | _group(settings)
        self._group = group
        self._consumer: Consumer | None = None

    def share(self) -> frozenset[str]:
        """All partitions that there are now."""
        return frozenset(self._topic.partitions())

    def acknowledge(self, positions: Mapping[str, int]) -> None:
        """Commit how far the lake is, for lag tools; nobody waits for it or reads it back."""
        with self._lock:
            if self._consumer is None:
                self._consumer = _consumer(self._config, self._group, self._troubles, self._doing)
            _commit(self._consumer, self._topic.name, positions)
            self._consumer.poll(0)  # serves what the client has to say

    def leave(self) -> None:
        """Nobody waits for these partitions."""
        with self._lock:
            if self._consumer is not None:
                _close(self._consumer)
                self._consumer = None


def _group(settings: KafkaSettings) -> dict[str, Any]:
    session_ms = int(settings.session_timeout_seconds * 1000)
    classic = {
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": session_ms,
        "heartbeat.interval.ms": int(
            min(settings.heartbeat_seconds, settings.session_timeout_seconds / 3) * 1000
        ),
        "max.poll.interval.ms": max(session_ms, int(_STUCK_SECONDS * 1000)),
    }
    consumer = {"group.protocol": "consumer"}
    return consumer if settings.group_protocol == "consumer" else classic


def _consumer(config: dict[str, Any], group: str, troubles: Troubles, doing: str) -> Consumer:
    from confluent_kafka import Consumer

    mine = {
        "error_cb": troubles.note,
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",  # where paused partitions stand does not matter
        "topic.metadata.refresh.interval.ms": 5_000,  # new partitions are shared out
        "queued.max.messages.kbytes": 1024,
    }
    with translated(doing, troubles):
        return Consumer(config | mine)


def _close(consumer: Consumer) -> None:
    """Say goodbye to the broker; but where it is dead, do not wait for it.

    The client waits for the answer to its last commit, for ever if need be. Then it is left alone
    with that, and the broker, once it is back, misses this member after its session time-out.
    """
    closing = threading.Thread(target=consumer.close, name="leaving a group", daemon=True)
    closing.start()
    closing.join(_CLOSE_SECONDS)


def _commit(consumer: Consumer, topic: str, positions: Mapping[str, int]) -> None:
    from confluent_kafka import KafkaException, TopicPartition

    places = [TopicPartition(topic, int(name), int(at)) for name, at in positions.items()]
    # In the middle of a rebalancing nothing can be committed; the next commit says it again.
    with contextlib.suppress(KafkaException):
        consumer.commit(offsets=places, asynchronous=True)

"""One idempotent producer: sends messages, and returns when each is known to be in the log.

Each message has a delivery report of its own (a third of a microsecond; ADR 0021). So nothing is
inferred: what was not reported as stored was not stored, or nobody knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tickerlake import clock
from tickerlake.errors import LimitError, PartlyDoneError, TickerlakeError, UnreachableError
from tickerlake.streams.base import Published
from tickerlake.streams.kafka.faults import Troubles, error_of, is_certain, translated
from tickerlake.streams.kafka.settings import KafkaSettings

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, KafkaException, Message

__all__ = ["MESSAGE_OVERHEAD_BYTES", "Outgoing", "Publisher"]

#: What a broker adds to a message when it compares it with the topic's limit, and some more.
MESSAGE_OVERHEAD_BYTES: Final = 1024

_QUEUE_BYTES: Final = 128 * 1024 * 1024
_SLICE_SECONDS: Final = 0.2
_LOOK_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Messages for one partition, in order.

    `records` is how many records each message holds.
    """

    partition: int
    values: Sequence[bytes]
    keys: Sequence[bytes | str | None]
    records: int = 1


@dataclass(slots=True)
class _Reports:
    """What the broker said of one partition's messages."""

    sent: int = 0
    records: int = 0
    acked: int = 0
    first: Message | None = None
    last: Message | None = None
    failures: list[tuple[KafkaError, Message]] = field(default_factory=list)

    def note(self, error: KafkaError | None, message: Message) -> None:
        """The delivery report of one message; those of one partition come in its order."""
        if error is not None:
            self.failures.append((error, message))
            return
        self.acked += 1
        self.last = message
        if self.first is None:
            self.first = message


class Publisher:
    """One producer of one topic, for one thread at a time.

    Promise: `send` returns when every message is stored by as many replicas as the topic asks for,
    each once, in order within its partition, although the broker may have been killed meanwhile.
    """

    def __init__(
        self, config: dict[str, Any], topic: str, settings: KafkaSettings, message_bytes_max: int
    ) -> None:
        from confluent_kafka import Producer

        self._topic = topic
        self._settings = settings
        self._troubles = Troubles(config["bootstrap.servers"])
        mine = {
            "error_cb": self._troubles.note,
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": settings.compression,
            "linger.ms": settings.linger_seconds * 1000,
            "message.timeout.ms": int(settings.publish_timeout_seconds * 1000),
            "message.max.bytes": max(1_000_000, message_bytes_max),
            "queue.buffering.max.messages": 200_000,
            "queue.buffering.max.kbytes": _QUEUE_BYTES // 1024,
        }
        with translated("A Kafka producer cannot be made.", self._troubles):
            self._producer = Producer(config | mine)

    def send(self, parts: Iterable[Outgoing]) -> list[Published]:
        """Send all, and wait until all are stored.

        Raises:
            PartlyDoneError: The broker refused some records, which are named; the others are
                stored.
            UnreachableError: It is not known of all records whether they landed.
        """
        reports: dict[int, _Reports] = {}
        for part in parts:
            report = reports.setdefault(part.partition, _Reports())
            report.sent += len(part.values)
            report.records += len(part.values) * part.records
            with translated(self._half_done, self._troubles):
                self._enqueue(part, report)
        self._flush()
        if any(report.acked < report.sent for report in reports.values()):
            raise self._failure(reports)
        return [
            Published(str(partition), report.records, _offset(report.first), _offset(report.last))
            for partition, report in sorted(reports.items())
        ]

    def close(self) -> None:
        """Forget what was not yet sent, and give back the connections."""
        self._producer.purge()
        self._producer.flush(1)

    def _enqueue(self, part: Outgoing, report: _Reports) -> None:
        from confluent_kafka import KafkaException

        produce, topic, partition, note = (
            self._producer.produce,
            self._topic,
            part.partition,
            report.note,
        )
        for value, key in zip(part.values, part.keys, strict=True):
            try:
                produce(topic, value, key, partition, note)
            except BufferError:
                self._make_room(partial(produce, topic, value, key, partition, note))
            except KafkaException as error:
                self._learn_partition(error, partial(produce, topic, value, key, partition, note))
        self._producer.poll(0)

    def _make_room(self, again: Callable[[], None]) -> None:
        """The queue is full: the broker is slower than we are. Wait for it; nothing is dropped."""
        while True:
            self._producer.poll(_SLICE_SECONDS)
            self._troubles.check(self._half_done)
            try:
                again()
            except BufferError:
                continue
            return

    def _learn_partition(self, error: KafkaException, again: Callable[[], None]) -> None:
        """Partitions were added, and our client has not heard of it: it asks, then tries again."""
        from confluent_kafka import KafkaError, KafkaException

        deadline = clock.monotonic_seconds() + self._settings.timeout_seconds
        with translated(self._doing, self._troubles):
            while error.args[0].code() == KafkaError._UNKNOWN_PARTITION:  # noqa: SLF001 - its name
                if clock.monotonic_seconds() > deadline:
                    break
                self._producer.list_topics(self._topic, timeout=self._settings.timeout_seconds)
                try:
                    again()
                except BufferError:
                    self._make_room(again)
                except KafkaException as another:
                    error = another
                    clock.sleep(_LOOK_SECONDS)
                    continue
                return
            raise error

    def _flush(self) -> None:
        """Wait for all reports. Each message has one by its time-out at the latest."""
        seconds = self._settings.publish_timeout_seconds
        deadline = clock.monotonic_seconds() + seconds + 10
        while self._producer.flush(_SLICE_SECONDS):
            self._troubles.check(self._half_done)
            if clock.monotonic_seconds() > deadline:
                raise self._troubles.timed_out(self._half_done, seconds)

    def _failure(self, reports: dict[int, _Reports]) -> TickerlakeError:
        sent = sum(report.sent for report in reports.values())
        acked = sum(report.acked for report in reports.values())
        failures = [failure for report in reports.values() for failure in report.failures]
        unknown = [error for error, _ in failures if not is_certain(error)]
        if unknown or not failures:
            problem = (
                f"{self._doing} {acked} of {sent} messages are stored; nobody knows whether the "
                "others are."
            )
            told = self._troubles.timed_out(problem, self._settings.publish_timeout_seconds)
            return UnreachableError(
                problem,
                expected=told.expected,
                found=f"{unknown[0].str()} ({told.found})" if unknown else "no report",
                todo=f"{told.todo}; see that as many replicas are in sync as min.insync.replicas "
                "asks for; then publish again: what did land is known by its id",
            )
        named = ", ".join(sorted({_name(message) for _, message in failures})[:10])
        problem = (
            f"{self._doing} {acked} of {sent} messages are stored. The broker refused the others, "
            "each together with the batch that it travelled in."
        )
        meant = error_of(failures[0][0], problem, self._troubles.servers)
        if not acked:
            return meant
        return PartlyDoneError(problem, found=f"{meant.found}; refused: {named}", todo=meant.todo)

    @property
    def _half_done(self) -> str:
        return f"{self._doing} Some records may have landed."

    @property
    def _doing(self) -> str:
        return f"Publishing to the topic {self._topic} failed."


def _offset(message: Message | None) -> int:
    offset = None if message is None else message.offset()
    if offset is None:
        raise LimitError("A message that was stored has no offset.", todo="report this")
    return offset


def _name(message: Message) -> str:
    key = message.key()
    text = key.decode(errors="replace") if isinstance(key, bytes) else str(key)
    return f"{text} in partition {message.partition()}"

"""One consumer, and what it has fetched: a buffer for each partition.

A consumer hands out what comes, of all partitions mixed. Whoever reads wants one partition at a
time, and not always the one that comes next; so what is not asked for waits in its buffer, and a
partition whose buffer is full is paused.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, cast

from tickerlake import clock
from tickerlake.streams.base import Message
from tickerlake.streams.form import Form
from tickerlake.streams.kafka.blocks import blocks
from tickerlake.streams.kafka.faults import Troubles, translated
from tickerlake.streams.kafka.settings import KafkaSettings

if TYPE_CHECKING:
    from confluent_kafka import KafkaError
    from confluent_kafka import Message as KafkaMessage

__all__ = ["Reader"]

#: Larger blocks are slower: they leave the processor's cache.
_BLOCK_RECORDS: Final = 500


@dataclass(slots=True)
class _Buffer:
    """What was fetched of one partition and not yet taken."""

    #: Where the next `take` goes on.
    position: int
    #: After the last that was fetched; further than the last record where positions hold none.
    fetched_to: int
    messages: deque[Message] = field(default_factory=deque)
    record_count: int = 0
    byte_count: int = 0
    paused: bool = False
    error: KafkaError | None = None


class Reader:
    """Follows any number of partitions of one topic, each from a position; for one thread."""

    def __init__(
        self,
        config: dict[str, Any],
        topic: str,
        settings: KafkaSettings,
        form: Form | None = None,
    ) -> None:
        from confluent_kafka import Consumer, KafkaError

        self.owner = threading.get_ident()
        self.used_at = clock.monotonic_seconds()
        self.troubles = Troubles(config["bootstrap.servers"])
        self._topic = topic
        self._form = form
        self._bytes_max = settings.buffer_bytes_max
        self._end_code = KafkaError._PARTITION_EOF  # noqa: SLF001 - so it is called in public
        self._buffers: dict[int, _Buffer] = {}
        mine = {
            "error_cb": self.troubles.note,
            "group.id": "tickerlake-reader",  # must be set; is never joined
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "check.crcs": True,
            # The default, a second, idles fetching each time the local queue fills.
            "fetch.queue.backoff.ms": 1,
            "queued.min.messages": 10_000,
            # What is fetched grows tenfold: it was compressed, and each record is an object.
            "queued.max.messages.kbytes": max(1024, settings.buffer_bytes_max // 4096),
            "fetch.max.bytes": max(1 << 20, settings.buffer_bytes_max // 16),
            # A partition that is added waits for the fetch that is under way: not for long.
            "fetch.wait.max.ms": 50,
            "fetch.error.backoff.ms": 50,
            "max.poll.interval.ms": 86_400_000,
        }
        with translated("A Kafka consumer cannot be made.", self.troubles):
            self._consumer = Consumer(config | mine)

    def place(self, partition: int) -> int | None:
        """Where the next `take` of the partition goes on; None = it is not followed."""
        buffer = self._buffers.get(partition)
        return None if buffer is None else buffer.position

    def matches(self, wanted: Mapping[int, int]) -> int:
        """How many of these positions need no seek."""
        return sum(self.place(partition) == at for partition, at in wanted.items())

    def follow(self, partition: int, position: int) -> None:
        """Go on at this position, wherever it was before."""
        from confluent_kafka import TopicPartition

        doing = f"Partition {partition} of the topic {self._topic} cannot be read."
        with translated(doing, self.troubles):
            old = self._buffers.get(partition)
            if old is not None:
                self._consumer.incremental_unassign([TopicPartition(self._topic, partition)])
            self._consumer.incremental_assign([TopicPartition(self._topic, partition, position)])
        # A pause outlives the assignment: the next `_balance` must know of it to end it.
        paused = old is not None and old.paused
        self._buffers[partition] = _Buffer(position, position, paused=paused)

    def error(self, partition: int) -> KafkaError | None:
        """What the partition met, once all before it has been taken."""
        buffer = self._buffers[partition]
        return None if buffer.messages else buffer.error

    def held(self, partition: int) -> int:
        """Records that can be taken now."""
        return self._buffers[partition].record_count

    def held_bytes(self, partition: int) -> int:
        """Their size."""
        return self._buffers[partition].byte_count

    def ready(self, partition: int) -> bool:
        """Whether there is anything to do for who reads the partition."""
        return self.moved(partition) or self.error(partition) is not None

    def moved(self, partition: int) -> bool:
        """Whether `take` would give anything, be it only a further position."""
        buffer = self._buffers[partition]
        return buffer.fetched_to > buffer.position

    def take(self, partition: int, records_max: int) -> tuple[tuple[Message, ...], int]:
        """About so many records, and where to go on."""
        buffer = self._buffers[partition]
        taken: list[Message] = []
        records = 0
        while buffer.messages and records < records_max:
            message = buffer.messages.popleft()
            taken.append(message)
            records += message.count
            buffer.byte_count -= _bytes_of(message)
        buffer.record_count -= records
        buffer.position = taken[-1].next_position if buffer.messages else buffer.fetched_to
        return tuple(taken), buffer.position

    def fetch(self, partition: int | None, seconds: float) -> bool:
        """Bring one block into the buffers; wait for it up to `seconds` if none is there.

        `partition` is the one that is wanted: it is not paused, whoever reads it knows its limits.
        """
        doing = f"The topic {self._topic} cannot be read."
        with translated(doing, self.troubles):
            messages = self._consumer.consume(_BLOCK_RECORDS, 0)
            if not messages and seconds > 0:
                # `consume` would wait for a whole block; `poll` returns with the first record.
                first = self._consumer.poll(seconds)
                if first is not None:
                    messages = [first, *self._consumer.consume(_BLOCK_RECORDS - 1, 0)]
        self.troubles.check(doing)
        for number, run in _runs(messages):
            self._add(number, run)
        self._balance(partition)
        return bool(messages)

    def close(self) -> None:
        """Give back the connections."""
        self._consumer.close()

    def _add(self, partition: int, run: Sequence[KafkaMessage]) -> None:
        buffer = self._buffers.get(partition)
        if buffer is None or buffer.error is not None:
            return
        from confluent_kafka import Message as KafkaMessage

        if not any(map(KafkaMessage.error, run)):
            self._add_records(partition, buffer, run)
            return
        for code, group in groupby(run, key=_code):
            if code is None:
                self._add_records(partition, buffer, list(group))
            elif code == self._end_code:
                for message in group:
                    buffer.fetched_to = max(buffer.fetched_to, message.offset() or 0)
            else:
                buffer.error = next(group).error()
                return

    def _add_records(self, partition: int, buffer: _Buffer, run: Sequence[KafkaMessage]) -> None:
        if (run[0].offset() or 0) < buffer.fetched_to:  # fetched twice around a pause
            run = [message for message in run if (message.offset() or 0) >= buffer.fetched_to]
        if not run:
            return
        for message in blocks(partition, run, self._form):
            buffer.messages.append(message)
            buffer.record_count += message.count
            buffer.byte_count += _bytes_of(message)
            buffer.fetched_to = message.next_position

    def _balance(self, wanted: int | None) -> None:
        """Pause what nobody takes, and let go on what has been taken."""
        from confluent_kafka import TopicPartition

        share = self._bytes_max // max(1, len(self._buffers))
        full, free = [], []
        for number, buffer in self._buffers.items():
            if not buffer.paused and buffer.byte_count > share and number != wanted:
                full.append(TopicPartition(self._topic, number))
                buffer.paused = True
            elif buffer.paused and (buffer.byte_count < share // 2 or number == wanted):
                free.append(TopicPartition(self._topic, number))
                buffer.paused = False
        if full:
            self._consumer.pause(full)
        if free:
            self._consumer.resume(free)


def _code(message: KafkaMessage) -> int | None:
    """The code of a message that is an error. Errors themselves cannot be compared with None."""
    error = message.error()
    return None if error is None else error.code()


def _runs(messages: Sequence[KafkaMessage]) -> Iterator[tuple[int, Sequence[KafkaMessage]]]:
    """The messages as they came, cut where the partition changes."""
    from confluent_kafka import Message as KafkaMessage

    numbers = cast("list[int]", list(map(KafkaMessage.partition, messages)))
    if numbers and numbers.count(numbers[0]) == len(numbers):
        yield numbers[0], messages
        return
    start = 0
    for number, group in groupby(numbers):
        end = start + sum(1 for _ in group)
        yield number, messages[start:end]
        start = end


def _bytes_of(message: Message) -> int:
    parts = message.parts or ()
    return len(message.payload) + sum(len(part) for part in parts if part is not None) + 200

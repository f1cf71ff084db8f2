"""One kind's topic in a broker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import pyarrow as pa

from tickerlake import clock
from tickerlake.errors import (
    DataLossError,
    NotFoundError,
    RetentionPassedError,
    UnreachableError,
)
from tickerlake.records import Kind
from tickerlake.streams.base import Batch, Bounds, Published, StreamIdentity, Wire
from tickerlake.streams.form import Form
from tickerlake.streams.kafka.broker import Broker, TopicFacts
from tickerlake.streams.kafka.client import client_config
from tickerlake.streams.kafka.encoding import not_too_large, outgoing, small_enough
from tickerlake.streams.kafka.faults import MISSING, error_of, is_passing
from tickerlake.streams.kafka.publisher import MESSAGE_OVERHEAD_BYTES, Outgoing, Publisher
from tickerlake.streams.kafka.reader import Reader
from tickerlake.streams.kafka.readers import Readers
from tickerlake.streams.kafka.settings import KafkaSettings
from tickerlake.streams.outgoing import checked
from tickerlake.streams.pool import Pool

__all__ = ["KafkaTopic"]

#: What is handed to a reader was fetched from a log that was this one so short a time ago.
_SAME_LOG_SECONDS: Final = 0.2

#: A new partition is noticed within this time.
_FACTS_SECONDS: Final = 1.0

#: A read ends here, however few records that are.
_READ_BYTES_MAX: Final = 64 * 1024 * 1024

_OF_THE_PAST: Final = MISSING | {"_AUTO_OFFSET_RESET", "OFFSET_OUT_OF_RANGE", "_UNKNOWN_PARTITION"}

_SLICE_SECONDS: Final = 0.1


class KafkaTopic:
    """A topic, published by idempotent producers and read by consumers that are told where.

    Promise: what `publish` returned is stored by as many replicas as the topic asks for. Each
    record of committed transactions is read once, in order; positions that hold no record
    (markers, aborted and compacted records) are passed over.
    Not promised: anything after an unclean leader election, which forgets acknowledged records.
    """

    dense = False

    def __init__(
        self,
        broker: Broker,
        facts: TopicFacts,
        kind: Kind,
        wire: Wire,
        settings: KafkaSettings,
        *,
        form: Form | None = None,
    ) -> None:
        self.kind: Kind = kind
        self.name = name = facts.name
        self.replaced = False
        self._broker = broker
        self._wire: Wire = wire
        self._settings = settings
        self._facts = facts
        self._form = form
        self._config = client_config(broker.servers, settings, broker.troubles)
        owner = f"The topic {name}"
        self._message_bytes_max = int(broker.config(name)["max.message.bytes"])
        self._room = self._message_bytes_max - MESSAGE_OVERHEAD_BYTES
        self._publishers = Pool(self._make_publisher, owner)
        self._readers = Readers(lambda: Reader(self._config, name, settings, form), owner)

    def identity(self) -> StreamIdentity:
        """The hash of the cluster's id and the id that the topic got when it was made."""
        return self._facts.identity

    def partitions(self) -> list[str]:
        """Numbers from 0 on; new ones are noticed within a second."""
        facts = self._fresh(_FACTS_SECONDS)
        return [str(number) for number in range(facts.partition_count)]

    def parents(self, partition: str) -> Sequence[str]:
        """None: no partition ever ends."""
        self._number(partition)
        return ()

    def tip(self, partition: str) -> int:
        """The end."""
        number = self._number(partition)
        return self._broker.ends(self.name, [number])[number]

    def bounds(
        self,
        partition: str,
        seen: int | None = None,  # noqa: ARG002
        *,
        parents: Sequence[int] = (),  # noqa: ARG002
    ) -> Bounds:
        """Beginning and end as of now; no transaction that is still open lies below the end."""
        number = self._number(partition)
        self._fresh(_SAME_LOG_SECONDS)
        return Bounds(*self._broker.bounds(self.name, number))

    def publish(self, table: pa.Table) -> list[Published]:
        """Append in order; return once the broker has stored every record.

        Raises:
            MalformedError: The table does not fit the schema; nothing was published.
            LimitError: A record is larger than the topic allows; nothing was published.
            PartlyDoneError: The broker refused some records, for good.
            UnreachableError: The broker cannot be reached; records may have landed.
        """
        records = checked(table, self.kind)
        if not records.num_rows:
            return []
        not_too_large(records, self.kind, self._wire, self._room, self.name)
        partition_count = self._last_known().partition_count
        messages = outgoing(
            records,
            self.kind,
            self._wire,
            partition_count,
            self._room,
            form=self._form,
            topic=self.name,
        )
        return self._send(messages)

    def append_raw(self, partition: str, payloads: Sequence[bytes]) -> Published:
        """Append values as they are, without keys, checked by nobody."""
        number = self._number(partition)
        if not payloads:
            end = self.tip(partition)
            return Published(partition, 0, end, end - 1)
        small_enough(payloads, self._room, self.name)
        return self._send([Outgoing(number, payloads, [None] * len(payloads))])[0]

    def read(
        self, partition: str, position: int, *, records_max: int, wait_seconds: float
    ) -> Batch:
        """Messages from `position` on; waits up to `wait_seconds` where there are none yet.

        Raises:
            RetentionPassedError: `position` is before the beginning or beyond the end.
            CorruptLogError: The stored bytes are damaged.
            DataLossError: The topic was deleted, or made anew under the same name.
            UnreachableError: The broker cannot be reached.
        """
        number = self._number(partition)
        with self._readers.lend({number: position}) as reader:
            if reader.place(number) != position:
                self._check_reach(number, position)
                reader.follow(number, position)
            batch = self._read(reader, number, position, records_max, wait_seconds)
        self._fresh(_SAME_LOG_SECONDS)
        return batch

    def wait(self, positions: Mapping[str, int], *, wait_seconds: float) -> bool:
        """Wait until any of the partitions holds something at or after its position."""
        wanted = {self._number(partition): int(at) for partition, at in positions.items()}
        deadline = clock.monotonic_seconds() + wait_seconds
        with self._readers.lend(wanted) as reader:
            for number, at in wanted.items():
                if reader.place(number) != at:
                    reader.follow(number, at)
            while not any(reader.ready(number) for number in wanted):
                left = deadline - clock.monotonic_seconds()
                if left <= 0 or self._readers.closed:
                    break
                reader.fetch(None, min(left, _SLICE_SECONDS))
            else:
                return True
        if self._readers.closed or not wanted:
            return False
        ends = self._broker.ends(self.name, wanted)
        return any(ends[number] > at for number, at in wanted.items())

    def close(self) -> None:
        """Close all clients; readers that wait return with nothing."""
        self._readers.close()
        self._publishers.close()

    def _read(
        self, reader: Reader, number: int, position: int, records_max: int, wait_seconds: float
    ) -> Batch:
        started_at = clock.monotonic_seconds()
        end: int | None = None
        while True:
            self._fill(reader, number, records_max)
            if reader.moved(number):
                messages, after = reader.take(number, records_max)
                return Batch(messages, after, at_end=end is not None and after >= end)
            if reader.error(number) is not None:
                self._mend(reader, number, position)
            waited = clock.monotonic_seconds() - started_at
            if end is None:
                end = self._broker.ends(self.name, [number])[number]
            if position < end:  # it is there: it must come
                if waited > max(wait_seconds, self._settings.timeout_seconds):
                    doing = f"Partition {number} of the topic {self.name} sends nothing."
                    raise reader.troubles.timed_out(doing, self._settings.timeout_seconds)
                reader.fetch(number, _SLICE_SECONDS)
            elif waited >= wait_seconds or self._readers.closed:
                return Batch((), position, at_end=True)
            else:
                reader.fetch(number, min(wait_seconds - waited, _SLICE_SECONDS))

    def _fill(self, reader: Reader, number: int, records_max: int) -> None:
        """Take over what the client has already, as far as it is wanted."""
        while reader.held(number) < records_max and reader.held_bytes(number) < _READ_BYTES_MAX:
            if not reader.fetch(number, 0):
                return

    def _mend(self, reader: Reader, number: int, position: int) -> None:
        """The partition met an error: say which, or go on where it can be done."""
        error = reader.error(number)
        self._fresh(0)
        self._check_reach(number, position)
        # The topic and the position are there, so these have passed, or will: it goes on.
        if error is not None and not (is_passing(error) or error.name() in _OF_THE_PAST):
            doing = f"Partition {number} of the topic {self.name} cannot be read."
            raise error_of(error, doing, self._broker.servers)
        reader.follow(number, position)

    def _check_reach(self, number: int, position: int) -> None:
        beginning, end = self._broker.bounds(self.name, number)
        if beginning <= position <= end:
            return
        before = position < beginning
        self._fresh(0)
        raise RetentionPassedError(
            f"Partition {number} of the topic {self.name} does not hold position {position}.",
            expected=f"a position from {beginning} to {end}",
            found=f"{position}, "
            + ("which retention has dropped" if before else "beyond the end of the log"),
            todo="`tickerlake deliver --accept-loss` goes on and records the hole in the lake"
            if before
            else "acknowledged records are gone from the broker: see its log for unclean leader "
            "elections, or for a volume that was put back from an older copy",
        )

    def _fresh(self, seconds: float) -> TopicFacts:
        """What the topic is, known for no longer than that.

        Raises:
            DataLossError: It is not the same any more.
        """
        if clock.monotonic_seconds() - self._facts.known_at <= seconds and not self.replaced:
            return self._facts
        facts = self._broker.facts(self.name, known=True)
        if facts is None or facts.identity != self._facts.identity:
            self.replaced = True
            raise DataLossError(
                f"The topic {self.name} was deleted"
                + ("." if facts is None else ", and made anew under the same name."),
                expected=self._facts.identity.text,
                found="no topic of that name" if facts is None else facts.identity.text,
                todo="what the lake did not have yet is gone; start again to go on with the new "
                "topic, which is another stream to the lake and begins at its beginning",
            )
        self._facts = facts
        return facts

    def _last_known(self) -> TopicFacts:
        """Fresh; or as it was, while nobody answers: the producer waits for the broker longer."""
        try:
            return self._fresh(_FACTS_SECONDS)
        except UnreachableError:
            return self._facts

    def _send(self, parts: Iterable[Outgoing] | Iterator[Outgoing]) -> list[Published]:
        with self._publishers.lend() as publisher:
            return publisher.send(parts)

    def _make_publisher(self) -> Publisher:
        return Publisher(self._config, self.name, self._settings, self._message_bytes_max)

    def _number(self, partition: str) -> int:
        facts = self._facts
        if not (partition.isdecimal() and int(partition) < facts.partition_count):
            facts = self._fresh(0)
        if not (partition.isdecimal() and int(partition) < facts.partition_count):
            raise NotFoundError(
                f"The topic {self.name} has no partition {partition!r}.",
                expected=f"0 to {facts.partition_count - 1}",
                found=partition,
                todo="name one of these",
            )
        return int(partition)

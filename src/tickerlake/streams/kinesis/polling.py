"""Asking a shard: GetRecords within its limits."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from tickerlake import clock
from tickerlake.streams.aws import RefusedError, Reply, Service, service_seconds
from tickerlake.streams.kinesis.places import TRIM_HORIZON, Place
from tickerlake.streams.kinesis.shards import Shards

__all__ = ["Answer", "Polling", "Source", "start_of"]

#: The most that GetRecords takes as its limit.
_RECORDS_MAX: Final = 10_000
#: A shard that was not read for a while may be read so often at once: AWS counts by the second.
_READS_AT_ONCE: Final = 4.0
#: An iterator lives 5 minutes.
_ITERATOR_SECONDS_MAX: Final = 280.0
#: An answer ends at 10 MiB; one of this size may have been cut there.
_ANSWER_BYTES_FULL: Final = 5 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What a shard said at one place, without what was taken from it since."""

    records: list[Reply]
    #: For what comes after it; null at the shard's end.
    iterator: str | None
    #: Until when the iterator is good, on the monotonic clock.
    iterator_until: float
    behind_seconds: float
    service_seconds: float
    #: When it was asked for; nothing that was published later is in it.
    asked_at: float
    #: It ends at a limit of ours or of the service: there may be more, whatever it says.
    is_cut: bool = False


class Source(Protocol):
    """Where a reader gets answers from."""

    def ask(self, partition: str, place: Place, iterator: str | None, records_max: int) -> Answer:
        """What comes at a place; `iterator` is what an earlier answer left for it.

        Raises:
            RefusedError: The shard cannot be entered there.
            NotFoundError: There is no such shard.
        """
        ...

    def rest(self, seconds: float) -> None:
        """After an answer without records: wait until asking again makes sense."""
        ...

    def close(self) -> None:
        """Ask no more."""
        ...


class Polling:
    """Asks each shard so many times a second at most. Safe to use from several threads."""

    def __init__(
        self, service: Service, stream: str, shards: Shards, *, reads_per_second: float
    ) -> None:
        self._service = service
        self._stream = stream
        self._shards = shards
        self._reads_per_second = reads_per_second
        self._lock = threading.Lock()
        #: Of each shard: how many reads it is good for, and as of when.
        self._reads: dict[str, tuple[float, float]] = {}

    def ask(self, partition: str, place: Place, iterator: str | None, records_max: int) -> Answer:
        """One GetRecords, when it is this shard's turn."""
        limit = max(1, min(records_max, _RECORDS_MAX))
        while True:
            iterator = iterator or self._iterator(partition, place)
            self._await_turn(partition)
            asked_at = clock.monotonic_seconds()
            try:
                reply = self._service.ask("get_records", ShardIterator=iterator, Limit=limit)
            except RefusedError as error:
                if error.code != "ExpiredIteratorException":
                    raise
                iterator = None
                continue
            records = reply["Records"]
            byte_count = sum(len(record["Data"]) for record in records)
            return Answer(
                records,
                reply.get("NextShardIterator"),
                clock.monotonic_seconds() + _ITERATOR_SECONDS_MAX,
                reply.get("MillisBehindLatest", 0) / 1000,
                service_seconds(reply),
                asked_at,
                is_cut=len(records) >= limit or byte_count >= _ANSWER_BYTES_FULL,
            )

    def tip(self, partition: str) -> tuple[Place, Answer]:
        """After what has been published until now, and an iterator for it."""
        reply = self._service.ask(
            "get_shard_iterator",
            StreamName=self._stream,
            ShardId=self._shards.named(partition).id,
            ShardIteratorType="LATEST",
        )
        seconds = service_seconds(reply)
        until = clock.monotonic_seconds() + _ITERATOR_SECONDS_MAX
        answer = Answer([], reply["ShardIterator"], until, 0.0, seconds, float("-inf"))
        return Place.instant(seconds), answer

    def rest(self, seconds: float) -> None:
        """Nothing: each question waits for its turn."""

    def close(self) -> None:
        """Nothing is kept open."""

    def _iterator(self, partition: str, place: Place) -> str:
        shard = self._shards.named(partition)
        kind, details = start_of(place)
        if "SequenceNumber" in details:
            details = {"StartingSequenceNumber": details["SequenceNumber"]}
        reply = self._service.ask(
            "get_shard_iterator",
            StreamName=self._stream,
            ShardId=shard.id,
            ShardIteratorType=kind,
            **details,
        )
        found: str = reply["ShardIterator"]
        return found

    def _await_turn(self, partition: str) -> None:
        with self._lock:
            now = clock.monotonic_seconds()
            reads, then = self._reads.get(partition, (_READS_AT_ONCE, now))
            reads = min(_READS_AT_ONCE, reads + (now - then) * self._reads_per_second) - 1
            self._reads[partition] = reads, now
        if reads < 0:
            clock.sleep(-reads / self._reads_per_second)


def start_of(place: Place) -> tuple[str, dict[str, object]]:
    """How Kinesis calls the place, and with what details."""
    if not place.is_before_everything:
        # AT, not AFTER: of an aggregate the rest may be wanted.
        return "AT_SEQUENCE_NUMBER", {"SequenceNumber": place.sequence}
    if place.instant_seconds is not None:
        return "AT_TIMESTAMP", {"Timestamp": datetime.fromtimestamp(place.instant_seconds, UTC)}
    return TRIM_HORIZON, {}

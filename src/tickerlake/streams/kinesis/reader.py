"""Reading shards: GetRecords within its limits, its answers shared between waiting and reading.

A `wait` has to ask the service to know whether there is something. What it was told is kept, so
that the `read` after it costs no second call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from tickerlake import clock
from tickerlake.errors import NotFoundError, RetentionPassedError
from tickerlake.records import Position
from tickerlake.streams.aws import RefusedError, Reply, Service, service_seconds
from tickerlake.streams.base import Batch, Bounds
from tickerlake.streams.kinesis.places import TRIM_HORIZON, Place
from tickerlake.streams.kinesis.settings import KinesisSettings
from tickerlake.streams.kinesis.shards import Shards
from tickerlake.streams.kinesis.unpacking import take

__all__ = ["Reader"]

#: An iterator lives 5 minutes.
_ITERATOR_SECONDS_MAX: Final = 280.0
#: The most that GetRecords takes as its limit, and the most that we ask for ahead of a read.
_RECORDS_MAX: Final = 10_000
_AHEAD_RECORDS: Final = 1_000
#: An answer ends at 10 MiB; one of this size may have been cut there.
_ANSWER_BYTES_FULL: Final = 5 * 1024 * 1024
#: Answers kept for one shard: one for each reader in this process that stands elsewhere.
_KEPT_MAX: Final = 4
#: A place is dated anew when its date is older than this share of the retention.
_REFRESH_SHARE: Final = 0.25


@dataclass(frozen=True, slots=True)
class _Answer:
    """What GetRecords said at one place, without what was taken from it since."""

    records: list[Reply]
    #: For what comes after it; null at the shard's end.
    iterator: str | None
    iterator_at: float
    behind_seconds: float
    service_seconds: float
    #: When it was asked for; nothing that was published later is in it.
    asked_at: float
    #: It ends at a limit of ours or of the service: there may be more, whatever it says.
    is_cut: bool = False


class Reader:
    """Reads the shards of one stream. Safe to use from several threads.

    Args:
        service: Kinesis.
        stream: The stream's name.
        shards: Its shards.
        settings: How often to ask.
        retention_seconds: How long the stream keeps records, as of now.
        check_stream: Raises if the stream has gone, or was made anew.
    """

    def __init__(
        self,
        service: Service,
        stream: str,
        shards: Shards,
        settings: KinesisSettings,
        *,
        retention_seconds: Callable[[], float],
        check_stream: Callable[[], object],
    ) -> None:
        self._service = service
        self._stream = stream
        self._shards = shards
        self._pause_seconds = 1 / settings.reads_per_second
        self._retention_seconds = retention_seconds
        self._check_stream = check_stream
        self._lock = threading.Lock()
        self._answers: dict[str, dict[tuple[str, int], _Answer]] = {}
        self._next_read_at: dict[str, float] = {}
        self._published_at = float("-inf")
        self._gone: set[tuple[str, tuple[str, int]]] = set()

    def bounds(self, partition: str, seen: int | None) -> Bounds:
        """The oldest record's place; nobody tells the end without reading."""
        oldest = Place.beginning(0, self._service.now_seconds()).position
        try:
            self._shards.named(partition)
        except NotFoundError:
            if seen is None:
                raise
            # Closed, and its last record has gone: if the reader was not at its end, that is lost.
            ended = Position.end_of_partition(int(seen) + 1)
            return Bounds(oldest if _ended(seen) else ended, None)
        if seen is None or _ended(seen):
            return Bounds(oldest, None)
        place = Place.of(seen, partition)
        if not self._is_gone(partition, place):
            return Bounds(oldest, None)
        return Bounds(Place.beginning(place.number + 1, self._service.now_seconds()).position, None)

    def tip(self, partition: str) -> Position:
        """After what has been published until now. Its number counts from here on."""
        reply = self._service.ask(
            "get_shard_iterator",
            StreamName=self._stream,
            ShardId=self._shards.named(partition).id,
            ShardIteratorType="LATEST",
        )
        now, seconds = clock.monotonic_seconds(), service_seconds(reply)
        place = Place.instant(seconds)
        self._keep(
            partition, place, _Answer([], reply["ShardIterator"], now, 0.0, seconds, float("-inf"))
        )
        return place.position

    def read(
        self, partition: str, position: int, *, records_max: int, wait_seconds: float
    ) -> Batch:
        """What follows the position.

        Raises:
            RetentionPassedError: It may be gone.
            RangeError: The position is a plain number.
        """
        if _ended(position):
            return Batch((), position, at_end=True)
        place = Place.of(position, partition)
        deadline = clock.monotonic_seconds() + wait_seconds
        while True:
            answer = self._kept(partition, place, told_empty=True)
            answer = answer or self._ask(partition, place, max(1, min(records_max, _RECORDS_MAX)))
            batch = self._batch(partition, position, place, answer, records_max)
            if batch.messages or _ended(batch.next_position):
                return batch
            if clock.monotonic_seconds() >= deadline:
                return batch

    def wait(self, positions: Mapping[str, int], *, wait_seconds: float) -> bool:
        """Whether any shard has something behind its position; asks until one does."""
        places = {
            partition: Place.of(position, partition)
            for partition, position in positions.items()
            if not _ended(position)
        }
        deadline = clock.monotonic_seconds() + wait_seconds
        while places:
            for partition, place in places.items():
                answer = self._kept(partition, place, told_empty=False)
                answer = answer or self._ask(partition, place, _AHEAD_RECORDS)
                self._keep(partition, place, answer)
                taken = take(answer.records, place, partition, records_max=1)
                if taken.messages or answer.iterator is None:
                    return True
            if clock.monotonic_seconds() >= deadline:
                return False
        clock.sleep(wait_seconds)
        return False

    def published(self) -> None:
        """We published: what we were told of empty shards before is no longer true."""
        self._published_at = clock.monotonic_seconds()

    def _batch(
        self, partition: str, position: int, place: Place, answer: _Answer, records_max: int
    ) -> Batch:
        taken = take(answer.records, place, partition, records_max=records_max)
        rest = replace(answer, records=answer.records[taken.used :], asked_at=float("-inf"))
        after = taken.place
        if rest.records:
            self._keep(partition, after, rest)
            return Batch(taken.messages, after.position, at_end=False)
        if answer.iterator is None:
            ended = Position.end_of_partition(after.number)
            return Batch(taken.messages, ended, at_end=True, behind_seconds=0.0)
        dated = after
        if not answer.is_cut:
            # What came before this moment has been read, but for what the service is behind.
            dated = after.caught_up(answer.service_seconds - answer.behind_seconds)
        at_end = answer.behind_seconds <= 0 and not answer.is_cut
        self._keep(partition, dated, rest)
        if taken.messages or self._is_dated_long_ago(place, dated):
            position = dated.position
        return Batch(taken.messages, position, at_end, answer.behind_seconds)

    def _is_dated_long_ago(self, place: Place, dated: Place) -> bool:
        """A place that stays the same for long would look as if its record had gone."""
        if place.caught_up_seconds is None or dated.caught_up_seconds is None:
            return True
        age_seconds = dated.caught_up_seconds - place.caught_up_seconds
        return age_seconds > self._retention_seconds() * _REFRESH_SHARE

    def _kept(self, partition: str, place: Place, *, told_empty: bool) -> _Answer | None:
        """An answer that still says something, be it nothing; it is the caller's alone now."""
        with self._lock:
            answers = self._answers.get(partition, {})
            answer = answers.get(place.key)
            if answer is None:
                return None
            age_seconds = clock.monotonic_seconds() - answer.asked_at
            current = answer.asked_at > self._published_at and age_seconds < self._pause_seconds
            tells = answer.records or answer.iterator is None or (told_empty and current)
            if not tells:
                return None
            del answers[place.key]
            return answer

    def _keep(self, partition: str, place: Place, answer: _Answer) -> None:
        with self._lock:
            answers = self._answers.setdefault(partition, {})
            answers.pop(place.key, None)
            answers[place.key] = answer
            while len(answers) > _KEPT_MAX:
                del answers[next(iter(answers))]

    def _ask(self, partition: str, place: Place, records_max: int) -> _Answer:
        self._check_stream()
        iterator = self._iterator_kept(partition, place)
        if iterator is None and self._is_gone(partition, place):
            raise self._retention_passed(partition, place)
        while True:
            iterator = iterator or self._iterator(partition, place)
            self._pace(partition)
            asked_at = clock.monotonic_seconds()
            try:
                reply = self._service.ask("get_records", ShardIterator=iterator, Limit=records_max)
            except RefusedError as error:
                if error.code != "ExpiredIteratorException":
                    self._check_stream()
                    raise
                iterator = None
                continue
            records = reply["Records"]
            byte_count = sum(len(record["Data"]) for record in records)
            return _Answer(
                records,
                reply.get("NextShardIterator"),
                clock.monotonic_seconds(),
                reply.get("MillisBehindLatest", 0) / 1000,
                service_seconds(reply),
                asked_at,
                is_cut=len(records) >= records_max or byte_count >= _ANSWER_BYTES_FULL,
            )

    def _iterator_kept(self, partition: str, place: Place) -> str | None:
        with self._lock:
            answer = self._answers.get(partition, {}).pop(place.key, None)
        if answer is None or answer.records:
            return None
        age_seconds = clock.monotonic_seconds() - answer.iterator_at
        return answer.iterator if age_seconds < _ITERATOR_SECONDS_MAX else None

    def _iterator(self, partition: str, place: Place) -> str:
        start: dict[str, object]
        if not place.is_before_everything:
            # AT, not AFTER: of an aggregate the rest may be wanted.
            start = {
                "ShardIteratorType": "AT_SEQUENCE_NUMBER",
                "StartingSequenceNumber": place.sequence,
            }
        else:
            start = {"ShardIteratorType": TRIM_HORIZON}
            if place.instant_seconds is not None:
                when = datetime.fromtimestamp(place.instant_seconds, UTC)
                start = {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": when}
        try:
            shard = self._shards.named(partition)
            reply = self._service.ask(
                "get_shard_iterator", StreamName=self._stream, ShardId=shard.id, **start
            )
        except (NotFoundError, RefusedError) as error:
            self._check_stream()
            if place.caught_up_seconds is None:
                raise
            with self._lock:
                self._gone.add((partition, place.key))
            raise self._retention_passed(partition, place) from error
        found: str = reply["ShardIterator"]
        return found

    def _pace(self, partition: str) -> None:
        """Wait for this shard's turn."""
        with self._lock:
            now = clock.monotonic_seconds()
            turn = max(now, self._next_read_at.get(partition, now))
            self._next_read_at[partition] = turn + self._pause_seconds
        if turn > now:
            clock.sleep(turn - now)

    def _is_gone(self, partition: str, place: Place) -> bool:
        if (partition, place.key) in self._gone:
            return True
        if place.caught_up_seconds is None:
            return False
        age_seconds = self._service.now_seconds() - place.caught_up_seconds
        return age_seconds > self._retention_seconds()

    def _retention_passed(self, partition: str, place: Place) -> RetentionPassedError:
        hours = self._retention_seconds() / 3600
        when = datetime.fromtimestamp(place.caught_up_seconds or 0, UTC)
        return RetentionPassedError(
            f"Shard {partition} of {self._stream} may no longer hold what comes after record "
            f"{place.number}.",
            expected=f"a reader that comes back within {hours:g} hours, the stream's retention",
            found=f"what comes next may have arrived at {when:%Y-%m-%dT%H:%M:%SZ}",
            todo="`tickerlake deliver --accept-loss` goes on with the oldest record that is there, "
            "and records the hole in the lake",
        )


def _ended(position: int) -> bool:
    return bool(getattr(position, "ended", False))

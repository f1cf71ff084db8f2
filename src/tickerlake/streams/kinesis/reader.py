"""Reading shards: GetRecords within its limits, its answers shared between waiting and reading.

A `wait` has to ask the service to know whether there is something. What it was told is kept, so
that the `read` after it costs no second call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from tickerlake import clock
from tickerlake.errors import NotFoundError, RetentionPassedError
from tickerlake.records import Position, is_ended
from tickerlake.streams.aws import RefusedError, Reply, Service
from tickerlake.streams.base import Batch, Bounds
from tickerlake.streams.kinesis.places import Place
from tickerlake.streams.kinesis.polling import Answer, Polling, Source
from tickerlake.streams.kinesis.shards import Shards
from tickerlake.streams.kinesis.unpacking import take

__all__ = ["Reader"]

#: What a `wait` asks for ahead of the read.
_AHEAD_RECORDS: Final = 1_000
#: A shard that a `wait` found empty is not asked again by the `read` after it.
_TOLD_SECONDS_MAX: Final = 0.25
#: Answers up to this size stay for other readers of this process.
_SHARED_BYTES_MAX: Final = 256 * 1024
#: Answers kept for one shard: one for each reader in this process that stands elsewhere.
_KEPT_MAX: Final = 4
#: A place is dated anew when its date is older than this share of the retention.
_REFRESH_SHARE: Final = 0.25


class Reader:
    """Reads the shards of one stream. Safe to use from several threads.

    Args:
        service: Kinesis.
        stream: The stream's name, for messages.
        shards: Its shards.
        polling: Asks them.
        source: Gives answers; the same, or what pushes.
        retention_seconds: How long the stream keeps records, as of now.
        check_stream: Raises if the stream has gone, or was made anew.
    """

    def __init__(
        self,
        service: Service,
        stream: str,
        shards: Shards,
        polling: Polling,
        source: Source,
        *,
        retention_seconds: Callable[[], float],
        check_stream: Callable[[], object],
    ) -> None:
        self._service = service
        self._stream = stream
        self._shards = shards
        self._polling = polling
        self._source = source
        self._retention_seconds = retention_seconds
        self._check_stream = check_stream
        self._lock = threading.Lock()
        self._answers: dict[str, dict[tuple[str, int], Answer]] = {}
        self._published_at = float("-inf")
        self._gone: set[tuple[str, tuple[str, int]]] = set()

    def bounds(self, partition: str, seen: int | None, parents: Sequence[int]) -> Bounds:
        """The oldest record's place; nobody tells the end without reading."""
        # Who stands in its parents may come long after the shard was opened: its first records
        # arrived after what was read of those, and are kept for only as long as that is fresh.
        dates = [Place.of(at, partition).caught_up_seconds for at in parents if not is_ended(at)]
        since = max((date for date in dates if date), default=self._service.now_seconds())
        oldest = Place.beginning(0, since).position
        try:
            self._shards.named(partition)
        except NotFoundError:
            if seen is None:
                raise
            # Closed, and its last record has gone: if the reader was not at its end, that is lost.
            ended = Position.end_of_partition(int(seen) + 1)
            return Bounds(oldest if is_ended(seen) else ended, None)
        if seen is None or is_ended(seen):
            return Bounds(oldest, None)
        place = Place.of(seen, partition)
        if not self._is_gone(partition, place):
            return Bounds(oldest, None)
        return Bounds(Place.beginning(place.number + 1, self._service.now_seconds()).position, None)

    def tip(self, partition: str) -> Position:
        """After what has been published until now. Its number counts from here on."""
        place, answer = self._polling.tip(partition)
        self._keep(partition, place, answer)
        return place.position

    def read(
        self, partition: str, position: int, *, records_max: int, wait_seconds: float
    ) -> Batch:
        """What follows the position.

        Raises:
            RetentionPassedError: It may be gone.
            RangeError: The position is a plain number.
        """
        if is_ended(position):
            return Batch((), position, at_end=True)
        place = Place.of(position, partition)
        deadline = clock.monotonic_seconds() + wait_seconds
        while True:
            answer = self._kept(partition, place, told_empty=True)
            answer = answer or self._ask(partition, place, records_max)
            batch = self._batch(partition, position, place, answer, records_max)
            if batch.messages or is_ended(batch.next_position):
                return batch
            left = deadline - clock.monotonic_seconds()
            if left <= 0:
                return batch
            self._source.rest(left)

    def wait(self, positions: Mapping[str, int], *, wait_seconds: float) -> bool:
        """Whether any shard has something behind its position; asks until one does."""
        places = {
            partition: Place.of(position, partition)
            for partition, position in positions.items()
            if not is_ended(position)
        }
        deadline = clock.monotonic_seconds() + wait_seconds
        while places:
            for partition, place in places.items():
                answer = self._kept(partition, place, told_empty=False)
                if answer is None:
                    answer = self._ask(partition, place, _AHEAD_RECORDS)
                    self._keep(partition, place, answer)
                if answer.records or answer.iterator is None:
                    return True
            left = deadline - clock.monotonic_seconds()
            if left <= 0:
                return False
            self._source.rest(left)
        clock.sleep(wait_seconds)
        return False

    def close(self) -> None:
        """End what is pushed."""
        self._source.close()

    def published(self) -> None:
        """We published: what we were told of empty shards before is no longer true."""
        self._published_at = clock.monotonic_seconds()

    def _batch(
        self, partition: str, position: int, place: Place, answer: Answer, records_max: int
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

    def _kept(self, partition: str, place: Place, *, told_empty: bool) -> Answer | None:
        """An answer that still says something, be it nothing.

        Small ones stay for other readers of this process who stand at the same place: a page, its
        queries and a delivery cost one call together.
        """
        with self._lock:
            answers = self._answers.get(partition, {})
            answer = answers.get(place.key)
            if answer is None:
                return None
            age_seconds = clock.monotonic_seconds() - answer.asked_at
            current = answer.asked_at > self._published_at and age_seconds < _TOLD_SECONDS_MAX
            tells = answer.records or answer.iterator is None or (told_empty and current)
            if not tells:
                return None
            if sum(len(record["Data"]) for record in answer.records) > _SHARED_BYTES_MAX:
                del answers[place.key]
            return answer if current else replace(answer, is_cut=True)

    def _keep(self, partition: str, place: Place, answer: Answer) -> None:
        with self._lock:
            answers = self._answers.setdefault(partition, {})
            answers.pop(place.key, None)
            answers[place.key] = answer
            while len(answers) > _KEPT_MAX:
                del answers[next(iter(answers))]

    def _ask(self, partition: str, place: Place, records_max: int) -> Answer:
        self._check_stream()
        iterator = self._iterator_kept(partition, place)
        if iterator is None and self._is_gone(partition, place):
            raise self._retention_passed(partition, place)
        try:
            answer = self._source.ask(partition, place, iterator, records_max)
        except (NotFoundError, RefusedError) as error:
            self._check_stream()
            if place.caught_up_seconds is None:
                raise
            with self._lock:
                self._gone.add((partition, place.key))
            raise self._retention_passed(partition, place) from error
        if answer.iterator is None:
            self._shards.await_heirs(partition)
        return replace(answer, records=_news(answer.records, place, partition))

    def _iterator_kept(self, partition: str, place: Place) -> str | None:
        with self._lock:
            answer = self._answers.get(partition, {}).get(place.key)
        if answer is None or answer.records:
            return None
        return answer.iterator if clock.monotonic_seconds() < answer.iterator_until else None

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


def _news(records: list[Reply], place: Place, partition: str) -> list[Reply]:
    """No records, where all of them are known: one who resumes AT a record is given it again."""
    if not records or place.is_before_everything:
        return records
    if int(records[0]["SequenceNumber"]) > int(place.sequence):
        return records
    return records if take(records, place, partition, records_max=1).messages else []

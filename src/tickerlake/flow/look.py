"""One look at every partition: what the log holds, what of it the lake has, who works on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from tickerlake import clock
from tickerlake.errors import RetentionPassedError
from tickerlake.flow.totals import Totals
from tickerlake.records import Kind, is_ended

if TYPE_CHECKING:
    from tickerlake.delivery import WorkerStatus
    from tickerlake.streams import Topic

__all__ = ["PartitionFlow", "TopicFlow", "look_at"]

#: A broker's answer takes its time; a log on disk answers at once.
_READ_WAIT_SECONDS = 1.0
#: One would do; but a log may give the record before it, too, and would then be cut off there.
_READ_RECORDS = 100


@dataclass(frozen=True, slots=True)
class PartitionFlow:
    """One partition of a topic: what the log holds, and what of it the lake has."""

    partition: str
    beginning: int
    #: Null where the log cannot tell it without being read.
    end: int | None
    #: The next position that the lake expects; null before the first delivery.
    lake: int | None
    #: The partition is closed, and the lake has all that it will ever hold.
    ended: bool = False
    #: Age of the oldest record that the lake does not have; 0 if it has all, null if unknown.
    #: By the machine's clock, from the time at which the log took the record.
    lag_seconds: float | None = None
    totals: Totals = field(default_factory=Totals)
    #: Of the workers that run now and can be seen from here.
    retries: int = 0
    fences: int = 0

    @property
    def lag(self) -> int | None:
        """Positions that the lake does not have yet, those that are gone included.

        A position is a record; on a broker it is a message, which may hold many.
        """
        if self.end is None:
            return None
        return self.end - (self.beginning if self.lake is None else self.lake)

    @property
    def lost(self) -> int:
        """Positions that the log dropped before the lake had them."""
        return 0 if self.lake is None else max(0, self.beginning - self.lake)

    @property
    def next_position(self) -> int:
        """Where a worker would read on."""
        return self.beginning if self.lake is None or self.lost else self.lake


@dataclass(frozen=True, slots=True)
class TopicFlow:
    """One topic and the table that it feeds."""

    kind: Kind
    topic: str
    table: str
    positions: tuple[PartitionFlow, ...]
    #: When a snapshot of the table was last committed; null before the first.
    committed_at: datetime | None

    @property
    def end(self) -> int:
        """Positions ever given out by it: what the lake has, where the log cannot tell more."""
        return sum(
            (position.lake or 0) if position.end is None else position.end
            for position in self.positions
        )

    @property
    def lag(self) -> int:
        """Positions that the lake does not have yet, as far as the log can tell."""
        return sum(position.lag or 0 for position in self.positions)

    @property
    def lag_is_known(self) -> bool:
        """Whether `lag` counts all partitions; logs without a known end tell only its age."""
        return all(position.lag is not None for position in self.positions)

    @property
    def lag_seconds(self) -> float | None:
        """Age of the oldest record that the lake does not have; null if nobody can tell."""
        seconds = [position.lag_seconds for position in self.positions]
        known = [each for each in seconds if each is not None]
        return max(known, default=0.0) if known or not seconds else None


def look_at(
    topic: Topic,
    offsets: dict[str, int],
    totals: dict[str, Totals],
    workers: Sequence[WorkerStatus],
) -> tuple[PartitionFlow, ...]:
    """Every partition of the topic now."""
    positions = []
    for partition in topic.partitions():
        lake = offsets.get(partition)
        bounds = topic.bounds(partition, lake)
        tallies = [
            tally
            for worker in workers
            for tally in worker.partitions
            if (tally.kind, tally.partition) == (topic.kind, partition)
        ]
        found = PartitionFlow(
            partition,
            bounds.beginning,
            bounds.end,
            lake,
            ended=is_ended(lake),
            totals=totals.get(partition, Totals()),
            retries=sum(tally.retries for tally in tallies),
            fences=sum(tally.fences for tally in tallies),
        )
        positions.append(replace(found, lag_seconds=_oldest_seconds(topic, found)))
    return tuple(positions)


def _oldest_seconds(topic: Topic, position: PartitionFlow) -> float | None:
    if position.ended or (position.lag is not None and position.lag <= position.lost):
        return 0.0
    try:
        batch = topic.read(
            position.partition,
            position.next_position,
            records_max=_READ_RECORDS,
            wait_seconds=0.0 if position.lag is None else _READ_WAIT_SECONDS,
        )
    except RetentionPassedError:
        return None  # It went between two looks; the next one says so.
    if batch.messages:
        published_at = batch.messages[0].published_at
        return max(0.0, (clock.real_now() - published_at).total_seconds())
    if batch.at_end:
        return 0.0
    return batch.behind_seconds or None

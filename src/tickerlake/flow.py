"""How far each hop of the chain is: for `status`, and for the strip on the page."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import TYPE_CHECKING

from tickerlake import clock
from tickerlake.lake.positions import offsets_of
from tickerlake.records import KINDS, TABLES, TOPICS, Kind
from tickerlake.web import Hop, HopState, Pipeline

if TYPE_CHECKING:
    from tickerlake.lake.lake import Lake
    from tickerlake.streams import Stream

__all__ = ["Flow", "Position", "TopicFlow"]

#: Rates are means over this long.
RATE_SECONDS = 10.0
#: A delivery whose oldest waiting record is older than this does not keep up.
BEHIND_SECONDS = 30.0
#: Asked more often than this, the last answer is still good.
FRESH_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Position:
    """One partition of a topic: what the log holds, and what of it the lake has."""

    partition: str
    beginning: int
    end: int
    #: The next position that the lake expects; null before the first delivery.
    lake: int | None

    @property
    def lag(self) -> int:
        """Records that the lake does not have yet, those that are gone included."""
        return self.end - (self.beginning if self.lake is None else self.lake)

    @property
    def lost(self) -> int:
        """Records that the log dropped before the lake had them."""
        return 0 if self.lake is None else max(0, self.beginning - self.lake)


@dataclass(frozen=True, slots=True)
class TopicFlow:
    """One topic and the table that it feeds."""

    kind: Kind
    topic: str
    table: str
    positions: tuple[Position, ...]
    #: When a snapshot of the table was last committed; null before the first.
    committed_at: datetime | None

    @property
    def end(self) -> int:
        """Records that were ever published."""
        return sum(position.end for position in self.positions)

    @property
    def lag(self) -> int:
        """Records that the lake does not have yet."""
        return sum(position.lag for position in self.positions)


class Flow:
    """Looks at stream and lake from outside, and changes neither."""

    def __init__(self, stream: Stream, lake: Lake) -> None:
        self._stream = stream
        self._lake = lake
        self._lock = Lock()
        self._seen: deque[tuple[float, int, int]] = deque()
        self._last: tuple[float, Pipeline] | None = None
        self._fetched: dict[str, int] = {}

    def fetched(self, source: str, records: int) -> None:
        """Count what a source of this process gave, whether or not it was news."""
        with self._lock:
            self._fetched[source] = self._fetched.get(source, 0) + records

    def topics(self) -> list[TopicFlow]:
        """Every topic, in the order of the kinds."""
        tables = set(self._lake.names())
        return [self._topic(kind, TABLES[kind] in tables) for kind in KINDS]

    def pipeline(self) -> Pipeline:
        """The chain as the page shows it. Cheap to ask for often."""
        with self._lock:
            now_seconds = clock.monotonic_seconds()
            if self._last is not None and now_seconds - self._last[0] < FRESH_SECONDS:
                return self._last[1]
            pipeline = self._look(now_seconds)
            self._last = (now_seconds, pipeline)
            return pipeline

    def _topic(self, kind: Kind, has_table: bool) -> TopicFlow:
        topic = self._stream.topic(kind)
        offsets: Mapping[str, int] = {}
        committed_at = None
        if has_table:
            table = self._lake.table(TABLES[kind])
            loaded = table.load()
            offsets = offsets_of(loaded.properties, topic.identity().id)
            snapshots = table.snapshots(loaded)
            committed_at = snapshots[-1].committed_at if snapshots else None
        positions = []
        for partition in topic.partitions():
            lake = offsets.get(partition)
            bounds = topic.bounds(partition, lake)
            known = bounds.beginning if lake is None else lake
            end = known if bounds.end is None else bounds.end
            positions.append(Position(partition, bounds.beginning, end, lake))
        return TopicFlow(kind, TOPICS[kind], TABLES[kind], tuple(positions), committed_at)

    def _look(self, now_seconds: float) -> Pipeline:
        topics = self.topics()
        published = sum(topic.end for topic in topics)
        lag = sum(topic.lag for topic in topics)
        self._seen.append((now_seconds, published, published - lag))
        while now_seconds - self._seen[0][0] > RATE_SECONDS:
            self._seen.popleft()
        age_seconds = self._oldest_seconds(topics) if lag else 0.0
        state: HopState = "behind" if age_seconds > BEHIND_SECONDS else "ok"
        if any(position.lost for topic in topics for position in topic.positions):
            state = "stopped"
        return Pipeline(
            hops=(
                self._source(published),
                Hop("stream", published, self._rate(1), 0, 0.0, "ok", self._stream.url),
                Hop("delivery", published - lag, self._rate(2), lag, age_seconds, state),
                Hop("lake", published - lag, None, lag, age_seconds, "ok", _newest(topics)),
                Hop("query", published, None, 0, 0.0, "ok", "lake and the stream's fresh tail"),
            ),
            as_of=clock.now(),
        )

    def _source(self, published: int) -> Hop:
        """All that was published came from a source, here or in another process."""
        rate = self._rate(1)
        here = (f"{name}: {count:,} fetched here" for name, count in self._fetched.items())
        detail = ", ".join(here) or "in other processes"
        state: HopState = "ok" if self._fetched or rate else "unknown"
        return Hop("source", published, rate, None, None, state, detail)

    def _rate(self, column: int) -> float:
        first, last = self._seen[0], self._seen[-1]
        seconds = last[0] - first[0]
        return (last[column] - first[column]) / seconds if seconds else 0.0

    def _oldest_seconds(self, topics: Iterable[TopicFlow]) -> float:
        """Age of the oldest record that the lake does not have, by the machine's clock."""
        published = [
            message.published_at
            for topic in topics
            for position in topic.positions
            if position.lag > position.lost
            for message in self._stream.topic(topic.kind)
            .read(
                position.partition,
                max(position.beginning, position.lake or 0),
                records_max=1,
                wait_seconds=0.0,
            )
            .messages[:1]
        ]
        if not published:
            return 0.0
        return max(0.0, (clock.real_now() - min(published)).total_seconds())


def _newest(topics: Iterable[TopicFlow]) -> str:
    commits = [topic.committed_at for topic in topics if topic.committed_at is not None]
    return f"last commit {max(commits):%Y-%m-%d %H:%M:%S}Z" if commits else "no commit yet"

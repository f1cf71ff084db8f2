"""The chain as the page shows it, and the one place that looks at stream, lake and workers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from typing import TYPE_CHECKING

from tickerlake import clock
from tickerlake.flow.look import TopicFlow, look_at
from tickerlake.flow.totals import TableTotals, Totals
from tickerlake.lake.positions import offsets_of
from tickerlake.records import KINDS, TABLES, TOPICS, Kind
from tickerlake.web import Hop, HopState, Pipeline

if TYPE_CHECKING:
    from tickerlake.delivery import WorkerStatus
    from tickerlake.lake.lake import Lake
    from tickerlake.streams import Stream

__all__ = ["Flow"]

#: Rates are means over this long.
RATE_SECONDS = 10.0
#: A delivery whose oldest waiting record is older than this does not keep up.
BEHIND_SECONDS = 30.0
#: Asked more often than this, the last answer is still good.
FRESH_SECONDS = 1.0


class Flow:
    """Looks at stream and lake from outside, and changes neither.

    Args:
        stream: Better one of our own: a look from here must not move a reader of somebody else.
        lake: The tables that the stream's topics feed.
        workers: Tells which processes deliver now, as far as anybody can see.
    """

    def __init__(
        self,
        stream: Stream,
        lake: Lake,
        workers: Callable[[], Sequence[WorkerStatus]] = tuple,
    ) -> None:
        self._stream = stream
        self._lake = lake
        self._workers = workers
        self._lock = Lock()
        self._totals_lock = Lock()
        self._totals: dict[tuple[str, str], TableTotals] = {}
        self._seen: deque[tuple[float, int, int]] = deque()
        self._last: tuple[float, Pipeline] | None = None
        self._fetched: dict[str, int] = {}

    def fetched(self, source: str, records: int) -> None:
        """Count what a source of this process gave, whether or not it was news."""
        with self._lock:
            self._fetched[source] = self._fetched.get(source, 0) + records

    def topics(self) -> list[TopicFlow]:
        """Every topic, in the order of the kinds, with sums since the first delivery."""
        with self._totals_lock:
            return self._topics(with_totals=True)

    def workers(self) -> Sequence[WorkerStatus]:
        """Processes that deliver now, as far as they can be seen from here."""
        return self._workers()

    def _topics(self, *, with_totals: bool) -> list[TopicFlow]:
        there, tables = set(self._stream.kinds()), set(self._lake.names())
        workers = self._workers()
        return [
            self._topic(kind, TABLES[kind] in tables, workers, with_totals=with_totals)
            if kind in there
            else TopicFlow(kind, TOPICS[kind], TABLES[kind], (), None)
            for kind in KINDS
        ]

    def pipeline(self) -> Pipeline:
        """The chain as the page shows it. Cheap to ask for often."""
        with self._lock:
            now_seconds = clock.monotonic_seconds()
            if self._last is not None and now_seconds - self._last[0] < FRESH_SECONDS:
                return self._last[1]
            pipeline = self._look(now_seconds)
            self._last = (now_seconds, pipeline)
            return pipeline

    def _topic(
        self, kind: Kind, has_table: bool, workers: Sequence[WorkerStatus], *, with_totals: bool
    ) -> TopicFlow:
        topic = self._stream.topic(kind)
        name, stream_id = TABLES[kind], topic.identity().id
        offsets: dict[str, int] = {}
        totals: dict[str, Totals] = {}
        committed_at = None
        if has_table:
            table = self._lake.table(name)
            loaded = table.load()
            offsets = dict(offsets_of(loaded.properties, stream_id))
            snapshots = table.snapshots(loaded)
            committed_at = snapshots[-1].committed_at if snapshots else None
            if with_totals:
                known = self._totals.get((name, stream_id))
                if known is None:
                    known = self._totals[name, stream_id] = TableTotals(self._lake, name, stream_id)
                totals = known.read(loaded)
        positions = look_at(topic, offsets, totals, workers)
        return TopicFlow(kind, TOPICS[kind], name, positions, committed_at)

    def _look(self, now_seconds: float) -> Pipeline:
        topics = self._topics(with_totals=False)
        published = sum(topic.end for topic in topics)
        lag = sum(topic.lag for topic in topics)
        self._seen.append((now_seconds, published, published - lag))
        while now_seconds - self._seen[0][0] > RATE_SECONDS:
            self._seen.popleft()
        age_seconds = max([0.0, *(topic.lag_seconds or 0.0 for topic in topics)])
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


def _newest(topics: Iterable[TopicFlow]) -> str:
    commits = [topic.committed_at for topic in topics if topic.committed_at is not None]
    return f"last commit {max(commits):%Y-%m-%d %H:%M:%S}Z" if commits else "no commit yet"

"""Figures per topic and partition, for Prometheus. docs/observe.md says what each one means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from tickerlake.flow.look import PartitionFlow, TopicFlow
from tickerlake.observe import Family
from tickerlake.records import TOPICS

if TYPE_CHECKING:
    from tickerlake.delivery import WorkerStatus

__all__ = ["families"]

_Figure = Callable[[PartitionFlow], float | None]
_Kind = Literal["counter", "gauge"]

_BY_PARTITION: Sequence[tuple[str, _Kind, str, _Figure]] = (
    ("stream_begin_position", "gauge", "First position that the log still holds.",
     lambda p: p.beginning),
    ("stream_end_position", "gauge", "Position that the next record will get.",
     lambda p: p.end),
    ("lake_position", "gauge", "Next position that the lake expects.",
     lambda p: p.lake),
    ("lag_records", "gauge", "Positions that the lake does not have yet; an Arrow message is one.",
     lambda p: p.lag),
    ("lag_seconds", "gauge", "Age of the oldest record that the lake does not have; 0: it has all.",
     lambda p: p.lag_seconds),
    ("lost_ahead_records", "gauge", "Positions that the log dropped before the lake had them.",
     lambda p: p.lost),
    ("last_commit_timestamp_seconds", "gauge", "When a commit last moved the partition on.",
     lambda p: None if p.totals.committed_at is None else p.totals.committed_at.timestamp()),
    ("delivered_rows_total", "counter", "Rows that were committed, dead letters among them.",
     lambda p: p.totals.rows),
    ("dead_letters_total", "counter", "Rows that are dead letters.",
     lambda p: p.totals.dead_letters),
    ("dropped_repeats_total", "counter", "Records that repeated a delivered one.",
     lambda p: p.totals.dropped),
    ("lost_records_total", "counter", "Positions given up by `deliver --accept-loss`.",
     lambda p: p.totals.lost),
)  # fmt: skip


def families(topics: Iterable[TopicFlow], workers: Iterable[WorkerStatus]) -> list[Family]:
    """What stream and lake tell about each partition, and what each worker's process counted."""
    partitions = [
        ({"topic": topic.topic, "partition": position.partition}, position)
        for topic in topics
        for position in topic.positions
    ]
    told = [
        Family(
            f"tickerlake_{name}",
            kind,
            text,
            [(labels, figure(position)) for labels, position in partitions],
        )
        for name, kind, text, figure in _BY_PARTITION
    ]
    return told + _of_workers(list(workers))


def _of_workers(workers: Sequence[WorkerStatus]) -> list[Family]:
    tallies = [
        (
            {
                "host": worker.host,
                "pid": str(worker.pid),
                "topic": TOPICS[tally.kind],
                "partition": tally.partition,
            },
            tally,
        )
        for worker in workers
        for tally in worker.partitions
    ]
    started = [
        ({"host": worker.host, "pid": str(worker.pid)}, worker.started_at.timestamp())
        for worker in workers
    ]
    return [
        Family("tickerlake_worker_start_timestamp_seconds", "gauge",
               "When a process that delivers began.", started),
        Family("tickerlake_worker_commits_total", "counter",
               "Commits that moved the partition on.",
               [(labels, tally.commits) for labels, tally in tallies]),
        Family("tickerlake_worker_commit_seconds_total", "counter",
               "Time from the first written file to the commit's end.",
               [(labels, tally.commit_seconds) for labels, tally in tallies]),
        Family("tickerlake_worker_retries_total", "counter",
               "Commits that were refused or not answered, and tried again.",
               [(labels, tally.retries) for labels, tally in tallies]),
        Family("tickerlake_worker_fences_total", "counter",
               "Commits given up because others had moved on.",
               [(labels, tally.fences) for labels, tally in tallies]),
    ]  # fmt: skip

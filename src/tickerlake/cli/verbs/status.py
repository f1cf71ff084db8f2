"""`status`: how far stream and lake are."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tickerlake import clock
from tickerlake.cli.arguments import duration_seconds, open_workspace
from tickerlake.cli.output import Output, counted, moment
from tickerlake.cli.stopping import stopping
from tickerlake.errors import RetentionPassedError

if TYPE_CHECKING:
    from tickerlake.app import Workspace
    from tickerlake.delivery import WorkerStatus
    from tickerlake.flow import PartitionFlow, TopicFlow

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Once, or again and again."""
    parser.add_argument(
        "--watch",
        metavar="D",
        nargs="?",
        const=2.0,
        type=duration_seconds,
        help="look again this often, such as 5s (default: 2s), until Ctrl-C",
    )
    parser.epilog = (
        "lag = positions of the stream that the lake does not have yet: records, but on a broker "
        "an Arrow message of many is one; behind = age of the oldest of them. docs/observe.md "
        "explains every figure."
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Print each partition's end, the lake's position, and what lies between."""
    with open_workspace(arguments, output) as workspace, stopping() as stop:
        while True:
            if arguments.watch and output.on_terminal and not output.json_mode:
                print("\x1b[H\x1b[2J", end="")
            look = _Look(workspace)
            if not output.json_mode:
                look.tell(output)
            elif arguments.watch:
                output.event(look.as_object(), "")
            else:
                output.document(look.as_object())
            if not arguments.watch or stop.event.wait(arguments.watch):
                return stop.exit_code(endless=True)


class _Look:
    """Everything as of one moment."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._topics = workspace.flow.topics()
        self._workers = workspace.flow.workers()
        used = any(topic.end for topic in self._topics)
        self._dead = _dead_letters(workspace) if used else {}
        self._now = clock.real_now()

    def as_object(self) -> dict[str, Any]:
        """For programs."""
        return {
            "event": "status",
            "workspace": self._workspace.folder,
            "stream": self._workspace.config.settings.stream,
            "clock_starts_at": clock.pinned_now(),
            "now": clock.now(),
            "dead_letters": self._dead,
            "topics": [_as_object(topic) for topic in self._topics],
            "workers": [_worker_object(worker) for worker in self._workers],
        }

    def tell(self, output: Output) -> None:
        """For people."""
        output.result(f"workspace  {self._workspace.folder}")
        pinned = clock.pinned_now()
        if pinned is not None:
            output.result(f"clock      TICKERLAKE_NOW={pinned}: not the real time")
        used = [topic for topic in self._topics if topic.end]
        if not used:
            output.result("The stream is empty: nothing was published yet.")
            return
        output.result("")
        output.table(
            ("topic", "partition", "end", "lake", "lag", "behind", "last commit", "retries",
             "fences", "dead"),
            [self._partition_row(topic, p) for topic in used for p in topic.positions],
        )  # fmt: skip
        for topic in used:
            for p in topic.positions:
                if p.lost:
                    output.warning(
                        f"{topic.topic} partition {p.partition}: {counted(p.lost, 'position')} "
                        "went before the lake had them; `tickerlake deliver --accept-loss` goes on "
                        "behind"
                    )
        output.result("")
        output.table(
            ("table", "published", "lag", "rows", "repeats", "lost", "dead letters", "last commit"),
            [self._table_row(topic) for topic in used],
        )
        if self._workers:
            output.result("")
            output.table(
                ("worker", "pid", "since", "commits", "retries", "fences"),
                [_worker_row(worker) for worker in self._workers],
            )

    def _partition_row(self, topic: TopicFlow, p: PartitionFlow) -> tuple[Any, ...]:
        committed_at = p.totals.committed_at
        ago = None if committed_at is None else (self._now - committed_at).total_seconds()
        return (
            topic.topic,
            p.partition,
            "ended" if p.ended else p.end,
            None if p.lake is None else int(p.lake),
            p.lag,
            _span(p.lag_seconds),
            "none yet" if ago is None else f"{_span(max(0.0, ago))} ago",
            p.retries,
            p.fences,
            p.totals.dead_letters,
        )

    def _table_row(self, topic: TopicFlow) -> tuple[Any, ...]:
        sums = [p.totals for p in topic.positions]
        return (
            topic.table,
            topic.end,
            topic.lag if topic.lag_is_known else None,
            sum(total.rows for total in sums),
            sum(total.dropped for total in sums),
            sum(total.lost for total in sums),
            None if self._dead is None else self._dead.get(topic.kind, 0),
            moment(topic.committed_at) or "none yet",
        )


def _span(seconds: float | None) -> str:
    """A span as one glances at it."""
    if seconds is None:
        return "?"
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.1f} s" if 0 < seconds < 10 else f"{seconds:.0f} s"


def _dead_letters(workspace: Workspace) -> dict[str, int] | None:
    """Dead letters by kind; null where a hole in the log lets nobody count."""
    try:
        table = workspace.sql("select kind, count(*) as n from dead_letters group by kind").table
    except RetentionPassedError:
        return None
    return dict(zip(table["kind"].to_pylist(), table["n"].to_pylist(), strict=True))


def _as_object(topic: TopicFlow) -> dict[str, Any]:
    return {
        "topic": topic.topic,
        "table": topic.table,
        "published": topic.end,
        "lag": topic.lag if topic.lag_is_known else None,
        "lag_seconds": topic.lag_seconds,
        "committed_at": topic.committed_at,
        "partitions": [
            {
                "partition": p.partition,
                "beginning": p.beginning,
                "end": p.end,
                "lake": None if p.lake is None else int(p.lake),
                "ended": p.ended,
                "lag": p.lag,
                "lag_seconds": p.lag_seconds,
                "committed_at": p.totals.committed_at,
                "rows": p.totals.rows,
                "dead_letters": p.totals.dead_letters,
                "dropped": p.totals.dropped,
                "lost": p.totals.lost,
                "lost_ahead": p.lost,
                "retries": p.retries,
                "fences": p.fences,
            }
            for p in topic.positions
        ],
    }


def _worker_object(worker: WorkerStatus) -> dict[str, Any]:
    return {
        "host": worker.host,
        "pid": worker.pid,
        "started_at": worker.started_at,
        "partitions": [
            {
                "kind": tally.kind,
                "partition": tally.partition,
                "commits": tally.commits,
                "retries": tally.retries,
                "fences": tally.fences,
                "last_commit_at": tally.last_commit_at,
            }
            for tally in worker.partitions
        ],
    }


def _worker_row(worker: WorkerStatus) -> Sequence[Any]:
    tallies = worker.partitions
    return (
        worker.host,
        str(worker.pid),
        moment(worker.started_at),
        sum(tally.commits for tally in tallies),
        sum(tally.retries for tally in tallies),
        sum(tally.fences for tally in tallies),
    )

"""`status`: how far stream and lake are."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from tickerlake import clock
from tickerlake.cli.arguments import open_workspace
from tickerlake.cli.output import Output, counted, moment
from tickerlake.errors import RetentionPassedError

if TYPE_CHECKING:
    from tickerlake.app import Workspace
    from tickerlake.flow import TopicFlow

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing but the workspace."""
    parser.epilog = "lag = records on the stream that the lake does not have yet."


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Print each partition's end, the lake's position, and what lies between."""
    with open_workspace(arguments, output) as workspace:
        topics = workspace.flow.topics()
        dead = _dead_letters(workspace)
        pinned = clock.pinned_now()
        if output.json_mode:
            output.document(
                {
                    "workspace": workspace.folder,
                    "stream": workspace.config.settings.stream,
                    "clock_starts_at": pinned,
                    "now": clock.now(),
                    "dead_letters": dead,
                    "topics": [_as_object(topic) for topic in topics],
                }
            )
            return 0
        output.result(f"workspace  {workspace.folder}")
        if pinned is not None:
            output.result(f"clock      TICKERLAKE_NOW={pinned}: not the real time")
        _tell(topics, dead, output)
    return 0


def _tell(topics: list[TopicFlow], dead: dict[str, int] | None, output: Output) -> None:
    used = [topic for topic in topics if topic.end]
    if not used:
        output.result("The stream is empty: nothing was published yet.")
        return
    output.result("")
    output.table(
        ("topic", "partition", "begins", "end", "lake", "lag"),
        [
            (topic.topic, p.partition, p.beginning, p.end, p.lake, p.lag)
            for topic in used
            for p in topic.positions
        ],
    )
    for topic in used:
        for p in topic.positions:
            if p.lost:
                output.warning(
                    f"{topic.topic} partition {p.partition}: {counted(p.lost, 'record')} went "
                    "before the lake had them; `tickerlake deliver --accept-loss` goes on behind"
                )
    output.result("")
    output.table(
        ("table", "published", "lag", "dead letters", "last commit"),
        [
            (
                t.table,
                t.end,
                t.lag,
                None if dead is None else dead.get(t.kind, 0),
                moment(t.committed_at) or "none yet",
            )
            for t in used
        ],
    )


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
        "lag": topic.lag,
        "committed_at": topic.committed_at,
        "partitions": [
            {
                "partition": p.partition,
                "beginning": p.beginning,
                "end": p.end,
                "lake": p.lake,
                "lag": p.lag,
            }
            for p in topic.positions
        ],
    }

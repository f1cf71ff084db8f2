"""`stream list`: what the stream holds."""

from __future__ import annotations

import argparse

from tickerlake.cli.arguments import open_workspace
from tickerlake.cli.output import Output

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One thing to do, so far."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="topics and partitions, with their first and next positions")


def run(arguments: argparse.Namespace, output: Output) -> int:
    """List every topic's partitions."""
    with open_workspace(arguments, output) as workspace:
        topics = workspace.flow.topics()
    rows = [
        (
            topic.topic,
            p.partition,
            p.beginning,
            p.end,
            None if p.end is None else p.end - p.beginning,
        )
        for topic in topics
        if topic.end or output.json_mode
        for p in topic.positions
    ]
    names = ("topic", "partition", "begins", "end", "records")
    if output.json_mode:
        output.document([dict(zip(names, row, strict=True)) for row in rows])
        return 0
    if rows:
        output.table(names, rows)
    empty = [topic.topic for topic in topics if not topic.end]
    if empty:
        output.result(f"Nothing was published to {', '.join(empty)}.")
    return 0

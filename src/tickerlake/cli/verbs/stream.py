"""`stream list`: what the stream holds. `stream copy`: its history in another stream."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from tickerlake.cli.arguments import open_workspace
from tickerlake.cli.output import Output, counted
from tickerlake.cli.stopping import stopping
from tickerlake.errors import UsageError, without_secrets

if TYPE_CHECKING:
    from tickerlake.app import Workspace
    from tickerlake.delivery import Copied
    from tickerlake.records import Kind

__all__ = ["add_arguments", "run"]

_PARTLY = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """To list, or to copy."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="topics and partitions, with their first and next positions")
    copy = actions.add_parser(
        "copy",
        help="copy a stream's history into another one; the lake does not get it twice",
        description="Copy what the stream FROM holds into the stream TO. First the lake gets all "
        "that FROM holds; then TO gets it, and the lake's offsets of TO move over it. Ended or "
        "killed, run it again: it goes on, and doubles nothing.",
    )
    copy.add_argument("source", metavar="FROM", help="URL of a stream, such as embedded:")
    copy.add_argument("target", metavar="TO", help="URL of a stream, such as kafka://host/market")
    copy.add_argument("--kinds", metavar="K,…", help="such as bar,trade (default: all)")


def run(arguments: argparse.Namespace, output: Output) -> int:
    """List every topic's partitions, or copy."""
    if arguments.action == "copy":
        return _copy(arguments, output)
    with open_workspace(arguments, output) as workspace:
        return _list(workspace, output)


def _list(workspace: Workspace, output: Output) -> int:
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


def _copy(arguments: argparse.Namespace, output: Output) -> int:
    kinds = _kinds(arguments.kinds)
    with (
        open_workspace(arguments, output) as workspace,
        stopping() as stop,
        output.progress("copying") as progress,
    ):
        copied = workspace.copy_stream(
            arguments.source,
            arguments.target,
            kinds,
            stop=stop.event,
            on_progress=lambda so_far: progress(so_far.records + so_far.found),
        )
    if output.json_mode:
        output.document([asdict(each) for each in copied])
    for each in copied:
        output.result(_in_words(each))
        if each.gone:
            output.warning(
                f"{each.kind}: {counted(each.gone, 'position')} went from {arguments.source} "
                "before they could be copied; the lake has them, the new stream does not"
            )
    if stop.asked_by is not None:
        output.note("Stopped. Run it again and it goes on; until its end nobody delivers from TO.")
        return stop.exit_code(endless=False)
    target = without_secrets(arguments.target)
    output.result(f'The lake knows both. Set stream = "{target}" to go on there.')
    return _PARTLY if any(each.gone for each in copied) else 0


def _in_words(copied: Copied) -> str:
    text = f"{copied.kind:<16}  {counted(copied.records, 'record')} copied"
    if copied.dead_letters:
        text += f", {counted(copied.dead_letters, 'dead letter')} among them"
    if copied.found:
        text += f", {copied.found:,} were there already"
    if copied.delivered:
        text += f"; {counted(copied.delivered, 'record')} of others delivered"
    return text


def _kinds(text: str | None) -> list[Kind]:
    from tickerlake.records import KINDS

    if text is None:
        return list(KINDS)
    wanted = [part.strip() for part in text.split(",")]
    unknown = [part for part in wanted if part not in KINDS]
    if unknown:
        raise UsageError(f"There is no kind {unknown[0]!r}.", expected=", ".join(KINDS))
    return [kind for kind in KINDS if kind in wanted]

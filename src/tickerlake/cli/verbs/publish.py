"""`publish`: fetch what is missing and put it on the stream."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tickerlake.cli.arguments import (
    add_range,
    duration_seconds,
    kinds_of,
    open_workspace,
    positive,
    source_name,
)
from tickerlake.cli.output import Output
from tickerlake.cli.publishing import follow, listen, on_event, tell_report
from tickerlake.cli.stopping import Stop, stopping
from tickerlake.cli.universe import SYMBOLS_HELP, requests_of, wanted_symbols
from tickerlake.errors import UsageError

if TYPE_CHECKING:
    from tickerlake.app import Workspace
    from tickerlake.publish import Publisher, PublishReport
    from tickerlake.sources import BarsRequest

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What, from where, and how fast."""
    parser.add_argument(
        "symbols",
        nargs="*",
        metavar="SYMBOL",
        help=f"{SYMBOLS_HELP}; with --file: whose bars, if it does not say",
    )
    parser.add_argument("--source", type=source_name, metavar="NAME", help="default: yahoo")
    parser.add_argument(
        "--file", metavar="F", type=Path, help="publish a CSV, JSON lines or Parquet file"
    )
    add_range(parser)
    parser.add_argument(
        "--every",
        metavar="D",
        type=duration_seconds,
        help="one record at a time, this far apart, as a live feed would come (0.8s)",
    )
    parser.add_argument("--limit", metavar="N", type=positive, help="send at most N records")
    parser.add_argument(
        "--live",
        action="store_true",
        help="until stopped: listen to the source's socket; where it has none, ask again and again",
    )
    parser.add_argument(
        "--kinds",
        metavar="K,…",
        type=kinds_of,
        help="with --live: which of trade, quote, bar and price_band to listen to "
        "(default: all it sends, but price bands by name only)",
    )
    parser.add_argument(
        "--poll",
        metavar="D",
        type=duration_seconds,
        help="with --live: ask this often (default: 1m), and listen to no socket",
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Publish, tell, and say at the end what was not done."""
    _check(arguments)
    requests = _requests(arguments, output)
    with (
        open_workspace(arguments, output, _file_flags(arguments)) as workspace,
        stopping() as stop,
        output.progress("publishing") as progress,
    ):
        publisher = workspace.publisher(
            "files" if arguments.file else arguments.source or "yahoo",
            on_event=on_event(output, progress, each=arguments.every is not None),
        )
        if arguments.live and _listens(arguments, workspace):
            feed = workspace.feed(
                arguments.source or "yahoo",
                [request.symbol for request in requests],
                arguments.kinds or (),
                remember=True,
            )
            listen(publisher, feed, output, stop=stop.event, limit=arguments.limit)
            return stop.exit_code(endless=True)
        if arguments.live:
            follow(
                publisher,
                requests,
                output,
                poll_seconds=arguments.poll or 60.0,
                stop=stop.event,
                every_seconds=arguments.every,
                limit=arguments.limit,
            )
            return stop.exit_code(endless=True)
        report = _once(arguments, workspace, publisher, requests, stop)
    if report.failures and not report.fetched:
        report.raise_if_incomplete()  # nothing at all was done: the error alone says it best
    tell_report(report, output)
    if stop.asked_by is None:
        report.raise_if_incomplete()
    return stop.exit_code(endless=False)


def _once(
    arguments: argparse.Namespace,
    workspace: Workspace,
    publisher: Publisher,
    requests: list[BarsRequest],
    stop: Stop,
) -> PublishReport:
    if arguments.file is not None:
        return publisher.publish_answer(
            workspace.read_file(arguments.file),
            every_seconds=arguments.every,
            limit=arguments.limit,
            stop=stop.event,
        )
    return publisher.publish(
        requests, every_seconds=arguments.every, limit=arguments.limit, stop=stop.event
    )


def _listens(arguments: argparse.Namespace, workspace: Workspace) -> bool:
    """A source that has a socket is listened to, unless bars are asked for as such."""
    from tickerlake.sources import Live

    bars = (arguments.interval, arguments.start, arguments.end, arguments.poll, arguments.every)
    if arguments.kinds is not None:
        if any(bars):
            raise UsageError(
                "--kinds is for a source's socket.",
                expected="--kinds without --interval, --start, --end, --poll and --every",
                todo="leave out the one or the other",
            )
        return True
    return not any(bars) and isinstance(workspace.provider(arguments.source or "yahoo"), Live)


def _check(arguments: argparse.Namespace) -> None:
    if arguments.kinds is not None and not arguments.live:
        raise UsageError("--kinds is for --live.", todo="add --live, or leave it out")
    if not arguments.symbols and arguments.file is None:
        raise UsageError(
            "There is nothing to publish.",
            expected="a SYMBOL, or --file F",
            todo="such as `tickerlake publish AAPL --source sample`",
        )
    if arguments.file is None:
        return
    if arguments.live or arguments.source or arguments.start or arguments.end:
        raise UsageError(
            "A file is published as it is.",
            expected="--file without --source, --live, --start and --end",
            todo="leave them out",
        )
    if len(arguments.symbols) > 1:
        raise UsageError("A file without a symbol column holds one symbol.", todo="name one")


def _file_flags(arguments: argparse.Namespace) -> dict[str, object]:
    """What the file does not say itself, as settings of the source `files`."""
    if arguments.file is None:
        return {}
    return {
        "sources.files.symbol": arguments.symbols[0] if arguments.symbols else None,
        "sources.files.interval": arguments.interval,
    }


def _requests(arguments: argparse.Namespace, output: Output) -> list[BarsRequest]:
    if arguments.file is not None:
        return []
    requests, left_out = requests_of(arguments, wanted_symbols(arguments.symbols))
    for text in left_out:
        output.note(text)
    return requests

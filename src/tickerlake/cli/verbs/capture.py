"""`capture`: record what passes a provider's socket, and play it again."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tickerlake import clock
from tickerlake.cli.arguments import kinds_of, open_workspace, positive, source_name
from tickerlake.cli.output import Output, counted
from tickerlake.cli.publishing import listen, on_event, tell_said
from tickerlake.cli.stopping import stopping
from tickerlake.errors import UsageError

if TYPE_CHECKING:
    from tickerlake.sources import Frame

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Record or replay."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    record = actions.add_parser("record", help="save raw frames as JSON lines; publishes nothing")
    record.add_argument("symbols", nargs="+", metavar="SYMBOL", help="such as AAPL")
    record.add_argument(
        "--source", type=source_name, metavar="NAME", required=True, help="such as finnhub"
    )
    record.add_argument("--kinds", metavar="K,…", type=kinds_of, help="such as trade,quote")
    record.add_argument(
        "--output", metavar="F", type=Path, help="a new file (default: NAME-TIME.jsonl)"
    )
    record.add_argument("--limit", metavar="N", type=positive, help="stop after N frames")
    replay = actions.add_parser("replay", help="publish what was recorded, as if it came now")
    replay.add_argument("file", metavar="FILE", type=Path, help="ours, or one of cryptofeed's")
    replay.add_argument(
        "--source", type=source_name, metavar="NAME", required=True, help="whose frames they are"
    )
    replay.add_argument(
        "--speed",
        metavar="N",
        default="1",
        help="so many times as fast as it came (default: 1); max: as fast as it can be read",
    )
    replay.add_argument("--limit", metavar="N", type=positive, help="send at most N records")


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Record until stopped, or replay to the end."""
    return (
        _record(arguments, output) if arguments.action == "record" else _replay(arguments, output)
    )


def _record(arguments: argparse.Namespace, output: Output) -> int:
    from tickerlake.sources.captures import CaptureFile

    path: Path = arguments.output or Path(f"{arguments.source}-{clock.now():%Y%m%dT%H%M%SZ}.jsonl")
    kept = 0
    with open_workspace(arguments, output) as workspace, stopping() as stop:

        def keep(frame: Frame, connection: int) -> None:
            nonlocal kept
            if arguments.limit is None or kept < arguments.limit:
                file.keep(frame, connection)
                kept += 1

        feed = workspace.feed(
            arguments.source, arguments.symbols, arguments.kinds or (), record=keep
        )
        file = CaptureFile(path)
        try:
            for fresh in feed.fresh(stop.event):
                file.flush()
                for said in fresh.said:
                    tell_said(said, output)
                if arguments.limit is not None and kept >= arguments.limit:
                    stop.event.set()
        finally:
            file.close()
    output.event(
        {"event": "done", "frames": kept, "path": str(path)},
        f"Recorded {counted(kept, 'frame')} in {path}.",
    )
    return stop.exit_code(endless=True)


def _replay(arguments: argparse.Namespace, output: Output) -> int:
    flags = {
        "sources.capture.path": str(arguments.file.absolute()),
        "sources.capture.provider": arguments.source,
        "sources.capture.speed": _speed(arguments.speed),
    }
    with (
        open_workspace(arguments, output, flags) as workspace,
        stopping() as stop,
        output.progress("publishing") as progress,
    ):
        publisher = workspace.publisher("capture", on_event=on_event(output, progress, each=False))
        feed = workspace.feed("capture", ())
        listen(publisher, feed, output, stop=stop.event, limit=arguments.limit)
    return stop.exit_code(endless=False)


def _speed(text: str) -> str:
    if text == "max":
        return "none"
    try:
        if float(text) > 0:
            return text
    except ValueError:
        pass
    raise UsageError(f"{text!r} is no speed.", expected="a number above 0, or max", found=text)

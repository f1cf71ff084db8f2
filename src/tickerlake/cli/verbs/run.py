"""`run`: publish, deliver and serve, in one process tree that ends together."""

from __future__ import annotations

import argparse

from tickerlake.cli.arguments import (
    add_address,
    add_range,
    address_flags,
    duration_seconds,
    open_workspace,
)
from tickerlake.cli.output import Output
from tickerlake.cli.publishing import follow
from tickerlake.cli.stopping import stopping
from tickerlake.cli.together import Together
from tickerlake.cli.verbs.deliver import tell_event, tell_report

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to publish, how often to ask, and where to listen."""
    parser.add_argument(
        "symbols",
        nargs="*",
        metavar="SYMBOL",
        help="such as AAPL; none: deliver and serve what others publish",
    )
    parser.add_argument("--source", default="yahoo", metavar="NAME", help="default: yahoo")
    add_range(parser)
    parser.add_argument(
        "--poll",
        metavar="D",
        type=duration_seconds,
        default=60.0,
        help="ask the source again this often, such as 30s (default: 1m)",
    )
    add_address(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Run all three until stopped; the first that fails ends all."""
    from tickerlake.sources import BarsRequest

    requests = [
        BarsRequest(symbol, arguments.interval or "1d", arguments.start, arguments.end)
        for symbol in arguments.symbols
    ]
    flags = address_flags(arguments)
    with open_workspace(arguments, output, flags) as workspace, stopping() as stop:
        workspace.ready()
        publisher = workspace.publisher(arguments.source) if requests else None

        def serve() -> None:
            workspace.serve(
                stop=stop.event,
                on_address=lambda url: output.event(
                    {"event": "serving", "url": url}, f"The page is at {url}"
                ),
            )

        def deliver() -> None:
            report = workspace.deliver(
                stop=stop.event, on_event=lambda event: tell_event(event, output)
            )
            tell_report(report, output)

        def publish() -> None:
            if publisher is not None:
                follow(publisher, requests, output, poll_seconds=arguments.poll, stop=stop.event)

        with Together(stop.event) as together:
            for work in (serve, deliver, publish):
                together.start(work)
            stop.event.wait()
    return stop.exit_code(endless=True)

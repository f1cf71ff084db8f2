"""`run`: publish, deliver and serve, in one process tree that ends together."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from tickerlake.cli.arguments import (
    add_address,
    add_range,
    address_flags,
    duration_seconds,
    kinds_of,
    open_workspace,
    source_name,
)
from tickerlake.cli.output import Output
from tickerlake.cli.publishing import follow, listen
from tickerlake.cli.stopping import stopping
from tickerlake.cli.together import Together
from tickerlake.cli.universe import SYMBOLS_HELP, requests_of, wanted_symbols
from tickerlake.cli.verbs.deliver import tell_event, tell_report

if TYPE_CHECKING:
    from tickerlake.app import Workspace
    from tickerlake.sources import BarsRequest

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to publish, how often to ask, and where to listen."""
    parser.add_argument(
        "symbols",
        nargs="*",
        metavar="SYMBOL",
        help=f"{SYMBOLS_HELP}; none: deliver and serve what others publish",
    )
    parser.add_argument(
        "--source", type=source_name, default="yahoo", metavar="NAME", help="default: yahoo"
    )
    add_range(parser)
    parser.add_argument(
        "--poll",
        metavar="D",
        type=duration_seconds,
        default=60.0,
        help="ask the source again this often, such as 30s (default: 1m)",
    )
    parser.add_argument(
        "--kinds",
        metavar="K,…",
        type=kinds_of,
        help="which of trade, quote, bar and price_band to listen to, if the source has a socket "
        "(default: all it sends, but price bands by name only)",
    )
    add_address(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Run all three until stopped; the first that fails ends all."""
    requests, left_out = requests_of(arguments, wanted_symbols(arguments.symbols))
    for text in left_out:
        output.note(text)
    flags = address_flags(arguments)
    with open_workspace(arguments, output, flags) as workspace, stopping() as stop:
        workspace.ready()
        publishing = _publishing(arguments, workspace, requests, output, stop.event)

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

        with Together(stop.event) as together:
            for work in (serve, deliver, *publishing):
                together.start(work)
            stop.event.wait()
    return stop.exit_code(endless=True)


def _publishing(
    arguments: argparse.Namespace,
    workspace: Workspace,
    requests: list[BarsRequest],
    output: Output,
    stop: threading.Event,
) -> list[Callable[[], None]]:
    """Ask a source that has bars again and again; listen to one that has a socket; both do both."""
    from tickerlake.sources import Live

    works: list[Callable[[], None]] = []
    if not requests:
        return works
    publisher, provider = (
        workspace.publisher(arguments.source),
        workspace.provider(arguments.source),
    )
    if isinstance(provider, Live) or arguments.kinds is not None:
        # The page and delivery go on while a provider cannot be reached, from the first.
        symbols = [request.symbol for request in requests]
        kinds = arguments.kinds or ()
        feed = workspace.feed(arguments.source, symbols, kinds, patient=True, remember=True)
        works.append(lambda: listen(publisher, feed, output, stop=stop))
    if "bar" in provider.limits.history:
        works.append(
            lambda: follow(publisher, requests, output, poll_seconds=arguments.poll, stop=stop)
        )
    return works

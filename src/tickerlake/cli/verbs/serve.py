"""`serve`: the page."""

from __future__ import annotations

import argparse

from tickerlake.cli.arguments import add_address, address_flags, open_workspace
from tickerlake.cli.output import Output
from tickerlake.cli.stopping import stopping

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to listen."""
    add_address(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Print the address, then serve until stopped."""
    flags = address_flags(arguments)
    with open_workspace(arguments, output, flags) as workspace, stopping() as stop:
        workspace.serve(
            stop=stop.event,
            on_address=lambda url: output.event(
                {"event": "serving", "url": url}, f"The page is at {url}"
            ),
        )
    return stop.exit_code(endless=True)

"""`config show`: each setting, its value, and who said so."""

from __future__ import annotations

import argparse

from tickerlake.cli.arguments import read_config
from tickerlake.cli.output import Output

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One thing to do, so far."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("show", help="print every setting, its value and its origin")


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Print all settings; secrets are masked."""
    shown = list(read_config(arguments, output).shown())
    if output.json_mode:
        output.document({name: {"value": value, "origin": origin} for name, value, origin in shown})
    else:
        rows = [(name, _as_written(value), origin) for name, value, origin in shown]
        output.table(("setting", "value", "from"), rows)
    return 0


def _as_written(value: object) -> str:
    """The value as a variable would give it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(str(item) for item in value) or "none"
    return str(value) if value != "" else '""'

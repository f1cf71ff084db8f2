"""`init`: make a workspace."""

from __future__ import annotations

import argparse
from pathlib import Path

from tickerlake.cli.output import Output

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where."""
    parser.add_argument("folder", nargs="?", help="folder of the workspace (default: here)")


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Write `tickerlake.toml`; one that is there stays as it is."""
    from tickerlake.config import make_workspace

    folder, made = make_workspace(Path(arguments.folder or arguments.workspace or "."))
    if output.json_mode:
        output.document({"workspace": folder, "made": made})
    elif made:
        output.result(f"Made a workspace in {folder}")
        output.note("Next: tickerlake publish AAPL --source sample; tickerlake deliver --once")
    else:
        output.result(f"{folder} is a workspace already; nothing was changed.")
    return 0

"""`search`: which symbols fit a name, a symbol, an ISIN or a SEDOL."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tickerlake.cli.arguments import open_workspace, positive, source_name
from tickerlake.cli.output import Output, counted
from tickerlake.errors import PartlyDoneError

if TYPE_CHECKING:
    from tickerlake.search import Found

__all__ = ["add_arguments", "run"]

_COLUMNS = ("symbol", "name", "exchange", "type", "currency", "provider", "provider_symbol")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to look for, and whom to ask."""
    parser.add_argument(
        "text", nargs="+", metavar="TEXT", help="such as apple, AAPL, US0378331005 or BJ0CDD2"
    )
    parser.add_argument(
        "--source",
        type=source_name,
        action="append",
        metavar="NAME",
        help="ask only this one; more than once for several",
    )
    parser.add_argument("--limit", metavar="N", type=positive, default=20, help="default: 20")
    parser.add_argument("--offline", action="store_true", help="what is known already; ask nobody")
    parser.add_argument(
        "--refresh", action="store_true", help="ask again, also for what is known already"
    )
    parser.add_argument(
        "--details",
        action="store_true",
        help="currency and first day, too, where a search does not tell them: more requests",
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Print the hits, best first."""
    text = " ".join(arguments.text)
    with open_workspace(arguments, output) as workspace:
        found = workspace.search(
            text,
            limit=arguments.limit,
            offline=arguments.offline,
            sources=arguments.source,
            refresh=arguments.refresh,
            details=arguments.details,
        )
    if output.json_mode:
        output.document(found.rows())
    elif found.matches:
        output.table(_COLUMNS, [[row[name] for name in _COLUMNS] for row in found.rows()])
    _tell(text, found, arguments, output)
    return 0


def _tell(text: str, found: Found, arguments: argparse.Namespace, output: Output) -> None:
    if not found.matches:
        where = "Nothing that is known" if arguments.offline else "No symbol"
        output.note(f"{where} fits {text!r}.")
    elif not found.asked:
        what = counted(len(found), "symbol")
        output.note(f"{what} known already; nobody was asked (--refresh asks).")
    for note in found.notes:
        output.note(note)
    for name, error in found.failures.items():
        output.warning(f"{name}: {error.problem}")
    if found.is_partial:
        raise PartlyDoneError(
            "This is only what was known before.",
            expected="an answer of a provider",
            found=f"none of {', '.join(found.failures)}",
            todo="try again later, or ask with --offline",
        )

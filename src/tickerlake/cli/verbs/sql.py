"""`sql`: one query, or a shell."""

from __future__ import annotations

import argparse
import re
import sys
from contextlib import nullcontext
from datetime import datetime
from typing import TYPE_CHECKING

from tickerlake.cli.arguments import instant, open_workspace
from tickerlake.cli.output import Output
from tickerlake.cli.stopping import INTERRUPTED
from tickerlake.errors import TickerlakeError

if TYPE_CHECKING:
    from tickerlake.app import Workspace

__all__ = ["add_arguments", "run"]

FORMATS = ("table", "csv", "json", "jsonl", "arrow", "parquet")
_HELP = """\
End a query with ; to run it. It may take several lines.
  .views     the views that there are
  .columns   the columns of a view, as in `.columns bars`
  .help      this text
  .quit      leave; so does Ctrl-D
Ctrl-C stops a running query, forgets the lines of an unfinished one, and else leaves."""
#: What a script is cut into: quoted text and comments whole, all else by letters.
_PIECES = re.compile(r"""'[^']*'|"[^"]*"|--[^\n]*|/\*.*?\*/|.""", re.DOTALL)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The query, the time it looks from, and how the answer looks."""
    parser.add_argument("query", nargs="?", metavar="QUERY", help="one SELECT; none: a shell")
    parser.add_argument(
        "--as-of",
        metavar="T",
        type=instant,
        help="answer what was known then: an instant with its zone",
    )
    parser.add_argument(
        "--format",
        metavar="F",
        choices=FORMATS,
        help=f"{', '.join(FORMATS)} (default: table, or json with --json)",
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Run the query, or the lines of a shell."""
    with open_workspace(arguments, output) as workspace:
        form = arguments.format or ("json" if output.json_mode else "table")
        if arguments.query is not None:
            _answer(workspace, arguments.query, arguments.as_of, form, output)
            return 0
        if sys.stdin.isatty():
            return _shell(workspace, arguments.as_of, form, output)
        for query in _queries(sys.stdin.read()):
            _answer(workspace, query, arguments.as_of, form, output)
    return 0


def _answer(
    workspace: Workspace, query: str, as_of: datetime | None, form: str, output: Output
) -> None:
    from tickerlake.cli.answers import rows_of, write_table

    # Only where somebody waits: a script reads no news on stderr.
    with output.working("asking") if sys.stderr.isatty() else nullcontext():
        result = workspace.sql(query, as_of=as_of)
    for text in result.warnings:
        output.warning(text)
    if form == "table":
        output.table(result.table.column_names, rows_of(result.table))
    else:
        write_table(result.table, form, sys.stdout.buffer)


def _queries(text: str) -> list[str]:
    """The statements of a script; a `;` inside quotes or a comment does not end one."""
    found: list[list[str]] = [[]]
    for piece in _PIECES.findall(text):
        if piece == ";":
            found.append([])
        elif found[-1] or not (piece.isspace() or piece.startswith(("--", "/*"))):
            found[-1].append(piece)
    return ["".join(pieces).strip() for pieces in found if pieces]


def _shell(workspace: Workspace, as_of: datetime | None, form: str, output: Output) -> int:
    import contextlib

    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - importing it gives `input` its history and editing
    output.note("SQL over the lake and the stream's fresh tail. .help for help, .quit to leave.")
    lines: list[str] = []
    while True:
        try:
            line = input("   ...> " if lines else "tickerlake> ")
        except EOFError:
            output.note("")
            return 0
        except KeyboardInterrupt:
            output.note("")
            if not lines:
                return INTERRUPTED
            lines = []
            continue
        if not lines and line.strip().startswith("."):
            if line.strip() in {".quit", ".exit"}:
                return 0
            _dot(workspace, line.strip(), output)
            continue
        lines.append(line)
        if not line.rstrip().endswith(";"):
            continue
        query, lines = "\n".join(lines).rstrip().removesuffix(";"), []
        if query.strip():
            try:
                _answer(workspace, query, as_of, form, output)
            except TickerlakeError as error:
                output.error(str(error))
            except KeyboardInterrupt:
                output.note("Stopped.")


def _dot(workspace: Workspace, line: str, output: Output) -> None:
    from tickerlake.query import VIEWS

    word, _, rest = line.partition(" ")
    view = rest.strip()
    if word == ".views":
        output.result("\n".join(VIEWS))
    elif word == ".columns" and view in VIEWS:
        schema = workspace.sql(f"select * from {view} limit 0").table.schema
        output.table(("column", "type"), [(field.name, field.type) for field in schema])
    else:
        output.note(_HELP)

"""`cache`: what was downloaded, whether it is sound, and what may go."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tickerlake.cli.adjusting import add_adjusting, tell_changes
from tickerlake.cli.arguments import open_workspace, source_name
from tickerlake.cli.output import Output, counted
from tickerlake.errors import NotFoundError

if TYPE_CHECKING:
    import pyarrow as pa

    from tickerlake.adjust import Derived
    from tickerlake.cache import CacheCare, Finding, Holding

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Status, verify, repair, accept, prune, export."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _choice(actions.add_parser("status", help="what is held, covered and due, by series"))
    actions.add_parser("verify", help="read every file; exit code 1 if anything is wrong")
    actions.add_parser("repair", help="set damaged files aside; the next fetch brings them again")
    accept = actions.add_parser(
        "accept",
        help="believe new prices that contradict what is held",
        description="Of each suspect series that fits, begin anew: the next fetch asks for all of "
        "it. What was held stays until `cache prune`, and is no longer served.",
    )
    _choice(accept)
    prune = actions.add_parser(
        "prune",
        help="forget series; without a choice, what is not served",
        description="Forget the series that fit the choice. Without one: older generations of "
        "symbols, quarantined and damaged files, and what crashes left.",
    )
    _choice(prune)
    export = actions.add_parser("export", help="write what is held to a file")
    _choice(export)
    kinds = export.add_mutually_exclusive_group()
    kinds.add_argument("--actions", action="store_true", help="corporate actions instead of bars")
    kinds.add_argument(
        "--quarantined", action="store_true", help="bars that contradict those that are served"
    )
    export.add_argument(
        "--output", metavar="FILE", type=Path, required=True,
        help="its name ends in .csv .json .jsonl .arrow .parquet",
    )  # fmt: skip
    add_adjusting(export)


def _choice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", type=source_name, metavar="NAME", help="only of this source")
    parser.add_argument("--symbol", metavar="SYMBOL", help="only of this symbol")
    parser.add_argument("--interval", metavar="I", help="only of this interval")


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Do what the action says."""
    from tickerlake.cache import CacheCare

    with open_workspace(arguments, output) as workspace:
        settings = workspace.config.settings
    with contextlib.closing(CacheCare(workspace.folder / settings.cache.folder)) as care:
        return _do(care, arguments, settings.sources, output)


def _do(
    care: CacheCare,
    arguments: argparse.Namespace,
    sources: Mapping[str, Mapping[str, Any]],
    output: Output,
) -> int:
    if arguments.action == "verify":
        return _findings(care.verify(), output)
    if arguments.action == "repair":
        _findings(care.repair(), output)
        return 0
    choice = {
        "source": arguments.source,
        "symbol": arguments.symbol,
        "interval": arguments.interval,
    }
    if arguments.action == "status":
        _status(care.holdings(**choice), output)
        _tell_denials(care, arguments, output)
    elif arguments.action == "accept":
        _accept(care, choice, output)
    elif arguments.action == "prune":
        _prune(care, choice, output)
    else:
        _export(care, choice, arguments, sources, output)
    return 0


def _status(holdings: list[Holding], output: Output) -> None:
    if output.json_mode:
        output.document([asdict(holding) for holding in holdings])
        return
    names = ("source", "symbol", "interval", "rows", "covered from", "to", "parts", "due", "bytes")
    output.table(names, [_row(holding) for holding in holdings])
    for holding in holdings:
        name = f"{holding.symbol} {holding.interval}"
        if holding.suspect:
            again = f"{holding.next_due:%F %R}Z" if holding.next_due else "the next fetch"
            apart = f"{counted(holding.quarantined, 'row')} quarantined"
            output.note(f"{name}: suspect: {holding.why or apart}; {apart}; asked again: {again}")
            choice = f"--source {holding.source} --symbol {holding.symbol}"
            output.note(
                f"{name}: to look at them: cache export --quarantined {choice};"
                f" to believe them: cache accept {choice}"
            )
        if not holding.current:
            output.note(f"{name}: generation {holding.generation} is another instrument's")
    if not holdings:
        output.result("Nothing is cached.")


def _tell_denials(care: CacheCare, arguments: argparse.Namespace, output: Output) -> None:
    for denied in care.denials(source=arguments.source, symbol=arguments.symbol):
        output.note(
            f"{denied.symbol}: {denied.source} did not find it ({counted(denied.times, 'time')});"
            f" asked again after {denied.until:%F %R}Z, or at once after cache prune --symbol"
            f" {denied.symbol}"
        )


def _accept(care: CacheCare, choice: dict[str, str | None], output: Output) -> None:
    accepted = care.accept(**choice)
    if output.json_mode:
        output.document([asdict(holding) for holding in accepted])
        return
    for holding in accepted:
        output.result(
            f"{holding.symbol} {holding.interval} of {holding.source}: the next fetch asks for all"
            f" of it; {counted(holding.rows, 'row')} stay until cache prune."
        )
    if not accepted:
        output.result("Nothing that fits is suspect.")


def _row(holding: Holding) -> tuple[Any, ...]:
    covered = holding.covered
    return (
        holding.source,
        holding.symbol,
        holding.interval or "actions",
        holding.rows,
        covered[0].start if covered else None,
        covered[-1].end if covered else None,
        len(covered),
        holding.due,
        holding.bytes,
    )


def _findings(findings: list[Finding], output: Output) -> int:
    if output.json_mode:
        output.document([asdict(finding) for finding in findings])
    elif findings:
        output.table(("where", "what", "done"), [(f.where, f.what, f.done) for f in findings])
    else:
        output.result("Every file is as it was written.")
    return 1 if findings else 0


def _prune(care: CacheCare, choice: dict[str, str | None], output: Output) -> None:
    files, size = care.prune(**choice)
    if output.json_mode:
        output.document({"files": files, "bytes": size})
    else:
        output.result(f"{counted(files, 'file')} deleted, {size:,} bytes.")


def _export(
    care: CacheCare,
    choice: dict[str, str | None],
    arguments: argparse.Namespace,
    sources: Mapping[str, Mapping[str, Any]],
    output: Output,
) -> None:
    from tickerlake.cli.answers import write_file

    changes: list[pa.Table] = []
    if arguments.actions:
        rows = care.export("corporate_action", **choice)
    else:
        rows = care.set_apart(**choice) if arguments.quarantined else care.export("bar", **choice)
        if arguments.adjust or arguments.repair:
            found = _derived(care, rows, choice, arguments, sources)
            rows, changes = found.bars, [] if found.changes is None else [found.changes]
    write_file(rows, arguments.output)
    repairs = tell_changes(changes, output)
    if output.json_mode:
        told = {"rows": rows.num_rows, "output": arguments.output}
        output.document(told | ({"repairs": repairs} if arguments.repair else {}))
    else:
        output.result(f"{counted(rows.num_rows, 'row')} written to {arguments.output}")


def _derived(
    care: CacheCare,
    bars: pa.Table,
    choice: dict[str, str | None],
    arguments: argparse.Namespace,
    sources: Mapping[str, Mapping[str, Any]],
) -> Derived:
    """The bars as they were asked for, from the days and events that are held."""
    from tickerlake.adjust import bases_of, derive
    from tickerlake.records import SCHEMAS, Kind

    def held(kind: Kind) -> pa.Table:
        try:
            return care.export(kind, **(choice | {"interval": "1d" if kind == "bar" else None}))
        except NotFoundError:
            return SCHEMAS[kind].empty_table()

    return derive(
        bars,
        held("corporate_action"),
        held("bar"),
        how=arguments.adjust,
        mend=arguments.repair,
        bases=bases_of(sources),
    )

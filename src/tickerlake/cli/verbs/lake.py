"""`lake`: the tables' state, maintenance and repair."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from tickerlake.cli.arguments import open_workspace
from tickerlake.cli.output import Output, counted, moment
from tickerlake.errors import TickerlakeError, UsageError

if TYPE_CHECKING:
    from tickerlake.lake.lake import Lake
    from tickerlake.lake.maintenance import CompactReport, TableStatus, VerifyReport

__all__ = ["add_arguments", "run"]

_ACTIONS = {
    "status": "rows, files, snapshots and offsets of each table",
    "compact": "put the small files of closed days together",
    "expire": "forget old snapshots, after their deliveries were noted",
    "sweep": "delete files that no snapshot names and that are old enough",
    "verify": "check files, offsets and positions against each other",
    "rewind": "set offsets to what a table really holds, after it was rolled back",
    "relocate": "mend the paths of a workspace that was moved, or a lost catalog",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One action, and which tables."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, text in _ACTIONS.items():
        action = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if name != "relocate":
            action.add_argument(
                "tables", nargs="*", metavar="TABLE", help="such as bars_log (default: all)"
            )
        if name == "expire":
            action.add_argument("--keep", metavar="N", type=int, help="snapshots to leave")
        if name == "sweep":
            action.add_argument(
                "--age-hours",
                metavar="H",
                type=float,
                help="only files older than this (default: [tables] sweep_age_hours)",
            )


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Do what the action says."""
    with open_workspace(arguments, output) as workspace:
        if arguments.action == "relocate":
            moved = workspace.relocate()
            text = (
                f"{counted(len(moved.tables), 'table')} moved from {moved.before} to {moved.after}."
            )
            if moved.registered:
                text = f"The catalog knows {', '.join(moved.registered)} again."
            elif not moved.tables:
                text = "The lake is where its paths say: nothing to mend."
            if output.json_mode:
                output.document(moved)
            else:
                output.result(text)
            return 0
        lake = workspace.lake
        names = _checked(lake, arguments.tables)
        if arguments.action == "verify":
            return _verify(lake, names, output)
        with output.working(f"lake {arguments.action}"):
            _maintain(arguments, lake, names, output)
    return 0


def _maintain(
    arguments: argparse.Namespace, lake: Lake, names: list[str] | None, output: Output
) -> None:
    from tickerlake.lake import maintenance

    nothing = "There are no tables yet."
    if arguments.action == "status":
        _tell_status(maintenance.status(lake, names), output)
    elif arguments.action == "compact":
        _tell_compacted(maintenance.compact(lake, names), output)
    elif arguments.action == "expire":
        _tell(maintenance.expire(lake, names, keep=arguments.keep), output, nothing)
    elif arguments.action == "sweep":
        _tell(maintenance.sweep(lake, names, age_hours=arguments.age_hours), output, nothing)
    else:
        rewound = maintenance.rewind(lake, names)
        changed = [change for report in rewound for change in report.rewound]
        _tell(changed, output, "All offsets agree with their tables: nothing to rewind.")


def _verify(lake: Lake, names: list[str] | None, output: Output) -> int:
    from tickerlake.lake.maintenance import verify

    there = len(names or lake.names())
    with output.progress("verifying tables") as progress:
        seen = itertools.count()
        report = verify(lake, names, on_table=lambda _: progress(next(seen), there))
    return _tell_findings(report, output)


def _checked(lake: Lake, names: Sequence[str]) -> list[str] | None:
    """The tables that were asked for; none named: all."""
    there = lake.names()
    for name in names:
        if name not in there:
            raise UsageError(
                f"The lake has no table {name!r}.",
                expected=", ".join(there) or "no table was made yet",
                todo="name one of these, or none for all",
            )
    return list(names) or None


def _tell_status(tables: list[TableStatus], output: Output) -> None:
    if output.json_mode:
        output.document(tables)
        return
    if not tables:
        output.result("There are no tables yet; `tickerlake deliver` makes them.")
        return
    output.table(
        ("table", "rows", "files", "not compacted", "MB", "snapshots", "offsets", "last commit"),
        [
            (
                table.name,
                table.rows,
                table.files,
                table.fresh_files,
                round(table.bytes / 1e6, 2),
                table.snapshots,
                table.check,
                moment(table.committed_at),
            )
            for table in tables
        ],
    )


def _tell_compacted(months: list[CompactReport], output: Output) -> None:
    """One line a table; with `--json` one object a month."""
    if output.json_mode or not months:
        _tell(months, output, "No closed days to put together.")
        return
    rows = []
    for name in dict.fromkeys(month.table for month in months):
        of_table = [month for month in months if month.table == name]
        landed = [month for month in of_table if month.landed]
        rows.append(
            (
                name,
                len(landed),
                sum(month.files_before for month in landed),
                sum(month.files_after for month in landed),
                sum(month.rows for month in landed),
                len(of_table) - len(landed),
            )
        )
    output.table(("table", "months", "files before", "after", "rows", "left to others"), rows)


def _tell_findings(report: VerifyReport, output: Output) -> int:
    if output.json_mode:
        output.document({"sound": report.sound, **_as_object(report)})
        return 0 if report.sound else 1
    for name in report.mended_hints:
        output.result(f"{name}: version-hint.text was behind, and is right now.")
    for finding in report.findings:
        output.error(
            str(
                TickerlakeError(
                    f"{finding.table}: {finding.problem}", found=finding.found, todo=finding.todo
                )
            )
        )
    looked = ", ".join(
        (
            counted(report.tables, "table"),
            counted(report.files, "file"),
            counted(report.rows, "row"),
        )
    )
    output.result(
        f"{looked}: every promise is kept."
        if report.sound
        else f"{looked}: broken promises: {len(report.findings)}."
    )
    return 0 if report.sound else 1


def _tell(reports: Sequence[Any], output: Output, nothing: str) -> None:
    """A line for each report, its fields as columns."""
    if output.json_mode:
        output.document(reports)
    elif reports:
        names = [field.name for field in fields(reports[0])]
        output.table(
            [name.replace("_", " ") for name in names],
            [[getattr(report, name) for name in names] for report in reports],
        )
    else:
        output.result(nothing)


def _as_object(report: Any) -> dict[str, Any]:  # noqa: ANN401 - any of the lake's reports
    return {field.name: getattr(report, field.name) for field in fields(report)}

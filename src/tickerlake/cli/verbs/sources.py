"""`sources`: list them, or parse a recorded answer of one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tickerlake.cli.arguments import instant, read_config
from tickerlake.cli.output import Output
from tickerlake.errors import NotFoundError, TickerlakeError

if TYPE_CHECKING:
    import pyarrow as pa

    from tickerlake.config import Config
    from tickerlake.sources import Source

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A list, unless `parse` is asked for."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    parse = actions.add_parser("parse", help="the normalised records of one recorded answer")
    parse.add_argument("provider", metavar="PROVIDER", help="such as yahoo")
    parse.add_argument("file", metavar="FILE", type=Path, help="what it answered")
    parse.add_argument("--symbol", help="whose answer it is, where it does not say")
    parse.add_argument("--interval", help="length of its bars, where it does not say")
    parse.add_argument(
        "--received-at",
        metavar="T",
        type=instant,
        help="when it was received: takes the place of now",
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    """List all sources, or print one answer's records."""
    config = read_config(arguments, output)
    if arguments.action == "parse":
        _parse(arguments, config, output)
    else:
        _list(config, output)
    return 0


def _open(name: str, config: Config) -> Source:
    from tickerlake.sources import open_source

    return open_source(name, settings=config.settings.sources.get(name, {}))


def _list(config: Config, output: Output) -> None:
    from tickerlake.sources import names

    rows: list[tuple[str, list[str], list[str], bool | None, str]] = []
    for name in names():
        try:
            limits = _open(name, config).limits
            intervals, live = list(limits.intervals), [str(kind) for kind in limits.live]
            rows.append((name, intervals, live, limits.needs_key, "ready"))
        except TickerlakeError as error:
            rows.append((name, [], [], None, error.problem))
    if output.json_mode:
        keys = ("name", "intervals", "live", "needs_key", "state")
        output.document([dict(zip(keys, row, strict=True)) for row in rows])
    else:
        columns = ("source", "intervals", "live", "needs key", "state")
        shown = [
            (name, " ".join(i), " ".join(live), key, state) for name, i, live, key, state in rows
        ]
        output.table(columns, shown)


def _parse(arguments: argparse.Namespace, config: Config, output: Output) -> None:
    from tickerlake.records import with_event_ids

    try:
        payload = arguments.file.read_bytes()
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no file {arguments.file}.") from error
    answer = _open(arguments.provider, config).parse(
        payload,
        symbol=arguments.symbol,
        interval=arguments.interval,
        received_at=arguments.received_at,
    )
    for text in answer.notes:
        output.note(text)
    for kind, table in answer.tables():
        _print(with_event_ids(table, kind), output)


def _print(table: pa.Table, output: Output) -> None:
    from tickerlake.cli.answers import rows_of

    if output.json_mode:
        for row in rows_of(table):
            output.event(dict(zip(table.column_names, row, strict=True)), "")
    elif table.num_rows:
        # Columns that are empty throughout tell nothing to a reader.
        used = [name for name in table.column_names if table[name].null_count < table.num_rows]
        output.table(used, rows_of(table.select(used)))

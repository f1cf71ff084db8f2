"""`fetch`: bring bars into the cache, or into a file. Publishes nothing."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tickerlake.cli.adjusting import (
    Days,
    add_adjusting,
    days_of,
    derived,
    planned,
    tell_changes,
    wants_days,
)
from tickerlake.cli.arguments import add_range, open_workspace, source_name
from tickerlake.cli.output import Output
from tickerlake.cli.stopping import Stop, stopping
from tickerlake.cli.universe import SYMBOLS_HELP, requests_of, wanted_symbols
from tickerlake.errors import NotFoundError, RangeError, TickerlakeError, UsageError

if TYPE_CHECKING:
    from tickerlake.app import Workspace
    from tickerlake.cli.fetching import Fetched
    from tickerlake.sources import Answer, BarsRequest

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which symbols, from where, and what to do with them."""
    parser.add_argument("symbols", nargs="*", metavar="SYMBOL", help=SYMBOLS_HELP)
    parser.add_argument("--source", type=source_name, metavar="NAME", help="default: yahoo")
    add_range(parser)
    parser.add_argument(
        "--since",
        choices=("last",),
        help="only what came since what is cached; without SYMBOL, of all that is cached",
    )
    parser.add_argument(
        "--plan", action="store_true", help="say what would be asked for, and ask nobody"
    )
    parser.add_argument("--offline", action="store_true", help="answer from the cache alone")
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        help="write the bars there, as its name ends: .csv .json .jsonl .arrow .parquet",
    )
    add_adjusting(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Fetch each symbol; one that cannot be had does not stop the others."""
    _check(arguments)
    with open_workspace(arguments, output) as workspace, stopping() as stop:
        wished, left_out = _requests(arguments, workspace)
        for text in left_out:
            output.note(text)
        if arguments.plan:
            _plan(arguments, wished, workspace, output)
            return 0
        days = _days(arguments, wished, workspace)
        fetched = _fetch(arguments, wished, workspace, stop, output)
        if wants_days(arguments):
            _derive(arguments, days, fetched, workspace)
    if arguments.output is not None and fetched.answers:
        _write(fetched.answers, arguments)
    _tell(fetched, arguments.output, tell_changes(fetched.changes, output), output)
    if stop.asked_by is not None:
        output.note("Stopped. What came is kept; the same command goes on from here.")
        return stop.exit_code(endless=False)
    fetched.raise_if_incomplete()
    return 0


def _check(arguments: argparse.Namespace) -> None:
    if not arguments.symbols and arguments.since is None:
        raise UsageError(
            "There is nothing to fetch.",
            expected="a SYMBOL, a list (@FILE), or --since last",
            todo="such as `tickerlake fetch AAPL`",
        )
    if arguments.since is not None and (arguments.start or arguments.end):
        raise UsageError(
            "--since last says what the range is.",
            expected="--since without --start and --end",
            todo="leave one of them out",
        )


def _requests(
    arguments: argparse.Namespace, workspace: Workspace
) -> tuple[dict[str, list[BarsRequest]], list[str]]:
    """What to fetch, by source; and what is left out, in sentences."""
    symbols = wanted_symbols(arguments.symbols)
    if arguments.since is not None:
        return _since_last(arguments, [one.symbol for one in symbols], workspace)
    name = arguments.source or "yahoo"
    limits = workspace.provider(name).limits
    requests, left_out = requests_of(
        arguments,
        symbols,
        listed=lambda symbol: workspace.symbols.listed(name, symbol),
        spans=limits.span_days,
    )
    if left_out and not requests:
        raise RangeError(
            "No symbol traded in the asked range, as far as is known.",
            expected="a range after the listing",
            found="; ".join(left_out),
            todo="ask for a later range",
        )
    return {name: requests}, left_out


def _since_last(
    arguments: argparse.Namespace, symbols: Sequence[str], workspace: Workspace
) -> tuple[dict[str, list[BarsRequest]], list[str]]:
    """From where each cached series ends, or has something due; the cache overlaps it by itself."""
    from tickerlake.sources import BarsRequest

    requests: dict[str, list[BarsRequest]] = {}
    known = [
        one
        for one in workspace.cached_series()
        if arguments.source in (None, one.provider)
        and arguments.interval in (None, one.interval)
        and (not symbols or one.symbol in symbols)
        and (one.since is not None or workspace.provider(one.provider).limits.local)
    ]
    for one in known:
        request = BarsRequest(one.symbol, one.interval, one.since)
        requests.setdefault(one.provider, []).append(request)
    new = sorted({*symbols} - {one.symbol for one in known})
    if new or not known:
        raise NotFoundError(
            f"Nothing of {', '.join(new) if new else 'this'} is in the cache yet.",
            expected="symbols that were fetched before",
            found="nothing to go on from",
            todo="fetch it once with --start",
        )
    return requests, []


def _plan(
    arguments: argparse.Namespace,
    wished: dict[str, list[BarsRequest]],
    workspace: Workspace,
    output: Output,
) -> None:
    from tickerlake.cli.planning import tell_plans, with_changes

    plans = []
    for name, requests in wished.items():
        source = workspace.source(name, offline=arguments.offline)
        wishes = planned(source, requests) if wants_days(arguments) else requests
        plan = source.plan(wishes)
        plans.append((with_changes(plan, workspace.symbols.may_ask_changes), source.limits))
    tell_plans(plans, output)


def _fetch(
    arguments: argparse.Namespace,
    wished: dict[str, list[BarsRequest]],
    workspace: Workspace,
    stop: Stop,
    output: Output,
) -> Fetched:
    from tickerlake.cli.fetching import Fetched, fetch
    from tickerlake.cli.steps import steps

    fetched = Fetched()
    count = sum(len(requests) for requests in wished.values())
    with steps(output, "fetching", count) as told:

        def asked(_: BarsRequest) -> None:
            told.advance()
            if stop.asked_by is not None:
                raise KeyboardInterrupt

        for name, requests in wished.items():
            source = workspace.source(name, offline=arguments.offline, on_ask=asked)
            fetch(
                source,
                workspace.symbols.followed(source, offline=arguments.offline),
                requests,
                told,
                stopped=lambda: stop.asked_by is not None,
                into=fetched,
                keep=arguments.output is not None or wants_days(arguments),
                on_answer=workspace.symbols.note_about,
            )
    return fetched


def _days(
    arguments: argparse.Namespace,
    wished: dict[str, list[BarsRequest]],
    workspace: Workspace,
) -> dict[tuple[str, BarsRequest], Days]:
    """Days and events up to now, first: the asked days then come out of the same answers."""
    if not wants_days(arguments):
        return {}
    found: dict[tuple[str, BarsRequest], Days] = {}
    for name, requests in wished.items():
        source = workspace.source(name, offline=arguments.offline)
        found |= {(name, asked): days for asked, days in days_of(source, requests).items()}
    return found


def _derive(
    arguments: argparse.Namespace,
    days: dict[tuple[str, BarsRequest], Days],
    fetched: Fetched,
    workspace: Workspace,
) -> None:
    """Bars as they shall be written; what cannot be derived of one symbol stops no other."""
    for (name, request), told in days.items():
        series = f"{request.symbol} {request.interval}"
        if series not in fetched.answers:
            continue
        answer = fetched.answers.pop(series)
        source = workspace.source(name, offline=arguments.offline)
        try:
            found = derived(source, request, answer, told, arguments)
        except TickerlakeError as error:
            fetched.failures[request.symbol] = error
            continue
        fetched.answers[series] = replace(answer, bars=found.bars)
        if found.changes is not None:
            fetched.changes.append(found.changes)
    if fetched.failures and not fetched.answers:
        raise next(iter(fetched.failures.values()))


def _write(answers: dict[str, Answer], arguments: argparse.Namespace) -> None:
    import pyarrow as pa

    from tickerlake.cli.answers import write_file

    write_file(pa.concat_tables([answer.bars for answer in answers.values()]), arguments.output)


def _tell(
    fetched: Fetched, path: Path | None, repairs: list[dict[str, Any]], output: Output
) -> None:
    if output.json_mode:
        keys = ("symbol", "interval", "bars", "first", "last", "corporate_actions")
        output.document(
            {
                "symbols": [dict(zip(keys, row, strict=True)) for row in fetched.rows],
                "failed": {symbol: str(error) for symbol, error in fetched.failures.items()},
                "missing": fetched.missing,
                "stale": fetched.stale,
                "left": fetched.left,
                "notes": fetched.notes,
                "output": path,
                "repairs": repairs,
            }
        )
    elif fetched.rows:
        columns = ("symbol", "interval", "bars", "first", "last", "corporate actions")
        output.table(columns, fetched.rows)
        if path is not None and fetched.answers:
            output.result(f"Written to {path}")
    for name in fetched.stale:
        output.warning(f"{name} is stale: what was cached before is all there is.")
    for note in fetched.notes:
        output.note(note)
    alike: dict[str, list[str]] = {}
    for symbol, error in fetched.failures.items():
        alike.setdefault(str(error), []).append(symbol)
    if not fetched.rows:  # the first one is the error that the verb ends with
        alike.pop(next(map(str, fetched.failures.values()), ""), None)
    for text, symbols in alike.items():
        output.error(f"{', '.join(symbols)}: {text}")

"""`fetch`: bring bars into the cache, or into a file. Publishes nothing."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tickerlake.cli.arguments import add_range, open_workspace
from tickerlake.cli.output import Output
from tickerlake.errors import PartlyDoneError, TickerlakeError

if TYPE_CHECKING:
    from tickerlake.cache import CachedSource
    from tickerlake.sources import Answer, BarsRequest, Source

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which symbols, from where, and what to do with them."""
    parser.add_argument("symbols", nargs="+", metavar="SYMBOL", help="such as AAPL")
    parser.add_argument("--source", default="yahoo", metavar="NAME", help="default: yahoo")
    add_range(parser)
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


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Fetch each symbol; one that cannot be had does not stop the others."""
    from tickerlake.sources import BarsRequest

    requests = [
        BarsRequest(symbol, arguments.interval or "1d", arguments.start, arguments.end)
        for symbol in arguments.symbols
    ]
    with open_workspace(arguments, output) as workspace:
        source = workspace.source(arguments.source, offline=arguments.offline)
        if arguments.plan:
            _tell_plan([_plan(source, request) for request in requests], output)
            return 0
        answers, failures = _fetch(source, requests, output)
    if arguments.output is not None and answers:
        _write(list(answers.values()), arguments.output)
    _tell(answers, failures, arguments.output, output)
    _raise_missing(answers, failures)
    return 0


def _fetch(
    source: Source, requests: list[BarsRequest], output: Output
) -> tuple[dict[str, Answer], dict[str, TickerlakeError]]:
    answers: dict[str, Answer] = {}
    failures: dict[str, TickerlakeError] = {}
    with output.progress("fetching") as progress:
        for done, request in enumerate(requests):
            progress(done, len(requests))
            try:
                answers[request.symbol] = source.bars(request)
            except TickerlakeError as error:
                if len(requests) == 1:
                    raise
                failures[request.symbol] = error
    return answers, failures


def _write(answers: list[Answer], path: Path) -> None:
    import pyarrow as pa

    from tickerlake.cli.answers import write_file

    write_file(pa.concat_tables([answer.bars for answer in answers]), path)


def _tell(
    answers: dict[str, Answer],
    failures: dict[str, TickerlakeError],
    path: Path | None,
    output: Output,
) -> None:
    columns = ("symbol", "bars", "first", "last", "corporate actions")
    rows = [_summary(symbol, answer) for symbol, answer in answers.items()]
    if output.json_mode:
        keys = ("symbol", "bars", "first", "last", "corporate_actions")
        output.document(
            {
                "symbols": [dict(zip(keys, row, strict=True)) for row in rows],
                "failed": {symbol: str(error) for symbol, error in failures.items()},
                "notes": [note for answer in answers.values() for note in answer.notes],
                "output": path,
            }
        )
    else:
        output.table(columns, rows)
        if path is not None:
            output.result(f"Written to {path}")
    for symbol, answer in answers.items():
        for note in answer.notes:
            output.note(note if note.startswith(symbol) else f"{symbol}: {note}")
    for symbol, error in failures.items():
        output.error(f"{symbol}: {error}")


def _summary(symbol: str, answer: Answer) -> tuple[Any, ...]:
    import pyarrow.compute as pc

    times = answer.bars["session_date" if answer.bars["session_date"].null_count == 0 else "ts"]
    ends = pc.min_max(times).as_py()
    return symbol, answer.bars.num_rows, ends["min"], ends["max"], answer.actions.num_rows


def _raise_missing(answers: dict[str, Answer], failures: dict[str, TickerlakeError]) -> None:
    if failures and not answers:
        raise next(iter(failures.values()))
    missing = [f"{symbol}: {part}" for symbol, a in answers.items() for part in a.missing]
    missing += list(failures)
    if missing:
        raise PartlyDoneError(
            "Not everything that was asked for could be had.",
            found=f"missing: {'; '.join(missing)}",
            todo="ask for another range, or for these again later",
        )


def _plan(source: CachedSource, request: BarsRequest) -> dict[str, Any]:
    """What one request would ask the provider."""
    return {
        "source": source.name,
        "symbol": request.symbol,
        "interval": request.interval,
        "start": request.start,
        "end": request.end,
        "requests": source.requests(request),
        "days_per_request": source.limits.span_days.get(request.interval),
        "look_back_days": source.limits.look_back_days.get(request.interval),
    }


def _tell_plan(plan: list[dict[str, Any]], output: Output) -> None:
    if output.json_mode:
        output.document(plan)
        return
    output.table(
        ("source", "symbol", "interval", "start", "end", "requests"),
        [
            (
                row["source"],
                row["symbol"],
                row["interval"],
                row["start"] or "as far as it goes",
                row["end"] or "now",
                row["requests"],
            )
            for row in plan
        ],
    )
    output.note("Nothing was asked for.")

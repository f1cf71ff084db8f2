"""`--adjust` and `--repair`: what verbs that write bars to a file do with them before."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from tickerlake.cli.output import Output, counted
from tickerlake.errors import TickerlakeError

if TYPE_CHECKING:
    import pyarrow as pa

    from tickerlake.adjust import Derived
    from tickerlake.sources import Answer, BarsRequest, Source

__all__ = ["add_adjusting", "days_of", "derived", "planned", "tell_changes", "wants_days"]

#: More are in the file, and in --json.
_CHANGES_SHOWN_MAX: Final = 20


def add_adjusting(parser: argparse.ArgumentParser) -> None:
    """What to do with prices before they are written."""
    parser.add_argument(
        "--adjust",
        choices=("none", "splits", "all"),
        help="adjust prices for nothing (as traded), splits, or dividends too; "
        "default: as the source gives them",
    )
    parser.add_argument(
        "--repair",
        action="store_true",
        help="mend known kinds of bad data in what is written; each change is explained",
    )


def wants_days(arguments: argparse.Namespace) -> bool:
    """Whether days and their events are needed beside the bars that were asked for."""
    return bool(arguments.adjust or arguments.repair)


def planned(requests: Sequence[BarsRequest]) -> list[BarsRequest]:
    """What is asked for in all: days up to now, from whose cache 1d is answered, then the rest."""
    from tickerlake.adjust import daily_request

    days = dict.fromkeys(daily_request(request) for request in requests)
    return [*days, *(request for request in requests if request.interval != "1d")]


def days_of(source: Source, request: BarsRequest) -> Answer | TickerlakeError:
    """The days and events that the bars of a request need, or why they cannot be had."""
    from tickerlake.adjust import daily_request

    try:
        return source.bars(daily_request(request))
    except TickerlakeError as error:
        return error


def derived(
    source: Source,
    request: BarsRequest,
    answer: Answer,
    days: Answer | TickerlakeError,
    arguments: argparse.Namespace,
) -> Derived:
    """One answer's bars as they were asked for; days and events come from the same source.

    Raises:
        AdjustmentError: A price cannot be derived.
        TickerlakeError: The days cannot be had.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from tickerlake.adjust import Basis, derive, known_of

    basis = Basis.of(source.limits)
    # A symbol that became another one has bars under both.
    others = set(pc.unique(answer.bars["symbol"]).to_pylist()) - {request.symbol}
    found = [days, *(days_of(source, replace(request, symbol=name)) for name in sorted(others))]
    sound = []
    for one in found:
        if isinstance(one, TickerlakeError):
            raise one
        sound.append(one)
    known: dict[tuple[str, str], Any] = {}
    for one in sound:
        known |= (None if arguments.offline else known_of(one, request)) or {}
    return derive(
        answer.bars,
        pa.concat_tables([one.actions for one in sound]),
        pa.concat_tables([one.bars for one in sound]),
        how=arguments.adjust,
        mend=arguments.repair,
        known=known,
        bases=lambda _provider: basis,
    )


def tell_changes(changes: list[pa.Table], output: Output) -> list[dict[str, Any]]:
    """Say what was mended; returns each change, for --json."""
    rows = [row for table in changes for row in table.to_pylist()]
    for row in rows[:_CHANGES_SHOWN_MAX]:
        name = f"{row['symbol']} {row['interval'] or row['column']} {row['session_date']}"
        was, now = (_number(row[side]) for side in ("given", "repaired"))
        output.note(f"{name}: {row['column']} {was} → {now}: {row['why']}")
    if len(rows) > _CHANGES_SHOWN_MAX:
        more = counted(len(rows) - _CHANGES_SHOWN_MAX, "more value")
        output.note(f"{more} repaired: the column `repaired` and --json tell them.")
    return rows


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.10g}"

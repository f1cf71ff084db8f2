"""`--adjust` and `--repair`: what verbs that write bars to a file do with them before."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tickerlake.cli.output import Output, counted
from tickerlake.errors import NotFoundError, RangeError

if TYPE_CHECKING:
    import pyarrow as pa

    from tickerlake.adjust import Derived
    from tickerlake.cache import CachedSource
    from tickerlake.sources import Answer, BarsRequest

__all__ = ["Days", "add_adjusting", "days_of", "derived", "planned", "tell_changes", "wants_days"]

#: Days and events of one symbol, or why there are none.
Days: TypeAlias = "Answer | Exception"
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


def planned(source: CachedSource, requests: Sequence[BarsRequest]) -> list[BarsRequest]:
    """What is asked for in all: days up to now, from whose cache 1d is answered, then the rest."""
    from tickerlake.adjust import daily_request

    if not _tells_events(source):
        return list(requests)
    days = dict.fromkeys(daily_request(request) for request in requests)
    return [*days, *(request for request in requests if request.interval != "1d")]


def days_of(source: CachedSource, requests: Sequence[BarsRequest]) -> dict[BarsRequest, Days]:
    """The days and events that the bars of each request need, or why they cannot be had."""
    from tickerlake.adjust import daily_request
    from tickerlake.sources import empty_answer

    if not _tells_events(source):
        return dict.fromkeys(requests, empty_answer())
    alike: dict[BarsRequest, list[BarsRequest]] = {}
    for request in requests:
        days = replace(daily_request(request), symbol="")
        alike.setdefault(days, []).append(request)
    found: dict[BarsRequest, Days] = {}
    for days, group in alike.items():
        symbols = list(dict.fromkeys(request.symbol for request in group))
        answers = source.bars_of(symbols, days)
        found |= {request: answers[request.symbol] for request in group}
    return found


def _tells_events(source: CachedSource) -> bool:
    return "corporate_action" in source.limits.history


def derived(
    source: CachedSource,
    request: BarsRequest,
    answer: Answer,
    days: Days,
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
    more = days_of(source, [replace(request, symbol=name) for name in sorted(others)])
    sound = [_sound(one) for one in (days, *more.values())]
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


def _sound(days: Days) -> Answer:
    """The answer; where the source has no such days, none: what needs them is refused then."""
    from tickerlake.sources import empty_answer

    if isinstance(days, NotFoundError | RangeError):
        return empty_answer()
    if isinstance(days, Exception):
        raise days
    return days


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

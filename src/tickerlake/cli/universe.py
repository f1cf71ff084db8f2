"""Symbols of a command line: words, lists, standard input; and the ranges to ask for."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tickerlake.search import Wanted
    from tickerlake.sources import BarsRequest

__all__ = ["SYMBOLS_HELP", "requests_of", "wanted_symbols"]

SYMBOLS_HELP: Final = "such as AAPL; @FILE: a list, one symbol a line; -: from standard input"
#: A listing date is a hint: providers are some days off at times.
_MARGIN: Final = timedelta(days=7)


def wanted_symbols(words: Sequence[str]) -> list[Wanted]:
    """The symbols that the words name.

    Raises:
        NotFoundError, MalformedError, UsageError: As `tickerlake.search.wanted`.
    """
    from tickerlake.search import wanted

    return wanted(words, read_stdin=sys.stdin.read)


def requests_of(
    arguments: argparse.Namespace,
    symbols: Sequence[Wanted],
    *,
    listed: Callable[[str], date | None] = lambda _: None,
    spans: Mapping[str, float] | None = None,
) -> tuple[list[BarsRequest], list[str]]:
    """One request a symbol: the asked range inside of what a list says of the symbol.

    What is left out because it did not trade in the range at all is told in sentences.

    Args:
        arguments: With `start`, `end` and `interval`.
        symbols: What a list says binds.
        listed: A symbol's first day by what is known; a hint, so a week is left before it.
        spans: Days that one request can span, by interval: only there a hint saves requests, and
            elsewhere none is taken, but for ranges that end before the listing.
    """
    from tickerlake.sources import BarsRequest

    interval = arguments.interval or "1d"
    requests, left_out = [], []
    for one in symbols:
        start, end = arguments.start, arguments.end
        hint = listed(one.symbol)
        first = one.start if hint is None else one.start or hint - _MARGIN
        if one.end is not None and (end is None or _day(end) > one.end):
            end = one.end
        if first is not None and end is not None and _day(end) < first:
            left_out.append(f"{one.symbol}: listed on {one.start or hint}, after the asked range")
            continue
        if one.end is not None and start is not None and one.end < _day(start):
            left_out.append(f"{one.symbol}: ended on {one.end}, before the asked range")
            continue
        if first is not None and (one.start is not None or interval in (spans or {})):
            start = _later(start, first)
        requests.append(BarsRequest(one.symbol, interval, start, end))
    return requests, left_out


def _later(start: date | datetime | None, bound: date) -> date | datetime:
    return bound if start is None or _day(start) < bound else start


def _day(value: date | datetime) -> date:
    return value.date() if isinstance(value, datetime) else value

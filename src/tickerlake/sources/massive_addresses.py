"""Where Massive's answers are: spans, pages, paths."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from tickerlake.sources.base import BarsRequest
from tickerlake.sources.massive_reference import Reference
from tickerlake.sources.us_market import NEW_YORK, SECONDS

__all__ = ["BASE_BARS", "EVENTS", "ROWS_PER_PAGE", "SPANS", "bars_path", "nanoseconds", "quoted"]

SPANS: Final = {
    "1s": (1, "second"),
    **{ours: (n // 60, "minute") for ours, n in SECONDS.items() if n >= 60},
    "1h": (1, "hour"), "4h": (4, "hour"),
    "1d": (1, "day"), "1wk": (1, "week"), "1mo": (1, "month"), "3mo": (1, "quarter"),
}  # fmt: skip
#: A page's limit counts base bars: minutes for minutes and hours, days for longer ones. That of
#: seconds is not documented: taken for seconds.
BASE_BARS: Final = 50_000
_MINUTES: Final = {name: max(1, seconds // 60) for name, seconds in SECONDS.items()}
_BASE: Final = {**_MINUTES, "1d": 1, "1wk": 7, "1mo": 31, "3mo": 92}
#: Bars a page, by interval.
ROWS_PER_PAGE: Final = {name: BASE_BARS // base for name, base in _BASE.items()}
EVENTS: Final[Mapping[Reference, tuple[str, tuple[str, ...]]]] = {
    # By date; the older path first, which is still documented; the newer one where it is gone.
    "splits": ("execution_date", ("/v3/reference/splits", "/stocks/v1/splits")),
    "dividends": ("ex_dividend_date", ("/v3/reference/dividends", "/stocks/v1/dividends")),
}


def bars_path(request: BarsRequest, first: datetime, last: datetime) -> str:
    """The path of bars from the first to the last instant, both included."""
    number, unit = SPANS[request.interval]
    if request.interval in SECONDS:
        edges = [str(nanoseconds(edge) // 1_000_000) for edge in (first, last)]
    else:  # days are asked for by their dates, whatever the time of day
        zone = ZoneInfo(NEW_YORK)
        edges = [edge.astimezone(zone).date().isoformat() for edge in (first, last)]
        if isinstance(request.start, datetime):  # such as 00:00Z, which is evening there
            edges[0] = request.start.astimezone(UTC).date().isoformat()
        if request.interval == "1wk":  # stamped with the Sunday before
            monday = date.fromisoformat(edges[0])
            edges[0] = (monday - timedelta(days=1)).isoformat()
    symbol = quoted(request.symbol)
    return f"/v2/aggs/ticker/{symbol}/range/{number}/{unit}/{edges[0]}/{edges[1]}"


def nanoseconds(instant: datetime) -> int:
    """Since 1970, exactly."""
    since = instant - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400_000_000 + since.seconds * 1_000_000 + since.microseconds) * 1000


def quoted(symbol: str) -> str:
    """A symbol as part of a path; `X:BTCUSD` keeps its colon."""
    return urllib.parse.quote(symbol, safe=":")

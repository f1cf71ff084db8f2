"""Massive on this machine: what its answers look like, with payloads of our own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tickerlake.sources import open_source
from tickerlake.sources.massive import MassiveSource
from tickerlake.testing.provider import (
    ProviderAnswer,
    ProviderRequest,
    ProviderServer,
    provider_server,
)

NEW_YORK = ZoneInfo("America/New_York")
KEY = "ours-alone"
UNKNOWN = ProviderAnswer({"status": "NOT_FOUND", "message": "Ticker not found."}, 404)


def milliseconds(day: date, at: time = time()) -> int:
    """Epoch ms of New York's wall clock."""
    return int(datetime.combine(day, at, NEW_YORK).timestamp()) * 1000


def bar(t: int, close: float = 10.5, volume: float = 1000.5) -> dict[str, Any]:
    """One bar; its volume is no whole number."""
    return {"v": volume, "vw": 10.1, "o": 10, "c": close, "h": 11.25, "l": 9, "t": t, "n": 7}


def weekdays(first: date, count: int) -> list[dict[str, Any]]:
    """Bars of the weekdays among so many days."""
    days = (first + timedelta(days=n) for n in range(count))
    return [bar(milliseconds(day)) for day in days if day.weekday() < 5]


@dataclass
class Massive:
    """What it knows, and how it answers: a few rows a page, the rest by `next_url`."""

    bars: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    rows_per_page: int = 1000
    #: Results by path: trades, splits, tickers and so on.
    results: dict[str, Any] = field(default_factory=dict)
    #: Answers in place of the usual ones, by path.
    instead: dict[str, ProviderAnswer] = field(default_factory=dict)
    #: Where the next page is said to be.
    next_host: str = "https://api.massive.com"

    def answer(self, request: ProviderRequest) -> ProviderAnswer:
        """As the vendor's documentation says."""
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return ProviderAnswer({"status": "ERROR", "error": "Unknown API Key"}, 401)
        path = request.path
        if path in self.instead:
            return self.instead[path]
        if path.startswith("/v2/aggs/ticker/"):
            symbol, _, _, _, first, last = path.split("/")[4:]
            rows = [
                row
                for row in self.bars.get(symbol, ())
                if edge(first) <= row["t"] <= edge(last, end=True)
            ]
            told = self.page(rows, request, path)
            return ProviderAnswer({"ticker": symbol, "adjusted": False, **told})
        if path in self.results:
            found = self.results[path]
            if isinstance(found, list):
                return ProviderAnswer(self.page(found, request, path))
            return ProviderAnswer({"status": "OK", "results": found})
        if "/splits" in path or "/dividends" in path:
            return ProviderAnswer({"status": "OK", "results": []})
        return UNKNOWN

    def page(self, rows: Sequence[Any], request: ProviderRequest, path: str) -> dict[str, Any]:
        """Some rows; an empty answer has no `results` at all."""
        at = int(request.query.get("cursor", 0))
        end = at + self.rows_per_page
        told: dict[str, Any] = {"status": "OK", "resultsCount": len(rows[at:end])}
        if rows[at:end]:
            told["results"] = list(rows[at:end])
        if end < len(rows):
            told["next_url"] = f"{self.next_host}{path}?cursor={end}"
        return told


def edge(text: str, *, end: bool = False) -> int:
    """A range's edge: a day of New York, or epoch ms."""
    if text.isdigit():
        return int(text)
    day = date.fromisoformat(text) + timedelta(days=1 if end else 0)
    return milliseconds(day) - (1 if end else 0)


@contextmanager
def massive_server(
    massive: Massive, **settings: Any
) -> Iterator[tuple[MassiveSource, ProviderServer]]:
    """The source over a server that answers so."""
    with provider_server(massive.answer) as server:
        source = open_source(
            "massive",
            settings={
                "base_url": server.base_url,
                "requests_per_second": None,
                "backoff_seconds": 0.0,
                "api_key": KEY,
                **settings,
            },
        )
        assert isinstance(source, MassiveSource)
        with closing(source):
            yield source, server


def nanoseconds(*clock: int) -> int:
    """Epoch ns of a UTC time."""
    return int(datetime(*clock, tzinfo=UTC).timestamp()) * 1_000_000_000  # type: ignore[arg-type,misc]

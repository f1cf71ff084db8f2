"""Alpaca on this machine: what its answers look like, with payloads of our own."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tickerlake.sources import open_source
from tickerlake.sources.alpaca import AlpacaSource
from tickerlake.testing.provider import (
    ProviderAnswer,
    ProviderRequest,
    ProviderServer,
    provider_server,
)

NEW_YORK = ZoneInfo("America/New_York")
KEYS = {"api_key": "PKOURS", "api_secret": "ours-alone"}


def stamp(day: date) -> str:
    """Alpaca's stamp of a day: New York's midnight, in UTC."""
    midnight = datetime.combine(day, time(), NEW_YORK).astimezone(UTC)
    return midnight.isoformat().replace("+00:00", "Z")


def bar(at: str, close: float = 10.5, volume: float = 1000) -> dict[str, Any]:
    """One bar."""
    return {"t": at, "o": 10, "h": 11.25, "l": 9, "c": close, "v": volume, "n": 7, "vw": 10.1}


def weekdays(first: date, count: int) -> list[dict[str, Any]]:
    """Bars of the weekdays among so many days."""
    days = (first + timedelta(days=n) for n in range(count))
    return [bar(stamp(day)) for day in days if day.weekday() < 5]


@dataclass
class Alpaca:
    """What it knows, and how it answers: rows by symbol, then by time, a few a page."""

    bars: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    ticks: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]] = field(default_factory=dict)
    events: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    assets: Sequence[Mapping[str, Any]] = ()
    rows_per_page: int = 1000
    #: Answers in place of the usual ones, by path.
    instead: dict[str, ProviderAnswer] = field(default_factory=dict)

    def answer(self, request: ProviderRequest) -> ProviderAnswer:
        """As the vendor's documentation says."""
        if request.headers.get("apca-api-key-id") != KEYS["api_key"]:
            return ProviderAnswer({"message": "forbidden."}, 403)
        if request.path in self.instead:
            return self.instead[request.path]
        if request.path == "/v2/assets":
            return ProviderAnswer(list(self.assets))
        if request.path.startswith("/v2/assets/"):
            symbol = request.path.rpartition("/")[2]
            known = next((one for one in self.assets if one["symbol"] == symbol), None)
            unknown = {"code": 40410000, "message": f"asset not found for {symbol}"}
            return ProviderAnswer(known) if known else ProviderAnswer(unknown, 404)
        if request.path == "/v1/corporate-actions":
            return ProviderAnswer({"corporate_actions": self.events, "next_page_token": None})
        return self.page(request.path.rsplit("/", 1)[-1], request.query)

    def page(self, kind: str, query: Mapping[str, str]) -> ProviderAnswer:
        """Some rows, and the token that asks for the next; a full last page has one, too."""
        symbols = query["symbols"].split(",")
        odd = next((symbol for symbol in symbols if "_" in symbol), None)
        if odd is not None:
            return ProviderAnswer({"message": f"invalid symbol: {odd}"}, 400)
        known = self.bars if kind == "bars" else self.ticks.get(kind, {})
        first, last = (instant(query[name]) for name in ("start", "end"))
        rows = [
            (symbol, row)
            for symbol in sorted(symbols)
            for row in known.get(symbol, ())
            if first <= instant(row["t"]) <= last
        ]
        at = int(base64.b64decode(query["page_token"])) if "page_token" in query else 0
        told: dict[str, list[Any]] = {}
        for symbol, row in rows[at : at + self.rows_per_page]:
            told.setdefault(symbol, []).append(row)
        end = at + self.rows_per_page
        token = base64.b64encode(str(end).encode()).decode() if end <= len(rows) else None
        return ProviderAnswer({kind: told, "next_page_token": token})


def instant(text: str) -> datetime:
    """A time of the protocol, to the microsecond."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}.{fraction.ljust(6, '0')[:6]}+00:00")


@contextmanager
def alpaca_server(alpaca: Alpaca, **settings: Any) -> Iterator[tuple[AlpacaSource, ProviderServer]]:
    """The source over a server that answers so."""
    with provider_server(alpaca.answer) as server:
        source = open_source(
            "alpaca",
            settings={
                "base_url": server.base_url,
                "trading_url": server.base_url,
                "requests_per_second": None,
                "backoff_seconds": 0.0,
                **KEYS,
                **settings,
            },
        )
        assert isinstance(source, AlpacaSource)
        with closing(source):
            yield source, server

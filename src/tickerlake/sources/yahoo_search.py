"""Yahoo's search and quote answers → hits. Neither gives bars: they say what a symbol is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final

from tickerlake.calendars import calendar_for
from tickerlake.errors import MalformedError
from tickerlake.sources.base import Hit
from tickerlake.sources.yahoo_market import type_of

__all__ = ["parse_quotes", "parse_search", "reference_notes"]

_REFERENCE: Final = ("quoteResponse", "quotes")


def parse_search(body: object) -> list[Hit]:
    """The hits of `/v1/finance/search`, Yahoo's best first.

    Entries without a symbol (news firms, people) are passed over: seen. There is no currency.

    Raises:
        MalformedError: No search answer.
    """
    quotes = body.get("quotes") if isinstance(body, Mapping) else None
    if not isinstance(quotes, list):
        raise _other("search results: an object with a list `quotes`", body)
    return list(_hits(quotes))


def parse_quotes(body: object) -> list[Hit]:
    """The instruments of `/v7/finance/quote`: unknown symbols are left out by Yahoo.

    Raises:
        MalformedError: No quote answer.
    """
    response = body.get("quoteResponse") if isinstance(body, Mapping) else None
    result = response.get("result") if isinstance(response, Mapping) else None
    if not isinstance(result, list):
        raise _other("quotes: quoteResponse.result", body)
    return list(_hits(result))


def reference_notes(body: object) -> tuple[str, ...] | None:
    """What a recorded search or quote answer says, in sentences; None if it is neither."""
    if not isinstance(body, Mapping) or not any(key in body for key in _REFERENCE):
        return None
    hits = parse_search(body) if "quotes" in body else parse_quotes(body)
    kind = "search" if "quotes" in body else "quote"
    told = [" ".join(filter(None, (h.symbol, h.name, h.type, h.exchange, h.currency)))
            for h in hits]  # fmt: skip
    return (f"a {kind} answer: it holds no records, but {len(hits)} symbols", *told)


def _hits(entries: Sequence[object]) -> Iterator[Hit]:
    for entry in entries:
        if not isinstance(entry, Mapping):
            continue
        symbol = _text(entry, "symbol")
        if symbol is None:
            continue
        yield Hit(
            symbol=symbol,
            name=_text(entry, "longname", "longName", "shortname", "shortName"),
            type=type_of(_text(entry, "quoteType")),
            exchange=_text(entry, "exchange"),
            currency=_text(entry, "currency") or _sure_currency(symbol, entry),
            provider="yahoo",
            provider_symbol=symbol,
            first=_day(entry.get("firstTradeDateMilliseconds")),
        )


def _sure_currency(symbol: str, entry: Mapping[str, Any]) -> str | None:
    """What a search answer, which tells no currency, leaves no doubt about.

    `BTC-USD` and `EURUSD=X` name it, and exchanges of the United States trade in nothing else.
    """
    kind = _text(entry, "quoteType")
    if kind == "CRYPTOCURRENCY" and "-" in symbol:
        return symbol.rpartition("-")[2]
    if kind == "CURRENCY" and symbol.endswith("=X") and len(symbol) in (5, 8):
        return symbol[-5:-2]
    in_us = calendar_for(_text(entry, "exchange")) == "XNYS"
    return "USD" if in_us and kind in ("EQUITY", "ETF", "OPTION") else None


def _text(entry: Mapping[str, Any], *names: str) -> str | None:
    for name in names:
        value = entry.get(name)
        if isinstance(value, str) and value.strip():
            return " ".join(value.split())
    return None


def _day(milliseconds: object) -> date | None:
    """The first day of trading; negative for what was listed before 1970."""
    if not isinstance(milliseconds, int) or abs(milliseconds) > 10**14:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).date()


def _other(expected: str, body: object) -> MalformedError:
    found = ", ".join(map(str, body)) if isinstance(body, Mapping) else type(body).__name__
    return MalformedError(
        "Yahoo answered with something else.",
        expected=expected,
        found=found[:120] or "an empty object",
        todo="try again; if it stays, Yahoo has changed: report it",
    )

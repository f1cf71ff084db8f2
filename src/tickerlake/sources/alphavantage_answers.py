"""Alpha Vantage's answers → our bars, dividends, splits and search hits.

Nearly everything comes with HTTP 200: errors as "Error Message", limits, premium endpoints and
advice as "Information" or "Note" (documented; seen by others). A series is an object keyed by wall
time, newest first, all values texts, in the zone that "Meta Data" names (seen); CSV, where it was
asked for, has the same columns. Its numbered keys differ by function: they are told by their words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.calendars import calendar_for
from tickerlake.errors import (
    ConfigError,
    NotFoundError,
    RangeError,
    RateLimitedError,
    TickerlakeError,
)
from tickerlake.records import SCHEMAS
from tickerlake.sources.base import About, Answer, Hit, PriceBasis, empty_answer
from tickerlake.sources.columns import csv_rows, days_of, decoded, floats, malformed
from tickerlake.sources.listed import (
    INTRADAY_SECONDS,
    NEW_YORK,
    Series,
    end_of,
    interval_of,
    left_out,
    moments,
    symbol_of,
    zone_of,
)
from tickerlake.sources.recordings import Recorded
from tickerlake.sources.refusals import Rule, page_words, refusal

__all__ = ["BURST", "EXCHANGES", "hits", "parse_answer", "refused"]

_NAME: Final = "Alpha Vantage"
_INSTANT: Final = SCHEMAS["bar"].field("ts").type
#: The exchange of a symbol's suffix, by a code that our calendars know.
EXCHANGES: Final[Mapping[str, str]] = {
    "": "US", "LON": "LON", "TRT": "TOR", "TRV": "VAN", "DEX": "XETRA", "FRK": "FRA",
    "BSE": "BSE", "NSE": "NSE", "SHH": "SHH", "SHZ": "SHZ", "PAR": "PAR", "AMS": "AMS",
    "SAO": "SAO", "MIL": "MIL", "STO": "STO",
}  # fmt: skip
_INTERVALS: Final = {
    "1min": "1m", "5min": "5m", "15min": "15m", "30min": "30m", "60min": "1h",
}  # fmt: skip
_WORDS: Final = {
    "open": "open", "high": "high", "low": "low", "close": "close", "volume": "volume",
    "adjusted close": "adj_close", "adjusted_close": "adj_close",
    "dividend amount": "amount", "dividend_amount": "amount",
    "split coefficient": "factor", "split_coefficient": "factor",
}  # fmt: skip
#: By the words at "region", as far as recordings and docs show them.
_COUNTRIES: Final = {
    "united states": "US", "united kingdom": "GB", "frankfurt": "DE", "xetra": "DE",
    "toronto": "CA", "toronto venture": "CA", "india/bombay": "IN", "brazil/sao paolo": "BR",
    "shanghai": "CN", "shenzhen": "CN", "paris": "FR", "amsterdam": "NL",
}  # fmt: skip
_TYPES: Final = {"equity": "equity", "etf": "etf", "mutual fund": "fund"}
#: Advice to slow down to one a second, which names the daily limit, too: to be tested for first.
BURST: Final = ("1 request per second", "spreading out your free api requests", "burst")

_RULES: Final = (
    Rule(RateLimitedError, "Alpha Vantage asks for one request a second.", "wait a second",
         words=BURST),
    Rule(ConfigError, "Alpha Vantage gives this to premium keys only.",
         "ask for less (the free plan has the last 100 days of 1d), or take a premium plan and set"
         " [sources.alphavantage] premium = true", words=("premium endpoint", "premium feature")),
    Rule(RateLimitedError, "Alpha Vantage's limit of requests is reached.",
         "the free plan has 25 requests a day: try again tomorrow, or take a premium plan",
         words=("rate limit", "requests per day", "call frequency", "api calls per",
                "requests per minute"), statuses=(429,)),
    Rule(ConfigError, "Alpha Vantage does not accept the key.",
         "check TICKERLAKE_SOURCES_ALPHAVANTAGE_API_KEY; a key is free at"
         " alphavantage.co/support/#api-key",
         words=("parameter apikey", "apikey is invalid", "invalid api key", "api key is missing",
                "claim your free api key"), statuses=(401, 403)),
    Rule(RangeError, "Alpha Vantage does not have this month.", "ask for a month since 2000-01",
         words=("parameter month", "invalid month", "yyyy-mm")),
    Rule(NotFoundError, "Alpha Vantage does not know {name}, or not by this function.",
         "check the spelling with `tickerlake search`: foreign symbols have a suffix, TSCO.LON",
         words=("invalid api call", "invalid symbol"), statuses=(404,)),
)  # fmt: skip
_REFUSALS: Final = ("error message", "information", "note", "error")


def refused(told: Recorded, document: object, symbol: str | None) -> TickerlakeError | None:
    """What an answer without data says; None where there are data."""
    text = "" if told.body.lstrip()[:1] == b"{" else page_words(told.body)
    if isinstance(document, Mapping):
        # At the top level only: "Meta Data" has an "Information" of its own.
        found = {str(key).lower(): value for key, value in document.items()}
        text = next((str(found[name]) for name in _REFUSALS if name in found), "")
        if not document and told.status == 200:
            # An empty object is what some unknown symbols get (uncertain).
            return NotFoundError(
                f"Alpha Vantage tells nothing of {symbol or 'this symbol'}.",
                expected="a time series",
                found="{}",
                todo="check the spelling with `tickerlake search`",
            )
    if not text and told.status == 200:
        return None
    error = refusal(
        _RULES,
        provider=_NAME,
        status=told.status,
        text=text,
        symbol=symbol,
        expected="a time series",
    )
    if error is None:
        error = malformed(_NAME, "", "a time series", text, why="of words that we do not know")
    return error


@dataclass(frozen=True, slots=True)
class Asked:
    """What is known beside an answer; None where nobody says."""

    symbol: str | None = None
    interval: str | None = None
    received_at: datetime | None = None
    #: Of intraday prices; days tell it themselves.
    basis: PriceBasis | None = None


def parse_answer(told: Recorded, asked: Asked) -> Answer:
    """One answer: a series as records; a search or a quote as a note.

    Raises:
        NotFoundError, RangeError, RateLimitedError, ConfigError, UnreachableError: What it says.
        MalformedError: No answer of Alpha Vantage's that we know.
    """
    query = {name.lower(): value for name, value in told.query.items()}
    asked = replace(
        asked,
        symbol=asked.symbol or query.get("symbol"),
        basis=asked.basis or ("raw" if query.get("adjusted") == "false" else None),
    )
    header = told.body[:200].lstrip(b"\xef\xbb\xbf \r\n").lower()
    if header.startswith((b"timestamp,", b"time,")):
        return _of_csv(told, asked, _INTERVALS.get(query.get("interval", "")))
    table = next((said for start, said in _TABLES.items() if header.startswith(start)), None)
    if table is not None:
        return _noted(f"{table}, no records")
    if not told.body.lstrip().startswith((b"{", b"[")):
        raise refused(told, None, asked.symbol) or malformed(_NAME, "", "JSON", told.body[:60])
    document = decoded(told.body, _NAME)
    error = refused(told, document, asked.symbol)
    if error is not None:
        raise error
    if not isinstance(document, Mapping):
        raise malformed(_NAME, "", "an object", document)
    name = next((key for key in document if "time series" in str(key).lower()), None)
    if name is not None:
        return _of_series(told, asked, document, name)
    return _without_records(document)


#: JSON without records of ours, by a key of it.
_OTHERS: Final = {
    "annualReports": "fundamentals", "annualEarnings": "earnings", "AssetType": "what a symbol is",
    "feed": "news", "data": "a list of values", "top_gainers": "the symbols that moved most",
    "markets": "which markets are open",
}  # fmt: skip
#: CSV without records of ours, by how its header begins.
_TABLES: Final = {
    b"symbol,name,type,region": "search results",
    b"symbol,name,exchange,assettype": "a list of symbols",
    b"symbol,open,high,low,price": "the newest quote of a symbol",
    b"currency code,currency name": "a list of currencies",
    b"symbol,name,reportdate": "days of earnings",
}


def _without_records(document: Mapping[str, Any]) -> Answer:
    if "bestMatches" in document:
        found = hits(document, limit=100)
        symbols = ", ".join(hit.symbol for hit in found[:8])
        return _noted(f"search results: {len(found)} ({symbols})")
    known = ("Global Quote", "Realtime Currency Exchange Rate", "Stock Quotes", *_OTHERS)
    others = (name for name in document if "Meta Data" in document and name != "Meta Data")
    kind = next((name for name in known if name in document), next(others, None))
    if kind is None:
        raise malformed(_NAME, "", "a time series", list(document)[:8])
    return _noted(f"{_OTHERS.get(kind, kind)}: no bars of a history")


def _of_series(told: Recorded, asked: Asked, document: Mapping[str, Any], name: str) -> Answer:
    told_meta = document.get("Meta Data")
    told_meta = told_meta if isinstance(told_meta, Mapping) else {}
    meta = {_word(key): str(value) for key, value in told_meta.items()}
    rows = document[name]
    if not isinstance(rows, Mapping) or not all(isinstance(r, Mapping) for r in rows.values()):
        raise malformed(_NAME, name, "an object of rows", rows)
    interval = _interval_of(name, meta)
    if asked.interval is not None and interval != asked.interval:
        raise malformed(_NAME, name, f"bars of {asked.interval}", interval)
    symbol = asked.symbol or _symbol_in(meta)
    if not rows:
        return _noted(f"{symbol}: Alpha Vantage answered without bars")
    # Rows differ in no key but what a row may lack: the first tells which there are.
    keys = list(dict.fromkeys(key for row in rows.values() for key in row))
    columns: dict[str, pa.Array] = {}
    for key in keys:
        column = _WORDS.get(_word(key))
        if column is not None and column not in columns:
            values = [row.get(key) for row in rows.values()]
            columns[column] = floats(values, _NAME, f"{name}, {key}")
    at = pa.array([str(key) for key in rows], pa.string())
    symbol = symbol_of(symbol, _NAME)
    exchange = _market_in(meta) or _exchange_of(symbol)
    refreshed = meta.get("last refreshed")
    zone = _zone(meta.get("time zone"))
    quoted_in = meta.get("to symbol") or meta.get("market code")
    table = _Table(symbol, interval, at, columns, zone, refreshed, exchange, quoted_in)
    return _answer(told, asked, table)


def _of_csv(told: Recorded, asked: Asked, named: str | None) -> Answer:
    """`timestamp,open,…`, newest first; it names neither symbol nor zone."""
    rows = csv_rows(told.body, _NAME)
    at = rows[rows.column_names[0]].combine_chunks()
    if not len(at):
        return _noted(f"{asked.symbol or 'this symbol'}: Alpha Vantage answered without bars")
    columns = {
        _WORDS[name.lower()]: floats(rows[name], _NAME, name)
        for name in rows.column_names[1:]
        if name.lower() in _WORDS
    }
    interval = asked.interval or named or ("1d" if len(at[0].as_py()) <= 10 else None)
    if interval is None:
        interval = interval_of(_localised(at, NEW_YORK), None, _NAME)
    symbol = symbol_of(asked.symbol, _NAME)
    exchange = _exchange_of(symbol)
    table = _Table(symbol, interval, at, columns, NEW_YORK, None, exchange)
    return _answer(told, asked, table)


@dataclass(frozen=True, slots=True)
class _Table:
    """A series as columns."""

    symbol: str
    interval: str
    #: Dates or wall times.
    at: pa.Array
    columns: Mapping[str, pa.Array]
    zone: ZoneInfo
    #: What the series is true as of, where it tells a time.
    refreshed: str | None
    exchange: str | None
    #: Of currencies and coins: what they are priced in.
    quoted_in: str | None = None


def _answer(told: Recorded, asked: Asked, table: _Table) -> Answer:
    if len({"open", "high", "low", "close"} & table.columns.keys()) < 4:
        raise malformed(_NAME, "its rows", "open, high, low, close", sorted(table.columns))
    exchange = table.exchange
    intraday = table.interval in INTRADAY_SECONDS
    bars = {n: c for n, c in table.columns.items() if n not in ("amount", "factor")}
    if intraday:
        instants, moved = _starts(table)
        until = pc.max(instants).as_py()
        series = _series(told, asked, table, exchange, until)
        made = series.intraday(instants, bars)
        actions = empty_answer().actions
    else:
        moved = ()
        days = days_of(table.at, _NAME)
        series = _series(told, asked, table, exchange, _until(days, table))
        made = series.days(days, bars)
        # Weeks and months carry the sum of their dividends: only days tell when.
        nothing = pa.nulls(len(days), pa.float64())
        cash, factor = (table.columns.get(name, nothing) for name in ("amount", "factor"))
        daily = table.interval == "1d"
        actions = series.events(days, cash, factor) if daily else empty_answer().actions
    about = About(
        exchange=exchange,
        currency=series.currency,
        as_of=told.date,
        url=told.url.partition("?")[0] or None,
    )
    notes = (*moved, *left_out(made, len(table.at), series))
    return Answer(bars=made, actions=actions, notes=notes, about=about)


def _series(
    told: Recorded, asked: Asked, table: _Table, exchange: str | None, until: datetime
) -> Series:
    received, as_of = moments(asked.received_at, told.date, until)
    daily: PriceBasis = "raw"
    return Series(
        provider="alphavantage",
        symbol=table.symbol,
        interval=table.interval,
        zone=zone_of(exchange),
        calendar=calendar_for(exchange),
        basis=asked.basis if table.interval in INTRADAY_SECONDS else daily,
        received_at=received,
        as_of=as_of,
        currency=table.quoted_in or ("USD" if exchange == "US" else None),
        instrument_type={"FX": "currency", "CRYPTO": "crypto"}.get(exchange or ""),
    )


def _until(days: pa.Array, table: _Table) -> datetime:
    """The last thing that a series of days tells: its newest day, or a time within it."""
    last = pc.max(days).as_py()
    refreshed = table.refreshed or ""
    if len(refreshed) > 10 and refreshed.startswith(str(last)):
        instant: datetime = _localised(pa.array([refreshed]), table.zone)[0].as_py()
        return instant
    return end_of(last, zone_of(table.exchange))


def _starts(table: _Table) -> tuple[pa.Array, tuple[str, ...]]:
    """The bars' starts, and a note where the answer told their ends.

    Trading in New York begins at 04:00 and ends at 20:00: a bar stamped 20:00 ends there. Answers
    of 2020 have such stamps (seen), newer ones do not (seen).
    """
    instants = _localised(table.at, table.zone)
    clocks = pc.unique(pc.utf8_slice_codeunits(pc.utf8_trim_whitespace(table.at), 11, 16))
    told = set(clocks.to_pylist())
    if table.exchange != "US" or "20:00" not in told or "04:00" in told:
        return instants, ()
    length = pa.scalar(INTRADAY_SECONDS[table.interval] * 1_000_000, pa.duration("us"))
    note = f"{table.symbol} {table.interval}: stamped with the bars' ends, moved to their starts"
    return pc.subtract(instants, length), (note,)


def _localised(texts: pa.Array, zone: ZoneInfo) -> pa.Array:
    """Wall times as instants. The repeated hour of autumn is never met: trading is 04:00-20:00."""
    days_of(texts, _NAME)
    try:
        local = pc.utf8_trim_whitespace(texts).cast(pa.timestamp("us"))
    except pa.ArrowException as error:
        raise malformed(_NAME, "its times", "YYYY-MM-DD HH:MM:SS", str(error)) from error
    placed = pc.assume_timezone(local, str(zone), ambiguous="earliest", nonexistent="earliest")
    return placed.cast(_INSTANT)


def _zone(name: str | None) -> ZoneInfo:
    """The zone that an answer names; some systems no longer know US/Eastern by this name."""
    if name in (None, "US/Eastern", "EST", "EDT"):
        return NEW_YORK
    try:
        return ZoneInfo(str(name).split()[0])
    except (KeyError, ValueError, OSError, IndexError) as error:
        raise malformed(_NAME, "its time zone", "a zone such as US/Eastern", name) from error


def _word(key: object) -> str:
    """The words of a key such as 5. volume, or 1a. open (USD): the number differs by function."""
    return re.sub(r"^\d+[a-z]?\.\s*|\s*\(.*\)$", "", str(key)).strip().lower()


def _interval_of(name: str, meta: Mapping[str, str]) -> str:
    """From "Time Series (5min)", "Time Series (Daily)", "Weekly Adjusted Time Series"."""
    lower = f"{name} {meta.get('interval', '')}".lower()
    for words, interval in (*_INTERVALS.items(), *_LONG.items()):
        if words in lower.replace("(", " ").replace(")", " ").split():
            return interval
    raise malformed(_NAME, name, f"one of {', '.join([*_INTERVALS, *_LONG])}", name)


_LONG: Final = {"daily": "1d", "weekly": "1wk", "monthly": "1mo"}


def _symbol_in(meta: Mapping[str, str]) -> str | None:
    if "from symbol" in meta:
        return f"{meta['from symbol']}{meta.get('to symbol', '')}"
    if "digital currency code" in meta:
        return f"{meta['digital currency code']}{meta.get('market code', '')}"
    return meta.get("symbol")


def _market_in(meta: Mapping[str, str]) -> str | None:
    if "from symbol" in meta:
        return "FX"
    return "CRYPTO" if "digital currency code" in meta else None


def _exchange_of(symbol: str) -> str | None:
    """By the suffix; one without is listed in the US."""
    return EXCHANGES.get(symbol.rpartition(".")[2].upper() if "." in symbol else "")


def hits(document: object, *, limit: int) -> list[Hit]:
    """What SYMBOL_SEARCH found, in Alpha Vantage's order.

    Raises:
        MalformedError: No list of matches.
    """
    matches = document.get("bestMatches") if isinstance(document, Mapping) else None
    if not isinstance(matches, Sequence) or isinstance(matches, str):
        raise malformed(_NAME, "", "bestMatches, as a list", document)
    found = []
    for match in matches[:limit]:
        told = match if isinstance(match, Mapping) else {}
        words = {_word(key): value for key, value in told.items() if isinstance(value, str)}
        symbol = words.get("symbol")
        if not symbol:
            continue  # nothing that could be asked for
        kind = words.get("type", "").lower()
        found.append(
            Hit(
                symbol=symbol,
                name=words.get("name") or None,
                type=_TYPES.get(kind, kind or None),
                exchange=_exchange_of(symbol),
                currency=words.get("currency") or None,
                provider="alphavantage",
                provider_symbol=symbol,
                country=_COUNTRIES.get(words.get("region", "").lower()),
            )
        )
    return found


def _noted(note: str) -> Answer:
    return replace(empty_answer(), notes=(note,))

"""Tiingo's answers over REST → our records: daily and intraday prices, search, reference.

A daily row's raw columns are as traded, its `adj…` columns adjusted for splits and dividends;
dividend and split stand on the row of their ex-date (documented; seen). A JSON date at midnight Z
is a calendar day, no instant. CSV has the same columns. Limits and errors also come as text with
HTTP 200 (reported).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.calendars import calendar_for
from tickerlake.errors import (
    ConfigError,
    NotFoundError,
    RateLimitedError,
    TickerlakeError,
)
from tickerlake.sources.answers import joined
from tickerlake.sources.base import About, Answer, Hit, empty_answer
from tickerlake.sources.columns import (
    csv_rows,
    days_of,
    decoded,
    floats,
    json_rows,
    malformed,
    unnamed_interval,
)
from tickerlake.sources.listed import (
    INTRADAY_SECONDS,
    Series,
    end_of,
    interval_of,
    left_out,
    moments,
    symbol_of,
    zone_of,
)
from tickerlake.sources.recordings import Recorded
from tickerlake.sources.refusals import Rule, refusal

__all__ = ["hits", "parse_prices", "parse_recorded", "refused"]

_NAME: Final = "Tiingo"
_NUMBERS: Final = (
    "open", "high", "low", "close", "volume", "adjClose", "divCash", "splitFactor",
)  # fmt: skip
_FIELDS: Final = {"date": pa.string(), **dict.fromkeys(_NUMBERS, pa.float64())}
_DAILY_MARKS: Final = ("adjClose", "divCash", "splitFactor", "adjOpen", "adjVolume")
_MIDNIGHT: Final = r"^\s*\d{4}-\d{2}-\d{2}([T ]00:00:00(\.0+)?(Z|\+00:?00)?)?\s*$"
_FREQUENCIES: Final = {"daily": "1d", "1day": "1d", "weekly": "1wk", "monthly": "1mo"}
_TYPES: Final = {"stock": "equity", "etf": "etf", "mutual fund": "fund", "crypto": "crypto"}

#: Of rows with a date that are no prices of one symbol.
_NO_PRICES: Final = {"ticker", "priceData", "marketCap", "statementData"}
#: Answers that hold none of our records, by keys of theirs.
_OTHERS: Final = (
    ({"publishedDate", "title"}, "news"), ({"topOfBookData"}, "the newest quotes of coins"),
    ({"dataCode"}, "what fundamentals mean"), ({"statementData"}, "fundamentals"),
    ({"date", "marketCap"}, "fundamentals"), ({"baseCurrency", "ticker"}, "a list of coins"),
    ({"ticker", "date", "close"}, "prices of currencies, which this source does not read"),
    ({"exDate"}, "corporate actions in a form that this source does not read"),
)  # fmt: skip

_RULES: Final = (
    Rule(RateLimitedError, "Tiingo asks us to come back later: the plan's limit is reached.",
         "wait until the next hour, day or month, or take a larger plan",
         statuses=(429,), words=("you have run over", "run over your", "request allocation")),
    Rule(NotFoundError, "Tiingo does not know {name}.",
         "check the spelling; class shares are written BRK-A", words=("not found",)),
    Rule(ConfigError, "Tiingo does not accept the key.",
         "check TICKERLAKE_SOURCES_TIINGO_API_KEY against tiingo.com/account/api/token",
         statuses=(401,), words=("invalid token", "credentials were not provided",
                                 "please supply a token", "authentication")),
    Rule(ConfigError, "Tiingo's plan does not include this.",
         "ask for something else, or take a plan that includes it",
         statuses=(402, 403), words=("do not have permission", "not entitled")),
    Rule(NotFoundError, "Tiingo does not know {name}.",
         "check the spelling; class shares are written BRK-A", statuses=(404,)),
)  # fmt: skip


def refused(told: Recorded, symbol: str | None) -> TickerlakeError | None:
    """What an answer without data says, by status, then by shape, then by words."""
    start = told.body.lstrip()[:1]
    if told.status == 200 and (start == b"[" or _is_csv(told.body)):
        return None
    text = told.body[:2000].decode(errors="replace").strip()
    if start == b"{":
        document = decoded(told.body, _NAME)
        if told.status == 200 and not _tells_only_an_error(document):
            return None
        detail = document.get("detail") or document.get("message") or document.get("error")
        text = str(detail or text)
    elif told.status == 200 and start == b"<":
        return None  # a page for people: no words of it say anything
    return refusal(
        _RULES,
        provider=_NAME,
        status=told.status,
        text=text,
        symbol=symbol,
        expected="prices",
    )


def _tells_only_an_error(document: Mapping[str, Any]) -> bool:
    return not document or bool({"detail", "message", "error"} & document.keys())


def parse_recorded(
    told: Recorded,
    *,
    symbol: str | None,
    interval: str | None,
    received_at: datetime | None,
) -> Answer:
    """One recorded answer: prices as records; what has none as a note.

    Raises:
        NotFoundError, RateLimitedError, ConfigError, UnreachableError: What the answer says.
        MalformedError: No answer of Tiingo's that we know.
    """
    parts = told.path.strip("/").split("/")
    if symbol is None and parts[-1] == "prices" and len(parts) > 1:
        symbol = parts[-2].upper()
    error = refused(told, symbol)
    if error is not None:
        raise error
    if _is_csv(told.body):
        return parse_prices(told, symbol=symbol, interval=interval, received_at=received_at)
    document = decoded(told.body, _NAME)
    first = document[0] if isinstance(document, list) and document else document
    keys = set(first) if isinstance(first, Mapping) else set()
    if "date" in keys and not keys & _NO_PRICES:
        return parse_prices(told, symbol=symbol, interval=interval, received_at=received_at)
    if document == [] and (symbol or "prices" in parts):
        return _noted(f"{symbol or 'this symbol'}: Tiingo answered without bars")
    if "priceData" in keys:
        return _of_coins(told, document, interval, received_at)
    return _without_prices(document, first, keys)


def _without_prices(document: Any, first: Any, keys: set[str]) -> Answer:  # noqa: ANN401 - JSON
    """A note of what has no prices."""
    if "permaTicker" in keys or {"assetType", "ticker"} <= keys:
        found = ", ".join(hit.symbol for hit in hits(document, limit=8))
        return _noted(f"search results: {len(document)} ({found} …)")
    if {"ticker", "startDate", "endDate"} <= keys:
        return replace(_noted(f"what {first['ticker']} is, no prices"), about=_about(first))
    if {"tngoLast", "quoteTimestamp"} & keys:
        return _noted(f"the last quotes of {len(document)} symbols: a snapshot, no history")
    if document == []:
        return _noted("an empty list: nothing was found")
    other = next((said for marks, said in _OTHERS if marks <= keys), None)
    if other is not None:
        return _noted(f"{other}, no records")
    raise malformed(_NAME, "", "prices, search results or what a symbol is", sorted(keys)[:8])


def parse_prices(
    told: Recorded,
    *,
    symbol: str | None,
    interval: str | None,
    received_at: datetime | None = None,
    quoted_in: str | None = None,
) -> Answer:
    """Daily or intraday prices, JSON or CSV.

    Raises:
        MalformedError: Other columns or values, or bars of another interval.
    """
    name = symbol_of(symbol, _NAME)
    is_csv = _is_csv(told.body)
    table = csv_rows(told.body, _NAME) if is_csv else json_rows(told.body, _FIELDS, _NAME)
    if "date" not in table.column_names or table["date"].null_count:
        raise malformed(_NAME, "its rows", "a date in each row", table.column_names)
    if not table.num_rows:
        return _noted(f"{name}: Tiingo answered without bars")
    texts = table["date"].combine_chunks()
    columns = {n: floats(table[n], _NAME, n) for n in _NUMBERS if n in table.column_names}
    asked = _asked_for(told) or interval
    daily = asked in _FREQUENCIES.values() or (asked is None and _looks_daily(texts, columns))
    rows = _Rows(told, name, texts, columns, received_at, quoted_in)
    return _daily(rows, asked or "1d") if daily else _intraday(rows, interval)


def _of_coins(
    told: Recorded, document: object, interval: str | None, received_at: datetime | None
) -> Answer:
    """Prices of coins: a list of pairs with their rows. Only recordings have them here."""
    found = []
    for item in document if isinstance(document, list) else []:
        pair = item if isinstance(item, Mapping) else {}
        rows = replace(told, body=msgspec.json.encode(pair.get("priceData")))
        ticker, quoted_in = _text(pair.get("ticker")), _text(pair.get("quoteCurrency"))
        found.append(
            parse_prices(
                rows,
                symbol=ticker,
                interval=interval,
                received_at=received_at,
                quoted_in=(quoted_in or "").upper() or None,
            )
        )
    return joined(found)


@dataclass(frozen=True, slots=True)
class _Rows:
    """An answer's columns, and whose they are."""

    told: Recorded
    symbol: str
    texts: pa.Array
    columns: Mapping[str, pa.Array]
    received_at: datetime | None
    #: Of coins: what they are priced in.
    quoted_in: str | None = None

    @property
    def exchange(self) -> str:
        """Chinese shares are numbers; all others trade in New York."""
        if self.quoted_in is not None:
            return "CRYPTO"
        if self.symbol.isdigit():
            return "SHH" if self.symbol.startswith(("6", "9")) else "SHZ"
        return "US"

    def series(self, interval: str, until: datetime) -> Series:
        received, as_of = moments(self.received_at, self.told.date, until)
        exchange = self.exchange
        return Series(
            provider="tiingo",
            symbol=self.symbol,
            interval=interval,
            zone=zone_of(exchange),
            calendar=calendar_for(exchange),
            basis="raw",
            received_at=received,
            as_of=as_of,
            currency=self.quoted_in or ("USD" if exchange == "US" else None),
            instrument_type=None if self.quoted_in is None else "crypto",
        )

    def bars(self) -> dict[str, pa.Array]:
        """The columns that bars have."""
        names = ("open", "high", "low", "close", "volume")
        return {name: self.columns[name] for name in names if name in self.columns}

    def answer(self, series: Series, bars: pa.Table, actions: pa.Table) -> Answer:
        notes = left_out(bars, len(self.texts), series)
        about = About(
            exchange=self.exchange,
            instrument_type=series.instrument_type,
            currency=series.currency,
            as_of=self.told.date,
            url=self.told.url.partition("?")[0] or None,
        )
        return Answer(bars=bars, actions=actions, notes=notes, about=about)


def _asked_for(told: Recorded) -> str | None:
    """The interval that a recorded request names, or means by naming none; None without one.

    Raises:
        MalformedError: One that has no name here, such as years.
    """
    # Documented: IEX's prices are of five minutes, days' of days.
    usual = "5min" if told.path.startswith("/iex/") else ""
    asked = {key.lower(): value for key, value in told.query.items()}.get("resamplefreq", usual)
    found = re.fullmatch(r"(\d+)(min|hour)s?", asked.strip().lower())
    if found is not None:
        seconds = int(found[1]) * (60 if found[2] == "min" else 3600)
        ours = next((name for name, length in INTRADAY_SECONDS.items() if length == seconds), None)
    else:
        ours = _FREQUENCIES.get(asked.strip().lower())
    if asked and ours is None:
        raise unnamed_interval(_NAME, asked)
    return ours


def _looks_daily(texts: pa.Array, columns: Mapping[str, pa.Array]) -> bool:
    if any(columns[name].null_count < len(texts) for name in _DAILY_MARKS if name in columns):
        return True
    return bool(pc.all(pc.match_substring_regex(texts, _MIDNIGHT)).as_py())


def _daily(rows: _Rows, interval: str) -> Answer:
    if not pc.all(pc.match_substring_regex(rows.texts, _MIDNIGHT)).as_py():
        raise malformed(_NAME, "its dates", f"dates of {interval} bars", rows.texts[0].as_py())
    days = days_of(rows.texts, _NAME)
    until = end_of(pc.max(days).as_py(), zone_of(rows.exchange))
    series = rows.series(interval, until)
    bars = rows.bars()
    if "adjClose" in rows.columns:
        bars["adj_close"] = rows.columns["adjClose"]
    # Weeks and months carry the sum of their dividends: only days tell when.
    nothing = pa.nulls(len(days), pa.float64())
    cash, factor = (rows.columns.get(name, nothing) for name in ("divCash", "splitFactor"))
    actions = series.events(days, cash, factor) if interval == "1d" else empty_answer().actions
    return rows.answer(series, series.days(days, bars), actions)


def _intraday(rows: _Rows, interval: str | None) -> Answer:
    if _looks_daily(rows.texts, rows.columns):
        raise malformed(_NAME, "its dates", f"times of {interval} bars", rows.texts[0].as_py())
    starts = _instants(rows.texts)
    named = _asked_for(rows.told)
    if interval is not None and named not in (None, interval):
        raise malformed(_NAME, "its request", f"bars of {interval}", named)
    length = interval_of(starts, interval or named, _NAME)
    series = rows.series(length, pc.max(starts).as_py())
    answer = rows.answer(series, series.intraday(starts, rows.bars()), empty_answer().actions)
    volume = rows.columns.get("volume")
    if volume is None or volume.null_count == len(starts):
        note = f"{rows.symbol} {length}: without volume, which comes only when it is asked for"
        answer = replace(answer, notes=(*answer.notes, note))
    return answer


def _instants(texts: pa.Array) -> pa.Array:
    """Any ISO offset is taken; recordings have Z (seen)."""
    plain = pc.replace_substring_regex(pc.utf8_trim_whitespace(texts), r"(\.\d{6})\d+", r"\1")
    if not pc.all(pc.match_substring_regex(plain, r"(Z|[+-]\d{2}:?\d{2})$")).as_py():
        raise malformed(_NAME, "its times", "a zone in each time", texts[0].as_py())
    try:
        starts = plain.cast(pa.timestamp("us", tz="UTC"))
    except pa.ArrowException as error:
        raise malformed(_NAME, "its times", "ISO 8601", str(error)) from error
    days_of(starts.cast(pa.date32(), safe=False).cast(pa.string()), _NAME)
    return starts


def hits(document: object, *, limit: int) -> list[Hit]:
    """What a search found, in Tiingo's order.

    Raises:
        MalformedError: No list of objects with tickers.
    """
    if not isinstance(document, Sequence) or isinstance(document, str):
        raise malformed(_NAME, "", "a list of search results", document)
    found = []
    for item in document[:limit]:
        ticker = item.get("ticker") if isinstance(item, Mapping) else None
        if not isinstance(ticker, str) or not ticker:
            continue  # nothing that could be asked for
        kind = str(item.get("assetType") or "").lower()
        active = item.get("isActive")
        found.append(
            Hit(
                symbol=ticker.upper(),
                name=_text(item.get("name")),
                type=_TYPES.get(kind, kind or None),
                exchange=None,
                currency=None,
                provider="tiingo",
                provider_symbol=ticker.upper(),
                figi=_text(item.get("openFIGIComposite") or item.get("openFIGI")),
                country=_text(item.get("countryCode")),
                listed=active if isinstance(active, bool) else None,
            )
        )
    return found


def _about(meta: Mapping[str, Any]) -> About:
    start = _text(meta.get("startDate"))
    try:
        listed = date.fromisoformat(start[:10]) if start else None
    except ValueError:
        listed = None
    return About(
        name=_text(meta.get("name")), exchange=_text(meta.get("exchangeCode")), listed=listed
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _is_csv(body: bytes) -> bool:
    header = body[:400].lstrip(b"\xef\xbb\xbf \r\n").partition(b"\n")[0].lower()
    return header.startswith(b"date,") or b",date," in header


def _noted(note: str) -> Answer:
    return replace(empty_answer(), notes=(note,))

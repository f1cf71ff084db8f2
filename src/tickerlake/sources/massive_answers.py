"""Massive's answers as bytes → columns, or the error of our tree that they tell.

Rows are read by compiled structs and turned into columns at once. Numbers go from decimal text to
float64 once; times are integers from end to end.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from operator import attrgetter
from typing import Any, Final, Literal

import msgspec
import pyarrow as pa

from tickerlake.errors import (
    MalformedError,
)
from tickerlake.records import SCHEMAS, Kind, conform
from tickerlake.sources.base import Hit, Rename
from tickerlake.sources.frames import epoch_ns
from tickerlake.sources.listed import symbol_of
from tickerlake.sources.massive_refusals import refusal
from tickerlake.sources.us_market import instants, latest_of_key

__all__ = [
    "Page",
    "actions_of",
    "currency_of",
    "hits_of",
    "joined",
    "open_page",
    "renames_of",
    "ticks_of",
]

What = Literal["bars", "trades", "quotes", "splits", "dividends", "tickers", "events", "nothing"]


class _Bar(msgspec.Struct, gc=False):
    t: int
    o: float | None = None
    h: float | None = None
    l: float | None = None  # noqa: E741 - the vendor's name
    c: float | None = None
    v: float | None = None


class _Trade(msgspec.Struct, gc=False):
    price: float | None = None
    size: float | None = None
    decimal_size: str | None = None
    exchange: int | str | None = None
    conditions: list[int] | None = None
    id: int | str | None = None
    sip_timestamp: int | None = None
    participant_timestamp: int | None = None


class _Quote(msgspec.Struct, gc=False):
    bid_price: float | None = None
    bid_size: float | None = None
    ask_price: float | None = None
    ask_size: float | None = None
    sip_timestamp: int | None = None
    participant_timestamp: int | None = None


class _Split(msgspec.Struct):
    ticker: str
    execution_date: date
    split_from: float
    split_to: float


class _Dividend(msgspec.Struct):
    ticker: str
    ex_dividend_date: date
    cash_amount: float
    currency: str | None = None


class _Ticker(msgspec.Struct):
    ticker: str
    name: str | None = None
    market: str | None = None
    locale: str | None = None
    primary_exchange: str | None = None
    type: str | None = None
    active: bool | None = None
    currency_name: str | None = None
    currency_symbol: str | None = None
    composite_figi: str | None = None
    list_date: date | None = None
    delisted_utc: str | None = None


class _Change(msgspec.Struct):
    ticker: str


class _Event(msgspec.Struct):
    date: date
    type: str | None = None
    ticker_change: _Change | None = None


class _Events(msgspec.Struct):
    name: str | None = None
    composite_figi: str | None = None
    events: list[_Event] | None = None


_NULL: Final = msgspec.Raw(b"null")


class _Envelope(msgspec.Struct):
    """What any answer may hold; the results stay bytes until it is known what they are."""

    results: msgspec.Raw = _NULL
    status: str | None = None
    ticker: str | None = None
    adjusted: bool | None = None
    resultsCount: float | None = None  # noqa: N815 - the vendor's name
    next_url: str | None = None
    error: str | None = None
    message: str | None = None


_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)
_NAMES: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True)
class Page:
    """One page of an answer.

    `rows` are columns of bars (with `symbol` and `start`), trades or quotes (with `ts_ns`), or
    one struct each of what comes in small numbers.
    """

    what: What
    ticker: str | None = None
    columns: Mapping[str, pa.Array] = dataclasses.field(default_factory=dict)
    listed: Sequence[Any] = ()
    #: Prices are adjusted for splits; null where the answer does not say.
    adjusted: bool | None = None
    next_url: str | None = None

    @property
    def count(self) -> int:
        """How many rows it has."""
        return len(next(iter(self.columns.values()))) if self.columns else len(self.listed)


def open_page(
    body: bytes, *, what: What | None = None, symbol: str | None = None, status: int = 200
) -> Page:
    """The results of one answer.

    Args:
        body: What was answered.
        what: What was asked for; null: as its first row shows.
        symbol: Whose rows they are, where the answer does not say.
        status: Of HTTP.

    Raises:
        NotFoundError, RangeError, ConfigError, RateLimitedError, UnreachableError: What it says.
        MalformedError: No answer of Massive's.
    """
    try:
        envelope = _ENVELOPE.decode(body)
        refused = refusal(status, envelope.status, envelope.error or envelope.message or "", symbol)
        if refused is not None:
            raise refused
        if envelope.status is None and bytes(envelope.results) == b"null":
            raise ValueError("neither status nor results")  # noqa: TRY301 - told as the others
        raw = bytes(envelope.results)
        is_list = raw[:1] == b"["
        if raw == b"null" or not raw.strip(b"[] \t\r\n"):
            what = "nothing"
        elif what is None:
            what = _shown_by(_names(raw))
        page = _page(what, raw if is_list else b"[" + raw + b"]", envelope.ticker or symbol)
        return dataclasses.replace(
            page, adjusted=envelope.adjusted, next_url=envelope.next_url or None
        )
    except (ValueError, RecursionError, OverflowError, pa.ArrowException) as error:
        text = body[:4000].decode(errors="replace").lower()
        page_says = "too many requests" if "too many requests" in text else ""
        raise refusal(status, None, page_says, symbol) or _malformed(body, error) from error


def _names(raw: bytes) -> set[str]:
    """The names in the first result."""
    if raw[:1] == b"[":
        # The first `}` that ends a whole object: results are many, and are read once only.
        at = raw.find(b"}")
        while at >= 0:
            try:
                return set(_NAMES.decode(raw[1 : at + 1]))
            except msgspec.DecodeError:
                at = raw.find(b"}", at + 1, 10_000)
    return set(_NAMES.decode(raw))


def _shown_by(names: set[str]) -> What:
    for what, telling in _TELLING.items():
        if telling <= names:
            return what
    raise ValueError(f"results of {', '.join(sorted(names))[:80]}")


_TELLING: Final[dict[What, set[str]]] = {
    "bars": {"t", "o", "c"},
    "splits": {"split_from", "split_to"},
    "dividends": {"cash_amount", "ex_dividend_date"},
    "trades": {"price", "sip_timestamp"},
    "quotes": {"sip_timestamp"},
    "events": {"events"},
    "tickers": {"ticker", "name"},
}


def _page(what: What, raw: bytes, ticker: str | None) -> Page:
    if what == "nothing":
        return Page(what, ticker)
    rows = _DECODERS[what].decode(raw)
    if what not in _COLUMNS:
        return Page(what, ticker, listed=rows)
    ticker = symbol_of(ticker, "Massive")
    return Page(what, ticker, {"symbol": pa.repeat(ticker, len(rows)), **_COLUMNS[what](rows)})


def ticks_of(page: Page, kind: Kind, *, provider: str, received_at: datetime) -> pa.Table:
    """The trades or quotes of a page, in our schema."""
    schema, count = SCHEMAS[kind], page.count
    if not count:
        return schema.empty_table()
    common = {"provider": provider, "fetched_at": received_at, "currency": currency_of(page.ticker)}
    table = pa.table(
        {
            **page.columns,
            "ts": instants(page.columns["ts_ns"]),
            **{
                name: pa.repeat(pa.scalar(value, schema.field(name).type), count)
                for name, value in common.items()
            },
        }
    )
    return conform(table, kind)


def actions_of(page: Page, *, provider: str, received_at: datetime) -> pa.Table:
    """Splits, dividends or changes of symbol. Several dividends of one day are their sum."""
    records: dict[tuple[str, str, date], dict[str, Any]] = {}
    for record in _ACTIONS[page.what](page.listed):
        key = (record["symbol"], record["action"], record["ex_date"])
        if record["action"] == "dividend" and key in records:
            record["amount"] += records[key]["amount"]
        day = record["ex_date"]
        records[key] = {
            **record,
            "kind": "corporate_action",
            "provider": provider,
            "fetched_at": received_at,
            "ts": datetime(day.year, day.month, day.day, tzinfo=UTC),
        }
    table = pa.Table.from_pylist(list(records.values()), schema=SCHEMAS["corporate_action"])
    order = [("symbol", "ascending"), ("ex_date", "ascending"), ("action", "ascending")]
    return latest_of_key(table, "corporate_action").sort_by(order)


def renames_of(told: _Events) -> list[Rename]:
    """The changes of one firm's symbol, oldest first; each event names the new one."""
    changes = sorted(
        (event.date, event.ticker_change.ticker)
        for event in told.events or ()
        if event.ticker_change is not None
    )
    return [
        Rename(old, new, on) for (_, old), (on, new) in itertools.pairwise(changes) if old != new
    ]


def hits_of(page: Page, *, provider: str) -> list[Hit]:
    """The tickers of a page."""
    return [
        Hit(
            symbol=told.ticker,
            name=told.name or None,
            type=_TYPES.get(told.type or "", _MARKETS.get(told.market or "")),
            exchange=told.primary_exchange or None,
            currency=(told.currency_symbol or told.currency_name or "").upper() or None,
            provider=provider,
            provider_symbol=told.ticker,
            figi=told.composite_figi or None,
            country=(told.locale or "").upper() if told.locale == "us" else None,
            listed=told.active,
            first=told.list_date,
            last=_day(told.delisted_utc),
        )
        for told in page.listed
    ]


_TYPES: Final = {
    **dict.fromkeys(("CS", "PFD", "ADRC", "ADRP", "ADRR", "OS", "GDR", "NYRS"), "equity"),
    **dict.fromkeys(("ETF", "ETN", "ETV", "ETS"), "etf"),
    "FUND": "fund",
}
_MARKETS: Final = {"fx": "currency", "crypto": "crypto", "indices": "index"}


def joined(pages: Sequence[Page]) -> dict[str, pa.Array]:
    """The columns of several pages after one another; empty where no page has rows."""
    filled = [page.columns for page in pages if page.count]
    names = filled[0] if filled else ()
    return {name: pa.concat_arrays([part[name] for part in filled]) for name in names}


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat((text or "")[:10])
    except ValueError:
        return None


def currency_of(ticker: str | None) -> str | None:
    """Stocks are in dollars; `X:`, `C:`, `I:` and `O:` name other markets."""
    return None if ticker is None or ":" in ticker else "USD"


def _floats(rows: Sequence[Any], **names: str) -> dict[str, pa.Array]:
    return {
        ours: pa.array(list(map(attrgetter(theirs), rows)), pa.float64())
        for ours, theirs in names.items()
    }


def _epoch_ns(stamps: Sequence[int | None]) -> pa.Array:
    return epoch_ns(pa.array(stamps, pa.int64()))


def _bar_columns(rows: Sequence[_Bar]) -> dict[str, pa.Array]:
    return {
        "start": instants(_epoch_ns([row.t for row in rows])),
        **_floats(rows, open="o", high="h", low="l", close="c", volume="v"),
    }


def _stamps(rows: Sequence[_Trade] | Sequence[_Quote]) -> pa.Array:
    stamps = [row.sip_timestamp or row.participant_timestamp for row in rows]
    if None in stamps:
        raise ValueError("a row without sip_timestamp")
    return _epoch_ns(stamps)


def _trade_columns(rows: Sequence[_Trade]) -> dict[str, pa.Array]:
    sizes = [row.size if row.decimal_size is None else float(row.decimal_size) for row in rows]
    return {
        "ts_ns": _stamps(rows),
        **_floats(rows, price="price"),
        "size": pa.array(sizes, pa.float64()),
        "venue": _texts(row.exchange for row in rows),
        "conditions": _texts(
            None if row.conditions is None else ",".join(map(str, row.conditions)) for row in rows
        ),
        "trade_id": _texts(row.id for row in rows),
    }


def _quote_columns(rows: Sequence[_Quote]) -> dict[str, pa.Array]:
    names = {"bid": "bid_price", "bid_size": "bid_size", "ask": "ask_price", "ask_size": "ask_size"}
    return {"ts_ns": _stamps(rows), **_floats(rows, **names)}


def _texts(values: Any) -> pa.Array:  # noqa: ANN401 - numbers, texts or null
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def _split_records(listed: Sequence[_Split]) -> list[dict[str, Any]]:
    return [
        {
            "symbol": told.ticker,
            "action": "split",
            "ex_date": told.execution_date,
            "numerator": told.split_to,
            "denominator": told.split_from,
        }
        for told in listed
    ]


def _dividend_records(listed: Sequence[_Dividend]) -> list[dict[str, Any]]:
    return [
        {
            "symbol": told.ticker,
            "action": "dividend",
            "ex_date": told.ex_dividend_date,
            "amount": told.cash_amount,
            "currency": told.currency or "USD",
        }
        for told in listed
    ]


def _change_records(listed: Sequence[_Events]) -> list[dict[str, Any]]:
    return [
        {
            "symbol": change.old,
            "action": "symbol_change",
            "ex_date": change.on,
            "new_symbol": change.new,
        }
        for told in listed
        for change in renames_of(told)
    ]


_ACTIONS: Final[dict[What, Callable[[Sequence[Any]], list[dict[str, Any]]]]] = {
    "splits": _split_records,
    "dividends": _dividend_records,
    "events": _change_records,
}
_COLUMNS: Final[dict[What, Callable[[Sequence[Any]], dict[str, pa.Array]]]] = {
    "bars": _bar_columns,
    "trades": _trade_columns,
    "quotes": _quote_columns,
}
_DECODERS: Final[dict[What, msgspec.json.Decoder[Any]]] = {
    "bars": msgspec.json.Decoder(list[_Bar]),
    "trades": msgspec.json.Decoder(list[_Trade]),
    "quotes": msgspec.json.Decoder(list[_Quote]),
    "splits": msgspec.json.Decoder(list[_Split]),
    "dividends": msgspec.json.Decoder(list[_Dividend]),
    "tickers": msgspec.json.Decoder(list[_Ticker]),
    "events": msgspec.json.Decoder(list[_Events]),
}


def _malformed(body: bytes, why: object) -> MalformedError:
    return MalformedError(
        "Massive's answer has another shape than it should.",
        expected="JSON with status and results",
        found=f"{len(body):,} bytes, {body[:60]!r}: {why}"[:300],
        todo="try again; if it stays, Massive has changed: report it",
    )

"""Alpaca's answers as bytes → columns, or the error of our tree that they tell.

Rows are read by compiled structs and turned into columns at once. Numbers go from decimal text to
float64 once; times keep their nanoseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from operator import attrgetter
from typing import Any, Final, Literal

import msgspec
import numpy as np
import pyarrow as pa

from tickerlake.errors import (
    ConfigError,
    MalformedError,
    NotFoundError,
    RangeError,
    RateLimitedError,
    TickerlakeError,
)
from tickerlake.records import SCHEMAS, Kind, conform
from tickerlake.sources.actions import actions_table
from tickerlake.sources.columns import LaxDecoder
from tickerlake.sources.listed import symbol_of
from tickerlake.sources.refusals import Rule, page_words
from tickerlake.sources.refusals import refusal as told_refusal
from tickerlake.sources.us_market import instants

__all__ = [
    "Page",
    "actions_of",
    "joined",
    "open_page",
    "refused",
    "ticks_of",
]

Rows = Literal["bars", "trades", "quotes"]


class _Bar(msgspec.Struct, gc=False):
    t: str
    o: float | None = None
    h: float | None = None
    l: float | None = None  # noqa: E741 - the vendor's name
    c: float | None = None
    v: float | None = None


class _Trade(msgspec.Struct, gc=False):
    t: str
    x: str | None = None
    p: float | None = None
    s: float | None = None
    c: list[str] | None = None
    i: int | str | None = None
    #: What became of it since: canceled, corrected, incorrect [uncertain].
    u: str | None = None


class _Quote(msgspec.Struct, rename={"ask_size": "as"}, gc=False):
    t: str
    bp: float | None = None
    bs: float | None = None
    ap: float | None = None
    ask_size: float | None = None


class _Envelope(msgspec.Struct):
    """What any answer may hold; the rows stay bytes until their kind is known."""

    bars: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    trades: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    quotes: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    corporate_actions: dict[str, list[dict[str, Any]] | None] | msgspec.UnsetType | None = (
        msgspec.UNSET
    )
    #: The newest one of `symbol`.
    bar: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    trade: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    quote: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    symbol: str | None = None
    next_page_token: str | None = None
    code: int | str | None = None
    message: str | None = None


_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)
# By symbol, or of the one that stands beside them; the newest one alone is no list.
_BARS: Final = LaxDecoder(dict[str, list[_Bar] | _Bar | None] | list[_Bar] | None)
_TRADES: Final = LaxDecoder(dict[str, list[_Trade] | _Trade | None] | list[_Trade] | None)
_QUOTES: Final = LaxDecoder(dict[str, list[_Quote] | _Quote | None] | list[_Quote] | None)
_DECODERS: Final[dict[Rows, LaxDecoder]] = {
    "bars": _BARS,
    "trades": _TRADES,
    "quotes": _QUOTES,
}


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its rows as columns, with `symbol` and (UTC) `start` or `ts_ns`, or its events."""

    rows: Rows | Literal["corporate_actions"]
    columns: Mapping[str, pa.Array]
    events: Mapping[str, Sequence[Mapping[str, Any]]]
    #: Asks for the next page; null at the end.
    token: str | None
    #: The newest row of each symbol; bars among these are minutes.
    newest: bool = False

    @property
    def count(self) -> int:
        """How many rows it has."""
        return len(self.columns["symbol"]) if self.columns else 0


def open_page(body: bytes, *, symbol: str | None = None, status: int = 200) -> Page:
    """The rows of one answer.

    Args:
        body: What was answered.
        symbol: Whose rows they are, where the answer does not say.
        status: Of HTTP.

    Raises:
        NotFoundError, RangeError, ConfigError, RateLimitedError, UnreachableError: What it says.
        MalformedError: No rows of Alpaca's.
    """
    try:
        envelope = _ENVELOPE.decode(body)
    except (ValueError, RecursionError) as error:
        raise refusal(status, None, page_words(body), symbol) or _malformed(body, error) from error
    refused = refusal(status, envelope.code, envelope.message or "", symbol)
    if refused is not None:
        raise refused
    if not isinstance(envelope.corporate_actions, msgspec.UnsetType):
        events = {name: rows or () for name, rows in (envelope.corporate_actions or {}).items()}
        return Page("corporate_actions", {}, events, envelope.next_page_token)
    for rows, decoder in _DECODERS.items():
        raw, newest = getattr(envelope, rows), getattr(envelope, rows.removesuffix("s"))
        is_newest = raw is msgspec.UNSET and newest is not msgspec.UNSET
        if is_newest:
            raw = b"[" + bytes(newest) + b"]"
        if raw is not msgspec.UNSET:
            try:
                told = decoder.decode(raw)
                if isinstance(told, Mapping):
                    is_newest = any(isinstance(row, msgspec.Struct) for row in told.values())
                columns = _COLUMNS[rows](_by_symbol(told, envelope.symbol or symbol))
                return Page(rows, columns, {}, envelope.next_page_token, is_newest)
            except (ValueError, RecursionError, pa.ArrowException) as error:
                raise _malformed(body, error) from error
    names = _names(body)
    if "next_page_token" in names and names <= _OF_EMPTY_PAGES:  # rows may be left out
        return Page("bars", {}, {}, envelope.next_page_token)
    raise _malformed(body, "none of bars, trades, quotes, corporate_actions")


_OF_EMPTY_PAGES: Final = {"next_page_token", "symbol", "currency", "code", "message"}


def refusal(
    status: int, code: int | str | None, message: str, symbol: str | None
) -> TickerlakeError | None:
    """The error that an answer tells; None where it tells none.

    Bodies carry codes of eight digits, whose first three are the status: a recording may have
    nothing else.
    """
    digits = str(code or "")
    if len(digits) == 8 and digits.isdigit() and status == 200:
        status = int(digits[:3])
    text = f"{digits} {message}".strip()
    found = told_refusal(
        _RULES, provider="Alpaca", status=status, text=text, symbol=symbol, expected="data"
    )
    if found is not None or not text:
        return found
    return MalformedError(
        "Alpaca's answer is an error that we do not know.",
        expected="data",
        found=text[:200],
        todo="report it, with what was found",
    )


#: The first that fits counts: words say more than statuses.
_RULES: Final = (
    Rule(RateLimitedError, "Alpaca asks us to come back later.", "wait a minute",
          statuses=(429,), words=("too many requests", "rate limit")),
    Rule(ConfigError, "Your plan at Alpaca does not have the newest SIP data.",
          "set delay_seconds = 900 or feed = \"iex\" in [sources.alpaca], or change the plan",
          words=("querying recent sip",)),
    Rule(ConfigError, "Your plan at Alpaca does not have this data.",
          "choose another feed in [sources.alpaca], or change the plan",
          words=("subscription does not permit",)),
    Rule(NotFoundError, "Alpaca does not know {name}.", "check the spelling of the symbol",
          statuses=(404,), words=("invalid symbol", "asset not found")),
    Rule(ConfigError, "Alpaca does not accept the key.",
          "set TICKERLAKE_SOURCES_ALPACA_API_KEY and TICKERLAKE_SOURCES_ALPACA_API_SECRET; keys "
          "for paper trading and for live trading are different ones; a feed that the plan lacks "
          "is refused in the same words: a free one has feed = \"iex\" live",
          statuses=(401, 403), words=("forbidden", "unauthorized")),
    Rule(RangeError, "Alpaca does not give {name} for this range.", "ask for another range",
          words=("end should", "start should", "invalid start", "invalid end", "timeframe")),
)  # fmt: skip


def ticks_of(page: Page, kind: Kind, *, provider: str, received_at: datetime) -> pa.Table:
    """The trades or quotes of a page, in our schema."""
    schema, count = SCHEMAS[kind], page.count
    if not count:
        return schema.empty_table()
    common = {"provider": provider, "fetched_at": received_at, "currency": "USD"}
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


def actions_of(
    events: Mapping[str, Sequence[Mapping[str, Any]]], *, provider: str, received_at: datetime
) -> tuple[pa.Table, tuple[str, ...]]:
    """Splits, stock dividends, cash dividends and name changes; notes tell of the others.

    A stock dividend of rate r is a split of 1 into 1 + r. Several cash dividends of one day (a
    regular and a special one) are one record: their sum.

    Raises:
        MalformedError: An event without its date or rate.
    """
    found: list[dict[str, Any]] = []
    unknown: dict[str, int] = {}
    for name, listed in events.items():
        for event in listed:
            record = _action(name, event)
            if record is None:
                unknown[name] = unknown.get(name, 0) + 1
            else:
                found.append(record)
    notes = [f"{count} {name} left out: we have no such event" for name, count in unknown.items()]
    return actions_table(found, provider=provider, fetched_at=received_at), tuple(notes)


def _action(name: str, event: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        if name in ("forward_splits", "reverse_splits"):
            rates = {"numerator": event["new_rate"], "denominator": event["old_rate"]}
            kind, values, day = "split", _floats(rates), event["ex_date"]
        elif name == "stock_dividends":
            rates = {"numerator": 1 + float(event["rate"]), "denominator": 1}
            kind, values, day = "split", _floats(rates), event["ex_date"]
        elif name == "cash_dividends":
            kind, values, day = "dividend", _floats({"amount": event["rate"]}), event["ex_date"]
            values |= {"currency": str(event.get("currency") or "USD")}
        elif name == "name_changes":
            if event["new_symbol"] == event["old_symbol"]:
                return None  # another name under the same symbol
            kind, values, day = "symbol_change", {}, event["process_date"]
            values = {"new_symbol": str(event["new_symbol"])}
            event = {**event, "symbol": event["old_symbol"]}
        else:
            return None
        return {
            "symbol": str(event["symbol"]),
            "action": kind,
            "ex_date": date.fromisoformat(day),
            **values,
        }
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise MalformedError(
            f"An event of Alpaca's among {name} has another shape than it should.",
            expected="its symbol, date and rate",
            found=repr(event)[:120],
            todo="report it",
        ) from error


def _floats(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: float(value) for name, value in values.items()}


def refused(body: bytes, status: int) -> TickerlakeError | None:
    """What an answer that is no rows says: the error, if it is one."""
    try:
        envelope = _ENVELOPE.decode(body)
    except (ValueError, RecursionError):
        return refusal(status, None, page_words(body), None)
    return refusal(status, envelope.code, envelope.message or "", None)


def joined(pages: Sequence[Page]) -> dict[str, pa.Array]:
    """The columns of several pages after one another; empty where no page has rows."""
    filled = [page.columns for page in pages if page.count]
    return (
        {name: pa.concat_arrays([part[name] for part in filled]) for name in filled[0]}
        if (filled)
        else {}
    )


def nanoseconds(texts: Sequence[str]) -> pa.Array:
    """RFC 3339 with up to nine digits of a second → int64 since 1970, without a float between.

    Raises:
        ArrowInvalid: One of them is no such time, or has no zone.
    """
    return pa.array(texts, pa.string()).cast(pa.timestamp("ns", tz="UTC")).cast(pa.int64())


def numbers(rows: Sequence[Any], name: str) -> pa.Array:
    """One field of all rows, float64, null where it is."""
    return pa.array(list(map(attrgetter(name), rows)), pa.float64())


def _by_symbol(told: Any, symbol: str | None) -> dict[str, list[Any]]:  # noqa: ANN401
    if isinstance(told, Mapping):
        return {
            name: rows if isinstance(rows, list) else [] if rows is None else [rows]
            for name, rows in told.items()
        }
    return {symbol_of(symbol, "Alpaca"): told} if told else {}


def _symbols(by_symbol: Mapping[str, Sequence[Any]]) -> pa.Array:
    counts = [len(rows) for rows in by_symbol.values()]
    codes = pa.array(np.repeat(np.arange(len(counts), dtype=np.int32), counts))
    return pa.array(list(by_symbol), pa.string()).take(codes)


def _flat(by_symbol: Mapping[str, Sequence[Any]]) -> list[Any]:
    return [row for rows in by_symbol.values() for row in rows]


def _bar_columns(by_symbol: Mapping[str, Sequence[_Bar]]) -> dict[str, pa.Array]:
    rows = _flat(by_symbol)
    names = {"o": "open", "h": "high", "l": "low", "c": "close", "v": "volume"}
    return {
        "symbol": _symbols(by_symbol),
        "start": instants(nanoseconds([row.t for row in rows])),
        **{name: numbers(rows, short) for short, name in names.items()},
    }


def _trade_columns(by_symbol: Mapping[str, Sequence[_Trade]]) -> dict[str, pa.Array]:
    rows = _flat(by_symbol)
    return {
        "symbol": _symbols(by_symbol),
        "ts_ns": nanoseconds([row.t for row in rows]),
        "price": numbers(rows, "p"),
        "size": numbers(rows, "s"),
        "venue": pa.array([row.x for row in rows], pa.string()),
        "conditions": pa.array([_conditions(row) for row in rows], pa.string()),
        "trade_id": pa.array([None if row.i is None else str(row.i) for row in rows], pa.string()),
    }


def _conditions(row: _Trade) -> str | None:
    if row.u is not None:
        return ",".join((*(row.c or ()), row.u))
    return None if row.c is None else ",".join(row.c)


def _quote_columns(by_symbol: Mapping[str, Sequence[_Quote]]) -> dict[str, pa.Array]:
    rows = _flat(by_symbol)
    names = {"bp": "bid", "bs": "bid_size", "ap": "ask", "ask_size": "ask_size"}
    return {
        "symbol": _symbols(by_symbol),
        "ts_ns": nanoseconds([row.t for row in rows]),
        **{name: numbers(rows, short) for short, name in names.items()},
    }


_COLUMNS: Final[dict[Rows, Any]] = {
    "bars": _bar_columns,
    "trades": _trade_columns,
    "quotes": _quote_columns,
}


def _names(body: bytes) -> set[str]:
    try:
        return set(msgspec.json.decode(body, type=dict[str, msgspec.Raw]))
    except ValueError:
        return set()


def _malformed(body: bytes, why: object) -> MalformedError:
    return MalformedError(
        "Alpaca's answer has another shape than it should.",
        expected="JSON with bars, trades, quotes or corporate_actions",
        found=f"{len(body):,} bytes, {body[:60]!r}: {why}"[:300],
        todo="try again; if it stays, Alpaca has changed: report it",
    )

"""Recorded answers of Massive's, with what their requests asked for; and bars of any market."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.errors import MalformedError
from tickerlake.records import Kind
from tickerlake.sources import crypto
from tickerlake.sources.base import Answer, empty_answer
from tickerlake.sources.columns import unnamed_interval
from tickerlake.sources.crypto_shape import Told
from tickerlake.sources.massive_addresses import SPANS
from tickerlake.sources.massive_answers import Page, currency_of, open_page, ticks_of
from tickerlake.sources.massive_reference import actions_of
from tickerlake.sources.recordings import Recorded
from tickerlake.sources.us_market import (
    NEW_YORK,
    guess_interval,
    new_york_midnight,
    us_bars,
    with_prices,
)

__all__ = ["bars_of", "parse_recorded"]

_NAME: Final = "massive"
#: Coins and currencies: their markets never close, and their days are those of UTC.
_ROUND_THE_CLOCK: Final = {"X:": "crypto", "C:": "currency"}
#: Answers that hold none of our records, by keys of theirs.
_OTHERS: Final = (
    ({"todaysChange"}, "a snapshot of what is newest"),
    ({"session"}, "a snapshot of what is newest"),
    ({"publisher"}, "news"), ({"acronym"}, "a list of exchanges"), ({"financials"}, "financials"),
    ({"underlying", "values"}, "values of an indicator"),
    ({"serverTime"}, "the state of the market"),
    ({"exchange", "date", "status"}, "days on which markets are closed"),
    ({"converted"}, "a conversion of currencies"), ({"contract_type"}, "contracts of options"),
    ({"asset_class", "id"}, "a list of codes"), ({"asset_class", "code"}, "a list of codes"),
)  # fmt: skip
#: Of rows that are records, if anything is: what is wrong with them must not pass for a list.
_OF_RECORDS: Final = {"t", "price", "sip_timestamp", "participant_timestamp", "bid_price"}


def bars_of(
    columns: Mapping[str, pa.Array],
    *,
    interval: str,
    received_at: datetime,
    adjusted: bool,
    delay_seconds: float,
) -> tuple[pa.Table, tuple[str, ...]]:
    """Bars in our schema, and notes; of stocks in New York's sessions, of coins in UTC's days."""
    columns, notes = with_prices(columns)
    symbols = pc.unique(columns["symbol"]).to_pylist()
    kind = _ROUND_THE_CLOCK.get(symbols[0][:2]) if symbols else None
    if kind is not None:
        parts = [_round_the_clock(columns, s, interval, received_at, kind) for s in symbols]
        return pa.concat_tables(parts), notes
    today = received_at.astimezone(ZoneInfo(NEW_YORK)).date()
    basis = {"split_basis": today} if adjusted else {}
    bars = us_bars(
        columns,
        provider=_NAME,
        interval=interval,
        received_at=received_at,
        delay_seconds=delay_seconds,
        # Prices that are adjusted hold the splits up to the day of the answer.
        common={"currency": currency_of(symbols[0]) if symbols else None, **basis},
    )
    return bars, notes


def _round_the_clock(
    columns: Mapping[str, pa.Array], symbol: str, interval: str, received_at: datetime, kind: str
) -> pa.Table:
    own = pc.equal(columns["symbol"], symbol)
    mine = {name: column.filter(own) for name, column in columns.items()}
    prices = (mine[name] for name in ("open", "high", "low", "close", "volume"))
    starts = mine["start"].cast(pa.int64()).to_numpy() * 1000
    told = Told(_NAME, "Massive", symbol, interval, received_at)
    currency = symbol[-3:] if len(symbol) >= len("X:BTCUSD") else None
    bars = crypto.Candles(starts, *prices).bars(told, interval=interval, currency=currency)
    place = bars.schema.get_field_index("instrument_type")
    kinds = pa.repeat(pa.scalar(kind, bars.schema.field(place).type), bars.num_rows)
    return bars.set_column(place, bars.schema.field(place), kinds)


def parse_recorded(
    told: Recorded,
    *,
    symbol: str | None,
    interval: str | None,
    received_at: datetime,
    delay_seconds: float,
) -> Answer:
    """One answer: results as records; what has none as a note.

    Raises:
        TickerlakeError: What the answer says.
        MalformedError: No answer of Massive's, or bars whose length nobody tells.
    """
    parts = told.path.split("/")  # /v3/trades/AAPL, /v2/aggs/ticker/AAPL/range/5/minute/…
    if symbol is None and len(parts) > 3 and parts[2] in ("trades", "quotes"):
        symbol = urllib.parse.unquote(parts[3])
    nothing = empty_answer()
    try:
        page = open_page(told.body, symbol=symbol, status=told.status)
    except MalformedError:
        note = _other_note(told.body)
        if note is None:
            raise
        return replace(nothing, notes=(note,))
    notes = ("there are more pages",) if page.next_url else ()
    if not page.count:
        day = _one_day(told.body)
        if day is not None:
            interval, page = "1d", day
        else:
            note = _other_note(told.body) or "Massive answered without results"
            return replace(nothing, notes=(note,))
    if page.what in ("splits", "dividends", "events"):
        actions = actions_of(page.what, page.listed, provider=_NAME, received_at=received_at)
        undated = sum(getattr(one, "ex_dividend_date", one) is None for one in page.listed)
        odd = (f"{undated} without an ex-date left out",) if undated else ()
        return replace(nothing, actions=actions, notes=odd + notes)
    if page.what == "tickers":
        note = f"{page.count} tickers, which are no records: search finds them"
        return replace(nothing, notes=(note, *notes))
    if page.what != "bars":
        kind: Kind = "trade" if page.what == "trades" else "quote"
        table = ticks_of(page, kind, provider=_NAME, received_at=received_at)
        return replace(nothing, ticks={kind: table}, notes=notes)
    interval = interval or _interval_in(parts) or ("1d" if page.many else None)
    if interval is None:
        interval = _guessed(page)
        notes = (f"bars of {interval}, by their stamps: the answer does not say", *notes)
    bars, gone = bars_of(
        page.columns,
        interval=interval,
        received_at=received_at,
        adjusted=True if page.adjusted is None else page.adjusted,
        delay_seconds=delay_seconds,
    )
    return replace(nothing, bars=bars, notes=(*gone, *notes))


def _interval_in(parts: list[str]) -> str | None:
    """The interval that a path names; None where none does.

    Raises:
        MalformedError: One that has no name here.
    """
    if "range" not in parts[:-2]:
        return None
    at = parts.index("range") + 1
    asked = "/".join(parts[at : at + 2])
    spans = {f"{number}/{unit}": ours for ours, (number, unit) in SPANS.items()}
    same = {"60/minute": "1h", "240/minute": "4h", "7/day": None}
    ours = spans.get(asked) or same.get(asked)
    if ours is None:
        raise unnamed_interval("Massive", asked.replace("/", " "))
    return ours


def _guessed(page: Page) -> str:
    starts = page.columns["start"]
    if (page.ticker or "")[:2] in _ROUND_THE_CLOCK:
        return crypto.interval_of(starts.cast(pa.int64()).to_numpy() * 1000, None, "Massive")
    return guess_interval(starts, provider="Massive")


class _Day(msgspec.Struct, rename={"day": "from"}):
    """The answer of open-close: one day of one symbol."""

    symbol: str
    day: date
    open: float
    high: float
    low: float
    close: float
    volume: float | None = None


def _one_day(body: bytes) -> Page | None:
    try:
        told = msgspec.json.decode(body, type=_Day)
    except (ValueError, RecursionError):
        return None
    names = ("open", "high", "low", "close", "volume")
    columns: dict[str, Any] = {n: pa.array([getattr(told, n)], pa.float64()) for n in names}
    start = new_york_midnight(told.day)
    if told.symbol[:2] in _ROUND_THE_CLOCK:
        start = datetime.combine(told.day, datetime.min.time(), UTC)
    columns["start"] = pa.array([start], pa.timestamp("us", tz="UTC"))
    return Page("bars", told.symbol, {"symbol": pa.array([told.symbol]), **columns}, many=True)


def _other_note(body: bytes) -> str | None:
    """What an answer without records of ours is, if it is one that we know."""
    try:
        document = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return None
    first = document[0] if isinstance(document, list) and document else document
    told = [first, *first.values()] if isinstance(first, Mapping) else []
    told += [part[0] for part in told if isinstance(part, list) and part]
    keys = {key for part in told if isinstance(part, Mapping) for key in part}
    what = next((said for marks, said in _OTHERS if marks <= keys), None)
    return None if what is None or keys & _OF_RECORDS else f"{what}, no records"

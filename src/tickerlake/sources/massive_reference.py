"""Massive's reference answers: tickers and their events, splits and dividends."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final, Literal

import msgspec
import pyarrow as pa

from tickerlake.sources.actions import actions_table
from tickerlake.sources.base import Hit, Rename
from tickerlake.sources.columns import LaxDecoder

__all__ = [
    "REFERENCE",
    "Dividend",
    "Events",
    "Reference",
    "Split",
    "Ticker",
    "actions_of",
    "hits_of",
    "renames_of",
]

Reference = Literal["splits", "dividends", "tickers", "events"]


class Split(msgspec.Struct):
    """So many old shares became so many new ones."""

    ticker: str
    execution_date: date
    split_from: float
    split_to: float


class Dividend(msgspec.Struct):
    """Cash for each share."""

    ticker: str
    #: Null of some that are only declared: no record.
    ex_dividend_date: date | None
    cash_amount: float
    currency: str | None = None


class Ticker(msgspec.Struct):
    """One symbol, and whose it is."""

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


class Events(msgspec.Struct):
    """What happened to the symbol of one firm."""

    name: str | None = None
    composite_figi: str | None = None
    events: list[_Event] | None = None


def actions_of(
    what: Reference, listed: Sequence[Any], *, provider: str, received_at: datetime
) -> pa.Table:
    """Splits, dividends or changes of symbol. Several dividends of one day are their sum."""
    return actions_table(_ACTIONS[what](listed), provider=provider, fetched_at=received_at)


def renames_of(told: Events) -> list[Rename]:
    """The changes of one firm's symbol, oldest first; each event names the new one."""
    changes = sorted(
        (event.date, event.ticker_change.ticker)
        for event in told.events or ()
        if event.ticker_change is not None
    )
    return [
        Rename(old, new, on) for (_, old), (on, new) in itertools.pairwise(changes) if old != new
    ]


def hits_of(listed: Sequence[Ticker], *, provider: str) -> list[Hit]:
    """Tickers as hits."""
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
        for told in listed
    ]


_TYPES: Final = {
    **dict.fromkeys(("CS", "PFD", "ADRC", "ADRP", "ADRR", "OS", "GDR", "NYRS"), "equity"),
    **dict.fromkeys(("ETF", "ETN", "ETV", "ETS"), "etf"),
    "FUND": "fund",
}
_MARKETS: Final = {"fx": "currency", "crypto": "crypto", "indices": "index"}


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat((text or "")[:10])
    except ValueError:
        return None


def _split_records(listed: Sequence[Split]) -> list[dict[str, Any]]:
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


def _dividend_records(listed: Sequence[Dividend]) -> list[dict[str, Any]]:
    return [
        {
            "symbol": told.ticker,
            "action": "dividend",
            "ex_date": told.ex_dividend_date,
            "amount": told.cash_amount,
            "currency": told.currency or "USD",
        }
        for told in listed
        if told.ex_dividend_date is not None
    ]


def _change_records(listed: Sequence[Events]) -> list[dict[str, Any]]:
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


_ACTIONS: Final[dict[Reference, Callable[[Sequence[Any]], list[dict[str, Any]]]]] = {
    "splits": _split_records,
    "dividends": _dividend_records,
    "events": _change_records,
}

#: Reads the results of each.
REFERENCE: Final[Mapping[str, LaxDecoder]] = {
    "splits": LaxDecoder(list[Split]),
    "dividends": LaxDecoder(list[Dividend]),
    "tickers": LaxDecoder(list[Ticker]),
    "events": LaxDecoder(list[Events]),
}

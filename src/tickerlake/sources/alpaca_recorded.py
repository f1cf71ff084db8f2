"""Recorded answers of Alpaca's, with what their requests asked for where a recording keeps it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from tickerlake.errors import MalformedError
from tickerlake.records import Kind
from tickerlake.sources.alpaca_answers import actions_of, open_page, ticks_of
from tickerlake.sources.alpaca_reference import other_note, read_assets
from tickerlake.sources.base import Answer, empty_answer
from tickerlake.sources.columns import unnamed_interval
from tickerlake.sources.recordings import Recorded
from tickerlake.sources.us_market import NEW_YORK, guess_interval, us_bars, with_prices

__all__ = ["TIMEFRAMES", "parse_recorded"]

#: Their names of our intervals.
TIMEFRAMES: Final = {
    "1m": "1Min", "2m": "2Min", "5m": "5Min", "15m": "15Min", "30m": "30Min", "1h": "1Hour",
    "4h": "4Hour", "1d": "1Day", "1wk": "1Week", "1mo": "1Month", "3mo": "3Month",
}  # fmt: skip
#: Short forms (uncertain), and the same length in another unit.
_UNITS: Final = {"T": "Min", "H": "Hour", "D": "Day", "W": "Week", "M": "Month"}
_SAME: Final = {"60Min": "1Hour", "240Min": "4Hour"}


def parse_recorded(
    told: Recorded,
    *,
    symbol: str | None,
    interval: str | None,
    received_at: datetime,
    provider: str,
    delay_seconds: float,
) -> Answer:
    """One answer: rows and events as records, all else as a note.

    Raises:
        TickerlakeError: What the answer says.
        MalformedError: No answer of Alpaca's, or bars whose length nobody tells.
    """
    nothing = empty_answer()
    try:
        if told.body.lstrip()[:1] == b"[":
            hits = read_assets(told.body, status=told.status)
            return replace(
                nothing, notes=(f"{len(hits)} assets, which are no records: search finds them",)
            )
        page = open_page(told.body, symbol=symbol or _symbol_in(told.path), status=told.status)
    except MalformedError:
        note = other_note(told.body)
        if note is None:
            raise
        return replace(nothing, notes=(note,))
    notes = ("there are more pages",) if page.token else ()
    if page.rows == "corporate_actions":
        actions, odd = actions_of(page.events, provider=provider, received_at=received_at)
        odd = odd or (() if actions.num_rows else ("an answer without corporate actions",))
        return replace(nothing, actions=actions, notes=odd + notes)
    if not page.count:
        return replace(nothing, notes=("Alpaca answered without rows",))
    if page.rows != "bars":
        kind: Kind = "trade" if page.rows == "trades" else "quote"
        table = ticks_of(page, kind, provider=provider, received_at=received_at)
        return replace(nothing, ticks={kind: table}, notes=notes)
    interval = interval or ("1m" if page.newest else _interval_in(told.query))
    if interval is None:
        interval = guess_interval(page.columns["start"], provider="Alpaca")
        notes = (f"bars of {interval}, by their stamps: the answer does not say", *notes)
    columns, gone = with_prices(page.columns)
    adjusted, said = _adjusted_in(told.query)
    today = received_at.astimezone(ZoneInfo(NEW_YORK)).date()
    bars = us_bars(
        columns,
        provider=provider,
        interval=interval,
        received_at=received_at,
        delay_seconds=delay_seconds,
        # Prices that are adjusted hold the splits up to the day of the answer.
        common={"split_basis": today} if adjusted else None,
    )
    return replace(nothing, bars=bars, notes=(*said, *gone, *notes))


def _interval_in(query: Mapping[str, str]) -> str | None:
    """The interval that is asked for; None where none is.

    Raises:
        MalformedError: One that has no name here.
    """
    asked = query.get("timeframe")
    if asked is None:
        return None
    found = re.fullmatch(r"(\d+)([A-Za-z]+)", asked)
    theirs = f"{found[1]}{_UNITS.get(found[2], found[2])}" if found else asked
    theirs = _SAME.get(theirs, theirs)
    ours = next((ours for ours, name in TIMEFRAMES.items() if name == theirs), None)
    if ours is None:
        raise unnamed_interval("Alpaca", asked)
    return ours


def _adjusted_in(query: Mapping[str, str]) -> tuple[bool, tuple[str, ...]]:
    """Whether the prices asked for are adjusted for splits, and a note of more than that."""
    asked = {part.strip().lower() for part in query.get("adjustment", "raw").split(",")}
    more = asked - {"raw", "split"}
    note = f"prices are adjusted for {', '.join(sorted(more))}, as was asked for"
    return bool(asked & {"split", "all"}), (note,) if more else ()


def _symbol_in(path: str) -> str | None:
    """The symbol of a path that names one: /v2/stocks/AAPL/bars."""
    parts = path.split("/")
    return unquote(parts[3]) if len(parts) > 4 and parts[2] == "stocks" else None

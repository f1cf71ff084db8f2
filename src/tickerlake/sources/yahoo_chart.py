"""One chart of Yahoo's → our bars and corporate actions. docs/sources.md tells the rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa

from tickerlake import clock
from tickerlake.errors import MalformedError
from tickerlake.records import INTERVALS, SCHEMAS, Kind, conform
from tickerlake.sources.base import Answer
from tickerlake.sources.yahoo_market import Market, about, state_of
from tickerlake.sources.yahoo_recording import Recording
from tickerlake.sources.yahoo_rows import Cleaning, Period, anchor, read_rows
from tickerlake.sources.yahoo_shape import epoch, mapping, misshapen, text

__all__ = ["parse_chart"]

_INTERVALS: Final = {"60m": "1h", "1w": "1wk"}
_INSTANT: Final = SCHEMAS["bar"].field("ts").type
_ACTIONS: Final = {"dividends": "dividend", "capitalGains": "capital_gain", "splits": "split"}


def parse_chart(
    recording: Recording,
    *,
    interval: str | None = None,
    received_at: datetime | None = None,
) -> Answer:
    """Clean one answer and set each bar's state by what this answer alone can prove.

    Args:
        recording: The answer.
        interval: What was asked for; another in the answer is an error.
        received_at: When the answer arrived. None: the recording's Date header, then now.

    Raises:
        MalformedError: The answer is not of the shape that Yahoo gives, or of another interval.
    """
    meta = recording.result["meta"]
    granularity = text(meta.get("dataGranularity"), "meta.dataGranularity") or interval or ""
    told = _INTERVALS.get(granularity, granularity)
    if told not in INTERVALS or (interval is not None and told != interval):
        raise MalformedError(
            "Yahoo answered with bars of another interval.",
            expected=interval or "meta.dataGranularity",
            found=told or "none",
            todo="ask for a shorter range",
        )
    market = Market.of(meta)
    rows = read_rows(recording.result, market, told)
    # The last trade, but for funds, whose time of a last trade stands still for months.
    told_until = max([*rows.stamps[-1:].tolist(), *filter(None, [market.last_trade])], default=None)
    received, as_of = _times(recording, told_until, received_at)
    cleaning = Cleaning(rows, market, told, Period.listed(meta))
    running = bool((cleaning.rows.live & (cleaning.rows.stamps == market.last_trade)).any())
    told_at = recording.date
    if running and market.last_trade is not None and market.runs_at(market.last_trade):
        as_of = min(as_of, market.last_trade)  # Yahoo's clock, which may lag by a delay
        told_at = datetime.fromtimestamp(market.last_trade, UTC)
    _clean(cleaning, recording.period, received)
    dates = cleaning.dates()
    intraday = told.endswith(("m", "h"))
    keys = cleaning.rows.stamps.tolist() if intraday else dates
    dates = [dates[at] for at in cleaning.merge_doubles(keys)]
    states = list(_states(cleaning, dates, told, market, as_of))
    name = text(meta.get("symbol"), "meta.symbol") or recording.symbol
    if name is None:
        raise misshapen("meta.symbol", "whose bars these are, or a symbol told beside it", None)
    common = {
        "provider": "yahoo",
        "symbol": name,
        "currency": text(meta.get("currency"), "meta.currency"),
        "fetched_at": received,
    }
    common_to_bars = {
        **common,
        "interval": told,
        "instrument_type": market.instrument_type,
        # Yahoo's prices are adjusted for the splits up to the last thing that it tells.
        "split_basis": None if told_until is None else market.date_of(told_until),
    }
    bars = _bars(cleaning, dates, states, common_to_bars)
    # Coarser answers lay dividends under the wrong bars and leave years out (seen).
    actions = _actions(recording.result, market, common) if told == "1d" else ()
    return Answer(
        bars=bars,
        actions=_table([*actions], "corporate_action"),
        notes=tuple(f"{name} {told}: {note}" for note in cleaning.notes or _nothing(bars)),
        about=about(meta, market, as_of=told_at, url=recording.url),
    )


def _clean(cleaning: Cleaning, period: tuple[int, int] | None, received: datetime) -> None:
    cleaning.drop_outside(period, int(received.timestamp()))
    cleaning.drop_empty()
    cleaning.drop_closing_prints()
    cleaning.drop_placeholders()
    cleaning.floor_to_grid()


def _nothing(bars: pa.Table) -> list[str]:
    return [] if bars.num_rows else ["Yahoo answered without bars"]


def _times(
    recording: Recording, told_until: int | None, received_at: datetime | None
) -> tuple[datetime, int]:
    """When the answer was received, and as of when it speaks.

    A bare recording does not say when it was received. Then it speaks as of the last thing that
    it tells, unless the story's clock was set: whoever sets it says what time it is.
    """
    known = received_at or recording.date
    received = known or clock.now()
    as_of = int(received.timestamp())
    if known is None and clock.pinned_now() is None and told_until is not None:
        as_of = min(as_of, told_until)
    return received, as_of


def _states(
    cleaning: Cleaning, dates: Sequence[date], interval: str, market: Market, as_of: int
) -> Iterator[str]:
    answered = sorted(set(dates))

    def settled(day: date) -> str:
        return state_of(day, market=market, as_of=as_of, answered=answered)

    if interval.endswith(("m", "h")):
        by_date = {day: settled(day) for day in answered}
        yield from _intraday_states(cleaning, [by_date[day] for day in dates], interval, as_of)
        return
    for day, live in zip(dates, cleaning.rows.live, strict=True):
        if interval == "1d" and live:
            # By Yahoo's stamp alone, whatever our clock says.
            running = market.last_trade is not None and market.runs_at(market.last_trade)
            yield "forming" if running and day == market.current_date else "provisional"
        elif interval == "1d":
            yield settled(day)
        elif market.local(as_of).date() <= _last_day(day, interval):
            yield "forming"
        else:
            yield settled(_last_day(day, interval))


def _intraday_states(
    cleaning: Cleaning, by_session: Sequence[str], interval: str, as_of: int
) -> list[str]:
    rows = cleaning.rows
    over = rows.stamps + _seconds(interval) <= as_of
    told = np.array(by_session, dtype=np.str_)
    runs_on = told == "forming"
    extended = np.array(cleaning.sessions(), dtype=np.str_) == "extended"
    states: list[str] = np.select(
        # The session runs on, but this bar may be over.
        [runs_on & over & ~rows.live, runs_on | (extended & ~over), rows.live],
        ["provisional", "forming", "provisional"],
        default=told,
    ).tolist()
    return states


def _last_day(first: date, interval: str) -> date:
    days = {"5d": 7, "1wk": 7, "1mo": 31, "3mo": 92}[interval]
    after = anchor(first + timedelta(days=days), interval)
    return after - timedelta(days=1)


def _seconds(interval: str) -> int:
    number, unit = int(interval[:-1]), interval[-1]
    return number * (60 if unit == "m" else 3600)


def _bars(
    cleaning: Cleaning,
    dates: Sequence[date],
    states: Sequence[str],
    common: Mapping[str, Any],
) -> pa.Table:
    rows, count = cleaning.rows, len(cleaning.rows)
    days = pa.array(dates, pa.date32())
    if common["interval"].endswith(("m", "h")):
        starts = pa.array(rows.stamps, pa.int64()).cast(pa.timestamp("s", tz="UTC"))
    else:
        starts = days.cast(pa.timestamp("us")).cast(_INSTANT)
    columns = {
        "ts": starts,
        "session_date": days,
        "state": pa.array(states, pa.string()),
        "session": pa.array(cleaning.sessions(), pa.string()),
        "volume": pa.array(rows.volume, from_pandas=True),
        "adj_close": pa.array(rows.adjusted, from_pandas=True),
    }
    for at, name in enumerate(("open", "high", "low", "close")):
        columns[name] = pa.array(np.ascontiguousarray(rows.prices[:, at]), from_pandas=True)
    for name, value in common.items():
        columns[name] = pa.repeat(pa.scalar(value, SCHEMAS["bar"].field(name).type), count)
    table = conform(pa.table(columns), "bar")
    stamps = table["ts"].to_numpy()
    return table if (stamps[1:] >= stamps[:-1]).all() else table.sort_by([("ts", "ascending")])


def _actions(
    result: Mapping[str, Any], market: Market, common: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Dividends, capital gains and splits, each dated by its own `date`, never by its map key."""
    events = mapping(result.get("events"), "events")
    for name, action in _ACTIONS.items():
        listed = events.get(name)
        for event in listed if isinstance(listed, list) else mapping(listed, name).values():
            told = mapping(event, f"events.{name}")
            instant = epoch(told.get("date"), f"events.{name}.date")
            if instant is None:
                raise misshapen(f"events.{name}", "a date", event)
            day = market.local(instant).date()
            own = {"currency": text(told.get("currency"), "currency") or common["currency"]}
            values = _split(told) if action == "split" else {"amount": _number(told, "amount")}
            stamp = datetime(day.year, day.month, day.day, tzinfo=UTC)
            yield {**common, **own, **values, "action": action, "ex_date": day, "ts": stamp}


def _split(event: Mapping[str, Any]) -> dict[str, float]:
    parts = str(event.get("splitRatio")).replace("/", ":").split(":")
    if "numerator" not in event and len(parts) == 2:
        event = dict(zip(("numerator", "denominator"), parts, strict=True))
    return {name: _number(event, name) for name in ("numerator", "denominator")}


def _number(event: Mapping[str, Any], name: str) -> float:
    try:
        return float(event[name])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise misshapen(f"an event's {name}", "a number", event) from error


def _table(records: list[dict[str, Any]], kind: Kind) -> pa.Table:
    schema = SCHEMAS[kind]
    table = pa.Table.from_pylist([{**record, "kind": kind} for record in records], schema=schema)
    return table.sort_by([("ex_date", "ascending"), ("action", "ascending")])

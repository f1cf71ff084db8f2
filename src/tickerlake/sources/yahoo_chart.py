"""One chart of Yahoo's → our bars and corporate actions. docs/sources.md tells the rules."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake import clock
from tickerlake.errors import MalformedError
from tickerlake.records import INTERVALS, SCHEMAS
from tickerlake.sources.actions import actions_table
from tickerlake.sources.answers import first_day
from tickerlake.sources.base import Answer
from tickerlake.sources.yahoo_market import Market, about, state_of
from tickerlake.sources.yahoo_recording import Recording
from tickerlake.sources.yahoo_rows import Cleaning, Dates, Period, read_rows, runs
from tickerlake.sources.yahoo_shape import epoch, mapping, misshapen, text

__all__ = ["parse_chart"]

_INTERVALS: Final = {"60m": "1h", "1w": "1wk"}
_INSTANT: Final = SCHEMAS["bar"].field("ts").type
_STATES: Final = ("forming", "provisional", "final")
_FORMING, _PROVISIONAL = np.int8(0), np.int8(1)
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
    dates = dates[cleaning.merge_doubles(cleaning.rows.stamps if intraday else dates)]
    states = _states(cleaning, dates, told, market, as_of)
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
    events = mapping(recording.result.get("events"), "events")
    notes = cleaning.notes or _nothing(bars)
    if told != "1d" and any(events.get(kind) for kind in _ACTIONS):
        notes = [*notes, "its events were left out, which only 1d tells of the right days"]
    return Answer(
        bars=bars,
        actions=_actions(events, market, common) if events and told == "1d" else _no_actions(),
        notes=tuple(f"{name} {told}: {note}" for note in notes),
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
    cleaning: Cleaning, dates: Dates, interval: str, market: Market, as_of: int
) -> pa.Array:
    firsts, lengths = runs(dates)
    answered: list[date] = sorted(set(firsts.tolist()))

    def settled(day: date) -> str:
        return state_of(day, market=market, as_of=as_of, answered=answered)

    if interval.endswith(("m", "h")):
        by_date = {day: _STATES.index(settled(day)) for day in answered}
        by_run = np.array([by_date[day] for day in firsts.tolist()], np.int8)
        return _intraday_states(cleaning, by_run.repeat(lengths), interval, as_of)
    today = market.local(as_of).date()
    states = []
    for day, live in zip(dates.tolist(), cleaning.rows.live.tolist(), strict=True):
        if interval == "1d" and live:
            # By Yahoo's stamp alone, whatever our clock says.
            running = market.last_trade is not None and market.runs_at(market.last_trade)
            states.append("forming" if running and day == market.current_date else "provisional")
        elif interval == "1d":
            states.append(settled(day))
        elif today <= _last_day(day, interval):
            states.append("forming")
        else:
            states.append(settled(_last_day(day, interval)))
    return pa.array(states, pa.string())


def _intraday_states(
    cleaning: Cleaning, by_session: npt.NDArray[np.int8], interval: str, as_of: int
) -> pa.Array:
    rows, states = cleaning.rows, by_session
    over = rows.stamps + _seconds(interval) <= as_of
    runs_on = by_session == _FORMING
    if runs_on.any() or rows.live.any() or not over.all():
        states = np.where(rows.live, _PROVISIONAL, by_session)
        states[runs_on | (cleaning.extended() & ~over)] = _FORMING
        # The session runs on, but this bar is over.
        states[runs_on & over & ~rows.live] = _PROVISIONAL
    return pa.array(_STATES, pa.string()).take(pa.array(states))


def _last_day(first: date, interval: str) -> date:
    days = {"5d": 7, "1wk": 7, "1mo": 31, "3mo": 92}[interval]
    after = first_day(first + timedelta(days=days), interval)
    return after - timedelta(days=1)


def _seconds(interval: str) -> int:
    number, unit = int(interval[:-1]), interval[-1]
    return number * (60 if unit == "m" else 3600)


def _bars(
    cleaning: Cleaning,
    dates: Dates,
    states: pa.Array,
    common: Mapping[str, Any],
) -> pa.Table:
    """The table by our schema, of which `from_arrays` makes sure; `read_rows` checked the times."""
    rows, count = cleaning.rows, len(cleaning.rows)
    intraday = common["interval"].endswith(("m", "h"))
    starts = rows.stamps * 1_000_000 if intraday else dates.astype("datetime64[us]")
    extended = cleaning.extended()
    columns: dict[str, pa.Array] = {
        "ts": pa.array(starts.astype(np.int64)).view(_INSTANT),
        "session_date": pa.array(dates.astype(np.int32)).view(pa.date32()),
        "state": states,
        "volume": pa.array(rows.volume, from_pandas=True),
        "adj_close": pa.array(rows.adjusted, from_pandas=True),
    }
    for at, name in enumerate(("open", "high", "low", "close")):
        columns[name] = pa.array(np.ascontiguousarray(rows.prices[:, at]), from_pandas=True)
    for name, value in common.items():
        columns[name] = _repeated(value, _TYPES[name], count)
    if extended.any():
        columns["session"] = pc.if_else(pa.array(extended), "extended", "regular")
    arrays = [
        columns[name] if name in columns else _repeated(_SAME.get(name), type_, count)
        for name, type_ in _TYPES.items()
    ]
    table = pa.Table.from_arrays(arrays, schema=SCHEMAS["bar"])
    in_order = intraday and (rows.stamps[1:] >= rows.stamps[:-1]).all()
    return table if in_order else table.sort_by([("ts", "ascending")])


_TYPES: Final = {field.name: field.type for field in SCHEMAS["bar"]}
_SAME: Final = {"kind": "bar", "session": "regular"}


@functools.lru_cache(maxsize=64)
def _repeated(value: str | date | datetime | None, type_: pa.DataType, count: int) -> pa.Array:
    """The same in every row. Answers are often of one length, such as a week's minutes."""
    return pa.repeat(pa.scalar(value, type_), count)


@functools.cache
def _no_actions() -> pa.Table:
    return SCHEMAS["corporate_action"].empty_table()


def _actions(events: Mapping[str, Any], market: Market, common: Mapping[str, Any]) -> pa.Table:
    """Dividends, capital gains and splits, each dated by its own `date`, never by its map key.

    Two of one day add up; one that is told twice counts once.
    """
    found: dict[tuple[object, ...], dict[str, Any]] = {}
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
            record = {**own, **values, "action": action, "ex_date": day}
            found[action, instant, *values.values()] = record
    return actions_table(found.values(), **common)


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

"""Who bears a symbol, where it trades, and as of when an answer speaks."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pyarrow.compute as pc

from tickerlake import clock
from tickerlake.cache.axis import SECOND, is_intraday, micros
from tickerlake.cache.index import Series
from tickerlake.cache.market import Market
from tickerlake.calendars import calendar_for, zone_of
from tickerlake.sources import Answer, Limits

__all__ = ["as_of_answer", "identified", "market_of"]

_TRAITS: Final[tuple[str, ...]] = ("instrument_type", "currency", "exchange", "isin", "figi")
_SKEW: Final = 60 * SECOND


def market_of(series: Series, limits: Limits, *, extended: bool) -> Market:
    """The hours of an instrument, as far as its provider told where it trades."""
    intraday = is_intraday(series.key.interval)
    # Round the clock is what no calendar means; currencies open on Sunday, before the calendar's.
    no_use = ("24/7", "24/5") if intraday else ("24/7",)
    calendar = None if series.calendar in no_use else series.calendar
    return Market(
        calendar, int(limits.delay_seconds * SECOND), intraday and (extended or series.extended)
    )


def identified(series: Series, answer: Answer, limits: Limits) -> tuple[Series, tuple[str, ...]]:
    """The series as the answer shows it, or the next one if somebody else bears the symbol now.

    A trait that one of the two does not tell proves nothing.
    """
    about = series.about | _told(answer)
    traits = {name: about[name] for name in _TRAITS if name in about}
    other = [name for name in traits if series.traits.get(name, traits[name]) != traits[name]]
    if not other or series.id is None:
        series = replace(series, traits=series.traits | traits, about=about)
        return _placed(series, answer, limits), ()
    was = ", ".join(f"{name} {series.traits[name]}" for name in other)
    now = ", ".join(f"{name} {traits[name]}" for name in other)
    note = (
        f"{series.key.symbol} is another instrument ({was}; now {now}): what was cached before is"
        " kept apart"
    )
    about.pop("split_basis", None)
    fresh = Series(series.key, generation=series.generation + 1, traits=traits, about=about)
    return _placed(fresh, answer, limits), (note,)


def as_of_answer(answer: Answer, now: int) -> tuple[int, tuple[str, ...]]:
    """The earlier of our clock and the provider's; but the provider's if ours is behind it."""
    if answer.about.as_of is None:
        return now, ()
    told = micros(answer.about.as_of)
    if clock.pinned_now() is not None:  # its HTTP Date knows nothing of a story of the past
        return min(told, now), ()
    if told - now > _SKEW:
        seconds = (told - now) // SECOND
        return told, (f"our clock is {seconds} s behind the provider's, whose time was taken",)
    return min(told, now), ()


def _told(answer: Answer) -> dict[str, str]:
    """What is known of the instrument, by the answer itself and by its rows."""
    about = answer.about
    told = {
        "name": about.name,
        "exchange": about.exchange,
        "instrument_type": about.instrument_type,
        "currency": about.currency,
        "isin": about.isin,
        "figi": about.figi,
        "listed": about.listed.isoformat() if about.listed else None,
        "url": about.url,
    }
    for name in ("instrument_type", "currency"):
        if told[name] is None and answer.bars.num_rows:
            told[name] = answer.bars[name][-1].as_py()
    return {name: value for name, value in told.items() if value}


def _placed(series: Series, answer: Answer, limits: Limits) -> Series:
    """With calendar, zone, and whether bars come outside the session."""
    calendar = calendar_for(series.about.get("exchange")) or series.calendar
    extended = series.extended or bool(pc.any(pc.equal(answer.bars["session"], "extended")).as_py())
    placed = replace(series, calendar=calendar, extended=extended)
    if market_of(placed, limits, extended=False).calendar is None:
        return replace(placed, zone=None, lead=0)
    if calendar == series.calendar and series.zone is not None:
        return placed
    zone = zone_of(calendar or "")
    return replace(placed, zone=zone, lead=Market(calendar).lead(micros(clock.now()), zone))

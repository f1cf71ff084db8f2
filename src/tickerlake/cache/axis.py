"""The line on which coverage lies: from requests to intervals of microseconds, and back.

Intraday bars lie at their start. Days and longer lie at 00:00 UTC of their session date, or of
their period's first day, whatever the zone of the exchange.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from tickerlake.sources import BarsRequest

__all__ = [
    "BEGINNING",
    "DAY",
    "FOREVER",
    "SECOND",
    "anchor",
    "date_at",
    "day",
    "instant",
    "is_intraday",
    "length",
    "micros",
    "period_after",
    "request_for",
    "wanted",
]

SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}
_DAYS: Final = {"1d": 1, "5d": 7, "1wk": 7, "1mo": 31, "3mo": 92}
#: Session dates are local: no zone on earth is further from UTC, on either side.
_EAST: Final = 14 * 3600 * SECOND
_WEST: Final = 12 * 3600 * SECOND


def micros(at: datetime) -> int:
    """Microseconds since 1970 of an aware time."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def instant(at: int) -> datetime:
    """The aware UTC time of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=at)


def day(value: date) -> int:
    """Midnight UTC of a date."""
    return (value - _EPOCH.date()).days * DAY


def date_at(at: int) -> date:
    """The date whose day holds a place on the axis."""
    return _EPOCH.date() + timedelta(days=at // DAY)


#: Before the first bar that anybody has, and after the last.
BEGINNING: Final = micros(datetime(1900, 1, 1, tzinfo=UTC))
FOREVER: Final = micros(datetime(9000, 1, 1, tzinfo=UTC))


def is_intraday(interval: str) -> bool:
    """Whether bars have instants of their own within a day."""
    return interval[-1] in _SECONDS and interval not in _DAYS


def length(interval: str) -> int:
    """How long a bar is, in microseconds; months count 31 days, quarters 92."""
    if is_intraday(interval):
        return int(interval[:-1]) * _SECONDS[interval[-1]] * SECOND
    return _DAYS[interval] * DAY


def anchor(at: int, interval: str) -> int:
    """The start of the week (Monday), month or quarter; of a day, its midnight."""
    value = date_at(at)
    if interval in ("5d", "1wk"):
        value -= timedelta(days=value.weekday())
    elif interval == "1mo":
        value = value.replace(day=1)
    elif interval == "3mo":
        value = value.replace(month=value.month - (value.month - 1) % 3, day=1)
    return day(value)


def period_after(at: int, interval: str) -> int:
    """The start of the period after the one that holds a place."""
    return anchor(anchor(at, interval) + length(interval), interval)


def wanted(request: BarsRequest, zone: str | None, lead: int) -> tuple[int, int]:
    """The interval that a request asks for, wide enough to hold each bar that it may mean.

    Args:
        request: Dates include both ends; of times the end is excluded. Weeks and longer are
            widened to whole periods.
        zone: The exchange's zone, where it is known: where it is not, dates of intraday bars
            reach every zone.
        lead: How long before local midnight a session can begin, in microseconds.
    """
    start, end = request.start, request.end
    if is_intraday(request.interval):
        low = BEGINNING if start is None else _begin(start, zone, lead)
        high = FOREVER if end is None else _end(end, zone)
        return max(low, BEGINNING), min(high, FOREVER)
    low = BEGINNING if start is None else _floor_day(start)
    high = FOREVER if end is None else _ceil_day(end)
    if request.interval != "1d":
        low = anchor(low, request.interval)
        high = high if high == FOREVER else period_after(high - 1, request.interval)
    return max(low, BEGINNING), min(high, FOREVER)


def request_for(
    request: BarsRequest, start: int, end: int, *, begins: bool, is_open: bool
) -> BarsRequest:
    """The request of one interval. `begins` and `is_open` leave its start and end to the source.

    Minutes have an end all the same: what is left open could be longer than the source's span.
    """
    intraday = is_intraday(request.interval)
    low: date | datetime | None = None
    high: date | datetime | None = None
    if not begins:
        low = instant(start) if intraday else date_at(start)
    if intraday or not is_open:
        high = instant(end) if intraday else date_at(end - 1)
    return BarsRequest(request.symbol, request.interval, low, high)


def _begin(value: date | datetime, zone: str | None, lead: int) -> int:
    if isinstance(value, datetime):
        return micros(value)
    return day(value) - _EAST if zone is None else _midnight(value, zone) - lead


def _end(value: date | datetime, zone: str | None) -> int:
    if isinstance(value, datetime):
        return micros(value)
    following = value + timedelta(days=1)
    return day(following) + _WEST if zone is None else _midnight(following, zone)


def _midnight(value: date, zone: str) -> int:
    value = min(max(value, date_at(BEGINNING)), date_at(FOREVER))
    return micros(datetime.combine(value, time(), ZoneInfo(zone)))


def _floor_day(value: date | datetime) -> int:
    return micros(value) // DAY * DAY if isinstance(value, datetime) else day(value)


def _ceil_day(value: date | datetime) -> int:
    return -(-micros(value) // DAY) * DAY if isinstance(value, datetime) else day(value) + DAY

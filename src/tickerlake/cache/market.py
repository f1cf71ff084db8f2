"""When an exchange trades, as the cache needs it: horizons, running sessions, days without any."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from tickerlake.cache.axis import (
    BEGINNING,
    DAY,
    FOREVER,
    SECOND,
    anchor,
    date_at,
    day,
    is_intraday,
    length,
    micros,
)
from tickerlake.cache.coverage import Coverage
from tickerlake.calendars import Session, sessions, zone_of

__all__ = ["Market"]

#: A bar is told, and stands, a minute after it ended; a session a quarter of an hour after.
_BAR_GRACE: Final = 60 * SECOND
_CLOSE_GRACE: Final = 15 * 60 * SECOND
#: No exchange stays closed for longer.
_CLOSED_DAYS_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class _Hours:
    day: int
    open: int
    close: int


@dataclass(frozen=True, slots=True)
class Market:
    """One instrument's hours. Without a calendar every day trades from 00:00 to 24:00 UTC.

    All times are microseconds since 1970 UTC; `delay` is how much later the provider is.
    """

    calendar: str | None = None
    delay: int = 0
    #: Answers hold bars before the open and after the close.
    extended: bool = False

    def horizon(self, as_of: int, interval: str) -> int:
        """Where certain knowledge ends: no bar before it can still come, as of this time.

        Inside a session that is the end of the last whole bar; after a close, the next open; of
        days, the next session's date; of weeks and longer, the period that holds that.
        """
        seen = as_of - self.delay
        if is_intraday(interval):
            return self._intraday_horizon(seen, length(interval))
        if self.calendar is None:
            return anchor((seen - _CLOSE_GRACE) // DAY * DAY, interval)
        following = next(h for h in self._around(seen) if h.close + _CLOSE_GRACE > seen)
        return anchor(following.day, interval)

    def limit(self, now: int, interval: str) -> int:
        """The end of what can be asked for: the horizon, or beyond it the bar that is forming."""
        horizon, running = self.horizon(now, interval), self.running(now)
        if running is None:
            return horizon
        if is_intraday(interval):
            return max(horizon, now - self.delay)
        return max(horizon, running.day + DAY)

    def quiet_until(self, as_of: int, live: int) -> int:
        """Until when an answer that reached the horizon needs no other beyond it."""
        running = self.running(as_of)
        if running is None:
            seen = as_of - self.delay
            return next(h.open for h in self._around(seen) if h.open > seen) + self.delay
        closing = running.close + self.delay + _CLOSE_GRACE
        return min(as_of + live, closing) if closing > as_of else as_of + live

    def running(self, now: int) -> _Hours | None:
        """The session that runs, or ended so lately that its bars are not all told."""
        seen = now - self.delay
        grace = 0 if self.calendar is None else _CLOSE_GRACE
        hours = self._around(seen)
        if self.extended:  # from midnight to midnight, for want of better knowledge
            return next((h for h in hours if h.day <= seen < h.day + 2 * DAY), None)
        return next((h for h in hours if h.open <= seen < h.close + grace), None)

    def settled_at(self, at: int, as_of: int) -> int:
        """When a bar that is provisional as of some time may be final.

        That is the close of the first session after both the bar's own and that time, told.
        """
        closes = [h.close for h in self._around(max(at, as_of)) if h.day > at // DAY * DAY]
        later = [close for close in closes if close + self.delay + _CLOSE_GRACE > as_of]
        return later[0] + self.delay + _CLOSE_GRACE

    def lead(self, at: int, zone: str) -> int:
        """How long before local midnight of their dates sessions begin at most (futures)."""
        return max(0, *(_midnight(h.day, zone) - h.open for h in self._around(at)))

    def opened_before(self, at: int) -> int:
        """The date of the last session that had opened."""
        return [h.day for h in self._around(at - self.delay) if h.open <= at - self.delay][-1]

    def closed_before(self, at: int) -> int:
        """The end of the last session (on the axis of days: of its date) that ended before."""
        past = [h for h in self._around(at) if h.close <= at]
        return past[-1].day + DAY if past else BEGINNING

    def dates(self, start: int, end: int) -> list[int] | None:
        """Midnights of all session dates in `[start, end)`; None without a calendar."""
        if self.calendar is None:
            return None
        found = sessions(self.calendar, date_at(start), date_at(end - 1))
        return [day(session.date) for session in found]

    def closed(self, start: int, end: int, interval: str) -> Coverage:
        """The whole days in `[start, end)` that certainly have no session."""
        if self.calendar is None or (interval not in ("1d",) and not is_intraday(interval)):
            return Coverage()
        start, end = max(start, BEGINNING), min(end, FOREVER)
        zone = zone_of(self.calendar)
        first, last = date_at(start) - timedelta(days=2), date_at(end) + timedelta(days=2)
        if last > date_at(FOREVER):
            return Coverage()
        trading = sessions(self.calendar, first, last)
        dates = {session.date for session in trading}
        days = [
            first + timedelta(days=n)
            for n in range((last - first).days + 1)
            if first + timedelta(days=n) not in dates
        ]
        if interval == "1d":
            return Coverage.of((day(at), day(at) + DAY) for at in days).within(start, end)
        idle = Coverage.of(
            (_midnight(day(at), zone), _midnight(day(at) + DAY, zone)) for at in days
        )
        busy = Coverage.of((micros(s.open), micros(s.close)) for s in trading)
        return (idle - busy).within(start, end)

    def _intraday_horizon(self, seen: int, step: int) -> int:
        told = seen - _BAR_GRACE
        if self.calendar is None:
            return told // step * step
        hours = self._around(seen)
        at = next((h for h in hours if h.close + _CLOSE_GRACE > seen), hours[-1])
        if self.extended:
            return at.open + (told - at.open) // step * step
        if seen < at.open:
            return at.open
        return at.open + (min(told, at.close) - at.open) // step * step

    def _around(self, at: int) -> list[_Hours]:
        return _around(self.calendar, at // DAY)


def _midnight(at: int, zone: str) -> int:
    return micros(datetime.combine(date_at(at), time(), ZoneInfo(zone)))


@functools.lru_cache(maxsize=64)
def _around(calendar: str | None, at_day: int) -> list[_Hours]:
    middle = date_at(at_day * DAY)
    first, last = (middle + timedelta(days=n * _CLOSED_DAYS_MAX) for n in (-1, 1))
    return [_hours(session) for session in sessions(calendar, first, last)]


def _hours(session: Session) -> _Hours:
    return _Hours(day(session.date), micros(session.open), micros(session.close))

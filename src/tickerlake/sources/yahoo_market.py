"""When sessions run, by Yahoo's own words: the dates that bars belong to, and their states.

Yahoo stamps a settled daily bar with its session's open, and the bar of a session that runs, or
ended a few hours ago, with `meta.regularMarketTime` (the *live stamp*).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

from tickerlake.calendars import calendar_for, sessions
from tickerlake.sources.base import About
from tickerlake.sources.yahoo_shape import epoch, mapping, text

__all__ = ["Market", "about", "closed_days", "state_of", "type_of"]

_DAY: Final = timedelta(days=1)
#: No exchange on earth stays closed for longer; older bars need no calendar to be settled.
_CLOSED_DAYS_MAX: Final = 14
_TYPES: Final = {
    "EQUITY": "equity",
    "ETF": "etf",
    "MUTUALFUND": "fund",
    "MONEYMARKET": "fund",
    "CURRENCY": "currency",
    "INDEX": "index",
    "FUTURE": "future",
    "CRYPTOCURRENCY": "crypto",
    "OPTION": "option",
}


def type_of(kind: str | None) -> str | None:
    """Our word for Yahoo's kind of instrument."""
    return None if kind is None else _TYPES.get(kind.upper(), kind.lower())


@dataclass(frozen=True, slots=True)
class Market:
    """What `meta` says about the instrument and its hours. Times are epoch seconds.

    `open` and `close` are those of the session that Yahoo calls current: it runs, or ended last,
    or comes next.
    """

    zone: tzinfo
    instrument_type: str | None
    exchange: str | None
    last_trade: int | None
    open: int | None
    close: int | None

    @classmethod
    def of(cls, meta: Mapping[str, Any]) -> Market:
        """Read `meta`; what is missing there is None."""
        periods = mapping(meta.get("currentTradingPeriod"), "meta.currentTradingPeriod")
        current = mapping(periods.get("regular"), "meta.currentTradingPeriod.regular")
        kind = text(meta.get("instrumentType"), "meta.instrumentType")
        return cls(
            zone=_zone(meta),
            instrument_type=type_of(kind),
            exchange=text(meta.get("exchangeName"), "meta.exchangeName"),
            last_trade=epoch(meta.get("regularMarketTime"), "meta.regularMarketTime"),
            open=epoch(current.get("start"), "meta.currentTradingPeriod.regular.start"),
            close=epoch(current.get("end"), "meta.currentTradingPeriod.regular.end"),
        )

    def local(self, instant: int) -> datetime:
        """The exchange's wall clock."""
        return datetime.fromtimestamp(instant, self.zone)

    def date_of(self, instant: int) -> date:
        """The session date of an ordinary stamp.

        Futures trade from 18:00 New York on for the next day; neither they nor currencies have
        sessions of Saturday or Sunday: what trades on Sunday evening is Monday's.
        """
        local = self.local(instant)
        if self.instrument_type == "future":
            local += timedelta(hours=6)
        day = local.date()
        if self.instrument_type in ("future", "currency") and day.weekday() >= 5:
            return day + (7 - day.weekday()) * _DAY if day.weekday() == 6 else day - _DAY
        return day

    def date_of_live(self, instant: int) -> date:
        """The session that runs at a live stamp or ended last, never the stamp's own date."""
        if self.open is not None and instant >= self.open:
            return self.date_of(self.open)
        return self.date_of(instant)

    @property
    def current_date(self) -> date | None:
        """The date of the session that Yahoo calls current."""
        return None if self.open is None else self.date_of(self.open)

    def runs_at(self, instant: int) -> bool:
        """Whether the current session runs at this time."""
        opened, closed = self.open, self.close
        return opened is not None and closed is not None and opened <= instant < closed


def about(
    meta: Mapping[str, Any], market: Market, *, as_of: datetime | None, url: str | None
) -> About:
    """What `meta` says about the instrument; who has the symbol, and since when it trades."""
    first = epoch(meta.get("firstTradeDate"), "meta.firstTradeDate")
    names = (text(meta.get(key), f"meta.{key}") for key in ("longName", "shortName"))
    return About(
        # Short names come padded to columns: "Gamestop Corp.                R".
        name=next((" ".join(name.split()) for name in names if name), None),
        exchange=market.exchange,
        instrument_type=market.instrument_type,
        currency=text(meta.get("currency"), "meta.currency"),
        listed=None if first is None else market.local(first).date(),
        as_of=as_of,
        url=url,
    )


def state_of(day: date, *, market: Market, as_of: int, answered: Sequence[date]) -> str:
    """The state of a bar with a settled stamp, by one answer alone.

    `final` once the *next* session has closed: until then, volume still moves (seen). That the
    next session has closed is proven by the answer's own later days (`answered`, sorted), then
    by Yahoo's current session, then by the exchange's calendar; without proof it has not.
    """
    if day == market.current_date and market.close is not None and as_of < market.close:
        return "forming"
    return "final" if _next_session_closed(day, market, as_of, answered) else "provisional"


def _next_session_closed(day: date, market: Market, as_of: int, answered: Sequence[date]) -> bool:
    today = market.local(as_of).date()
    if (today - day).days > _CLOSED_DAYS_MAX:
        return True
    if today <= day:
        return False
    current_closed = market.close is not None and as_of >= market.close
    current = market.current_date
    later = next((other for other in answered if other > day), None)
    if later is not None:
        return current_closed if later == current else later < today
    if current is not None and day < current and current_closed:
        return True
    calendar = calendar_for(market.exchange)
    if calendar is None:
        return False
    following = sessions(calendar, day + _DAY, day + _CLOSED_DAYS_MAX * _DAY)
    return bool(following) and following[0].close.timestamp() <= as_of


def closed_days(days: Sequence[date], market: Market) -> set[date]:
    """Those on which the exchange's calendar is certain that nobody traded; none without one."""
    calendar = calendar_for(market.exchange)
    if calendar is None or not days:
        return set()
    return set(days) - {session.date for session in sessions(calendar, min(days), max(days))}


def _zone(meta: Mapping[str, Any]) -> tzinfo:
    try:
        return ZoneInfo(str(meta["exchangeTimezoneName"]))
    except (KeyError, ValueError, OSError):
        offset = meta.get("gmtoffset")
        if isinstance(offset, int) and abs(offset) < 86_400:
            return timezone(timedelta(seconds=offset))
        return UTC

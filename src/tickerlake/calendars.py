"""Exchange sessions: which days trade, when they open and close.

The calendars are those of the package exchange-calendars, imported at first use (its import takes
about a second). They start 20 years back and end a year ahead. Our own map leads from the codes
that providers write to its names. For a code that we do not know, and for dates outside a
calendar's bounds, every day may trade, from 00:00 to 24:00 UTC: no bar is ever thrown away because
a calendar is missing.
"""

from __future__ import annotations

import bisect
import functools
import threading
import warnings
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from exchange_calendars import ExchangeCalendar

__all__ = ["Session", "calendar_for", "sessions", "zone_of"]

_BY_CALENDAR: Final[dict[str, str]] = {
    # Yahoo's exchange codes, then ISO 10383 codes and names that people use.
    "XNYS": "NYQ NMS NGM NCM NIM NAS NYS ASE PCX BTS BZX CXI WCB SNP DJI NSQ CGI PNK OQB OQX OEM "
    "OBB OPR XNAS ARCX XASE BATS NYSE NASDAQ AMEX NYSEARCA IEX IEXG OTC US",
    "CMES": "CME CBT CMX NYM XCME XCBT XNYM XCEC GLBX COMEX NYMEX CBOT",
    "IEPA": "NYB ICE IFUS",
    "24/5": "CCY FX FOREX",
    "24/7": "CCC CRYPTO BINANCE BINANCE_US COINBASE KRAKEN BITFINEX",
    "XTSE": "TOR VAN CNQ NEO XTSX TSX",
    "XLON": "LSE IOB FGI LON",
    "XETR": "GER XETRA ETR",
    "XFRA": "FRA BER DUS HAM HAN MUN STU",
    "XPAR": "PAR ENX EPA",
    "XAMS": "AMS",
    "XBRU": "BRU",
    "XLIS": "LIS",
    "XDUB": "ISE IEX_DUBLIN",
    "XMIL": "MIL TLO",
    "XMAD": "MCE",
    "XSWX": "EBS SWX VTX",
    "XWBO": "VIE",
    "XSTO": "STO",
    "XCSE": "CPH",
    "XHEL": "HEL",
    "XOSL": "OSL",
    "XICE": "ICX",
    "XWAR": "WSE",
    "XPRA": "PRA",
    "XBUD": "BUD",
    "ASEX": "ATH",
    "XIST": "IST",
    "XTAE": "TLV",
    "XSAU": "SAU",
    "XJSE": "JNB",
    "XASX": "ASX AX",
    "XNZE": "NZE",
    "XTKS": "JPX TYO TSE OSA FKA SAP",
    "XHKG": "HKG HKEX",
    "XSHG": "SHH SHG SHZ XSHE SSE SZSE",
    "XTAI": "TAI TWO",
    "XKRX": "KSC KOE KRX",
    "XSES": "SES SGX",
    "XKLS": "KLS",
    "XBKK": "SET BKK",
    "XIDX": "JKT",
    "XBOM": "BSE NSI NSE XNSE",
    "BVMF": "SAO B3",
    "XMEX": "MEX",
    "XBUE": "BUE",
    "XSGO": "SGO",
    "XLIM": "LIM",
}
_CALENDARS: Final = {
    code: calendar
    for calendar, codes in _BY_CALENDAR.items()
    for code in (calendar, *codes.split())
}
_DAY: Final = timedelta(days=1)
_MAKING: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class Session:
    """One trading day: its exchange-local date, and its open and close as aware UTC times."""

    date: date
    open: datetime
    close: datetime


def calendar_for(exchange: str | None) -> str | None:
    """The calendar of an exchange code of Yahoo's, an ISO 10383 code, or a common name.

    None for a code that we do not know: then every day may trade.
    """
    return _CALENDARS.get((exchange or "").upper())


def sessions(calendar: str | None, first: date, last: date) -> list[Session]:
    """The sessions whose dates lie in `[first, last]`, in order.

    Days outside the calendar's bounds, and all days where `calendar` is None, count as sessions
    from 00:00 to 24:00 UTC.
    """
    if calendar is None:
        return _every_day(first, last)
    dates, known = _known(calendar)
    inside = known[bisect.bisect_left(dates, first) : bisect.bisect_right(dates, last)]
    before = _every_day(first, min(last, dates[0] - _DAY))
    after = _every_day(max(first, dates[-1] + _DAY), last)
    return [*before, *inside, *after]


def zone_of(calendar: str) -> str:
    """The IANA name of the zone in which a calendar's dates are dates."""
    return str(_calendar(calendar).tz)


def _every_day(first: date, last: date) -> list[Session]:
    count = max(0, (last - first).days + 1)
    midnights = [datetime.combine(first + n * _DAY, time(), UTC) for n in range(count)]
    return [Session(at.date(), at, at + _DAY) for at in midnights]


@functools.lru_cache(maxsize=16)
def _known(calendar: str) -> tuple[list[date], list[Session]]:
    """All sessions of a calendar, some thousands, and their dates."""
    rows = _calendar(calendar).schedule
    opens, closes = (rows[name].dt.to_pydatetime() for name in ("open", "close"))
    dates = [day.date() for day in rows.index.to_pydatetime()]
    return dates, [Session(*told) for told in zip(dates, opens, closes, strict=True)]


@functools.lru_cache(maxsize=16)
def _calendar(name: str) -> ExchangeCalendar:
    # `catch_warnings` is for one thread at a time.
    with _MAKING, warnings.catch_warnings():
        # It still calls what newer versions of pandas advise against: nothing that we could mend.
        warnings.simplefilter("ignore", DeprecationWarning)
        import exchange_calendars

        return exchange_calendars.get_calendar(name)

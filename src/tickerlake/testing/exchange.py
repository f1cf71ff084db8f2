"""A market whose every bar is known at every moment: the truth by which a cache is judged.

`Exchange` says what is true; `ExchangeSource` tells it as a provider would, counts what it was
asked, and refuses what its limits forbid. Prices come from a hash of symbol and time, so two
exchanges of the same splits and dividends tell the same.

- A bar moves each minute while it runs, and stands still once it has ended; a day's volume may be
  put right once more, at the next session's open.
- From the open of a split's ex-date on, all prices before it are told divided, all volumes
  multiplied: what the world has known so far is in every price.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake import calendars, clock
from tickerlake.errors import NotFoundError, RangeError, TickerlakeError
from tickerlake.records import SCHEMAS
from tickerlake.sources import About, Answer, BarsRequest, Limits, select

__all__ = ["LIMITS", "Exchange", "ExchangeSource", "Split"]

#: Small spans, so that small stories meet them.
LIMITS: Final = Limits(
    intervals=("15m", "1h", "1d"),
    span_days={"15m": 10, "1h": 10},
    look_back_days={"15m": 40, "1h": 40},
    price_basis="splits",
    amount_basis="splits",
)
_HOUR: Final = timedelta(hours=1)
_LENGTHS: Final = {"15m": _HOUR / 4, "1h": _HOUR}
_DAY: Final = timedelta(days=1)
_CALENDAR: Final = "XNYS"


@dataclass(frozen=True, slots=True)
class Split:
    """`ratio` new shares for one old, from the open of `ex_date` on.

    It is told from then on; prices lack it for `late_days` more (seen at a provider).
    """

    symbol: str
    ex_date: date
    ratio: float
    late_days: int = 0


@dataclass
class Exchange:
    """Sessions of New York from `first` to `last`; splits and dividends may be added as it runs."""

    symbols: tuple[str, ...] = ("AAA", "BBB")
    first: date = date(2024, 1, 2)
    last: date = date(2024, 12, 31)
    splits: list[Split] = field(default_factory=list)
    #: Symbol, ex-date and amount per share.
    dividends: list[tuple[str, date, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        after = calendars.sessions(_CALENDAR, self.first, self.last + 10 * _DAY)
        self.sessions = [session for session in after if session.date <= self.last]
        #: The session that follows each.
        self.following = {here.date: there for here, there in itertools.pairwise(after)}

    def bars(self, symbol: str, interval: str, at: datetime) -> list[dict[str, Any]]:
        """All bars that are told at an instant, in order."""
        running = [session for session in self.sessions if session.open <= at]
        if interval == "1d":
            return [self._day(symbol, session, at) for session in running]
        length = _LENGTHS[interval]
        return [
            self._part(symbol, session, start, length, at)
            for session in running
            for start in _starts(session, length)
            if start <= at
        ]

    def actions(self, symbol: str, at: datetime) -> list[dict[str, Any]]:
        """Splits and dividends that are told at an instant."""
        opens = {session.date: session.open for session in self.sessions}
        known = {day for day, opened in opens.items() if opened <= at}
        return [
            {"action": "split", "ex_date": split.ex_date, "numerator": split.ratio}
            | {"denominator": 1.0}
            for split in self.splits
            if split.symbol == symbol and split.ex_date in known
        ] + [
            {"action": "dividend", "ex_date": day, "amount": amount / self._factor(symbol, day, at)}
            for whose, day, amount in self.dividends
            if whose == symbol and day in known
        ]

    def _factor(self, symbol: str, day: date, at: datetime) -> float:
        """By what prices of a day are divided at an instant, for the splits after it."""
        opens = {session.date: session.open for session in self.sessions}
        factor = 1.0
        for split in self.splits:
            late = timedelta(days=split.late_days)
            if split.symbol == symbol and day < split.ex_date and opens[split.ex_date] + late <= at:
                factor *= split.ratio
        return factor

    def _traded(self, symbol: str, day: date) -> float:
        """By how much less a share trades on a day, for the splits up to it."""
        past = [s.ratio for s in self.splits if s.symbol == symbol and s.ex_date <= day]
        return math.prod(past)

    def _day(self, symbol: str, session: calendars.Session, at: datetime) -> dict[str, Any]:
        after = self.following[session.date]
        end = min(at, session.close)
        bar = self._bar(symbol, session.date, session.open, end, at)
        if at >= after.open and _noise(symbol, session.date, "late") < 1 / 3:
            bar["volume"] += 7.0
        ts = datetime.combine(session.date, time(), UTC)
        return bar | {"ts": ts, "state": _state(at, session.close, after)}

    def _part(
        self,
        symbol: str,
        session: calendars.Session,
        start: datetime,
        length: timedelta,
        at: datetime,
    ) -> dict[str, Any]:
        end = min(start + length, session.close)
        bar = self._bar(symbol, session.date, start, min(at, end), at)
        return bar | {"ts": start, "state": _state(at, end, self.following[session.date])}

    def _bar(
        self, symbol: str, day: date, start: datetime, end: datetime, at: datetime
    ) -> dict[str, Any]:
        minutes = int((end - start) / timedelta(minutes=1))
        factor = self._factor(symbol, day, at) * self._traded(symbol, day)
        opened = 100.0 + 50 * _noise(symbol, start, "open")
        closed = opened * (1 + 0.01 * (_noise(symbol, start, minutes) - 0.5))
        prices = {"open": opened, "close": closed}
        prices |= {"high": max(opened, closed) * 1.001, "low": min(opened, closed) * 0.999}
        told = {name: round(price / factor, 6) for name, price in prices.items()}
        return told | {"volume": (1000.0 * minutes + 1) * factor, "session_date": day}


def _starts(session: calendars.Session, length: timedelta) -> Iterator[datetime]:
    start = session.open
    while start < session.close:
        yield start
        start += length


def _state(at: datetime, end: datetime, after: calendars.Session) -> str:
    if at < end:
        return "forming"
    return "final" if at >= after.close else "provisional"


def _noise(*parts: object) -> float:
    """Between 0 and 1, always the same for the same parts."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


class ExchangeSource:
    """Tells an exchange's truth as of now, counts requests, and may be in trouble.

    Asking for more than the limits allow is an error of the caller's: `AssertionError`.
    """

    name = "exchange"

    def __init__(self, exchange: Exchange, *, limits: Limits = LIMITS) -> None:
        self.limits = limits
        self._exchange = exchange
        #: What was asked for and answered, in order.
        self.asked: list[BarsRequest] = []
        #: Raised instead of an answer, until it is taken away.
        self.trouble: TickerlakeError | None = None

    def bars(self, request: BarsRequest) -> Answer:
        """All bars of the range that are told now; exactly one request.

        Raises:
            NotFoundError: The exchange has no such symbol.
            RangeError: Nothing of the range is within the look-back, or was ever traded.
        """
        self.limits.require(request.interval, source=self.name)
        now = clock.now()
        self.asked.append(request)
        if self.trouble is not None:
            raise self.trouble
        self._check_span(request, now)
        if request.symbol not in self._exchange.symbols:
            raise NotFoundError(f"There is no {request.symbol}.", todo="choose another")
        rows = self._exchange.bars(request.symbol, request.interval, now)
        bars = select(_bars(rows, request, now), request)
        days = self.limits.look_back_days.get(request.interval)
        if days is not None:
            edge = pa.scalar(now - timedelta(days=days), bars.schema.field("ts").type)
            bars = bars.filter(pc.greater_equal(bars["ts"], edge))
        if not bars.num_rows and not _is_recent(request, now):
            raise RangeError("No data for this range.", todo="ask for another")
        actions = _NO_ACTIONS
        if request.interval == "1d":
            told = self._exchange.actions(request.symbol, now)
            actions = _actions(told, request, now)
        about = About(
            exchange="NYQ", instrument_type="equity", currency="USD", as_of=now, url="exchange:"
        )
        return Answer(bars, actions, about=about)

    def symbols(self) -> Iterator[str]:
        """Those of the exchange."""
        return iter(self._exchange.symbols)

    def parse(self, payload: bytes, **_: object) -> Answer:
        """It has no recordings."""
        raise NotFoundError("An exchange of tests has no recordings.", todo=f"{len(payload)} bytes")

    def _check_span(self, request: BarsRequest, now: datetime) -> None:
        days = self.limits.span_days.get(request.interval)
        if days is None:
            return
        assert request.start is not None, "a limited span needs a start"
        start, end = _instant(request.start), _instant(request.end, last=True) or now
        assert start is not None
        assert min(end, now + _DAY) - start <= timedelta(days=days), f"too long: {request}"


def _instant(value: date | datetime | None, *, last: bool = False) -> datetime | None:
    if value is None or isinstance(value, datetime):
        return value
    return datetime.combine(value, time(), UTC) + (_DAY if last else timedelta())


def _is_recent(request: BarsRequest, now: datetime) -> bool:
    """Of the newest days a provider tells "nothing yet", not "no such range"."""
    end = _instant(request.end, last=True)
    return end is None or now - end < 2 * _DAY


_NO_ACTIONS: Final = SCHEMAS["corporate_action"].empty_table()


def _bars(rows: list[dict[str, Any]], request: BarsRequest, now: datetime) -> pa.Table:
    same = {
        "kind": "bar",
        "provider": ExchangeSource.name,
        "symbol": request.symbol,
        "interval": request.interval,
        "fetched_at": now,
        "currency": "USD",
        "session": "regular",
        # New York's date: its open is never on another UTC day.
        "split_basis": (now - 5 * _HOUR).date(),
        "instrument_type": "equity",
    }
    return pa.Table.from_pylist([same | row for row in rows], schema=SCHEMAS["bar"])


def _actions(rows: list[dict[str, Any]], request: BarsRequest, now: datetime) -> pa.Table:
    same = {
        "kind": "corporate_action",
        "provider": ExchangeSource.name,
        "symbol": request.symbol,
        "fetched_at": now,
        "currency": "USD",
    }
    start = _instant(request.start)
    end = _instant(request.end, last=True)
    inside = []
    for row in rows:
        ts = datetime.combine(row["ex_date"], time(), UTC)
        if (start is None or ts >= start) and (end is None or ts < end):
            inside.append(same | row | {"ts": ts})
    return pa.Table.from_pylist(inside, schema=SCHEMAS["corporate_action"])

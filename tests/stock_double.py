"""A stock on a simulated exchange, as a source: it trades by the calendar and the story's clock."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa

from tickerlake import clock
from tickerlake.calendars import sessions
from tickerlake.errors import TickerlakeError
from tickerlake.records import SCHEMAS, conform
from tickerlake.sources import About, Answer, BarsRequest, Limits, select

DAY = timedelta(days=1)
FIRST = date(2023, 1, 2)


@dataclass
class Stock:
    """Bars as the provider tells them now; `values` and `meddle` bend the truth."""

    calendar: str = "XNYS"
    interval: str = "1d"
    limits: Limits = field(
        default_factory=lambda: Limits(
            intervals=("1m", "1h", "1d", "1wk"),
            span_days={"1m": 7},
            look_back_days={"1m": 30},
            price_basis="splits",
        )
    )
    name: str = "acme"
    exchange: str | None = "NYQ"
    currency: str = "USD"
    #: Ex-date → new shares for one old share; told from `told_from` on.
    splits: dict[date, float] = field(default_factory=dict)
    splits_told_from: dict[date, date] = field(default_factory=dict)
    #: Until then not even the event is told.
    splits_are_lost: bool = False
    dividends: dict[date, float] = field(default_factory=dict)
    #: Bars that are bent: session date → columns.
    bent: dict[date, dict[str, Any]] = field(default_factory=dict)
    missing_days: set[date] = field(default_factory=set)
    fails: list[TickerlakeError] = field(default_factory=list)
    meddle: Callable[[Answer], Answer] = lambda answer: answer
    asked: list[BarsRequest] = field(default_factory=list)

    def bars(self, request: BarsRequest) -> Answer:
        self.asked.append(request)
        if self.fails:
            raise self.fails.pop(0)
        now = clock.now()
        rows = list(self._rows(request.interval, now))
        empty = SCHEMAS["bar"].empty_table()
        bars = conform(pa.Table.from_pylist(rows), "bar") if rows else empty
        about = About(exchange=self.exchange, currency=self.currency, as_of=None)
        answer = Answer(select(bars, request), self._actions(request, now), about=about)
        return self.meddle(answer)

    def symbols(self) -> Iterator[str]:
        return iter(())

    def parse(self, payload: bytes, **_: Any) -> Answer:
        raise NotImplementedError

    def _rows(self, interval: str, now: datetime) -> Iterator[dict[str, Any]]:
        days = _sessions(self.calendar, FIRST, now.date() + DAY)
        for number, session in enumerate(days):
            if session.open > now or session.date in self.missing_days:
                continue
            following = days[number + 1] if number + 1 < len(days) else None
            state = "forming" if now < session.close else "provisional"
            if following is not None and following.close <= now:
                state = "final"
            if interval == "1d":
                yield self._row(
                    number, session.date, _midnight(session.date), state, interval=interval, now=now
                )
            elif interval in ("1m", "1h"):
                yield from self._intraday(number, session, state, interval=interval, now=now)

    def _intraday(
        self, number: int, session: Any, state: str, *, interval: str, now: datetime
    ) -> Iterator[dict[str, Any]]:
        step = timedelta(minutes=1 if interval == "1m" else 60)
        if now - session.open > 40 * DAY:
            return
        at = session.open
        while at < min(session.close, now):
            own = state
            if state == "forming" and at + step <= now:
                own = "provisional"
            yield self._row(number, session.date, at, own, interval=interval, now=now)
            at += step

    def _row(
        self, number: int, day: date, ts: datetime, state: str, *, interval: str, now: datetime
    ) -> dict[str, Any]:
        factor = 1.0
        for ex_date, ratio in self.splits.items():
            happened = ex_date <= now.date()
            if happened and (day >= ex_date or self._is_known(ex_date, now)):
                factor /= ratio
        close = (100.0 + number % 7) * factor
        ages = (now - ts).total_seconds() if state == "forming" else 0
        return {
            "provider": self.name,
            "symbol": "ACME",
            "interval": interval,
            "ts": ts,
            "fetched_at": now,
            "session_date": day,
            "open": close - factor,
            "high": close + factor,
            "low": close - 2 * factor,
            "close": close,
            "adj_close": close,
            "volume": 1000.0 / factor + int(ages > 0),
            "currency": self.currency,
            "state": state,
            "session": "regular",
            "split_basis": now.date(),
            "instrument_type": "equity",
        } | self.bent.get(day, {})

    def _is_known(self, ex_date: date, now: datetime) -> bool:
        """Whether the provider has adjusted the prices before a split."""
        return now.date() >= self.splits_told_from.get(ex_date, ex_date)

    def _actions(self, request: BarsRequest, now: datetime) -> pa.Table:
        if request.interval != "1d":
            return SCHEMAS["corporate_action"].empty_table()
        common = {"provider": self.name, "symbol": "ACME", "fetched_at": now, "currency": "USD"}
        found = [
            common
            | {"ts": _midnight(day), "ex_date": day, "action": "split"}
            | {"numerator": ratio, "denominator": 1.0}
            for day, ratio in self.splits.items()
            if day <= now.date() and (not self.splits_are_lost or self._is_known(day, now))
        ] + [
            common | {"ts": _midnight(day), "ex_date": day, "action": "dividend", "amount": amount}
            for day, amount in self.dividends.items()
            if day <= now.date()
        ]
        inside = [row for row in found if _is_in(row["ex_date"], request)]
        if not inside:
            return SCHEMAS["corporate_action"].empty_table()
        schema = SCHEMAS["corporate_action"]
        return pa.Table.from_pylist(
            [{"kind": "corporate_action"} | r for r in inside], schema=schema
        )


def _is_in(day: date, request: BarsRequest) -> bool:
    start, end = request.start, request.end
    return (start is None or day >= start) and (end is None or day <= end)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


@functools.cache
def _sessions(calendar: str, first: date, last: date) -> Any:
    return sessions(calendar, first, last)


def told(asked: list[BarsRequest]) -> list[tuple[Any, Any]]:
    """Start and end of each request."""
    return [(request.start, request.end) for request in asked]


def values(bars: pa.Table) -> list[Mapping[str, Any]]:
    """Rows without what depends on when they were fetched."""
    return bars.drop(["fetched_at", "event_id"]).to_pylist()

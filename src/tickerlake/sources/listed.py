"""What is listed on exchanges that open and close: what the sources of such bars have in common.

A day is the exchange's; its bar is `forming` until the session has closed, `provisional` after it,
and `final` once an answer that came after the close of the next session showed it (ADR 0017). That
a session has closed is proven by the exchange's calendar, or by our clock when its day is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake import clock
from tickerlake.calendars import sessions
from tickerlake.errors import ConfigError, MalformedError, TickerlakeError
from tickerlake.records import SCHEMAS
from tickerlake.sources.answers import each_once, joined
from tickerlake.sources.base import Answer, BarsRequest, PriceBasis, empty_answer, select
from tickerlake.sources.columns import malformed, table_of, unnamed_interval
from tickerlake.sources.settings import variable_of_key

__all__ = [
    "INTRADAY_SECONDS",
    "NEW_YORK",
    "Series",
    "end_of",
    "gathered",
    "interval_of",
    "key_of",
    "left_out",
    "moments",
    "ratio",
    "symbol_of",
    "zone_of",
]

NEW_YORK: Final = ZoneInfo("America/New_York")

INTRADAY_SECONDS: Final = {
    "1m": 60, "2m": 120, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "90m": 5400, "4h": 14_400,
}  # fmt: skip

_DAY: Final = timedelta(days=1)
_SKEW: Final = timedelta(seconds=60)
#: No exchange on earth stays closed for longer; older bars need no calendar to be settled.
_CLOSED_DAYS_MAX: Final = 14
_WORDS: Final = np.array(["forming", "provisional", "final"])
_INSTANT: Final = SCHEMAS["bar"].field("ts").type


@dataclass(frozen=True, slots=True)
class Series:
    """What holds for all bars of one answer."""

    provider: str
    symbol: str
    interval: str
    #: The exchange's wall clock.
    zone: ZoneInfo
    #: As `calendars.sessions` takes it; None where nobody knows when it opens.
    calendar: str | None
    #: None where an answer does not say; then its prices cannot be adjusted.
    basis: PriceBasis | None
    #: `fetched_at`, and what the answer is true as of.
    received_at: datetime
    as_of: datetime
    currency: str | None = None
    instrument_type: str | None = None

    def days(self, dates: pa.Array, columns: Mapping[str, pa.Array]) -> pa.Table:
        """Bars of days, weeks or months, from the session dates (date32) of their rows.

        A week's or month's row may be dated by any of its days. Rows without any price are left
        out; of two rows of one key the later date counts, or the later row.
        """
        order = pc.sort_indices(dates)  # stable, so that the later of two equal rows stays later
        dates, columns = dates.take(order), {n: c.take(order) for n, c in columns.items()}
        starts = dates
        if self.interval in ("1wk", "1mo"):
            starts = pc.cast(pc.floor_temporal(dates, unit=_UNITS[self.interval]), pa.date32())
        told = {
            **columns,
            "ts": starts.cast(pa.timestamp("us")).cast(_INSTANT),
            "session_date": starts,
            "session": "regular",
            "state": self._day_states(starts),
        }
        return self._bars(told, starts)

    def intraday(self, starts: pa.Array, columns: Mapping[str, pa.Array]) -> pa.Table:
        """Bars from their starts (timestamp[us, UTC]); what lies outside sessions is `extended`."""
        order = pc.sort_indices(starts)
        starts, columns = starts.take(order), {n: c.take(order) for n, c in columns.items()}
        local = pc.local_timestamp(starts.cast(pa.timestamp("us", tz=str(self.zone))))
        dates = local.cast(pa.date32(), safe=False)
        over = _micros(starts) + INTRADAY_SECONDS[self.interval] * 1_000_000 <= _micro(self.as_of)
        days = _days(dates)
        ranks = self._ranks(days, days)
        # A session runs on while its earlier bars are over; after it, a late bar may still run.
        ranks = np.where(over, np.maximum(ranks, 1), 0)
        told = {
            **columns,
            "ts": starts,
            "session_date": dates,
            "session": self._sessions(starts, local, dates),
            "state": pa.array(_WORDS[ranks], pa.string()),
        }
        return self._bars(told, dates)

    def events(self, days: pa.Array, cash: pa.Array, factor: pa.Array) -> pa.Table:
        """Corporate actions from the rows of their ex-dates.

        Args:
            days: The rows' dates.
            cash: What was paid for a share; 0 and null are nothing.
            factor: New shares for an old one; 1, 0 and null are no split.
        """
        none = pa.scalar(False)
        paid = pc.indices_nonzero(pc.coalesce(pc.not_equal(cash, 0.0), none))
        is_split = pc.and_(pc.not_equal(factor, 1.0), pc.greater(factor, 0.0))
        split = pc.indices_nonzero(pc.coalesce(is_split, none))
        parts = [ratio(value) for value in factor.take(split).to_pylist()]
        ex_dates = pa.concat_arrays([days.take(paid), days.take(split)])
        no_parts, no_cash = [None] * len(paid), pa.nulls(len(split), pa.float64())
        told = {
            "provider": self.provider,
            "symbol": self.symbol,
            "currency": self.currency,
            "fetched_at": self.received_at,
            "ts": ex_dates.cast(pa.timestamp("us")).cast(_INSTANT),
            "ex_date": ex_dates,
            "action": pa.array(["dividend"] * len(paid) + ["split"] * len(split), pa.string()),
            "amount": pa.concat_arrays([cash.take(paid), no_cash]),
            "numerator": pa.array([*no_parts, *(new for new, _ in parts)], pa.float64()),
            "denominator": pa.array([*no_parts, *(old for _, old in parts)], pa.float64()),
        }
        table = table_of("corporate_action", told, len(ex_dates))
        return table.sort_by([("ex_date", "ascending"), ("action", "ascending")])

    def _bars(self, told: Mapping[str, Any], dates: pa.Array) -> pa.Table:
        bases = {"raw": dates, None: None}
        common = {
            "provider": self.provider,
            "symbol": self.symbol,
            "interval": self.interval,
            "currency": self.currency,
            "instrument_type": self.instrument_type,
            "fetched_at": self.received_at,
            # Adjusted prices hold the splits up to the day of the answer.
            "split_basis": bases.get(self.basis, self.as_of.astimezone(self.zone).date()),
        }
        bars = table_of("bar", {**common, **told}, len(dates))
        empty = pc.and_(*(pc.is_null(bars[name]) for name in ("open", "close")))
        empty = pc.and_(empty, pc.and_(*(pc.is_null(bars[name]) for name in ("high", "low"))))
        return each_once(bars.filter(pc.invert(empty)))

    def _day_states(self, starts: pa.Array) -> pa.Array:
        days = _days(starts)
        if self.interval == "1wk":
            return pa.array(_WORDS[self._ranks(days + 6, days)], pa.string())
        if self.interval == "1mo":
            months = days.astype("datetime64[D]").astype("datetime64[M]") + 1
            last = months.astype("datetime64[D]").astype(np.int64) - 1
            return pa.array(_WORDS[self._ranks(last, days)], pa.string())
        return pa.array(_WORDS[self._ranks(days, days)], pa.string())

    def _ranks(
        self, last: npt.NDArray[np.int64], answered: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """By position in `_WORDS`, from each bar's last day, and the days that have bars."""
        ranks = np.full(len(last), 2)
        today = self.as_of.astimezone(self.zone).date()
        first_open = _number(today) - _CLOSED_DAYS_MAX
        for day in np.unique(last[last >= first_open]):
            later = answered[np.searchsorted(answered, day, side="right") :][:1]
            ranks[last == day] = self._rank(_date(day), _date(later[0]) if len(later) else None)
        return ranks

    def _rank(self, day: date, later: date | None) -> int:
        if not self._closed(day):
            return 0
        if later is not None:
            return 1 + self._closed(later)
        if self.calendar is None:
            return 1  # without proof, the next session has not closed
        following = sessions(self.calendar, day + _DAY, day + _CLOSED_DAYS_MAX * _DAY)
        return 1 + bool(following and following[0].close <= self.as_of)

    def _closed(self, day: date) -> bool:
        """Whether a session of this date is over."""
        if self.as_of.astimezone(self.zone).date() > day:
            return True
        if self.calendar is None:
            return False
        found = sessions(self.calendar, day, day)
        return bool(found) and found[0].close <= self.as_of

    def _sessions(self, starts: pa.Array, local: pa.Array, dates: pa.Array) -> pa.Array | str:
        if self.calendar is None or not len(starts):
            return "regular"
        bounds = pc.min_max(dates).as_py()
        known = sessions(self.calendar, bounds["min"], bounds["max"])
        if not known:
            return pa.repeat(pa.scalar("extended"), len(starts))
        opens = np.array([_micro(session.open) for session in known])
        closes = np.array([_micro(session.close) for session in known])
        stamps = _micros(starts)
        # Regular is what lies in a session with any of its parts: hours need not start with it.
        length = INTRADAY_SECONDS[self.interval]
        latest = np.searchsorted(opens, stamps + length * 1_000_000, side="left") - 1
        inside = (latest >= 0) & (stamps < closes[latest])
        if self.zone == NEW_YORK:
            # Beyond its bounds the calendar takes a whole day for a session.
            minutes = _minutes_of_day(local)
            inside &= (minutes + length // 60 > 9 * 60 + 30) & (minutes < 16 * 60)
        return pa.array(np.where(inside, "regular", "extended"), pa.string())


_UNITS: Final = {"1wk": "week", "1mo": "month"}


def ratio(factor: float) -> tuple[float, float]:
    """New and old shares: 4.0 is 4:1, 0.333333 is 1:3, the fraction that a rounded one means."""
    near = Fraction(factor).limit_denominator(100)
    # Factors are rounded at the sixth digit after the point.
    if near > 0 and abs(float(near) - factor) <= 1e-6 * max(factor, 1.0):
        return float(near.numerator), float(near.denominator)
    return factor, 1.0


def zone_of(exchange: str | None) -> ZoneInfo:
    """The wall clock of an exchange, by the codes that `calendars.calendar_for` takes; else UTC."""
    return ZoneInfo(_ZONES.get(exchange or "", "UTC"))


_ZONES: Final = {
    "US": "America/New_York", "LON": "Europe/London", "TOR": "America/Toronto",
    "VAN": "America/Toronto", "XETRA": "Europe/Berlin", "FRA": "Europe/Berlin",
    "BSE": "Asia/Kolkata", "NSE": "Asia/Kolkata", "SHH": "Asia/Shanghai", "SHZ": "Asia/Shanghai",
    "PAR": "Europe/Paris", "AMS": "Europe/Amsterdam", "SAO": "America/Sao_Paulo",
    "MIL": "Europe/Rome", "STO": "Europe/Stockholm", "WSE": "Europe/Warsaw", "TSE": "Asia/Tokyo",
    "HKG": "Asia/Hong_Kong", "BUD": "Europe/Budapest",
}  # fmt: skip


def moments(
    received_at: datetime | None, answered_at: datetime | None, told_until: datetime | None
) -> tuple[datetime, datetime]:
    """When an answer was received, and as of when it speaks.

    A bare recording does not say when it was received. Then it speaks as of the last thing that
    it tells, unless the story's clock was set: whoever sets it says what time it is.
    """
    known = received_at or answered_at
    received = known or clock.now()
    if known is None and clock.pinned_now() is None and told_until is not None:
        return received, min(received, told_until)
    return received, received


def gathered(answers: Iterable[Answer], request: BarsRequest) -> Answer:
    """The answers of one request's parts as one; one that failed after others is `missing`.

    Raises:
        TickerlakeError: What the first part raised.
    """
    got: list[Answer] = []
    missing: tuple[str, ...] = ()
    try:
        got.extend(answers)
    except TickerlakeError as error:
        rows = [answer.bars for answer in got if answer.bars.num_rows]
        if not rows:
            raise
        # What came is kept: asking for all of it again would only meet the limit again.
        part = f"{request.symbol} {request.interval} after {rows[-1]['ts'][-1].as_py():%F %R}Z"
        missing = (f"{part}: {error.problem} ({error.todo})",)
    if not got:
        return replace(empty_answer(), notes=("the range lies in the future",))
    whole = joined(got)
    bars = select(whole.bars, request)
    return replace(whole, bars=bars, missing=(*whole.missing, *missing))


def interval_of(starts: pa.Array, told: str | None, provider: str) -> str:
    """How long intraday bars are: as told, or the shortest distance of two.

    Raises:
        MalformedError: Neither is an interval that we know, or bars lie closer than told.
    """
    steps = np.diff(np.unique(_micros(starts))) // 1_000_000
    shortest = int(steps.min()) if len(steps) else 0
    if told is None:
        told = next((n for n, length in INTRADAY_SECONDS.items() if length == shortest), None)
    if told is None or told not in INTRADAY_SECONDS:
        raise unnamed_interval(provider, told or (f"{shortest:,} s" if shortest else None))
    # One odd distance is no proof: a bar may have been cut by the close.
    if len(steps) > 1 and shortest < INTRADAY_SECONDS[told]:
        raise malformed(provider, "its times", f"bars of {told}", f"{shortest} s apart")
    return told


def left_out(bars: pa.Table, rows: int, series: Series) -> tuple[str, ...]:
    """A note of the rows that became no bars: nothing of a provider's vanishes silently."""
    gone = rows - bars.num_rows
    if not gone:
        return ()
    what = "1 row" if gone == 1 else f"{gone:,} rows"
    return (f"{series.symbol} {series.interval}: {what} without prices, or of a bar told twice",)


def end_of(day: date, zone: ZoneInfo) -> datetime:
    """The instant at which a day is over."""
    return datetime.combine(day + _DAY, time(), zone).astimezone(UTC)


def symbol_of(symbol: str | None, provider: str) -> str:
    """The symbol of an answer that does not say whose it is.

    Raises:
        MalformedError: Nobody says.
    """
    if not symbol:
        raise MalformedError(
            f"{provider}'s answer does not say whose bars these are.",
            expected="a symbol told beside it",
            found="none",
            todo="name it: --symbol",
        )
    return symbol


def key_of(key: str | None, source: str, where: str) -> str:
    """The key that a source needs.

    Raises:
        ConfigError: There is none; names the variable.
    """
    if not key:
        variable = variable_of_key(source)
        raise ConfigError(
            f"The source {source!r} needs a key.",
            expected=f"{variable}, {variable}_FILE, or sources.{source}.api_key in the keyring",
            found="none of them",
            todo=f"get a key at {where}, and export {variable}=…",
        )
    return key


def _micros(instants: pa.Array) -> npt.NDArray[np.int64]:
    found: npt.NDArray[np.int64] = instants.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return found


def _micro(instant: datetime) -> int:
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _minutes_of_day(local: pa.Array) -> npt.NDArray[np.int64]:
    found: npt.NDArray[np.int64] = (
        local.cast(pa.int64()).to_numpy(zero_copy_only=False) // 60_000_000 % 1440
    )
    return found


def _days(dates: pa.Array) -> npt.NDArray[np.int64]:
    found: npt.NDArray[np.int64] = dates.cast(pa.int32()).to_numpy(zero_copy_only=False)
    return found.astype(np.int64)


def _number(day: date) -> int:
    return (day - date(1970, 1, 1)).days


def _date(days: int) -> date:
    return date(1970, 1, 1) + int(days) * _DAY

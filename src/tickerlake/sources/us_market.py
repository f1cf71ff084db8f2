"""The US stock market's clock, for providers whose bars tell nothing but when they start.

Bars, sessions and states are made for whole columns at once. Times are UTC; dates are New York's.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake import clock
from tickerlake.calendars import Session, sessions
from tickerlake.records import SCHEMAS, conform, is_constant
from tickerlake.sources.answers import latest_of_key
from tickerlake.sources.columns import unnamed_interval

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "NEW_YORK",
    "SECONDS",
    "bars_as_told",
    "bars_at_most",
    "guess_interval",
    "instants",
    "new_york_date",
    "new_york_midnight",
    "patience",
    "us_bars",
    "with_prices",
]

NEW_YORK: Final = "America/New_York"
#: Lengths of intraday bars.
SECONDS: Final[Mapping[str, int]] = {
    "1s": 1, "1m": 60, "2m": 120, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "90m": 5400,
    "4h": 14_400,
}  # fmt: skip

_CALENDAR: Final = "XNYS"
_DAY: Final = timedelta(days=1)
#: No exchange on earth stays closed for longer; older bars need no calendar to be settled.
_CLOSED_DAYS_MAX: Final = 14
#: Nobody trades at night, and that is no dead line.
_CLOSED_PATIENCE: Final = 30
#: On New York's wall, in seconds of the day.
_OPEN, _CLOSE = (9 * 60 + 30) * 60, 16 * 3600
_MICROS_OF_DAY: Final = 86_400_000_000
_UTC: Final = pa.timestamp("us", tz="UTC")


def instants(ts_ns: pa.Array) -> pa.Array:
    """Nanoseconds since 1970 as `ts`: UTC, cut to microseconds."""
    return pc.divide(ts_ns.cast(pa.int64()), 1000).cast(_UTC)


def new_york_date(starts: pa.Array) -> pa.Array:
    """The date on New York's wall."""
    return _local(starts).cast(pa.date32(), safe=False)


def new_york_midnight(day: date) -> datetime:
    """When a date begins in New York, in UTC."""
    return datetime.combine(day, time(), ZoneInfo(NEW_YORK)).astimezone(UTC)


def us_bars(
    columns: Mapping[str, pa.Array],
    *,
    provider: str,
    interval: str,
    received_at: datetime,
    delay_seconds: float = 0.0,
    common: Mapping[str, Any] | None = None,
) -> pa.Table:
    """Bars of an answer, each key once (the last told counts), in order of symbol and time.

    Args:
        columns: `symbol`, `start` (the provider's stamp, UTC), `open`, `high`, `low`, `close` and
            `volume`, all of one length.
        provider: Who tells them.
        interval: How long they are.
        received_at: When the answer came: what bars are by then (ADR 0017).
        delay_seconds: How much later than the market the provider is.
        common: Further columns with one value each. Without `split_basis`, prices are as traded.
    """
    bars = bars_as_told(
        columns,
        provider=provider,
        interval=interval,
        received_at=pa.repeat(pa.scalar(received_at, _UTC), len(columns["start"])),
        state="final",
        common=common,
    )
    as_of = received_at - timedelta(seconds=delay_seconds)
    place = bars.schema.get_field_index("state")
    states = _states(bars["ts"], bars["session_date"], interval, as_of)
    bars = bars.set_column(place, bars.schema.field(place), states)
    stamps = bars["ts"].cast(pa.int64()).to_numpy()
    if is_constant(bars["symbol"].combine_chunks()) and (stamps[1:] > stamps[:-1]).all():
        return bars  # as nearly all answers come: nothing to sort, nothing twice
    order = [("symbol", "ascending"), ("ts", "ascending")]
    return latest_of_key(bars, "bar").sort_by(order)


def with_prices(
    columns: Mapping[str, pa.Array],
) -> tuple[Mapping[str, pa.Array], tuple[str, ...]]:
    """The columns without rows that have no price at all, and a note of those."""
    if not columns:
        return columns, ()
    known = pc.is_valid(columns["open"])
    for name in ("high", "low", "close"):
        known = pc.or_(known, pc.is_valid(columns[name]))
    gone = len(known) - (pc.sum(known).as_py() or 0)
    if not gone:
        return columns, ()
    note = f"{gone:,} {'row' if gone == 1 else 'rows'} without prices"
    return {name: column.filter(known) for name, column in columns.items()}, (note,)


def bars_as_told(
    columns: Mapping[str, pa.Array],
    *,
    provider: str,
    interval: str,
    received_at: pa.Array,
    state: str,
    common: Mapping[str, Any] | None = None,
) -> pa.Table:
    """As `us_bars`, but all of them, in their order, of one state, each received by itself."""
    starts, count = columns["start"].cast(_UTC), len(columns["start"])
    dates = new_york_date(starts)
    if interval in SECONDS:
        ts, words = starts, _session_words(starts, SECONDS[interval])
    else:
        dates = _anchors(dates, interval)
        ts = dates.cast(pa.timestamp("us")).cast(_UTC)
        words = pa.repeat("regular", count)
    schema = SCHEMAS["bar"]
    told = {
        "currency": "USD",
        **(common or {}),
        "provider": provider,
        "interval": interval,
        "state": state,
    }
    made = {
        **{name: values for name, values in columns.items() if name != "start"},
        "fetched_at": received_at,
        "ts": ts,
        "session_date": dates,
        "session": words,
        "split_basis": dates,
        **{name: _all(value, schema.field(name).type, count) for name, value in told.items()},
    }
    return conform(pa.table(made), "bar")


def patience(seconds: float) -> float:
    """How long a socket may be silent now: much longer while the exchange is closed."""
    now = clock.now()
    session = _session_of(now.astimezone(ZoneInfo(NEW_YORK)).date())
    is_open = session is not None and (
        session.open + timedelta(seconds=seconds) <= now < session.close
    )
    return seconds if is_open else seconds * _CLOSED_PATIENCE


@functools.lru_cache(maxsize=4)
def _session_of(day: date) -> Session | None:
    return next(iter(sessions(_CALENDAR, day, day)), None)


def bars_at_most(first: datetime, last: datetime, interval: str) -> int:
    """How many bars of one symbol may lie between two instants: trading is from 4:00 to 20:00."""
    days = (last - first).days + 1
    weekdays = days * 5 // 7 + 2
    if interval in SECONDS:
        seconds = min(weekdays * 16 * 3600.0, (last - first).total_seconds())
        return int(seconds / SECONDS[interval]) + 1
    return weekdays if interval == "1d" else days // _LONG_DAYS[interval] + 2


_LONG_DAYS: Final = {"1wk": 7, "1mo": 28, "3mo": 89}


def guess_interval(starts: pa.Array, *, provider: str) -> str:
    """What bars of one symbol are, where nobody says: by their stamps.

    Raises:
        MalformedError: The stamps do not show it.
    """
    micros = np.unique(starts.cast(pa.int64()).to_numpy())
    local = _local(pa.array(micros).cast(_UTC)).cast(pa.int64()).to_numpy()
    if not (local % _MICROS_OF_DAY).any():
        return _guess_long(local // _MICROS_OF_DAY)
    steps = np.diff(micros) // 1_000_000
    shortest = int(steps.min()) if len(steps) else 0
    found = {seconds: name for name, seconds in SECONDS.items()}.get(shortest)
    if found is None:
        minutes, seconds = divmod(shortest, 60)
        told = f"{seconds} seconds" if seconds else f"{minutes} minutes"
        raise unnamed_interval(provider, told if shortest else None)
    return found


def _guess_long(days: npt.NDArray[np.int64]) -> str:
    """Months begin on their first day, weeks on one weekday; all else is days. Days since 1970."""
    steps = np.diff(days)
    if not len(steps):
        return "1d"
    firsts = days.astype("datetime64[D]")
    months = firsts.astype("datetime64[M]")
    if (firsts == months.astype("datetime64[D]")).all():
        return "3mo" if not np.diff(months.astype(np.int64)).min() % 3 else "1mo"
    return "1wk" if not (steps % 7).any() else "1d"


def _all(value: object, kind: pa.DataType, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, kind), count)


def _local(starts: pa.Array) -> pa.Array:
    return pc.local_timestamp(starts.cast(pa.timestamp("us", tz=NEW_YORK)))


def _anchors(dates: pa.Array, interval: str) -> pa.Array:
    """The first day of each period: weeks start on Monday, also those stamped on Sunday."""
    days = dates.cast(pa.int32()).to_numpy().astype("datetime64[D]")
    if interval == "1wk":
        # 1970-01-05 was a Monday; a Sunday belongs to the week that follows.
        number = days.astype(np.int64) - 4
        days = ((number + 1) // 7 * 7 + 4).astype("datetime64[D]")
    elif interval in ("1mo", "3mo"):
        step = 3 if interval == "3mo" else 1
        months = days.astype("datetime64[M]").astype(np.int64) // step * step
        days = months.astype("datetime64[M]").astype("datetime64[D]")
    return pa.array(days)


def _last_days(dates: pa.Array, interval: str) -> npt.NDArray[Any]:
    """The last day of each period, days since 1970."""
    first = dates.cast(pa.int32()).to_numpy().astype("datetime64[D]")
    if interval == "1wk":
        return first.astype(np.int64) + 6
    if interval in ("1mo", "3mo"):
        months = first.astype("datetime64[M]") + (3 if interval == "3mo" else 1)
        return months.astype("datetime64[D]").astype(np.int64) - 1
    return first.astype(np.int64)


def _states(ts: pa.Array, dates: pa.Array, interval: str, as_of: datetime) -> pa.Array:
    """`final` once the session after has closed, `provisional` once its own has (ADR 0017)."""
    last = _last_days(dates, interval)
    if not len(last):
        return pa.array([], pa.string())
    today = as_of.date()
    if (today - date(1970, 1, 1)).days - int(last.max()) > _CLOSED_DAYS_MAX:
        return pa.repeat("final", len(last))
    near = sessions(_CALENDAR, today - _CLOSED_DAYS_MAX * _DAY, today + _CLOSED_DAYS_MAX * _DAY)
    closed = max(_number(session.date) for session in near if session.close <= as_of)
    upcoming = min(_number(session.date) for session in near if session.close > as_of)
    over = last < upcoming
    if interval in SECONDS:
        ends = ts.cast(pa.int64()).to_numpy() + SECONDS[interval] * 1_000_000
        over = ends <= int(as_of.timestamp() * 1_000_000)
    words = np.where(last < closed, "final", np.where(over, "provisional", "forming"))
    return pa.array(words, pa.string())


def _number(day: date) -> int:
    return (day - date(1970, 1, 1)).days


def _session_words(starts: pa.Array, length_seconds: int) -> pa.Array:
    """`regular` where any part of the bar lies between open and close, else `extended`."""
    if not len(starts):
        return pa.array([], pa.string())
    local = _local(starts).cast(pa.int64()).to_numpy()
    days, second = local // _MICROS_OF_DAY, local % _MICROS_OF_DAY // 1_000_000
    closes = np.full(len(days), _CLOSE)
    first, last = (date(1970, 1, 1) + int(day) * _DAY for day in (days.min(), days.max()))
    if (second >= 12 * 3600).any():
        for day, close in _early_closes(first, last).items():
            closes[days == day] = close
    regular = (second + length_seconds > _OPEN) & (second < closes)
    return pa.array(np.where(regular, "regular", "extended"), pa.string())


def _early_closes(first: date, last: date) -> dict[int, int]:
    """Days that close before 16:00, and the second when: none outside the calendar's bounds."""
    known = sessions(_CALENDAR, first, last)
    ends = pa.array([session.close for session in known if session.close - session.open < _DAY])
    if not len(ends):
        return {}
    local = _local(ends.cast(_UTC)).cast(pa.int64()).to_numpy()
    days, second = local // _MICROS_OF_DAY, local % _MICROS_OF_DAY // 1_000_000
    early = second < _CLOSE
    return dict(zip(days[early].tolist(), second[early].tolist(), strict=True))

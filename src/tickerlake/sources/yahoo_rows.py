"""The rows of one chart, cleaned: each oddity that the recordings show has its function here.

Rows are numpy columns. A function that drops or folds rows returns the rest and a note for the
user; nothing disappears without one.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from tickerlake.sources.answers import first_day
from tickerlake.sources.yahoo_market import Market, closed_days
from tickerlake.sources.yahoo_shape import STAMPS, epoch, items, mapping, misshapen

__all__ = ["Cleaning", "Dates", "Rows", "read_rows", "runs"]

_PRICES: Final = ("open", "high", "low", "close")
_MINUTES: Final = {"1m": 1, "2m": 2, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "90m": 90}
#: Clocks of the provider and ours within this count as the same.
_SKEW_SECONDS: Final = 60
_DAY: Final = "datetime64[D]"

T = TypeVar("T", bound=np.generic)
Dates = npt.NDArray[np.datetime64]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Columns of one chart, in order of stamp. Missing numbers are NaN; prices are (n, 4)."""

    stamps: npt.NDArray[np.int64]
    prices: npt.NDArray[np.float64]
    volume: npt.NDArray[np.float64]
    adjusted: npt.NDArray[np.float64]
    #: The row carries the live stamp: it belongs to the session that runs or ended last.
    live: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.stamps)

    def where(self, keep: npt.NDArray[Any]) -> Rows:
        """Only some rows: a mask, or positions."""
        return Rows(
            self.stamps[keep],
            self.prices[keep],
            self.volume[keep],
            self.adjusted[keep],
            self.live[keep],
        )

    def is_flat(self) -> npt.NDArray[np.bool_]:
        """Rows without volume whose four prices are one."""
        quiet = np.nan_to_num(self.volume) == 0
        return quiet & (self.prices == self.prices[:, :1]).all(axis=1)


def read_rows(result: Mapping[str, Any], market: Market, interval: str) -> Rows:
    """The columns as they came; no `timestamp` and an empty `quote` are no rows.

    Raises:
        MalformedError: Columns of different lengths, or values that are no numbers.
    """
    indicators = mapping(result.get("indicators"), "indicators")
    quote = _first(indicators, "quote")
    columns = {name: items(quote.get(name), name) for name in (*_PRICES, "volume")}
    columns["adjclose"] = items(_first(indicators, "adjclose").get("adjclose"), "adjclose")
    stamps = items(result.get("timestamp"), "timestamp")
    try:
        times = _array(stamps, np.int64)
        numbers = {
            name: _array(told, np.float64) if told else np.full(len(times), np.nan)
            for name, told in columns.items()
        }
    except (TypeError, ValueError, OverflowError) as error:
        raise misshapen("indicators", "columns of numbers", error) from error
    for name, values in numbers.items():
        if values.shape != (len(stamps),):
            raise misshapen(name, f"{len(stamps)} values, as many as timestamps", values.size)
    if len(times) and (int(times.min()) not in STAMPS or int(times.max()) not in STAMPS):
        raise misshapen("timestamp", "epoch seconds", stamps[:3])
    rows = Rows(
        stamps=times,
        prices=np.stack([numbers[name] for name in _PRICES]).T,  # each column in one piece
        volume=numbers["volume"],
        adjusted=numbers["adjclose"],
        live=np.zeros(len(times), dtype=bool),
    )
    if (times[1:] < times[:-1]).any():
        rows = rows.where(np.argsort(times, kind="stable"))
    return replace(rows, live=_live(rows.stamps, market, interval))


def _array(told: list[Any], type_: type[T]) -> npt.NDArray[T]:
    """Numbers as a column; null is NaN.

    Raises:
        TypeError, ValueError, OverflowError: Something else among them.
    """
    try:  # A third of what numpy needs, for it asks every value what it is.
        return np.frombuffer(struct.pack(f"{len(told)}{np.dtype(type_).char}", *told), type_)
    except struct.error:
        column = np.array(told, dtype=type_)
    if column.ndim != 1:
        raise ValueError("lists inside a list")
    return column


def runs(values: npt.NDArray[T]) -> tuple[npt.NDArray[T], npt.NDArray[np.int64]]:
    """Values without those that repeat the one before them, and how often each stands."""
    changes = (np.flatnonzero(values[1:] != values[:-1]) + 1).tolist()
    edges = np.array([0, *changes, len(values)] if len(values) else [0])
    return values[edges[:-1]], edges[1:] - edges[:-1]


def _first(indicators: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Yahoo lists one object where it gives any."""
    told = items(indicators.get(name), f"indicators.{name}")
    return mapping(told[0], f"indicators.{name}[0]") if told else {}


def _live(stamps: npt.NDArray[np.int64], market: Market, interval: str) -> npt.NDArray[np.bool_]:
    live = stamps == (-1 if market.last_trade is None else market.last_trade)
    if interval in _MINUTES:
        return live | (stamps % 60 != 0)
    is_recent = market.last_trade is not None and abs(market.last_trade - stamps[-1:]) < 86_400
    if len(stamps) > 1 and not live[-1] and is_recent:
        # Stamped at an hour of its own: no session's open.
        hours = {market.local(int(at)).time() for at in stamps[-30:-1]}
        last = market.local(int(stamps[-1])).time()
        live[-1] = last not in hours and last.hour + last.minute + last.second > 0
        opening = None if market.open is None else market.local(market.open).time()
        live[-1] &= last != opening
    return live


class Cleaning:
    """One pass over the rows of an answer, step by step, with its notes."""

    def __init__(
        self, rows: Rows, market: Market, interval: str, periods: Sequence[Period]
    ) -> None:
        self.rows = rows
        self.notes: list[str] = []
        self._market = market
        self._interval = interval
        self._intraday = interval in _MINUTES
        self._starts = np.array([period.start for period in periods], np.int64)
        self._ends = np.array([period.end for period in periods], np.int64)
        self._regular = np.array([period.regular for period in periods], bool)

    def _keep(self, keep: npt.NDArray[np.bool_], why: str) -> None:
        gone = len(keep) - int(np.count_nonzero(keep))
        if gone:
            self.rows = self.rows.where(keep)
            self.notes.append(f"{gone} {'row' if gone == 1 else 'rows'} dropped: {why}")

    def drop_outside(self, period: tuple[int, int] | None, received: int) -> None:
        """Rows outside what was asked for, and rows of the future.

        A live row counts by its session's open. Days and longer may start before the period does,
        and one that starts exactly at its end was asked for (Yahoo gives it: seen).
        """
        self._keep(self.rows.stamps <= received + _SKEW_SECONDS, "of the future")
        if period is None or not len(self.rows):
            return
        stamps = self.rows.stamps.copy()
        opened = self._market.open
        if opened is not None and not self._intraday:
            stamps[self.rows.live & (stamps >= opened)] = opened
        if self._intraday:
            inside = (stamps >= period[0]) & (stamps < period[1])
        else:
            inside = stamps <= period[1]
        self._keep(inside, "outside the range that was asked for")

    def drop_empty(self) -> None:
        """Rows without any price: a minute without trade, or a day that Yahoo has not (yet)."""
        missing = np.isnan(self.rows.prices)
        if missing.any():
            self._keep(np.asarray(~missing.all(axis=1)), "no prices")

    def drop_closing_prints(self) -> None:
        """Intraday rows without volume at or after the close: the close told once more."""
        rows = self.rows
        if not self._intraday or not len(rows) or not len(self._starts):
            return
        quiet = np.flatnonzero(np.isnan(rows.volume) | (rows.volume == 0))
        if not len(quiet):
            return
        latest = self._latest_period(rows.stamps[quiet])
        starts, ends = self._starts[latest], self._ends[latest]
        # Round-the-clock markets have no closing print: their day ends where the next begins.
        closing = (latest >= 0) & (rows.stamps[quiet] >= ends) & (ends - starts < 23 * 3600)
        keep = np.ones(len(rows), bool)
        keep[quiet[closing]] = False
        self._keep(keep, "the closing print")

    def _latest_period(self, stamps: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The position of the period that started last before each stamp; -1 before the first."""
        return np.searchsorted(self._starts, stamps, side="right") - 1

    def _start_of_period(self, stamp: int) -> int | None:
        """The start of the period that holds a stamp."""
        latest = int(self._latest_period(np.array([stamp]))[0])
        return int(self._starts[latest]) if latest >= 0 and stamp < self._ends[latest] else None

    def drop_placeholders(self) -> None:
        """Flat days at the previous close on which the exchange was certainly closed."""
        rows = self.rows
        if self._intraday or self._interval != "1d" or len(rows) < 2:
            return
        closes = rows.prices[:, 3]
        suspect = rows.is_flat() & (closes == np.concatenate([[np.nan], closes[:-1]]))
        days = [self._market.date_of(stamp) for stamp in rows.stamps[suspect].tolist()]
        closed = closed_days(days, self._market)
        keep = ~suspect
        keep[suspect] = [day not in closed for day in days]
        self._keep(keep, "a placeholder for a day without session")

    def floor_to_grid(self) -> None:
        """Live intraday rows start where their bar does, counted from the session's open."""
        step = _MINUTES.get(self._interval, 0) * 60
        if not step or not self.rows.live.any():
            return
        stamps = self.rows.stamps.copy()
        for at in np.flatnonzero(self.rows.live):
            stamp = int(stamps[at])
            start = self._start_of_period(stamp)
            if start is None:
                start = int(stamps[at - 1]) if at else stamp - stamp % step
            stamps[at] = start + (stamp - start) // step * step
        self.rows = replace(self.rows, stamps=stamps)

    def dates(self) -> Dates:
        """The session date of each row; of weeks and longer, the period's first day."""
        rows, market = self.rows, self._market
        if self._intraday:
            return self._intraday_dates()
        days: list[date] = []
        for stamp, live in zip(rows.stamps.tolist(), rows.live, strict=True):
            # A settled row keeps its own first day, on the anchor or not: the caller judges.
            day = market.date_of_live(stamp) if live else market.date_of(stamp)
            days.append(self._first_day(day, days[-1] if days else None) if live else day)
        return np.array(days, _DAY)

    def _first_day(self, day: date, before: date | None) -> date:
        """The first day of the period that a live row is in, `before` being the last settled."""
        is_weekly = self._interval in ("5d", "1wk")
        if is_weekly and before is not None and timedelta(0) <= day - before < timedelta(days=7):
            return before  # Yahoo starts weeks on Monday, unless asked from another day on
        return first_day(day, self._interval)

    def _intraday_dates(self) -> Dates:
        stamps = self.rows.stamps
        if self._market.instrument_type not in ("future", "currency") and len(self._starts):
            latest = self._latest_period(stamps)
            inside = (latest >= 0) & (stamps < self._ends[latest])
            if inside.all():
                days = [self._market.date_of(start) for start in self._starts.tolist()]
                return np.array(days, _DAY)[latest]
            stamps = np.where(inside, self._starts[latest], stamps)
        # Zones differ by quarters of an hour, so no quarter holds two dates.
        quarters, lengths = runs(stamps // 900)
        days = [self._market.date_of(quarter * 900) for quarter in quarters.tolist()]
        return np.array(days, _DAY).repeat(lengths)

    def merge_doubles(self, keys: npt.NDArray[Any]) -> npt.NDArray[np.int64] | slice:
        """One row a key. Days keep the later; others fold the live row into the one before it.

        Returns the positions, among `keys`, of the rows that are left.
        """
        rows = self.rows
        if (keys[1:] > keys[:-1]).all() or len(np.unique(keys)) == len(keys):
            return slice(None)
        first: dict[object, int] = {}
        prices, volume = rows.prices.copy(), rows.volume.copy()
        adjusted, live = rows.adjusted.copy(), rows.live.copy()
        for at, key in enumerate(keys.tolist()):
            into = first.setdefault(key, at)
            if into == at:
                continue
            if self._interval == "1d" or not rows.live[at]:
                first[key] = at
                continue
            live[into] = True
            if not _holds(prices[into], prices[at]):
                prices[into] = _folded(prices[into], prices[at])
                volume[into] = np.nansum([volume[into], volume[at]])
                adjusted[into] = adjusted[at]
        left = np.array(sorted(first.values()), dtype=np.int64)
        doubles = len(keys) - len(left)
        if doubles:
            self.rows = Rows(rows.stamps, prices, volume, adjusted, live).where(left)
            self.notes.append(f"{doubles} {'row' if doubles == 1 else 'rows'} of a bar told twice")
        return left

    def extended(self) -> npt.NDArray[np.bool_]:
        """The rows outside the regular hours, by the trading periods that the answer lists."""
        if not self._intraday or self._regular.all():
            return np.zeros(len(self.rows), bool)
        latest = self._latest_period(self.rows.stamps)
        inside = (latest >= 0) & (self.rows.stamps < self._ends[latest]) & self._regular[latest]
        return ~inside


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """One stretch of trading, epoch seconds, end excluded."""

    start: int
    end: int
    regular: bool

    @classmethod
    def listed(cls, meta: Mapping[str, Any]) -> list[Period]:
        """`tradingPeriods`: lists of lists, or one such for each of pre, regular and post."""
        told = meta.get("tradingPeriods")
        named = told if isinstance(told, Mapping) else {"regular": told}
        found = []
        for name, days in named.items():
            for day in items(days, f"tradingPeriods.{name}"):
                for item in day if isinstance(day, list) else [day]:
                    part = mapping(item, f"tradingPeriods.{name}")
                    start, end = (epoch(part.get(key), key) for key in ("start", "end"))
                    if start is not None and end is not None:
                        found.append(cls(start, end, name == "regular"))
        return sorted(found)


def _holds(bar: npt.NDArray[np.float64], live: npt.NDArray[np.float64]) -> bool:
    """Whether a bar has taken the live row in already: same close, and its range inside."""
    return bool(bar[3] == live[3] and bar[1] >= live[1] and bar[2] <= live[2])


def _folded(bar: npt.NDArray[np.float64], live: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Open, high, low, close of a bar and of the part of it that was told separately."""
    opened = live[0] if np.isnan(bar[0]) else bar[0]
    closed = bar[3] if np.isnan(live[3]) else live[3]
    return np.array([opened, np.fmax(bar[1], live[1]), np.fmin(bar[2], live[2]), closed])

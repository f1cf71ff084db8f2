"""How far the records of each symbol have come, and so where a hole in them begins.

Providers lag, some of them by more than they say, and symbols are traded at different times: so
the newest record of the symbol itself says where its hole begins, not the time at which the line
was last heard. That time bounds it: a symbol that is seldom traded is not asked for from its
last trade on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
import pyarrow as pa

from tickerlake.records import Kind
from tickerlake.sources.holes import Hole
from tickerlake.sources.live import Suspicion

__all__ = ["Reach", "Series"]

#: How much more than its stated delay a feed may lag.
_LAG_MAX: Final = timedelta(minutes=15)
#: Records out of order, and bars that are mended: a hole begins so long before the newest record.
_MARGIN: Final = timedelta(seconds=5)
_BAR_MARGIN: Final = timedelta(minutes=3)
#: Clocks differ; a time further ahead is nonsense, and would hide what is missing.
_SKEW_MAX: Final = timedelta(minutes=1)
_MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Series(msgspec.Struct, frozen=True, array_like=True):
    """Records that come one after the other: of one symbol, of bars of one length."""

    kind: Kind
    symbol: str
    #: Of bars: their length.
    interval: str | None = None


class Reach:
    """The newest record of each series that was asked for.

    Where nobody names symbols (a replay, or `*`), those that were met are taken for asked for.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        kinds: Sequence[Kind],
        *,
        delay_seconds: float = 0.0,
        newest: Mapping[Series, datetime | None] | None = None,
    ) -> None:
        self._kinds = tuple(kinds)
        self._delay = timedelta(seconds=delay_seconds)
        self._symbols = () if "*" in symbols else tuple(symbols)
        #: Times are µs since 1970.
        self._newest: dict[Series, int | None] = {}
        #: What came before it was never listened to.
        self._oldest: dict[Series, int] = {}
        #: How far the provider's clock is before ours, in µs.
        self._ahead = 0
        self.learn(newest or {})

    def take(self, kind: Kind, table: pa.Table, received_at: datetime) -> None:
        """Records have come."""
        by = ["symbol", "interval"] if kind == "bar" else ["symbol"]
        found = table.group_by(by).aggregate([("ts", "min"), ("ts", "max")])
        received = _micros(received_at)
        latest = received + _SKEW_MAX // _MICROSECOND
        symbols = found["symbol"].to_pylist()
        intervals = found["interval"].to_pylist() if kind == "bar" else [None] * len(symbols)
        # As numbers: a time of Python's for each symbol of a whole market would be dear.
        times = (found[name].cast(pa.int64()).to_pylist() for name in ("ts_min", "ts_max"))
        for symbol, interval, oldest, newest in zip(symbols, intervals, *times, strict=True):
            if newest is None or symbol is None:
                continue
            series, at = Series(kind, symbol, interval), min(newest, latest)
            before = self._newest.get(series)
            if before is None:
                self._oldest[series] = min(oldest, latest)
            if before is None or at > before:
                self._newest[series] = at
                self._ahead = max(self._ahead, at - received)

    def learn(self, newest: Mapping[Series, datetime | None]) -> None:
        """What came before this run; what this one has heard itself stands."""
        earlier = {one: None if at is None else _micros(at) for one, at in newest.items()}
        self._newest = {**earlier, **self._newest}

    def series(self) -> dict[Series, datetime | None]:
        """Every series, and the time of its newest record; None where none has come."""
        found = {one: None if at is None else _instant(at) for one, at in self._newest.items()}
        # Some providers tell symbols in other letters than they are asked in.
        met = {(series.kind, series.symbol.casefold()) for series in found}
        for kind in self._kinds:
            interval = self._interval() if kind == "bar" else None
            for symbol in self._symbols:
                if (kind, symbol.casefold()) not in met:
                    found[Series(kind, symbol, interval)] = None
        return found

    def holes(self, after: datetime, until: datetime, why: str) -> list[Hole]:
        """One a series: what came is known up to its newest record, and nothing from `after` on."""
        until += timedelta(microseconds=self._ahead)
        return [
            Hole(
                series.symbol,
                series.kind,
                self._start(series, newest, after, until),
                until,
                why,
                series.interval,
            )
            for series, newest in self.series().items()
        ]

    def suspected(self, found: Sequence[Suspicion]) -> list[Hole]:
        """What frames say that is missing."""
        return [
            Hole(
                one.symbol,
                one.kind,
                one.after,
                one.before,
                one.why,
                self._interval() if one.kind == "bar" else None,
            )
            for one in found
        ]

    def _interval(self) -> str:
        """Of bars whose length nobody has said yet: that of others."""
        told = (series.interval for series in self._newest if series.interval is not None)
        return next(told, "1m")

    def _start(
        self, series: Series, newest: datetime | None, after: datetime, until: datetime
    ) -> datetime:
        earliest = after - self._delay - _LAG_MAX
        if newest is None:
            return earliest
        if series.kind == "bar":  # one that runs may be mended, however long it is
            start = min(newest, until) - _BAR_MARGIN
        else:
            start = max(earliest, min(newest, until) - _MARGIN)
        oldest = self._oldest.get(series)
        return start if oldest is None else max(start, min(_instant(oldest), until))


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _instant(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)

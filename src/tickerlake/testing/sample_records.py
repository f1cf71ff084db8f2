"""Sound records in any number, for tests and benchmarks: the same arguments, the same records."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Final

import numpy as np
import pyarrow as pa

from tickerlake.records import conform, with_event_ids

__all__ = ["FETCHED_AT", "sample_bars"]

#: When all sample records were fetched.
FETCHED_AT: Final = datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def sample_bars(
    count: int,
    *,
    symbols: Sequence[str] = ("AAPL", "IBM", "MSFT", "GOOG", "FB", "GBp.L", "BTC-USD"),
    first_day: date = date(2000, 1, 3),
    first: int = 0,
    seconds_apart: int = 86_400,
) -> pa.Table:
    """Daily bars, or closer ones: `first` to `first + count` of an endless row, symbol by symbol.

    Each bar's volume is its number, so a test can tell which ones it has.
    """
    numbers = np.arange(first, first + count)
    times = numbers // len(symbols)
    start = datetime(first_day.year, first_day.month, first_day.day, tzinfo=UTC)
    ts = np.datetime64(int(start.timestamp() * 1e6), "us") + times * np.timedelta64(
        seconds_apart, "s"
    )
    close = np.round(100 + np.sin(numbers / 7) * 50, 2)
    names = pa.array(symbols, pa.string()).take(pa.array(numbers % len(symbols)))
    table = pa.table(
        {
            "provider": pa.repeat(pa.scalar("sample"), count),
            "symbol": names,
            "ts": pa.array(ts, pa.timestamp("us")).cast(pa.timestamp("us", tz="UTC")),
            "fetched_at": pa.repeat(pa.scalar(FETCHED_AT, pa.timestamp("us", tz="UTC")), count),
            "interval": pa.repeat(pa.scalar("1d"), count),
            "session_date": pa.array(ts.astype("datetime64[D]"), pa.date32()),
            "open": close - 0.25,
            "high": close + 1.5,
            "low": close - 1.25,
            "close": close,
            "volume": numbers.astype(np.float64),
            "currency": pa.repeat(pa.scalar("USD"), count),
            "state": pa.repeat(pa.scalar("final"), count),
            "session": pa.repeat(pa.scalar("regular"), count),
            "instrument_type": pa.repeat(pa.scalar("equity"), count),
        }
    )
    return with_event_ids(conform(table, "bar"), "bar")

"""Bars out of the cache, asking nobody: 500 symbols of ten years of days, and one symbol warm.

    python benchmarks/cache_read.py [--quick]

A made-up provider answers once; then every range is held. Processor time of this process alone.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tickerlake import clock
from tickerlake.cache import CachedSource
from tickerlake.records import SCHEMAS, conform
from tickerlake.sources import About, Answer, BarsRequest, Limits, select

LAST = date(2024, 3, 1)


class Made:
    """Settled days of any symbol, counted."""

    name = "made"
    limits = Limits(intervals=("1d",), price_basis="splits")

    def __init__(self, years: int) -> None:
        self.asked = 0
        days = (LAST - timedelta(days=n) for n in range(years * 365))
        self._days = sorted(day for day in days if day.weekday() < 5)

    def bars(self, request: BarsRequest) -> Answer:
        self.asked += 1
        count = len(self._days)
        prices = 100 + np.cumsum(np.random.default_rng(len(request.symbol)).normal(0, 1, count))
        dates = pa.array(self._days, pa.date32())
        same = {
            "provider": self.name, "symbol": request.symbol, "interval": "1d", "state": "final",
            "session": "regular", "currency": "USD", "instrument_type": "equity",
            "fetched_at": clock.now(), "split_basis": LAST,
        }  # fmt: skip
        columns: dict[str, Any] = {
            name: pa.repeat(pa.scalar(value, SCHEMAS["bar"].field(name).type), count)
            for name, value in same.items()
        }
        columns |= {"ts": dates.cast(pa.timestamp("us")).cast(SCHEMAS["bar"].field("ts").type)}
        columns |= {"session_date": dates, "volume": pa.array(np.floor(prices * 1e4))}
        columns |= {name: pa.array(prices + n) for n, name in enumerate(("low", "open", "close"))}
        columns |= {"high": pa.array(prices + 3), "adj_close": pa.array(prices)}
        bars = select(conform(pa.table(columns), "bar"), request)
        actions = SCHEMAS["corporate_action"].empty_table()
        return Answer(bars, actions, about=About(exchange="NYQ", currency="USD"))

    def symbols(self) -> Iterator[str]:
        return iter(())

    def parse(self, payload: bytes, **_: object) -> Answer:
        raise NotImplementedError


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="fewer symbols")
    symbols, years = (50 if options.parse_args().quick else 500), 10
    os.environ["TICKERLAKE_NOW"] = datetime(2024, 3, 2, 12, tzinfo=UTC).isoformat()
    made = Made(years)
    first = LAST - timedelta(days=years * 365)
    requests = [BarsRequest(f"S{n:04}", "1d", first, LAST) for n in range(symbols)]
    with tempfile.TemporaryDirectory() as folder:
        cached = CachedSource(made, Path(folder))
        begun = time.process_time()
        for request in requests:
            cached.bars(request)
        filled = time.process_time() - begun
        cached.close()
        cached, asked = CachedSource(made, Path(folder)), made.asked
        rates, rows = [], 0
        for _ in range(5):
            begun, rows = time.process_time(), 0
            for request in requests:
                rows += cached.bars(request).bars.num_rows
            rates.append(rows / (time.process_time() - begun))
        warm = []
        for _ in range(200):
            begun = time.process_time()
            cached.bars(requests[0])
            warm.append((time.process_time() - begun) * 1000)
        if not made.asked == asked == len(requests):
            raise SystemExit("what is held was asked for again")
        cached.close()
    rate, median = sorted(rates)[2] / 1e6, sorted(warm)[100]
    tell(f"{symbols} symbols x {years} years of days out of the cache ({rows:,} bars), median of 5",
         f"{rate:.2f} M bars per CPU second", "≥ 5 M", rate >= 5)  # fmt: skip
    tell(
        "one of these symbols, warm, median of 200",
        f"{median:.2f} ms of CPU",
        "≤ 5 ms",
        median <= 5,
    )
    tell(
        "the same bars, kept for the first time", f"{rows / filled / 1e6:.2f} M bars per CPU second"
    )


def tell(what: str, figure: str, goal: str | None = None, met: bool | None = None) -> None:
    row = {"name": "cache_read", "what": what, "figure": figure, "goal": goal, "met": met}
    print(json.dumps(row, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    sys.exit(main())

"""Yahoo's 1m answers into bars: bars per CPU second, beside json.loads and pandas.

    python benchmarks/parse_yahoo.py [--quick]

One answer is a week of 390 minutes a day, as the chart API sends it. The goal is 2 million bars per
CPU second; `json.loads` alone, in the same run, is how fast the text itself can be read.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from tickerlake.sources import open_source

GOAL = 2_000_000
OPENS = [datetime(2024, 3, day, 14, 30, tzinfo=UTC) for day in (4, 5, 6, 7, 8)]
RECEIVED = datetime(2024, 3, 11, 12, tzinfo=UTC)


def answer() -> bytes:
    """A week of minutes."""
    starts = [
        int((opened + timedelta(minutes=n)).timestamp()) for opened in OPENS for n in range(390)
    ]
    chance = np.random.default_rng(7)
    closes = 170 + np.cumsum(chance.normal(0, 0.05, len(starts)))
    opened, high, low = closes - 0.01, closes + 0.05, closes - 0.06
    volume = chance.integers(1_000, 900_000, len(starts))
    columns = {"open": opened, "high": high, "low": low, "close": closes, "volume": volume}
    periods = [
        [
            {
                "timezone": "EST",
                "start": int(at.timestamp()),
                "end": int(at.timestamp()) + 23_400,
                "gmtoffset": -18000,
            }
        ]
        for at in OPENS
    ]
    meta = {
        "currency": "USD", "symbol": "ACME", "exchangeName": "NMS", "instrumentType": "EQUITY",
        "firstTradeDate": 345479400, "regularMarketTime": starts[-1] + 60, "gmtoffset": -18000,
        "exchangeTimezoneName": "America/New_York", "priceHint": 2, "dataGranularity": "1m",
        "currentTradingPeriod": {"regular": periods[-1][0]}, "tradingPeriods": periods, "range": "",
    }  # fmt: skip
    result = {
        "meta": meta,
        "timestamp": starts,
        "indicators": {"quote": [{name: values.tolist() for name, values in columns.items()}]},
    }
    document = {"chart": {"result": [result], "error": None}}
    return json.dumps(document, separators=(",", ":")).encode()


def with_pandas(payload: bytes) -> int:
    """What a script of one's own does."""
    result = json.loads(payload)["chart"]["result"][0]
    frame = pd.DataFrame(result["indicators"]["quote"][0])
    frame.index = pd.to_datetime(result["timestamp"], unit="s", utc=True)
    return len(frame)


def rates(works: Sequence[Callable[[bytes], int]], payload: bytes, turns: int) -> list[list[float]]:
    """Bars per CPU second of each, in turns, so that all meet the machine in the same mood."""
    found: list[list[float]] = [[] for _ in works]
    for _ in range(turns):
        for work, rate in zip(works, found, strict=True):
            began = time.process_time()
            bars = sum(work(payload) for _ in range(20))
            rate.append(bars / (time.process_time() - began))
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    turns = 15 if parser.parse_args().quick else 101
    payload = answer()
    source = open_source("yahoo")

    def ours(told: bytes) -> int:
        return source.parse(told, received_at=RECEIVED).bars.num_rows

    def loads(told: bytes) -> int:
        result: dict[str, Any] = json.loads(told)["chart"]["result"][0]
        return len(result["timestamp"])

    found = rates([ours, loads, with_pandas], payload, turns)
    figure, text, frames = (statistics.median(each) for each in found)
    print(
        json.dumps(
            {
                "name": "parse: Yahoo 1m",
                "what": f"{loads(payload):,} bars an answer, into checked Arrow",
                "figure": figure,
                "best": max(found[0]),
                "peer": f"json.loads alone {text:,.0f}; json.loads and pandas {frames:,.0f}",
                "goal": f">= {GOAL:,} bars per CPU second",
                "met": figure >= GOAL,
            }
        )
    )


if __name__ == "__main__":
    main()

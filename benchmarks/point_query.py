"""One symbol's day out of 50M bars in the lake, warm, beside plain files read by DuckDB.

python benchmarks/point_query.py [--quick]

The lake holds a year of minutes of 512 symbols as compaction leaves it: one sorted file a month or
two. Every query goes the whole way: sandbox, newest metadata, look at the stream's tail, files
pruned, answer as Arrow. The peers get the same rows as a collector writes them: one file a day in
the order of arrival, as Parquet and (a hundredth of the symbols) as newline JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tickerlake.lake import Change
from tickerlake.lake.registry import open_lake
from tickerlake.lake.writer import COMPACTED
from tickerlake.query import open_engine
from tickerlake.records import lake_schema
from tickerlake.streams import StreamsSettings, open_stream

GOAL_MS = 15.0
MINUTES = 390
MINUTE_US = 60_000_000
DAY_US = 86_400_000_000
OPEN_US = 1_356_998_400_000_000 + 52_200_000_000  # 2013-01-01 14:30 UTC
ROUNDS = 60


def bars(symbols: list[str], days: np.ndarray) -> pa.Table:
    """Minute bars of some days, day by day, minute by minute, symbol by symbol."""
    count = len(days) * MINUTES * len(symbols)
    rng = np.random.default_rng(int(days[0]))
    minutes = (OPEN_US + days[:, None] * DAY_US + np.arange(MINUTES) * MINUTE_US).ravel()
    ts = np.repeat(minutes, len(symbols))
    # Prices in cents that move a little, each symbol its own way.
    moves = rng.normal(0, 0.02, (len(minutes), len(symbols)))
    close = np.round(100 + moves.cumsum(axis=0), 2).ravel()
    spread = np.round(np.abs(rng.normal(0, 0.02, (2, count))), 2)
    instant = pa.timestamp("us", tz="UTC")
    codes = np.tile(np.arange(len(symbols), dtype=np.int32), len(minutes))
    columns = {
        "kind": constant("bar", count),
        "provider": constant("bench", count),
        "symbol": pa.DictionaryArray.from_arrays(pa.array(codes), symbols).cast(pa.string()),
        "ts": pa.array(ts, instant),
        "event_id": pa.array(rng.integers(-(2**62), 2**62, count)),
        "fetched_at": pa.array(ts + MINUTE_US, instant),
        "interval": constant("1m", count),
        "session_date": pa.array((ts // DAY_US).astype(np.int32)).cast(pa.date32()),
        "open": pa.array(np.round(close + (spread[0] - spread[1]) / 2, 2)),
        "high": pa.array(np.round(close + spread[0], 2)),
        "low": pa.array(np.round(close - spread[1], 2)),
        "close": pa.array(close),
        "volume": pa.array(rng.integers(1, 500, count) * 100.0),
        "currency": constant("USD", count),
        "state": constant("final", count),
        "session": constant("regular", count),
        "instrument_type": constant("equity", count),
        "_stream": constant("0" * 16, count),
        "_partition": constant("0", count),
        "_offset": pa.array(np.arange(count)),
        "_index": pa.array(np.zeros(count, np.int32)),
        "_delivered_at": pa.array(ts + MINUTE_US, instant),
    }
    schema = lake_schema("bar")
    arrays = [columns.get(f.name) for f in schema]
    filled = [
        pa.nulls(count, f.type) if a is None else a for a, f in zip(arrays, schema, strict=True)
    ]
    return pa.table(filled, schema=schema)


def constant(value: str, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(value), count)


def trading_days(count: int) -> np.ndarray:
    """The first weekdays from 2013-01-01 (a Tuesday) on, as days since then."""
    days = np.arange(count * 2)
    return days[(days + 1) % 7 < 5][:count]


def fill(folder: Path, symbols: list[str], days: np.ndarray, json_symbols: int) -> Iterator[str]:
    """Write lake, plain Parquet and JSON; yields what was written, for the progress line."""
    lake = open_lake("./lake", "sqlite:", workspace=folder)
    table = lake.table("bars_log")
    (folder / "parquet").mkdir()
    (folder / "json").mkdir()
    months = (OPEN_US + days * DAY_US).astype("datetime64[us]").astype("datetime64[M]")
    for month in np.unique(months):
        rows = bars(symbols, days[months == month])
        table.commit(table.load(), Change(append=table.write(rows, prefix=COMPACTED)))
        a_day = MINUTES * len(symbols)
        for number in range(rows.num_rows // a_day):
            part = rows.slice(number * a_day, a_day).select(rows.column_names[:18])
            name = f"{month}-{number:02d}"
            pq.write_table(part, folder / "parquet" / f"{name}.parquet")
            few = part.filter(pa.compute.is_in(part["symbol"], pa.array(symbols[:json_symbols])))
            query = f"copy (from few) to '{folder}/json/{name}.json' (format json)"
            connection = duckdb.connect()
            connection.register("few", few)
            connection.execute(query).fetchall()
            connection.close()
        yield f"{month}: {rows.num_rows:,} bars"
    lake.close()


def median_cpu_ms(ask: Callable[[str, int], int], picks: list[tuple[str, int]]) -> float:
    """CPU milliseconds of one query, the median after the first few have warmed everything."""
    times = []
    for symbol, day in picks:
        began = time.process_time()
        found = ask(symbol, day)
        times.append((time.process_time() - began) * 1e3)
        if found != MINUTES:
            raise SystemExit(f"{found} rows of {symbol} on day {day}, not {MINUTES}")
    return statistics.median(times[len(times) // 4 :])


def where(symbol: str, day: int) -> str:
    start = np.datetime64(OPEN_US + day * DAY_US, "us").astype("datetime64[D]")
    return f"symbol = '{symbol}' and ts >= '{start}' and ts < '{start + 1}'"


def measure(folder: Path, symbols: list[str], days: np.ndarray, json_symbols: int) -> list[dict]:
    rng = np.random.default_rng(7)

    def picks(names: list[str], count: int) -> list[tuple[str, int]]:
        return [(str(rng.choice(names)), int(rng.choice(days))) for _ in range(count)]

    lake = open_lake("./lake", "sqlite:", workspace=folder)
    stream = open_stream("embedded:", workspace=folder, settings=StreamsSettings())
    engine = open_engine("duckdb", lake=lake, stream=stream)
    plain = duckdb.connect(config={"python_enable_replacements": False})
    plain.execute("set TimeZone = 'UTC'; set parquet_metadata_cache = true").fetchall()

    def ours(symbol: str, day: int) -> int:
        return len(engine.sql(f"select * from bars where {where(symbol, day)}"))

    def over(relation: str) -> Callable[[str, int], int]:
        return lambda symbol, day: (
            plain.sql(f"select * from {relation} where {where(symbol, day)}")
            .to_arrow_table()
            .num_rows
        )

    count = len(symbols) * len(days) * MINUTES
    figures = {
        "lake": median_cpu_ms(ours, picks(symbols, ROUNDS)),
        "parquet": median_cpu_ms(over(f"'{folder}/parquet/*.parquet'"), picks(symbols, 12)),
        "json": median_cpu_ms(over(f"'{folder}/json/*.json'"), picks(symbols[:json_symbols], 4)),
    }
    engine.close()
    stream.close()
    lake.close()
    json_count = json_symbols * len(days) * MINUTES
    return [
        {
            "name": "point_query",
            "what": f"one symbol, one day out of {count:,} bars, CPU, warm, median of {ROUNDS}",
            "records": count,
            "figure": f"{figures['lake']:.1f} ms",
            "cpu_seconds": round(figures["lake"] / 1e3, 5),
            "peer": f"DuckDB over a plain Parquet file a day: {figures['parquet']:.0f} ms; over "
            f"newline JSON of {json_count:,} of them: {figures['json']:.0f} ms",
            "goal": f"≤ {GOAL_MS:.0f} ms",
            "met": figures["lake"] <= GOAL_MS,
        }
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2M bars instead of 50M")
    quick = parser.parse_args().quick
    symbols = [f"S{number:04d}" for number in range(256 if quick else 512)]
    days = trading_days(20 if quick else 250)
    json_symbols = max(1, len(symbols) // 100)
    with tempfile.TemporaryDirectory() as name:
        for line in fill(Path(name), symbols, days, json_symbols):
            print(line, file=sys.stderr, flush=True)
        for row in measure(Path(name), symbols, days, json_symbols):
            print(json.dumps(row, ensure_ascii=False), flush=True)
            print(f"{row['what']}: {row['figure']}; {row['peer']}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""From published to visible in `bars`: how long until a query sees a record.

python benchmarks/visible_latency.py [--quick]

A publisher puts bars on the embedded stream one by one (each fsynced); at once a reader asks
for that record in `bars` again and again until it is there, over a backlog of 200,000 bars. A
delivery commits all the while, so records move from the tail into the lake under the queries. The
clock starts when `publish` returns; beside it stands when the live reader was told.
"""

from __future__ import annotations

import argparse
import json
import queue
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tickerlake.delivery import DeliverySettings, deliver
from tickerlake.lake.registry import open_lake
from tickerlake.query import open_engine
from tickerlake.query.live import Live
from tickerlake.streams import StreamsSettings, open_stream
from tickerlake.testing.sample_records import sample_bars

GOAL_SECONDS = 1.0
BACKLOG = 200_000
SYMBOLS = [f"S{number:04d}" for number in range(1_000)]


def measure(folder: Path, records: int) -> dict[str, object]:
    lake = open_lake("./lake", "sqlite:", workspace=folder)
    stream = open_stream("embedded:", workspace=folder, settings=StreamsSettings())
    engine = open_engine("duckdb", lake=lake, stream=stream)
    topic = stream.topic("bar")
    topic.publish(sample_bars(BACKLOG, symbols=SYMBOLS))
    stop = threading.Event()
    told: queue.SimpleQueue[float] = queue.SimpleQueue()
    live = Live(stream, ["bar"])
    live.subscribe(lambda *_: told.put(time.perf_counter()))
    visible, pushed = [], []
    with ThreadPoolExecutor(1) as threads:
        settings = DeliverySettings(flush_seconds=2.0)
        delivery = threads.submit(
            deliver, stream, lake, ["bar"], once=False, stop=stop, settings=settings
        )
        cpu_began = time.process_time()
        for number in range(BACKLOG, BACKLOG + records):
            record = sample_bars(1, symbols=SYMBOLS, first=number)
            topic.publish(record)
            began = time.perf_counter()
            where = f"symbol = '{SYMBOLS[number % len(SYMBOLS)]}' and volume = {number}"
            query = f"select count(*) from bars where {where}"
            while not engine.sql(query).table.column(0)[0].as_py():
                pass
            visible.append(time.perf_counter() - began)
            # The live reader may have been faster than the return of `publish`.
            pushed.append(max(0.0, told.get() - began))
        cpu_seconds = time.process_time() - cpu_began
        stop.set()
        delivery.result()
    live.close()
    engine.close()
    stream.close()
    lake.close()
    return figures(visible, pushed, cpu_seconds)


def figures(visible: list[float], pushed: list[float], cpu_seconds: float) -> dict[str, object]:
    p99 = statistics.quantiles(visible, n=100)[98]
    return {
        "name": "visible_latency",
        "what": f"published → visible in `bars`, {len(visible)} records, while delivery commits",
        "records": len(visible),
        "figure": f"p50 {statistics.median(visible) * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms",
        "cpu_seconds": round(cpu_seconds, 2),
        "peer": f"told by the live reader: p50 {statistics.median(pushed) * 1e3:.1f} ms, "
        f"p99 {statistics.quantiles(pushed, n=100)[98] * 1e3:.1f} ms",
        "goal": f"p99 < {GOAL_SECONDS:g} s",
        "met": p99 < GOAL_SECONDS,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer records")
    records = 200 if parser.parse_args().quick else 1000
    with tempfile.TemporaryDirectory() as name:
        row = measure(Path(name), records)
    print(json.dumps(row, ensure_ascii=False), flush=True)
    print(f"{row['what']}: {row['figure']}; {row['peer']}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

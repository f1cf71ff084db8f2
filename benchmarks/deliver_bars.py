"""Embedded log → lake, sorted, exactly once: records per CPU second and peak memory.

python benchmarks/deliver_bars.py [--quick] [--records N]

Peers in the same run: the plain way (one JSON document and one Python object a record, then
Parquet: no sorting, no offsets, nothing recovered), and the limit (the same rows, decoded already,
sorted and written by pyarrow alone).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tickerlake.delivery import deliver
from tickerlake.lake.registry import open_lake
from tickerlake.streams import Stream, StreamsSettings
from tickerlake.streams.codec import encode
from tickerlake.streams.registry import open_stream
from tickerlake.testing.sample_records import sample_bars

GOAL = 1_000_000
MEMORY_GOAL_BYTES = 1 << 30
SYMBOLS = [f"S{number:04d}" for number in range(3_000)]
BATCH = 50_000


def batch(first: int, count: int = BATCH) -> pa.Table:
    return sample_bars(count, symbols=SYMBOLS, first=first, first_day=date(2020, 1, 1))


def opened(folder: Path) -> Stream:
    return open_stream("embedded:", workspace=folder, settings=StreamsSettings())


def cpu_seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def child(folder: Path) -> None:
    """Deliver all of it, in a process of its own, so that its memory is its own."""
    warm = folder / "warm"
    stream = opened(warm)
    stream.topic("bar").publish(batch(0, 5_000))
    lake = open_lake("./lake", "sqlite:", workspace=warm)
    deliver(stream, lake, ["bar"], once=True, stop=threading.Event())
    stream.close()
    stream = opened(folder)
    lake = open_lake("./lake", "sqlite:", workspace=folder)
    found: dict[str, float] = {}

    def work() -> None:
        report = deliver(stream, lake, ["bar"], once=True, stop=threading.Event()).total
        found.update(rows=report.rows, commits=report.commits)

    seconds = cpu_seconds(work)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({**found, "cpu_seconds": seconds, "peak_bytes": peak}))


def plain_way(records: int) -> float:
    """Records per CPU second of a loop as tutorials show it."""
    lines = encode(batch(0, records), "bar", "json").split(b"\n")

    def work() -> None:
        with tempfile.TemporaryDirectory() as folder:
            found = [json.loads(line) for line in lines]
            pq.write_table(pa.Table.from_pylist(found), Path(folder) / "bars.parquet")

    return records / cpu_seconds(work)


def limit(records: int) -> float:
    """Records per CPU second of sorting and writing alone."""
    rows = batch(0, records)

    def work() -> None:
        with tempfile.TemporaryDirectory() as folder:
            ordered = rows.sort_by([("symbol", "ascending"), ("ts", "ascending")])
            pq.write_table(ordered, Path(folder) / "bars.parquet", compression="zstd")

    return records / cpu_seconds(work)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="200,000 records")
    parser.add_argument("--records", type=int, default=5_000_000)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child)
        return 0
    records = 200_000 if options.quick else options.records
    # On the disk that the checkout lies on: a temporary folder may be memory.
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent) as name:
        stream = opened(Path(name))
        for first in range(0, records, BATCH):
            stream.topic("bar").publish(batch(first, min(BATCH, records - first)))
            if first % 1_000_000 == 0:
                print(f"published {first:,} of {records:,} …", file=sys.stderr)
        command = [sys.executable, __file__, "--child", name]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    found = json.loads(done.stdout)
    if found["rows"] != records:
        raise SystemExit(f"{found['rows']} rows delivered, {records} published")
    few = min(records, 100_000)
    plain, alone = plain_way(few), limit(min(records, 1_000_000))
    rate = records / found["cpu_seconds"]
    peak = found["peak_bytes"]
    row = {
        "name": "deliver_bars",
        "what": f"embedded → lake, sorted, exactly once, {records:,} bars",
        "figure": f"{rate:,.0f} records per CPU second",
        "records": records,
        "cpu_seconds": round(found["cpu_seconds"], 3),
        "records_per_cpu_second": round(rate),
        "peer": f"one object a record {plain:,.0f}; pyarrow's sort and write alone {alone:,.0f}",
        "goal": f"≥ {GOAL:,}",
        "met": rate >= GOAL,
    }
    memory = {
        "name": "deliver_bars",
        "what": f"peak memory while delivering {records:,} bars",
        "figure": f"{peak / (1 << 20):,.0f} MiB",
        "peak_bytes": peak,
        "goal": "≤ 1 GiB",
        "met": peak <= MEMORY_GOAL_BYTES,
    }
    for line in (row, memory):
        print(json.dumps(line, ensure_ascii=False), flush=True)
        print(f"{line['what']}: {line['figure']}; {line.get('peer', '')}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

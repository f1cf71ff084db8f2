"""A real broker → sorted Iceberg, exactly once: records per CPU second of the delivery.

python benchmarks/kafka_deliver.py [--quick] [--records N]

All threads of the delivering process count; the log is full before it begins, so its peak memory
is that of a worker with a backlog. Limits in the same run, to show the distance: consume only (the
client library, nothing decoded), parse and judge only, write only.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _broker import BATCH, bars, broker, child, opened, tell

GOALS = {"json": 400_000, "arrow": 1_000_000}
MEMORY_GOAL_BYTES = 512 << 20
#: Records a publish: what a publisher of live data sends at once makes the arrow messages' size.
ARROW_MESSAGE = 6_000


def measured(work: Callable[[], object]) -> dict[str, Any]:
    began, wall = time.process_time(), time.perf_counter()
    answer = work()
    return {
        "cpu_seconds": time.process_time() - began,
        "wall_seconds": time.perf_counter() - wall,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "answer": answer,
    }


def fill(bootstrap: str, wire: str, records: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stream = opened(bootstrap, f"backlog-{wire}", wire, Path(folder))  # type: ignore[arg-type]
        topic = stream.topic("bar")
        size = BATCH if wire == "json" else ARROW_MESSAGE
        for first in range(0, records, size):
            topic.publish(bars(first, min(size, records - first)))
        stream.close()


def deliver_all(bootstrap: str, wire: str) -> dict[str, Any]:
    from tickerlake.delivery import deliver
    from tickerlake.lake.registry import open_lake

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stream = opened(bootstrap, f"backlog-{wire}", wire, folder)  # type: ignore[arg-type]
        lake = open_lake("./lake", "sqlite:", workspace=folder)
        never = threading.Event()
        found = measured(lambda: deliver(stream, lake, ["bar"], once=True, stop=never).total)
        total = found.pop("answer")
        files = len(list((folder / "lake").rglob("*.parquet")))
        stream.close()
    return {**found, "records": total.rows, "commits": total.commits, "files": files}


def consume_only(bootstrap: str, wire: str) -> dict[str, Any]:
    from confluent_kafka import Consumer, TopicPartition

    topic = f"backlog-{wire}.bars"
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "limit",
            "fetch.queue.backoff.ms": 1,
            "queued.min.messages": 10_000,
        }
    )
    ends = {
        number: consumer.get_watermark_offsets(TopicPartition(topic, number))[1]
        for number in range(6)
    }
    consumer.assign([TopicPartition(topic, number, 0) for number in range(6)])

    def work() -> int:
        left = sum(ends.values())
        while left > 0:
            left -= len(consumer.consume(500, 1.0))
        return sum(ends.values())

    found = measured(work)
    consumer.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="300,000 records")
    parser.add_argument("--records", type=int)
    parser.add_argument("--child", nargs=3, metavar=("HOW", "BOOTSTRAP", "WIRE"))
    given = parser.parse_args()
    if given.child:
        how, bootstrap, wire = given.child
        work = {"deliver": deliver_all, "consume": consume_only}[how]
        print(json.dumps(work(bootstrap, wire)))
        return
    records = given.records or (300_000 if given.quick else 5_000_000)
    for wire, goal in GOALS.items():
        with broker() as bootstrap:
            fill(bootstrap, wire, records)
            limit = child(__file__, "consume", bootstrap, wire)
            found = child(__file__, "deliver", bootstrap, wire)
        if found["records"] != records:
            raise SystemExit(f"{found['records']} rows of {records} records")
        rate = round(records / found["cpu_seconds"])
        consumed = round(records / limit["cpu_seconds"])
        tell(
            {
                "name": "kafka_deliver",
                "what": f"{records / 1e6:g}M records, {wire} → sorted Iceberg, exactly once",
                **found,
                "records_per_cpu_second": rate,
                "peer": f"limit, consume only {consumed:,}; peak {found['peak_bytes'] >> 20} MiB, "
                f"{found['wall_seconds']:.1f} s, {found['files']} files",
                "goal": goal,
                "met": rate >= goal,
            }
        )
        tell(
            {
                "name": "kafka_deliver",
                "what": f"peak memory of the worker, {records / 1e6:g}M records of backlog, {wire}",
                "figure": f"{found['peak_bytes'] >> 20} MiB",
                "goal": f"{MEMORY_GOAL_BYTES >> 20} MiB",
                "met": found["peak_bytes"] <= MEMORY_GOAL_BYTES,
            }
        )


if __name__ == "__main__":
    sys.exit(main())

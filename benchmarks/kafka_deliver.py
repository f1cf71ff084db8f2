"""A real broker → sorted Iceberg, exactly once: records per CPU second of the delivery.

python benchmarks/kafka_deliver.py [--quick] [--records N]

All threads of the delivering process count; the log is full before it begins, so its peak memory
is that of a worker with a backlog. Limits in the same run, to show the distance: consume only (the
client library, nothing decoded), parse and judge only, write only.

`json` is our own bars of 353 bytes; `json-mapped` a foreign producer's of 127 bytes through a
mapping, the broker's times as `fetched_at`; in `json-mapped-ts` the record says that itself.
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

import pyarrow as pa
from _broker import BATCH, SYMBOLS, bars, broker, child, opened, tell
from codec_bench import MAPPING, foreign_lines

from tickerlake.delivery.buffer import stamped
from tickerlake.streams import Stream, StreamsSettings, open_stream
from tickerlake.streams.codec import decode
from tickerlake.streams.partitioning import partitions_of
from tickerlake.streams.settings import TopicSettings

GOALS = {
    "json": 400_000,
    "json-mapped": 400_000,
    "json-mapped-ts": 400_000,
    "arrow": 1_000_000,
}
#: What a worker reads at once, and so many reads are one flush.
READ, READS = 131_072, 3
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


def stream_of(bootstrap: str, case: str, folder: Path) -> Stream:
    """The log of a case, as its reader sees it."""
    if not case.startswith("json-mapped"):
        return opened(bootstrap, f"backlog-{case}", case, folder)  # type: ignore[arg-type]
    mapping = MAPPING | ({"fetched_at": "ts"} if case.endswith("-ts") else {})
    settings = StreamsSettings(wire="json", bars=TopicSettings(mapping=mapping))
    url = f"kafka://{bootstrap}/backlog-{case}"
    return open_stream(url, workspace=folder, settings=settings)


def fill(bootstrap: str, case: str, records: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stream = stream_of(bootstrap, case, Path(folder))
        topic = stream.topic("bar")
        size = ARROW_MESSAGE if case == "arrow" else BATCH
        numbers = partitions_of(pa.array(SYMBOLS), len(topic.partitions())).to_pylist()
        for first in range(0, records, size):
            count = min(size, records - first)
            if case.startswith("json-mapped"):
                parts: dict[str, list[bytes]] = {}
                for number, line in enumerate(foreign_lines(first, count), first):
                    parts.setdefault(str(numbers[number % len(SYMBOLS)]), []).append(line)
                for partition, lines in parts.items():
                    stream.append_raw("bar", partition, lines)
            else:
                topic.publish(bars(first, count))
        stream.close()


def deliver_all(bootstrap: str, wire: str) -> dict[str, Any]:
    from tickerlake.delivery import deliver
    from tickerlake.lake.registry import open_lake

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stream = stream_of(bootstrap, wire, folder)
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


def parse_and_write(bootstrap: str, case: str) -> dict[str, Any]:
    """Of one flush: what decoding and judging costs, and what writing and committing."""
    from tickerlake.lake.registry import open_lake

    # On the disk that the checkout lies on: a temporary folder may be memory, and fsync free.
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent) as name:
        stream = stream_of(bootstrap, case, Path(name))
        topic = stream.topic("bar")
        table = open_lake("./lake", "sqlite:", workspace=Path(name)).table("bars_log")
        rows: list[pa.Table] = []
        parsed = 0.0
        for number, partition in enumerate(topic.partitions()[: READS + 1]):
            batch = topic.read(partition, 0, records_max=READ, wait_seconds=5)
            began = time.process_time()
            rows.append(decode("bar", batch.messages))
            parsed += time.process_time() - began
            if number == 0:  # what is loaded once is not counted
                table.write(stamped(rows.pop(), "0" * 16))
                parsed = 0.0
        together = pa.concat_tables(rows)
        began = time.process_time()
        table.write(stamped(together, "0" * 16))
        written = time.process_time() - began
        stream.close()
    return {"parse": together.num_rows / parsed, "write": together.num_rows / written}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="300,000 records")
    parser.add_argument("--records", type=int)
    parser.add_argument("--only", default=",".join(GOALS), help="cases, with commas")
    parser.add_argument("--child", nargs=3, metavar=("HOW", "BOOTSTRAP", "WIRE"))
    given = parser.parse_args()
    if given.child:
        how, bootstrap, wire = given.child
        ways = {"deliver": deliver_all, "consume": consume_only, "limits": parse_and_write}
        work = ways[how]
        print(json.dumps(work(bootstrap, wire)))
        return
    records = given.records or (300_000 if given.quick else 5_000_000)
    for wire in given.only.split(","):
        goal = GOALS[wire]
        with broker() as bootstrap:
            fill(bootstrap, wire, records)
            limit = child(__file__, "consume", bootstrap, wire)
            stages = child(__file__, "limits", bootstrap, wire)
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
                "peer": f"limits: consume only {consumed:,}, parse only {stages['parse']:,.0f}, "
                f"write only {stages['write']:,.0f}; peak {found['peak_bytes'] >> 20} MiB, "
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

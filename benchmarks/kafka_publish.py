"""Bars and trades → a real broker, keyed, acked by it: records per CPU second of the publisher.

python benchmarks/kafka_publish.py [--quick] [--records N]

All threads of the publishing process count. Peers in the same run: the tutorials' way
(`json.dumps` and `produce` a record, with a callback), and the limit (the client library's
`produce_batch` of bytes that are ready).
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from _broker import BATCH, bars, broker, child, opened, tell

from tickerlake.records import Kind, conform, with_event_ids
from tickerlake.streams import Wire
from tickerlake.streams.codec import encode

#: What is published: of which kind, in which wire format, and the goal.
CASES: dict[str, tuple[Kind, Wire, int]] = {
    "json": ("bar", "json", 400_000),
    "json-trades": ("trade", "json", 400_000),
    "arrow": ("bar", "arrow", 5_000_000),
    "arrow-trades": ("trade", "arrow", 5_000_000),
}


def records_of(kind: Kind, first: int, count: int = BATCH) -> pa.Table:
    """Bars, or as many trades at their times and prices: a third of the columns."""
    made = bars(first, count)
    if kind == "bar":
        return made
    trades = made.select(["provider", "symbol", "ts", "fetched_at"])
    trades = trades.append_column("price", made.column("close"))
    trades = trades.append_column("size", made.column("volume"))
    return with_event_ids(conform(trades, kind), kind)


def measured(work: Callable[[], object], records: int) -> dict[str, float]:
    began = time.process_time()
    work()
    seconds = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"records": records, "cpu_seconds": seconds, "peak_bytes": peak}


def ours(bootstrap: str, case: str, records: int) -> dict[str, float]:
    """What `publish` and `topic.publish` do, batch after batch, each durable on return."""
    kind, wire, _ = CASES[case]
    with tempfile.TemporaryDirectory() as folder:
        stream = opened(bootstrap, f"bench-{case}", wire, Path(folder))
        topic = stream.topic(kind)
        batches = [records_of(kind, first) for first in range(0, records, BATCH)]
        topic.publish(records_of(kind, 0, 10_000))

        def work() -> None:
            for batch in batches:
                topic.publish(batch)

        found = measured(work, records)
        stream.close()
    return found


def tutorial(bootstrap: str, records: int) -> dict[str, float]:
    from confluent_kafka import Producer

    rows = bars(0, records).to_pylist()
    for row in rows:
        row.update({name: str(row[name]) for name in ("ts", "fetched_at", "session_date")})
    producer = Producer(
        {"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 20}
    )
    acked = 0

    def callback(error: object, _: object) -> None:
        nonlocal acked
        acked += error is None

    def work() -> None:
        for row in rows:
            while True:
                try:
                    producer.produce(
                        "bench-plain", json.dumps(row), key=row["symbol"], on_delivery=callback
                    )
                    break
                except BufferError:
                    producer.poll(0.05)
            producer.poll(0)
        producer.flush()
        if acked != records:
            raise SystemExit(f"{acked} of {records} acked")

    return measured(work, records)


def limit(bootstrap: str, records: int) -> dict[str, float]:
    from confluent_kafka import Producer

    lines = encode(bars(0, records), "bar", "json").split(b"\n")
    batches = [
        [{"value": line, "key": b"k"} for line in lines[first : first + 10_000]]
        for first in range(0, records, 10_000)
    ]
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "linger.ms": 20,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 2_000_000,
        }
    )

    def work() -> None:
        for batch in batches:
            producer.produce_batch("bench-plain", batch)
        producer.flush()

    return measured(work, records)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="200,000 records")
    parser.add_argument("--records", type=int)
    parser.add_argument("--child", nargs=3, metavar=("HOW", "BOOTSTRAP", "RECORDS"))
    given = parser.parse_args()
    if given.child:
        how, bootstrap, records = given.child[0], given.child[1], int(given.child[2])
        ways = {"tutorial": tutorial, "limit": limit}
        found = ways[how](bootstrap, records) if how in ways else ours(bootstrap, how, records)
        print(json.dumps(found))
        return
    records = given.records or (200_000 if given.quick else 2_000_000)
    with broker() as bootstrap:
        from confluent_kafka.admin import AdminClient, NewTopic

        admin = AdminClient({"bootstrap.servers": bootstrap})
        for done in admin.create_topics([NewTopic("bench-plain", 6, 1)]).values():
            done.result()
        plain = child(__file__, "tutorial", bootstrap, str(min(records, 200_000)))
        ready = child(__file__, "limit", bootstrap, str(min(records, 1_000_000)))
        peer = f"tutorial style {rate(plain):,}, limit (bytes ready) {rate(ready):,}"
        for case, (kind, wire, goal) in CASES.items():
            found = child(__file__, case, bootstrap, str(records))
            what = f"publish {kind}s as {wire}, keyed, acked"
            if wire == "json":
                size = len(encode(records_of(kind, 0, 10_000), kind, wire)) / 10_000
                what += f", {size:.0f} bytes"
            tell(
                {
                    "name": "kafka_publish",
                    "what": what,
                    **found,
                    "records_per_cpu_second": rate(found),
                    "peer": peer,
                    "goal": goal,
                    "met": rate(found) >= goal,
                }
            )


def rate(found: dict[str, float]) -> int:
    return round(found["records"] / found["cpu_seconds"])


if __name__ == "__main__":
    sys.exit(main())

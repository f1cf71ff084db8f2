"""Publishing into the embedded log: batches of 10,000 bars, each fsynced, beside a peer.

python benchmarks/embedded_publish.py [--quick]

The peer, litequeue, is a queue in SQLite that people take for this on one machine. It is given the
same bars and used at its best: one fsynced transaction per batch instead of one per record. Then
what we published is read back and decoded, rules checked.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa

from tickerlake.streams import StreamsSettings, Topic, Wire, open_stream
from tickerlake.streams.codec import decode
from tickerlake.testing.sample_records import sample_bars

BATCH = 10_000
GOAL = 2_000_000
SYMBOLS = [f"S{number:03}" for number in range(500)]


def cpu_seconds(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def ours(folder: Path, batches: Sequence[pa.Table], rounds: int, wire: Wire) -> tuple[float, float]:
    """CPU seconds of publishing all batches `rounds` times, then of reading and decoding them."""
    stream = open_stream("embedded:", workspace=folder, settings=StreamsSettings(wire=wire))
    topic = stream.topic("bar")
    topic.publish(batches[0])

    def publish() -> None:
        for _ in range(rounds):
            for batch in batches:
                topic.publish(batch)

    written = cpu_seconds(publish)
    read = cpu_seconds(lambda: drain(topic, (len(batches) * rounds + 1) * BATCH))
    stream.close()
    return written, read


def drain(topic: Topic, expected: int) -> None:
    count = 0
    for partition in topic.partitions():
        position = topic.bounds(partition).beginning
        at_end = False
        while not at_end:
            batch = topic.read(partition, position, records_max=BATCH, wait_seconds=0)
            count += decode("bar", batch.messages)["dead_reason"].null_count
            position, at_end = batch.next_position, batch.at_end
    if count != expected:
        raise SystemExit(f"{count} sound records read, {expected} published")


def litequeue(folder: Path, batches: Sequence[pa.Table]) -> float:
    from litequeue import LiteQueue

    queue = LiteQueue(folder / "litequeue.sqlite")
    queue.conn.execute("pragma synchronous=full")
    records = [batch.to_pylist() for batch in batches]

    def publish() -> None:
        for batch in records:
            with queue.transaction():
                for record in batch:
                    queue.put(json.dumps(record, default=str))

    return cpu_seconds(publish)


def row(what: str, records: int, cpu: float, goal: int | None = None, peer: str = "") -> None:
    rate = records / cpu
    found = {
        "name": "embedded_publish",
        "what": what,
        "figure": f"{rate:,.0f} records per CPU second",
        "records": records,
        "cpu_seconds": round(cpu, 3),
        "records_per_cpu_second": round(rate),
        "peer": peer or None,
        "goal": f"≥ {goal:,} records per CPU second" if goal else None,
        "met": rate >= goal if goal else None,
    }
    print(json.dumps(found, ensure_ascii=False), flush=True)
    print(f"{what}: {found['figure']}; {peer}", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the records")
    quick = parser.parse_args().quick
    batches = [sample_bars(BATCH, symbols=SYMBOLS, first=part * BATCH) for part in range(10)]
    rounds, json_batches, peer_batches = (2, 2, 1) if quick else (20, 10, 5)
    records = len(batches) * rounds * BATCH
    # On the disk that the checkout lies on: a temporary folder may be memory, and fsync free.
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent) as name:
        folder = Path(name)
        rate = peer_batches * BATCH / litequeue(folder, batches[:peer_batches])
        beside = f"litequeue {rate:,.0f}"
        published, read = ours(folder / "arrow", batches, rounds, "arrow")
        row("publish durably, batches of 10,000 bars", records, published, GOAL, beside)
        row("read and decode them, rules checked", records + BATCH, read)
        published, read = ours(folder / "json", batches[:json_batches], 1, "json")
        row("the same with wire = json: publish", json_batches * BATCH, published)
        row("the same with wire = json: read and decode", (json_batches + 1) * BATCH, read)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

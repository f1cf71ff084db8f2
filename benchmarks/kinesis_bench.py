"""Kinesis: CPU of the client alone, putting and getting 197-byte JSON bars, beside plain boto3.

python benchmarks/kinesis_bench.py [--quick]

An emulator (`make services`) runs beside it; its time is not counted. The peer is what everybody
writes: one JSON object a Kinesis record, `put_records` with 500 of them, `get_records`, json.loads.
Ours reads twice: undecoded, as the goal says, and decoded with all rules checked.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from tickerlake.streams import StreamsSettings, Topic, open_stream
from tickerlake.streams.codec import decode
from tickerlake.streams.kinesis.settings import KinesisSettings
from tickerlake.testing.sample_records import sample_bars
from tickerlake.testing.services.kinesis import REGION, Kinesis

BATCH = 20_000
SYMBOLS = [f"S{number:03}" for number in range(500)]
#: So that a record has about as many bytes as those that the other benchmarks take.
COLUMNS = ["symbol", "ts", "open", "high", "low", "close", "volume"]
PUT_GOAL, GET_GOAL = 90_000, 300_000


def bars(first: int) -> pa.Table:
    whole = sample_bars(BATCH, symbols=SYMBOLS, first=first)
    names = whole.schema.names
    for name in names:
        if name not in ("kind", "provider", "fetched_at", *COLUMNS):
            place = whole.schema.get_field_index(name)
            whole = whole.set_column(place, name, pa.nulls(BATCH, whole.schema.field(name).type))
    return whole


def cpu_seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.process_time()
    found = work()
    return time.process_time() - began, found


def get(topic: Topic, *, decoded: bool) -> int:
    count = 0
    for partition in topic.partitions():
        position: int = 0
        at_end = False
        while not at_end:
            batch = topic.read(partition, position, records_max=BATCH, wait_seconds=0)
            count += sum(message.count for message in batch.messages)
            if decoded:
                decode("bar", batch.messages)
            position, at_end = batch.next_position, batch.at_end
    return count


def ours(url: str, folder: Path, batches: int) -> dict[str, tuple[int, float]]:
    own = KinesisSettings(
        endpoint_url=url, shard_bytes_per_second=0, shard_records_per_second=0, reads_per_second=500
    )
    stream = open_stream(
        f"kinesis://{REGION}/ours", workspace=folder, settings=StreamsSettings(kinesis=own)
    )
    topic = stream.topic("bar")
    topic.publish(bars(0))
    tables = [bars(BATCH * (part + 1)) for part in range(batches)]
    spent, _ = cpu_seconds(lambda: [topic.publish(table) for table in tables])
    found = {"put, aggregated, keyed, in order": (batches * BATCH, spent)}
    for what, decoded in (("get, aggregated", False), ("get, decoded, rules checked", True)):
        spent, count = cpu_seconds(lambda decoded=decoded: get(topic, decoded=decoded))
        if count != (batches + 1) * BATCH:
            raise SystemExit(f"{count} records read, {(batches + 1) * BATCH} published")
        found[what] = (count, spent)
    stream.close()
    return found


def peer(server: Kinesis, records: int) -> dict[str, float]:
    """Records per CPU second of plain boto3."""
    client = server.client()
    client.create_stream(StreamName="peer", ShardCount=6)
    rows = bars(0).slice(0, records).select(COLUMNS).to_pylist()

    def put() -> None:
        for start in range(0, records, 500):
            client.put_records(
                StreamName="peer",
                Records=[
                    {"Data": json.dumps(row, default=str), "PartitionKey": row["symbol"]}
                    for row in rows[start : start + 500]
                ],
            )

    put_seconds, _ = cpu_seconds(put)
    get_seconds, count = cpu_seconds(
        lambda: sum(1 for record in raw(client, "peer") if json.loads(record["Data"]))
    )
    if count != records:
        raise SystemExit(f"the peer read {count} of {records}")
    return {"put": records / put_seconds, "get": records / get_seconds}


def raw(client: Any, stream: str) -> Iterator[dict[str, Any]]:  # noqa: ANN401
    """All Kinesis records of a stream, as boto3 hands them out."""
    for shard in client.list_shards(StreamName=stream)["Shards"]:
        iterator = client.get_shard_iterator(
            StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while found := client.get_records(ShardIterator=iterator, Limit=10_000):
            yield from found["Records"]
            if not found["Records"]:
                break
            iterator = found["NextShardIterator"]


def limits(server: Kinesis, stream: str, records: int) -> Iterator[tuple[str, int, float]]:
    """What boto3 alone takes for the same Kinesis records, made and opened by nobody."""
    client = server.client()
    spent, found = cpu_seconds(lambda: list(raw(client, stream)))
    yield "limit of get: boto3 alone, the same aggregates", records, spent
    client.create_stream(StreamName="limit", ShardCount=6)
    entries = [{"Data": each["Data"], "PartitionKey": each["PartitionKey"]} for each in found]
    calls = [entries[start : start + 12] for start in range(0, len(entries), 12)]
    spent, _ = cpu_seconds(
        lambda: [client.put_records(StreamName="limit", Records=call) for call in calls]
    )
    yield "limit of put: boto3 alone, the same aggregates", records, spent


def row(what: str, records: int, cpu: float, goal: int | None, beside: float | None) -> None:
    rate = records / cpu
    found = {
        "name": "kinesis_bench",
        "what": what,
        "figure": f"{rate:,.0f} records per CPU second",
        "records": records,
        "cpu_seconds": round(cpu, 3),
        "records_per_cpu_second": round(rate),
        "peer": f"boto3, one record each {beside:,.0f}" if beside else None,
        "goal": f"≥ {goal:,} records per CPU second" if goal else None,
        "met": rate >= goal if goal else None,
    }
    print(json.dumps(found, ensure_ascii=False), flush=True)
    print(f"{what}: {found['figure']}; {found['peer']}", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="half of the records")
    quick = parser.parse_args().quick
    os.environ |= {"AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark"}
    with tempfile.TemporaryDirectory() as name, Kinesis(Path(name) / "kinesis") as server:
        beside = peer(server, 2_000 if quick else 10_000)
        goals = {"put": PUT_GOAL, "get": GET_GOAL}
        for what, (records, cpu) in ours(server.url, Path(name), 2 if quick else 4).items():
            kind = what[:3]
            goal = None if "decoded" in what else goals[kind]
            row(what, records, cpu, goal, beside[kind])
        for what, count, cpu in limits(server, "ours-bars", records):
            row(what, count, cpu, None, None)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""The consumer that everybody writes first: read, append to an Iceberg table, commit offsets.

naive.py BOOTSTRAP TOPIC FOLDER after|before: offsets are committed after the write, or before it.
"""

from __future__ import annotations

import json
import sys

import pyarrow as pa
from confluent_kafka import Consumer
from pyiceberg.catalog.sql import SqlCatalog

SCHEMA = pa.schema([("symbol", pa.string()), ("ts", pa.string()), ("volume", pa.float64())])


def main(bootstrap: str, topic: str, folder: str, commits: str) -> None:
    catalog = SqlCatalog("naive", uri=f"sqlite:///{folder}/cat.db", warehouse=f"file://{folder}/wh")
    table = catalog.load_table("db.bars")
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"naive-{commits}",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 1500,
            "heartbeat.interval.ms": 300,
        }
    )
    consumer.subscribe([topic])
    while True:
        messages = [m for m in consumer.consume(500, 0.5) if m.error() is None]
        if not messages:
            continue
        if commits == "before":
            consumer.commit(asynchronous=False)
        rows = [json.loads(message.value()) for message in messages]
        table.append(pa.Table.from_pylist(rows, schema=SCHEMA))
        if commits == "after":
            consumer.commit(asynchronous=False)


if __name__ == "__main__":
    main(*sys.argv[1:])

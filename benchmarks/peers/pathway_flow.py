"""Peer: Pathway, Kafka JSON to JSON lines, with its own persistence. Runs until it is killed.

python pathway_flow.py BOOTSTRAP TOPIC FOLDER
"""

import sys
from pathlib import Path

import pathway as pw

bootstrap, topic, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])


class Bar(pw.Schema):
    """What a record holds."""

    symbol: str
    ts: str
    open: float
    high: float
    low: float
    close: float
    volume: float


bars = pw.io.kafka.read(
    {
        "bootstrap.servers": bootstrap,
        "group.id": folder.parent.name,
        "auto.offset.reset": "earliest",
        "fetch.queue.backoff.ms": "1",
    },
    topic=topic,
    schema=Bar,
    format="json",
    name="bars",
)
# A file of its own for each start: it empties the file that it is given, and does not write again
# what it remembers to have written, so that a second start into the same file would lose it.
number = len(list(folder.glob("*.jsonl")))
pw.io.jsonlines.write(bars, folder / f"bars-{number}.jsonl")
state = pw.persistence.Backend.filesystem(str(folder.parent / "pathway-state"))
pw.run(
    monitoring_level=pw.MonitoringLevel.NONE,
    persistence_config=pw.persistence.Config(state, snapshot_interval_ms=5000),
)

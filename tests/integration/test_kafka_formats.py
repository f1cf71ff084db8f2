"""Wires of a schema registry and mapped records, through a real broker into the lake."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

import tickerlake
from services import Kafka
from tickerlake.errors import UnreachableError
from tickerlake.streams import StreamsSettings, Wire, open_stream
from tickerlake.streams.codec import decode
from tickerlake.streams.settings import SchemaRegistrySettings
from tickerlake.testing.sample_records import sample_bars
from tickerlake.testing.services.schema_registry import SchemaRegistry
from tickerlake.testing.stream_suite import drain

MAPPING = """
stream = "kafka://{bootstrap}/market"

[streams.bars]
topic = "{topic}"

[streams.bars.mapping]
symbol = {{ from_key = true }}
ts = {{ from = "Date", format = "%Y-%m-%d", zone = "UTC" }}
session_date = "Date"
close = "Adj Close"
provider = {{ value = "tutorial" }}
interval = {{ value = "1d" }}
"""


@pytest.mark.parametrize("wire", ["avro", "json_schema"])
def test_registered_records_go_through_a_broker(
    kafka: Kafka, schema_registry: SchemaRegistry, tmp_path: Path, wire: Wire
) -> None:
    """What is published is what is read, whoever has the schema; without it nothing is lost."""
    registry = SchemaRegistrySettings(url=schema_registry.url, timeout_seconds=1)
    settings = StreamsSettings(wire=wire, schema_registry=registry)
    url = f"kafka://{kafka.bootstrap}/test-{uuid.uuid4().hex[:12]}"
    bars = sample_bars(300)
    stream = open_stream(url, workspace=tmp_path, settings=settings)
    published = stream.topic("bar").publish(bars)
    assert sum(part.count for part in published) == 300
    rows = drain(stream.topic("bar")).sort_by("volume")
    assert rows.select(bars.column_names).combine_chunks().equals(bars.combine_chunks())
    stream.close()
    late = open_stream(url, workspace=tmp_path, settings=settings)
    topic = late.topic("bar")
    schema_registry.stop()
    batch = topic.read(published[0].partition, 0, records_max=10, wait_seconds=10)
    with pytest.raises(UnreachableError):
        decode("bar", batch.messages)
    schema_registry.start()
    assert decode("bar", batch.messages)["dead_reason"].null_count > 0
    late.close()


def test_a_foreign_topic_is_delivered_by_its_mapping(kafka: Kafka, tmp_path: Path) -> None:
    """Keys, the broker's times, a tombstone, a value in several lines: a row each."""
    topic = f"demo-{uuid.uuid4().hex[:12]}"
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    # The records are of 2013: a topic that keeps a week would drop them at the broker's next look.
    new = NewTopic(topic, 1, config={"retention.ms": "-1"})
    admin.create_topics([new])[topic].result()
    line = {"Date": "2013-03-01", "Adj Close": 11606.38}
    values = [json.dumps(line), json.dumps(line, indent=1), None, "rubbish"]
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for number, value in enumerate(values):
        producer.produce(topic, value, key=f"S{number}", timestamp=1_362_148_200_000 + number)
    producer.flush()
    config = MAPPING.format(bootstrap=kafka.bootstrap, topic=topic)
    (tmp_path / "tickerlake.toml").write_text(config)
    with tickerlake.open(tmp_path) as workspace:
        report = workspace.deliver(once=True, kinds=["bar"])
        assert (report.total.rows, report.total.dead_letters) == (4, 2)
        found = workspace.sql("select symbol, close, epoch_ms(fetched_at) ms from bars order by 1")
        assert found.table.to_pylist() == [
            {"symbol": "S0", "close": 11606.38, "ms": 1_362_148_200_000},
            {"symbol": "S1", "close": 11606.38, "ms": 1_362_148_200_001},
        ]
        letters = workspace.sql("select symbol, reason from dead_letters order by symbol").table
    assert letters.to_pylist() == [
        {"symbol": "S2", "reason": "not a JSON object"},
        {"symbol": "S3", "reason": "not a JSON object"},
    ]

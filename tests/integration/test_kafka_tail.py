"""Reading a broker's newest records again and again, while others publish."""

from __future__ import annotations

import threading
import uuid
from pathlib import Path

import pytest

import tickerlake
from services import Kafka
from tickerlake.app import Workspace
from tickerlake.streams import StreamsSettings, Wire, open_stream
from tickerlake.streams.codec import decode
from tickerlake.streams.kafka.settings import KafkaSettings
from tickerlake.testing.sample_records import sample_bars


def open_at(folder: Path, kafka: Kafka, settings: str) -> Workspace:
    """A workspace over a namespace of its own."""
    url = f"kafka://{kafka.bootstrap}/test-{uuid.uuid4().hex[:12]}"
    (folder / "tickerlake.toml").write_text(f'stream = "{url}"\n{settings}')
    return tickerlake.open(folder)


def count(workspace: Workspace) -> int:
    """How many bars a query sees."""
    found: int = workspace.sql("select count(*) from bars_history").table.column(0)[0].as_py()
    return found


def test_a_partition_that_was_full_can_be_read_from_elsewhere(kafka: Kafka, tmp_path: Path) -> None:
    """What was fetched ahead and not taken holds nobody back who goes to another position."""
    settings = StreamsSettings(
        partitions=2,
        wire="json",
        kafka=KafkaSettings(buffer_bytes_max=1_000_000, timeout_seconds=5),
    )
    url = f"kafka://{kafka.bootstrap}/test-{uuid.uuid4().hex[:12]}"
    stream = open_stream(url, workspace=tmp_path, settings=settings)
    for block in range(10):
        values = [b'{"volume": %d, "pad": "%b"}' % (block, b" " * 2_000)] * 1_000
        stream.append_raw("bar", "0", values)
    topic = stream.topic("bar")
    assert topic.read("0", 0, records_max=1, wait_seconds=30).messages
    # Nothing is in the other, so what is fetched while it is waited for is all of the first.
    assert not topic.read("1", 0, records_max=1, wait_seconds=1).messages
    batch = topic.read("0", 9_500, records_max=1, wait_seconds=0)
    assert decode("bar", batch.messages)["_offset"][0].as_py() == 9_500
    stream.close()


@pytest.mark.parametrize("wire", ["json", "arrow"])
def test_queries_beside_a_publisher_never_go_back(kafka: Kafka, tmp_path: Path, wire: Wire) -> None:
    """Whoever asks again and again sees each record once, be it delivered meanwhile or not."""
    with open_at(tmp_path, kafka, f'[streams]\nwire = "{wire}"\n') as workspace:
        topic = workspace.stream.topic("bar")
        seen, done = [0], threading.Event()

        def publish() -> None:
            for number in range(40):
                topic.publish(sample_bars(500, first=number * 500))
                if number == 20:
                    workspace.deliver(once=True, kinds=["bar"])
            done.set()

        publisher = threading.Thread(target=publish)
        publisher.start()
        while not done.is_set():
            seen.append(count(workspace))
        publisher.join()
        assert seen == sorted(seen)
        assert count(workspace) == 20_000


def test_a_query_reads_no_more_than_its_limit_of_messages_that_hold_many_records(
    kafka: Kafka, tmp_path: Path
) -> None:
    """The limit counts records, not messages; the rest is said to be there."""
    settings = '[streams]\nwire = "arrow"\npartitions = 1\n[query]\ntail_records_max = 2_000\n'
    with open_at(tmp_path, kafka, settings) as workspace:
        topic = workspace.stream.topic("bar")
        for number in range(20):
            topic.publish(sample_bars(500, first=number * 500))
        answer = workspace.sql("select count(*) from bars_history")
        assert 2_000 <= answer.table.column(0)[0].as_py() <= 2_500
        assert "tail_records_max" in answer.warnings[0]

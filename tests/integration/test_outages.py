"""What is away for longer than a worker waits ends no delivery, unless it was told so."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lakes import Shaky
from services import Kafka
from tickerlake.delivery import DeliverySettings, deliver
from tickerlake.delivery.outage import Outage
from tickerlake.delivery.report import Delivered, Event, Refused
from tickerlake.errors import UnreachableError
from tickerlake.lake.lake import Lake
from tickerlake.lake.registry import open_lake
from tickerlake.streams import Stream, StreamsSettings, open_stream
from tickerlake.streams.kafka.settings import KafkaSettings
from tickerlake.testing.sample_records import sample_bars
from tickerlake.testing.services.http_proxy import answer

BRIEF = StreamsSettings(wire="json", kafka=KafkaSettings(timeout_seconds=1))


def outlives(
    stream: Stream, lake: Lake, *, goes: Callable[[], None], comes_back: Callable[[], None]
) -> None:
    """A delivery goes on through an outage in which it gave up twice: each record once."""
    topic, table = stream.topic("bar"), lake.table("bars_log")
    topic.publish(sample_bars(300))
    stop, first, refused = threading.Event(), threading.Event(), threading.Semaphore(0)

    def heard(event: Event) -> None:
        if isinstance(event, Delivered):
            first.set()
        if isinstance(event, Refused) and "Trying again" in event.why:
            refused.release()

    settings = DeliverySettings(flush_seconds=0.2)
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(
            deliver, stream, lake, ["bar"], once=False, stop=stop, settings=settings, on_event=heard
        )
        try:
            assert first.wait(60)
            goes()
            for _ in range(2):
                assert refused.acquire(timeout=60)
            comes_back()
            topic.publish(sample_bars(100, first=400))
            count = 0
            while count < 500 and not running.done():
                count = table.read(table.load(), columns=["volume"]).num_rows
        finally:
            stop.set()
    assert running.result().total.rows == 500
    volumes = table.read(table.load(), columns=["volume"]).column("volume").to_pylist()
    assert sorted(volumes) == list(range(500))


def test_a_delivery_outlives_its_broker(kafka: Kafka, tmp_path: Path) -> None:
    """The broker is killed, and started again once the worker has given up twice."""
    (node,) = kafka.ours().nodes
    url = f"kafka://{kafka.bootstrap}/test-{uuid.uuid4().hex[:12]}"
    stream = open_stream(url, workspace=tmp_path, settings=BRIEF)
    lake = open_lake("./lake", "sqlite:", workspace=tmp_path)

    def goes() -> None:
        stream.topic("bar").publish(sample_bars(100, first=300))
        node.kill9()

    outlives(stream, lake, goes=goes, comes_back=node.start)
    stream.close()
    lake.close()


@pytest.mark.slow
@pytest.mark.xdist_group("lakes")
@pytest.mark.parametrize("what", [r"PUT .*\.parquet", r"PUT .*metadata\.json", r"(GET|HEAD) .*"])
@pytest.mark.parametrize("shaky", ["postgres_s3"], indirect=True)
def test_a_delivery_outlives_its_bucket(shaky: Shaky, tmp_path: Path, what: str) -> None:
    """The bucket answers 503 to writes of data, of metadata, or to reads, after all tries."""
    settings = shaky.place.folder / "tickerlake.toml"
    settings.write_text(settings.read_text() + "tries_max = 1\n")
    stream = open_stream("embedded:", workspace=tmp_path, settings=StreamsSettings())

    def goes() -> None:
        shaky.store.add(what, answer(503), times=None)
        stream.topic("bar").publish(sample_bars(100, first=300))

    outlives(stream, shaky.place.open(), goes=goes, comes_back=shaky.store.heal)
    stream.close()


def test_once_gives_up_at_once(kafka: Kafka, tmp_path: Path) -> None:
    """Whoever runs `--once` from a timetable wants exit 4 now, not in ten minutes."""
    (node,) = kafka.ours().nodes
    url = f"kafka://{kafka.bootstrap}/test-{uuid.uuid4().hex[:12]}"
    stream = open_stream(url, workspace=tmp_path, settings=BRIEF)
    lake = open_lake("./lake", "sqlite:", workspace=tmp_path)
    stream.topic("bar").publish(sample_bars(10))
    node.kill9()
    with pytest.raises(UnreachableError):
        deliver(stream, lake, ["bar"], once=True, stop=threading.Event())
    stream.close()
    lake.close()


def test_an_outage_ends() -> None:
    """Rests grow to a quarter minute; a delivery that may not wait at all gives up at once."""
    outage = Outage(seconds_max=1e9)
    rests = [outage.rest_seconds(began_seconds=1e12) for _ in range(7)]
    assert rests == [1, 2, 4, 8, 15, 15, 15]
    assert Outage(seconds_max=0).rest_seconds(began_seconds=1e12) is None

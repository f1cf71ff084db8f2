"""The seam between lake and stream: nothing is seen twice or missed, however delivery moves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tickerlake.delivery import DeliverySettings, deliver
from tickerlake.lake.lake import Lake
from tickerlake.lake.maintenance import compact, expire
from tickerlake.lake.registry import open_lake
from tickerlake.query.duckdb import DuckDBEngine
from tickerlake.streams import Stream, StreamsSettings, open_stream
from tickerlake.testing.sample_records import sample_bars

RECORDS = 6_000
BATCH = 60

COUNTS = """
    select count(*) as rows, count(distinct volume) as records from bars_history
    union all
    select count(*), count(distinct volume) from bars"""


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    lake = open_lake("./lake", "sqlite:", workspace=tmp_path)
    yield lake
    lake.close()


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[Stream]:
    stream = open_stream("embedded:", workspace=tmp_path, settings=StreamsSettings())
    yield stream
    stream.close()


def published(stream: Stream) -> None:
    """Publish in small batches; every fifth one twice, as a producer does after a time-out."""
    for number, first in enumerate(range(0, RECORDS, BATCH)):
        records = sample_bars(BATCH, first=first)
        for _ in range(2 if number % 5 == 0 else 1):
            stream.topic("bar").publish(records)


def watched(engine: DuckDBEngine, ended: Callable[[], bool]) -> list[int]:
    """Ask again and again until all is there, and check each answer; return the counts seen."""
    seen = [0]
    while seen[-1] < RECORDS:
        was_ended = ended()
        history, newest = engine.sql(COUNTS).table.to_pylist()
        assert history["rows"] == history["records"], "a record was seen twice"
        assert newest["rows"] == newest["records"] == history["records"]
        assert history["rows"] >= seen[-1], "a record was seen and is gone"
        assert not was_ended or history["rows"] == RECORDS, "a published record is missing"
        seen.append(history["rows"])
    return seen


def test_counts_only_grow_while_publisher_and_delivery_run(lake: Lake, stream: Stream) -> None:
    """Queries from two threads see each record once, and never fewer than they saw before."""
    engine = DuckDBEngine(lake, stream)
    stop = threading.Event()
    often = DeliverySettings(flush_rows=100, flush_seconds=0.05, poll_seconds=0.01)
    with ThreadPoolExecutor(4) as threads:
        delivering = threads.submit(
            deliver, stream, lake, ["bar"], once=False, stop=stop, settings=often
        )
        publishing = threads.submit(published, stream)
        watching = [threads.submit(watched, engine, publishing.done) for _ in range(2)]
        try:
            counts = [seen.result() for seen in watching]
        finally:
            stop.set()
        publishing.result()
        report = delivering.result()
    assert report.kinds["bar"].commits > 1, "the delivery must move while the test looks"
    assert all(len(set(seen)) > 3 for seen in counts), "the test must look while records move"
    deliver(stream, lake, ["bar"], once=True, stop=threading.Event())
    assert engine.sql(COUNTS).table.column("rows").to_pylist() == [RECORDS, RECORDS]
    engine.close()


class Meddling:
    """Something whose use makes `meddle` happen first; all else is as it was."""

    def __init__(self, thing: Any, uses: dict[str, Callable[[], None]]) -> None:
        self._thing = thing
        self._uses = uses

    def __getattr__(self, name: str) -> Any:
        if name in self._uses:
            self._uses[name]()
        return getattr(self._thing, name)


@pytest.mark.parametrize("moment", ["partitions", "read"])
def test_a_delivery_between_the_looks_changes_nothing(
    lake: Lake, stream: Stream, moment: str
) -> None:
    """Delivery, compaction and expiry just after the load, or in the middle of the tail."""

    def move_on() -> None:
        deliver(stream, lake, ["bar"], once=True, stop=threading.Event())
        compact(lake, ["bars_log"])
        expire(lake, ["bars_log"], keep=1)

    topic = Meddling(stream.topic("bar"), {moment: move_on})
    meddled = Meddling(stream, {})
    meddled.topic = lambda _: topic
    engine, bystander = DuckDBEngine(lake, meddled), DuckDBEngine(lake, stream)
    for first in range(0, 600, 200):
        for _ in range(2):
            stream.topic("bar").publish(sample_bars(200, first=first))
        seen = engine.sql(COUNTS).table.to_pylist()
        assert seen == [{"rows": first + 200, "records": first + 200}] * 2
        assert bystander.sql(COUNTS).table.to_pylist() == seen
    engine.close()
    bystander.close()

"""Delivery from a real embedded log into a real lake."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from tickerlake import clock
from tickerlake.delivery import (
    Delivered,
    DeliveryReport,
    DeliverySettings,
    Event,
    Worker,
    deliver,
)
from tickerlake.lake.lake import Lake
from tickerlake.lake.positions import offsets_of
from tickerlake.lake.registry import open_lake
from tickerlake.lake.settings import LakeSettings
from tickerlake.records import KINDS, TABLES
from tickerlake.streams import Stream, StreamsSettings, Topic
from tickerlake.streams.registry import open_stream
from tickerlake.testing.invariants import findings
from tickerlake.testing.sample_records import sample_bars


def opened(folder: Path, settings: StreamsSettings | None = None) -> tuple[Stream, Lake]:
    stream = open_stream("embedded:", workspace=folder, settings=settings or StreamsSettings())
    lake = open_lake("./lake", "sqlite:", workspace=folder, settings=LakeSettings(fsync=False))
    return stream, lake


def delivered_once(stream: Stream, lake: Lake, **settings: float) -> DeliveryReport:
    return deliver(
        stream,
        lake,
        KINDS,
        once=True,
        stop=threading.Event(),
        settings=DeliverySettings(**settings),  # type: ignore[arg-type]
    )


def volumes(lake: Lake) -> list[float]:
    table = lake.table(TABLES["bar"])
    return sorted(table.read(table.load(), columns=["volume"]).column("volume").to_pylist())


def test_what_is_published_arrives_once_and_a_second_run_adds_nothing(tmp_path: Path) -> None:
    """`once` brings everything up to the ends as seen at the start; again it finds nothing."""
    stream, lake = opened(tmp_path)
    stream.topic("bar").publish(sample_bars(1_000))
    first = delivered_once(stream, lake, flush_rows=300)
    assert (first.total.rows, first.total.dead_letters, first.total.dropped) == (1_000, 0, 0)
    assert volumes(lake) == list(range(1_000))
    again = delivered_once(stream, lake)
    assert (again.total.rows, again.total.commits) == (0, 0)


def test_short_runs_tend_their_table_too(tmp_path: Path) -> None:
    """`deliver --once` every minute makes one commit a run: old snapshots go all the same."""
    stream, _ = opened(tmp_path)
    few = LakeSettings(fsync=False, snapshots_max=3, expire_every_commits=2)
    lake = open_lake("./lake", "sqlite:", workspace=tmp_path, settings=few)
    for first in range(0, 100, 10):
        stream.topic("bar").publish(sample_bars(10, first=first))
        deliver(stream, lake, ["bar"], once=True, stop=threading.Event())
    table = lake.table("bars_log")
    assert len(table.snapshots(table.load())) <= 3 + 2
    assert volumes(lake) == list(range(100))


def test_a_producers_retry_becomes_no_second_row(tmp_path: Path) -> None:
    """Records sent twice are dropped and counted, whether a commit lies between them or not."""
    stream, lake = opened(tmp_path)
    topic = stream.topic("bar")
    topic.publish(sample_bars(100))
    topic.publish(sample_bars(50))
    assert delivered_once(stream, lake).total.dropped == 50
    topic.publish(sample_bars(120))
    report = delivered_once(stream, lake).total
    assert (report.rows, report.dropped) == (20, 100)
    assert volumes(lake) == list(range(120))


def test_a_graceful_stop_commits_what_was_read(tmp_path: Path) -> None:
    """A running delivery, told to stop, leaves nothing of what it read uncommitted."""
    stream, lake = opened(tmp_path)
    stream.topic("bar").publish(sample_bars(500))
    stop = threading.Event()
    seen: list[Event] = []

    def first_commit_stops(event: Event) -> None:
        seen.append(event)
        if isinstance(event, Delivered):
            stop.set()

    settings = DeliverySettings(flush_rows=100, flush_seconds=600)
    report = deliver(
        stream, lake, ["bar"], once=False, stop=stop, settings=settings, on_event=first_commit_stops
    )
    assert report.total.rows == len(volumes(lake)) > 0


@pytest.mark.parametrize("workers", [1, 3])
def test_several_workers_share_a_tables_partitions(tmp_path: Path, workers: int) -> None:
    """However many workers a table has, each record arrives once."""
    stream, lake = opened(tmp_path)
    stream.topic("bar").publish(sample_bars(2_000))
    report = delivered_once(stream, lake, workers=workers, flush_rows=150)
    assert report.total.rows == 2_000
    assert volumes(lake) == list(range(2_000))


class Growing:
    """A topic that shows only its first partitions, until it is told to show all."""

    def __init__(self, topic: Topic, shown: int) -> None:
        self._topic = topic
        self.shown = shown

    def __getattr__(self, name: str) -> Any:
        return getattr(self._topic, name)

    def partitions(self) -> list[str]:
        return self._topic.partitions()[: self.shown]


def test_a_new_partition_gets_its_offset_written_before_it_is_read(tmp_path: Path) -> None:
    """A topic that grew: the new partition is registered, and nothing of it is missed."""
    stream, lake = opened(tmp_path)
    stream.topic("bar").publish(sample_bars(700))
    topic = Growing(stream.topic("bar"), shown=2)
    table = lake.table(TABLES["bar"])
    identity = topic.identity().id

    def offsets() -> dict[str, int]:
        return offsets_of(table.load().properties, identity)

    Worker(topic, table, settings=DeliverySettings()).run(threading.Event(), once=True)
    assert sorted(offsets()) == ["0", "1"]
    topic.shown = 6
    Worker(topic, table, settings=DeliverySettings()).run(threading.Event(), once=True)
    assert sorted(offsets()) == ["0", "1", "2", "3", "4", "5"]
    assert volumes(lake) == list(range(700))
    assert findings(stream.topic("bar"), tmp_path / "catalog.db", repeat_window=100_000) == []


def test_an_exchange_that_closes_commits_what_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Buffers may wait an hour, but not beyond the close of a session."""
    monkeypatch.setenv("TICKERLAKE_NOW", "2024-01-02T20:59:57Z")  # XNYS closes at 21:00 UTC
    clock._offset.cache_clear()
    stream, lake = opened(tmp_path)
    stream.topic("bar").publish(sample_bars(50))
    stop = threading.Event()
    causes: list[str] = []

    def stop_at_commit(event: Event) -> None:
        if isinstance(event, Delivered):
            causes.append(event.cause)
            stop.set()

    settings = DeliverySettings(flush_seconds=3600, poll_seconds=0.02)
    deliver(
        stream, lake, ["bar"], once=False, stop=stop, settings=settings, on_event=stop_at_commit
    )
    monkeypatch.delenv("TICKERLAKE_NOW")
    assert causes == ["close"]

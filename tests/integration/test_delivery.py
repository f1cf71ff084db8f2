"""Delivery from a real embedded log into a real lake."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tickerlake.delivery import Delivered, DeliveryReport, DeliverySettings, Event, deliver
from tickerlake.lake.lake import Lake
from tickerlake.lake.registry import open_lake
from tickerlake.lake.settings import LakeSettings
from tickerlake.records import KINDS, TABLES
from tickerlake.streams import Stream, StreamsSettings
from tickerlake.streams.registry import open_stream
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

"""Several processes that deliver for one workspace."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import tickerlake
from tickerlake.app import Workspace
from tickerlake.config import make_workspace
from tickerlake.crew import deliver_in_processes
from tickerlake.delivery import Event
from tickerlake.errors import RolledBackError
from tickerlake.testing.invariants import findings
from tickerlake.testing.sample_records import sample_bars

FAST = {"tables.fsync": False, "delivery.flush_seconds": 0.2, "streams.lease_seconds": 1.0}


class Place:
    """A workspace, and news of what its workers do."""

    def __init__(self, folder: Path) -> None:
        make_workspace(folder)
        self.workspace: Workspace = tickerlake.open(folder, settings=FAST)
        self.topic = self.workspace.stream.topic("bar")
        self.news = threading.Condition()
        self.stop = threading.Event()

    def heard(self, event: Event) -> None:
        with self.news:
            self.news.notify_all()

    def rows(self) -> int:
        table = self.workspace.lake.table("bars_log")
        return sum(file.row_count for file in table.live_files(table.load()))

    def pids(self) -> set[int]:
        return {status.pid for status in self.workspace.flow.workers()}

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self.news:
            for _ in range(600):
                if condition():
                    return
                self.news.wait(timeout=0.1)
        raise AssertionError("waited in vain")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.stop.set()
    place.workspace.close()


@pytest.mark.slow
def test_a_process_that_dies_is_replaced(place: Place) -> None:
    """One of two is killed while records flow: another takes its place, and all arrive once."""
    with ThreadPoolExecutor(1) as thread:
        job = thread.submit(
            deliver_in_processes, place.workspace, 2, stop=place.stop, on_event=place.heard
        )
        place.topic.publish(sample_bars(500))
        place.wait_for(lambda: len(place.pids()) == 2 and place.rows() == 500)
        victim = min(place.pids())
        os.kill(victim, signal.SIGKILL)
        place.topic.publish(sample_bars(500, first=500))
        place.wait_for(lambda: place.rows() == 1_000)
        place.wait_for(lambda: len(place.pids() - {victim}) == 2)
        place.stop.set()
        report = job.result(timeout=60)
    assert report.total.rows > 0
    assert place.pids() == set()
    catalog = place.workspace.folder / "catalog.db"
    assert findings(place.topic, catalog, repeat_window=100_000) == []


@pytest.mark.slow
def test_an_error_of_one_ends_all_and_is_told(place: Place) -> None:
    """A table that was turned back: both processes end, and the parent raises what they met."""
    for first in (0, 100):
        place.topic.publish(sample_bars(100, first=first))
        place.workspace.deliver(["bar"], once=True)
    table = place.workspace.lake.table("bars_log")
    kept = table.snapshots(table.load())[-2].id
    foreign = place.workspace.lake.catalog.load_table(("tickerlake", "bars_log"))
    with foreign.manage_snapshots() as snapshots:
        snapshots.set_current_snapshot(kept)
    with pytest.raises(RolledBackError, match="lake rewind"):
        deliver_in_processes(place.workspace, 2, stop=place.stop)

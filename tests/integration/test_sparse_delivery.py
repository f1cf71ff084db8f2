"""Delivery from a log with holes, addresses and partitions that end."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tickerlake.delivery import Delivered, DeliverySettings, Event, KindReport, Worker
from tickerlake.errors import RetentionPassedError, RolledBackError
from tickerlake.lake.lake import Lake
from tickerlake.lake.maintenance import expire, rewind, verify
from tickerlake.lake.positions import offsets_of, partitions_property
from tickerlake.lake.registry import open_lake
from tickerlake.lake.settings import LakeSettings
from tickerlake.records import Position
from tickerlake.streams import StreamsSettings
from tickerlake.testing.invariants import findings
from tickerlake.testing.sample_records import sample_bars
from tickerlake.testing.sparse_stream import SparseStream

WINDOW = 2_000
SETTINGS = DeliverySettings(flush_rows=50, read_records=30, repeat_window=WINDOW)


class Killed(BaseException):
    """The process was killed here."""


class Place:
    """A sparse log and a lake."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stream = SparseStream(folder / "stream")
        self.topic = self.stream.topic("bar")
        self.lake: Lake = open_lake(
            "./lake", "sqlite:", workspace=folder, settings=LakeSettings(fsync=False)
        )
        self.table = self.lake.table("bars_log")

    def publish(self, count: int, first: int) -> None:
        for start in range(first, first + count, 20):
            self.topic.publish(sample_bars(min(20, first + count - start), first=start))

    def run(self, *, accept_loss: bool = False) -> KindReport:
        worker = Worker(
            self.topic,
            self.table,
            settings=SETTINGS,
            membership=self.stream.join("bar", "test", alone=True),
            accept_loss=accept_loss,
        )
        return worker.run(threading.Event(), once=True)

    def forget_all(self) -> None:
        """What retention does to all that was published so far."""
        settings = StreamsSettings(
            partitions=8, retention_hours=0.0, retention_drops_undelivered=True
        )
        short = SparseStream(self.folder / "stream", settings)
        short.append_raw("bar", "1", [b"{}"])
        short.close()

    def offsets(self) -> dict[str, Position]:
        return offsets_of(self.table.load().properties, self.topic.identity().id)

    def volumes(self) -> list[float]:
        rows = self.table.read(self.table.load(), columns=["volume"])
        return sorted(rows.column("volume").to_pylist())

    def assert_sound(self, count: int) -> None:
        assert self.volumes() == list(range(count))
        assert findings(self.topic, self.folder / "catalog.db", repeat_window=WINDOW) == []
        report = verify(self.lake)
        assert report.sound, report.findings


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.stream.close()
    place.lake.close()


def turn_back(place: Place, snapshot_id: int | None) -> None:
    """What another tool's rollback does: rows go, properties stay."""
    foreign = place.lake.catalog.load_table(("tickerlake", "bars_log"))
    with foreign.manage_snapshots() as snapshots:
        assert snapshot_id is not None
        snapshots.set_current_snapshot(snapshot_id)


def test_numbers_with_holes_are_counted_exactly(place: Place) -> None:
    """Many records at one number, numbers without any, repeats between: nothing is taken amiss."""
    place.publish(200, first=0)
    place.publish(60, first=100)
    report = place.run()
    assert (report.rows, report.dropped) == (200, 60)
    place.assert_sound(200)
    expire(place.lake, ["bars_log"], keep=1)
    place.assert_sound(200)
    deliveries = place.lake.table("deliveries")
    rows = deliveries.read(deliveries.load(), columns=["rows", "gaps"]).to_pylist()
    assert sum(row["rows"] for row in rows) == 200
    assert sum(row["gaps"] for row in rows) > 0


def test_an_address_stands_beside_its_number_and_leads_back(place: Place) -> None:
    """The lake keeps the log's own address: the next worker enters the log there."""
    place.publish(100, first=0)
    place.run()
    assert all(offset.address.startswith("at/") for offset in place.offsets().values())
    place.publish(100, first=100)
    assert place.run().rows == 100
    place.assert_sound(200)


def test_an_address_that_changes_alone_is_committed_once(place: Place) -> None:
    """The log renews an address: one empty snapshot, and none again while it stays the same."""
    place.publish(100, first=0)
    place.run()
    before = place.offsets()
    place.topic.refresh()
    assert place.run().commits == 1
    assert place.offsets() == before
    assert all(offset.address.endswith("/1") for offset in place.offsets().values())
    assert place.run().commits == 0
    place.assert_sound(100)


def test_a_partition_that_was_split_goes_on_in_its_children(place: Place) -> None:
    """A child is begun when its parent's end stands in the lake, be it an empty snapshot."""
    place.publish(100, first=0)
    place.run()
    place.topic.split("0")
    place.publish(100, first=100)
    place.topic.split("2")
    place.publish(100, first=200)
    seen: list[str] = []

    def note(event: Event) -> None:
        if isinstance(event, Delivered):
            seen.extend(event.ranges)

    worker = Worker(place.topic, place.table, settings=SETTINGS, on_event=note)
    worker.run(threading.Event(), once=True)
    place.assert_sound(300)
    assert place.offsets()["0"].ended
    assert place.offsets()["2"].ended
    assert seen.index("0") < min(seen.index(name) for name in ("2", "3"))
    assert seen.index("2") < min(seen.index(name) for name in ("4", "5") if name in seen)


@pytest.mark.parametrize("step", ["5", "6", "7", "2", "3", "8", "10"])
def test_an_end_is_not_in_the_lake_before_its_children_are(place: Place, step: str) -> None:
    """Split while a worker runs that is killed then; what retention takes meanwhile is missed."""
    place.publish(100, first=0)
    place.run()
    place.publish(40, first=100)
    children: list[str] = []
    ends = False

    def reached(now: str, _: Mapping[str, Any]) -> None:
        nonlocal ends
        if now == "5" and not children:
            children.extend(place.topic.split("0"))
            place.topic.append_raw(children[0], [b'{"symbol":"X"}'])
        ends |= place.offsets()["0"].ended
        if now == step and (ends or step not in {"8", "10"}):
            raise Killed

    worker = Worker(place.topic, place.table, settings=SETTINGS, failpoint=reached)
    with pytest.raises(Killed):
        worker.run(threading.Event(), once=False)
    assert ends == (step in {"8", "10"})
    if ends:
        assert {name: int(place.offsets()[name]) for name in children} == {"2": 0, "3": 0}
    place.forget_all()
    with pytest.raises(RetentionPassedError):
        place.run()


def test_what_the_log_lists_no_more_is_forgotten(place: Place) -> None:
    """An ended partition's property goes with the next commit, and the count with it."""
    place.publish(100, first=0)
    place.topic.split("0")
    place.run()
    place.topic.drop("0")
    place.publish(100, first=100)
    place.run()
    assert sorted(place.offsets()) == ["1", "2", "3"]
    count = place.table.load().properties[partitions_property(place.topic.identity().id)]
    assert count == "3"
    place.assert_sound(200)
    expire(place.lake, ["bars_log"], keep=1)
    place.assert_sound(200)


def test_a_partition_that_went_before_its_end_was_seen_is_loud(place: Place) -> None:
    """Closed and dropped behind our back: exit 5; accepted, the hole is on record, once."""
    place.publish(100, first=0)
    place.run()
    place.publish(100, first=100)
    place.topic.split("0")
    place.topic.drop("0")
    with pytest.raises(RetentionPassedError, match="--accept-loss") as caught:
        place.run()
    assert caught.value.exit_code == 5
    assert place.run(accept_loss=True).lost == 1
    assert place.run(accept_loss=True).lost == 0
    place.run()
    assert verify(place.lake).sound


@pytest.mark.parametrize("fold", [False, True])
def test_a_rewound_offset_gets_its_address_back(place: Place, fold: bool) -> None:
    """Turned back by another tool: each offset is again where its rows end, address and all."""
    place.publish(100, first=0)
    place.run()
    place.publish(50, first=0)  # Repeats: what the rows do not tell, the history does.
    place.run()
    before, kept = place.offsets(), place.table.load().snapshot_id
    if fold:
        expire(place.lake, ["bars_log"], keep=1)
        kept = place.table.load().snapshot_id
    place.publish(100, first=100)
    place.run()
    turn_back(place, kept)
    with pytest.raises(RolledBackError):
        place.run()
    rewind(place.lake, ["bars_log"])
    assert {name: str(at) for name, at in place.offsets().items()} == {
        name: str(at) for name, at in before.items()
    }
    place.run()
    place.assert_sound(200)


def test_a_rewind_leaves_the_forgotten_alone(place: Place) -> None:
    """A partition that was delivered to its end and dropped does not come back by a rewind."""
    place.publish(100, first=0)
    place.topic.split("0")
    place.run()
    place.topic.drop("0")
    place.publish(50, first=100)
    place.run()
    kept = place.table.load().snapshot_id
    place.publish(50, first=150)
    place.run()
    turn_back(place, kept)
    rewind(place.lake, ["bars_log"])
    assert sorted(place.offsets()) == ["1", "2", "3"]
    place.run()
    place.assert_sound(200)


def test_an_idle_worker_stops_at_once_and_flushes_by_age(place: Place) -> None:
    """A worker that waits for records commits what is old enough, and ends when it is told to."""
    place.publish(40, first=0)
    stop = threading.Event()
    causes: list[str] = []

    def stop_at_commit(event: Event) -> None:
        if isinstance(event, Delivered):
            causes.append(event.cause)
            stop.set()

    settings = DeliverySettings(flush_seconds=0.2)
    worker = Worker(place.topic, place.table, settings=settings, on_event=stop_at_commit)
    worker.run(stop, once=False)
    assert causes == ["age"]
    place.assert_sound(40)


def test_what_has_much_does_not_starve_what_has_little(place: Place) -> None:
    """Each flush holds few records, and one partition has far more than the other: both move."""
    lines = [b'{"symbol":"X"}'] * 20
    for _ in range(30):
        place.topic.append_raw("0", lines)
    place.topic.append_raw("1", lines)
    seen: list[set[str]] = []

    def note(event: Event) -> None:
        if isinstance(event, Delivered):
            seen.append(set(event.ranges))

    settings = DeliverySettings(flush_rows=20, read_records=20)
    worker = Worker(place.topic, place.table, settings=settings, on_event=note)
    worker.run(threading.Event(), once=True)
    assert "1" in set().union(*seen[:2])

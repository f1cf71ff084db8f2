"""What goes wrong around a worker: full disks, lost answers, turned-back tables, shorter logs."""

from __future__ import annotations

import errno
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from tickerlake.delivery import Delivered, DeliverySettings, Event, KindReport, Refused, Worker
from tickerlake.errors import (
    CommitRefusedError,
    CommitUnknownError,
    DataLossError,
    RetentionPassedError,
    RolledBackError,
    StorageError,
)
from tickerlake.lake.base import Change, Loaded, WrittenFile
from tickerlake.lake.lake import Lake
from tickerlake.lake.local_io import storage_error
from tickerlake.lake.maintenance import expire, rewind, verify
from tickerlake.lake.positions import RANGES, decode_ranges
from tickerlake.lake.registry import open_lake
from tickerlake.lake.settings import LakeSettings
from tickerlake.streams import StreamsSettings
from tickerlake.streams.embedded import EmbeddedStream
from tickerlake.testing.invariants import findings, lake_offsets
from tickerlake.testing.sample_records import sample_bars

WINDOW = 500
SETTINGS = DeliverySettings(flush_rows=50, repeat_window=WINDOW, commit_pause_seconds=0.001)


class Place:
    """A log of one partition, and a lake."""

    def __init__(self, folder: Path, **streams: Any) -> None:
        self.folder = folder
        self.streams = StreamsSettings(**{"partitions": 1, **streams})
        self.stream = EmbeddedStream(folder / "stream", self.streams)
        self.lake: Lake = open_lake(
            "./lake", "sqlite:", workspace=folder, settings=LakeSettings(fsync=False)
        )
        self.events: list[Event] = []

    @property
    def topic(self) -> Any:
        return self.stream.topic("bar")

    @property
    def table(self) -> Any:
        return self.lake.table("bars_log")

    def publish(self, count: int, first: int) -> None:
        self.topic.publish(sample_bars(count, first=first))

    def run(self, table: Any = None, **options: Any) -> KindReport:
        worker = Worker(
            self.topic,
            table or self.table,
            settings=options.pop("settings", SETTINGS),
            membership=self.stream.join("bar", "test", alone=True),
            on_event=self.events.append,
            **options,
        )
        return worker.run(threading.Event(), once=True)

    def rows(self) -> int:
        return int(self.table.read(self.table.load(), columns=["volume"]).num_rows)

    def files_on_disk(self) -> int:
        return len(list((self.folder / "lake" / "bars_log" / "data").rglob("*.parquet")))

    def assert_sound(self) -> None:
        assert findings(self.topic, self.folder / "catalog.db", repeat_window=WINDOW) == []


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


class Answers:
    """A table whose next commits are answered as told: first what happens, then the truth."""

    def __init__(self, table: Any, *answers: Callable[[Any, Loaded, Change], int]) -> None:
        self._table = table
        self._answers = list(answers)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    def commit(self, loaded: Loaded, change: Change) -> int:
        if self._answers:
            return self._answers.pop(0)(self._table, loaded, change)
        return int(self._table.commit(loaded, change))


def refused(table: Any, loaded: Loaded, change: Change) -> int:
    raise CommitRefusedError("refused")


def lost_before(table: Any, loaded: Loaded, change: Change) -> int:
    raise CommitUnknownError("the request was lost")


def lost_after(table: Any, loaded: Loaded, change: Change) -> int:
    table.commit(loaded, change)
    raise CommitUnknownError("the answer was lost")


def refused_after(table: Any, loaded: Loaded, change: Change) -> int:
    table.commit(loaded, change)
    raise CommitRefusedError("sent twice: the second was refused")


@pytest.mark.parametrize("answer", [refused, lost_before, lost_after, refused_after])
def test_whatever_a_commit_answers_only_the_table_counts(
    place: Place, answer: Callable[[Any, Loaded, Change], int]
) -> None:
    """Refused or unknown, landed or not: the same files are used, each record arrives once."""
    place.publish(120, first=0)
    place.run(Answers(place.table, refused, answer, answer))
    assert place.rows() == 120
    assert any(isinstance(event, Refused) for event in place.events)
    assert place.files_on_disk() == len(place.table.files(place.table.load()))
    place.assert_sound()


def test_files_of_a_landed_commit_stay_when_others_have_gone_on(place: Place) -> None:
    """A commit lands, its answer is lost, and another worker delivers more before we look again.

    Our ranges are neither at their from nor at their to: what we wrote is live all the same, and
    must not be removed.
    """
    place.publish(60, first=0)

    def landed_and_overtaken(table: Any, loaded: Loaded, change: Change) -> int:
        table.commit(loaded, change)
        place.publish(60, first=60)
        place.run()
        raise CommitUnknownError("the answer was lost")

    place.run(Answers(place.table, lambda t, lo, c: t.commit(lo, c), landed_and_overtaken))
    place.run()
    assert place.rows() == 120
    place.assert_sound()


def test_a_worker_gives_up_after_a_while_and_loses_nothing(place: Place) -> None:
    """A catalog that always refuses ends the worker with its error; the next one goes on."""
    place.publish(10, first=0)
    settings = DeliverySettings(commit_seconds_max=0.0, commit_pause_seconds=0.001)
    with pytest.raises(CommitRefusedError):
        place.run(Answers(place.table, *[refused] * 50), settings=settings)
    assert place.run().rows == 10
    place.assert_sound()


@pytest.mark.parametrize("where", ["data", "metadata"])
def test_a_full_disk_stops_the_worker_and_loses_nothing(
    place: Place, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No room for a data file or a manifest: a clear error, no litter, and later all is well."""
    place.publish(100, first=0)
    place.run()
    place.publish(100, first=100)

    def no_room(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def no_room_for_manifest(*_: Any) -> None:
        raise storage_error(OSError(errno.ENOSPC, "No space left on device"), "some.avro")

    with monkeypatch.context() as full:
        if where == "data":
            full.setattr(pq.ParquetWriter, "write_table", no_room)
        else:
            full.setattr("tickerlake.lake.local_io._LocalStream.close", no_room_for_manifest)
        with pytest.raises(StorageError):
            place.run()
    assert place.files_on_disk() == len(place.table.files(place.table.load()))
    assert place.run().rows == 100
    place.assert_sound()


class Aged:
    """A table whose first files look as if they had waited for a day."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self._first = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    def write(self, rows: pa.Table) -> tuple[WrittenFile, ...]:
        files: tuple[WrittenFile, ...] = self._table.write(rows)
        if self._first:
            files = tuple(
                replace(f, written_at_seconds=f.written_at_seconds - 86_400) for f in files
            )
        self._first = False
        return files


def test_files_that_are_too_old_are_written_again(place: Place) -> None:
    """A file that waited longer than half the sweep's age is not committed: it may be gone."""
    place.publish(30, first=0)
    assert place.run(Aged(place.table)).refused == 1
    assert place.rows() == 30
    place.assert_sound()


def test_repeats_alone_make_an_empty_snapshot(place: Place) -> None:
    """Nothing to append still makes a snapshot, whose summary counts the dropped repeats."""
    place.publish(40, first=0)
    place.run()
    place.publish(40, first=0)
    report = place.run()
    assert (report.rows, report.dropped, report.commits) == (0, 40, 1)
    newest = place.table.snapshots(place.table.load())[-1]
    span = decode_ranges(newest.summary[RANGES])[place.topic.identity().id]["0"]
    assert (span.start, span.end, span.dropped) == (40, 80, 40)
    place.assert_sound()


def turned_back(place: Place) -> None:
    """Another tool's rollback by one snapshot: rows go, properties stay."""
    catalog: SqlCatalog = place.lake.catalog
    table = catalog.load_table(("tickerlake", "bars_log"))
    parent = table.metadata.current_snapshot().parent_snapshot_id
    table.manage_snapshots().rollback_to_snapshot(parent).commit()


def test_a_rollback_by_another_tool_is_refused_and_rewind_mends_it(place: Place) -> None:
    """Going on would lose what was rolled back: exit 5, which names the verb that mends it."""
    place.publish(50, first=0)
    place.run()
    place.publish(50, first=50)
    place.run()
    turned_back(place)
    assert place.rows() == 50
    place.publish(50, first=100)
    with pytest.raises(RolledBackError, match="lake rewind bars_log") as caught:
        place.run()
    assert caught.value.exit_code == 5
    rewind(place.lake, ["bars_log"])
    place.run()
    assert place.rows() == 150
    place.assert_sound()


def test_a_rollback_under_a_running_worker_is_seen_before_its_next_commit(place: Place) -> None:
    """The check is part of every decision, not only of the start."""
    place.publish(50, first=0)
    place.run()
    place.publish(50, first=50)

    def roll_back(step: str, _: Mapping[str, Any]) -> None:
        if step == "6":
            turned_back(place)

    with pytest.raises(RolledBackError):
        place.run(failpoint=roll_back)


def test_a_lost_offset_is_not_zero(place: Place) -> None:
    """A partition that was registered and has no offset any more is an error."""
    place.publish(50, first=0)
    place.run()
    table = place.lake.catalog.load_table(("tickerlake", "bars_log"))
    name = f"tickerlake.offset.{place.topic.identity().id}.0"
    with table.transaction() as transaction:
        transaction.remove_properties(name)
    with pytest.raises(DataLossError):
        place.run()


def test_retention_that_passed_is_loud_and_accept_loss_records_the_hole(tmp_path: Path) -> None:
    """Records that went before they were delivered: exit 5; accepted, the hole is on record."""
    place = Place(tmp_path)
    place.publish(10, first=0)
    place.run()
    place.stream.close()
    place.streams = StreamsSettings(
        partitions=1, retention_bytes=10_000, retention_drops_undelivered=True
    )
    place.stream = EmbeddedStream(tmp_path / "stream", place.streams)
    for first in (10, 30, 50):
        place.publish(20, first=first)
    beginning = place.topic.bounds("0").beginning
    assert 10 < beginning < 70
    with pytest.raises(RetentionPassedError, match="--accept-loss") as caught:
        place.run()
    assert caught.value.exit_code == 5
    report = place.run(accept_loss=True)
    assert report.lost == beginning - 10
    assert place.rows() == 10 + 70 - beginning
    expire(place.lake, ["bars_log"], keep=1)
    deliveries = place.lake.table("deliveries")
    rows = deliveries.read(deliveries.load()).to_pylist()
    rows = [row for row in rows if row["event"] == "lost"]
    assert [(row["from_position"], row["to_position"], row["lost"]) for row in rows] == [
        (10, beginning, beginning - 10)
    ]
    place.assert_sound()


def lost_rows(place: Place) -> int:
    """How many records `deliveries` says are lost."""
    expire(place.lake, ["bars_log"], keep=1)
    deliveries = place.lake.table("deliveries")
    return sum(deliveries.read(deliveries.load()).column("lost").drop_null().to_pylist())


@pytest.mark.parametrize("answer", [lost_before, lost_after])
def test_a_loss_whose_answer_is_lost_is_told_once(
    place: Place, answer: Callable[[Any, Loaded, Change], int]
) -> None:
    """No offset moves when an older log's loss is recorded: only the lineage says that it was."""
    put_an_older_log_back(place)
    place.run(Answers(place.table, answer), accept_loss=True)
    place.publish(15, first=100)
    assert place.run(accept_loss=True).rows == 5
    assert lost_rows(place) == 10


def put_an_older_log_back(place: Place) -> None:
    """Twenty records are in the lake, the log is a copy that holds ten of them."""
    place.publish(10, first=0)
    place.stream.close()
    shutil.copytree(place.folder / "stream", place.folder / "copy")
    place.stream = EmbeddedStream(place.folder / "stream", place.streams)
    place.publish(10, first=10)
    place.run()
    place.stream.close()
    shutil.rmtree(place.folder / "stream")
    shutil.copytree(place.folder / "copy", place.folder / "stream")
    place.stream = EmbeddedStream(place.folder / "stream", place.streams)


def test_an_older_copy_of_the_log_is_loud(place: Place) -> None:
    """A log that ends before the lake's offset: exit 5; accepted, its next records are skipped."""
    put_an_older_log_back(place)
    with pytest.raises(RetentionPassedError, match="--accept-loss"):
        place.run()
    assert place.run(accept_loss=True).lost == 10
    # The same loss is not told again, however often delivery begins before the log has grown.
    assert place.run(accept_loss=True).lost == 0
    assert lost_rows(place) == 10
    place.publish(15, first=100)
    assert place.run(accept_loss=True).rows == 5
    assert place.rows() == 25
    assert verify(place.lake).sound


def test_a_log_made_anew_under_the_same_name_inherits_no_offset(place: Place) -> None:
    """Another log is another stream: it begins at its beginning, the old rows stay."""
    place.publish(30, first=0)
    place.run()
    place.stream.close()
    shutil.rmtree(place.folder / "stream")
    place.stream = EmbeddedStream(place.folder / "stream", place.streams)
    place.publish(20, first=100)
    assert place.run().rows == 20
    assert place.rows() == 50
    place.assert_sound()


def test_memory_stays_bounded_while_the_lake_stands_still(place: Place) -> None:
    """A backlog far beyond the cap, under commits that fail: what waits never exceeds the cap."""
    for first in range(0, 60_000, 5_000):
        place.publish(5_000, first=first)
    cap = 1_000_000
    settings = DeliverySettings(
        memory_bytes=cap, read_records=1_000, repeat_window=WINDOW, commit_pause_seconds=0.001
    )
    report = place.run(Answers(place.table, *[refused] * 5), settings=settings)
    one_read = 5_000 * 400  # a message is never cut, and holds what one publish sent
    assert report.rows == 60_000
    assert report.buffered_bytes_max <= cap + one_read
    assert {e.cause for e in place.events if isinstance(e, Delivered)} >= {"memory"}


def test_the_lakes_own_judge_agrees(place: Place) -> None:
    """`lake verify`, which trusts other eyes than this suite's, finds nothing either."""
    place.publish(120, first=0)
    place.publish(30, first=0)
    place.run()
    assert lake_offsets(place.folder / "catalog.db", place.topic) == {"0": 150}
    assert verify(place.lake).findings == ()

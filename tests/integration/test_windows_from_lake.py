"""The window of repeats as the next worker finds it: read from the lake's newest rows alone."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from services import Kafka
from tickerlake.delivery import DeliverySettings, KindReport, Worker
from tickerlake.lake.lake import Lake
from tickerlake.lake.maintenance import compact, expire
from tickerlake.lake.registry import open_lake
from tickerlake.lake.settings import LakeSettings
from tickerlake.streams import Stream, StreamsSettings, open_stream
from tickerlake.testing.sample_records import sample_bars
from tickerlake.testing.sparse_stream import SparseStream

WINDOW = 60


class Rows:
    """A table that counts the rows that are read for windows."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self.read_rows: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    def read(self, loaded: Any, **wishes: Any) -> pa.Table:
        rows = self._table.read(loaded, **wishes)
        if wishes.get("starts"):
            self.read_rows.append(rows.num_rows)
        return rows


class House:
    """A lake for the log, and workers that live for one run."""

    def __init__(self, stream: Stream, folder: Path) -> None:
        folder.mkdir()
        self.stream = stream
        self.lake: Lake = open_lake(
            "./lake", "sqlite:", workspace=folder, settings=LakeSettings(fsync=False)
        )
        self.table = Rows(self.lake.table("bars_log"))

    def run(self) -> KindReport:
        worker = Worker(
            self.stream.topic("bar"),
            self.table,  # type: ignore[arg-type]
            settings=DeliverySettings(flush_rows=50, read_records=30, repeat_window=WINDOW),
            membership=self.stream.join("bar", "test", alone=True),
        )
        return worker.run(threading.Event(), once=True)

    def volumes(self) -> list[float]:
        table = self.lake.table("bars_log")
        rows = table.read(table.load(), columns=["volume"])
        return sorted(value or -1 for value in rows.column("volume").to_pylist())


@pytest.fixture
def sparse(tmp_path: Path) -> Stream:
    """Records share positions, and between them lie many that hold none."""
    return SparseStream(tmp_path / "stream")


@pytest.fixture
def crowded(kafka: Kafka, tmp_path: Path) -> Iterator[Stream]:
    """Messages of Arrow: a position holds dozens of records."""
    stream = open_stream(
        f"kafka://{kafka.bootstrap}/test-{uuid.uuid4().hex[:12]}",
        workspace=tmp_path,
        settings=StreamsSettings(wire="arrow", partitions=2),
    )
    yield stream
    stream.close()


@pytest.mark.parametrize("dead", [0, 40], ids=["sound records", "dead letters between"])
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("where", ["sparse", "crowded"])
def test_a_worker_that_begins_anew_drops_what_one_that_lives_on_drops(
    where: str, tmp_path: Path, seed: int, dead: int, request: pytest.FixtureRequest
) -> None:
    """Records share positions and repeat each other; a death after each publish changes nothing."""
    stream: Stream = request.getfixturevalue(where)
    topic, draw = stream.topic("bar"), random.Random(seed)
    mortal, lasting = House(stream, tmp_path / "mortal"), House(stream, tmp_path / "lasting")
    for first in range(0, 600, 50):
        topic.publish(sample_bars(50, first=first))
        topic.publish(sample_bars(20, first=max(0, first - draw.choice([0, 40, 60, 80, 100, 200]))))
        if dead and draw.random() < 0.4:
            stream.append_raw("bar", "0", [b"\xff"] * dead)
        mortal.run()
        if draw.random() < 0.3:
            draw.choice([compact, expire])(mortal.lake, ["bars_log"])
    assert lasting.run().dropped > 0
    assert mortal.volumes() == lasting.volumes()


def test_of_many_records_at_one_position_only_a_window_is_read(
    crowded: Stream, tmp_path: Path
) -> None:
    """A worker begins with what a window holds, not with all rows of the last positions."""
    house = House(crowded, tmp_path / "house")
    for first in range(0, 2_000, 100):
        crowded.topic("bar").publish(sample_bars(100, first=first))
    house.run()
    house.run()
    assert max(house.table.read_rows) <= 2 * (WINDOW + 50)

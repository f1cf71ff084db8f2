"""Several workers of one table, whose shares change while they run."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tickerlake.delivery import Delivered, DeliverySettings, Event, KindReport, Worker
from tickerlake.lake.lake import Lake
from tickerlake.lake.maintenance import verify
from tickerlake.lake.positions import RANGES, decode_ranges
from tickerlake.lake.registry import open_lake
from tickerlake.lake.settings import LakeSettings
from tickerlake.testing.invariants import findings, lake_offsets
from tickerlake.testing.sample_records import sample_bars
from tickerlake.testing.services.process import wait_until
from tickerlake.testing.shares import Shares
from tickerlake.testing.sparse_stream import SparseStream

WINDOW = 5_000


class Team:
    """Workers in threads of their own, over a sparse log, told by a test what is theirs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stream = SparseStream(folder / "stream")
        self.topic = self.stream.topic("bar")
        self.lake: Lake = open_lake(
            "./lake", "sqlite:", workspace=folder, settings=LakeSettings(fsync=False)
        )
        self.shares = Shares()
        self.stop = threading.Event()
        self.news = threading.Condition()
        self.delivered: list[tuple[str, Delivered]] = []
        self.reads: Counter[str] = Counter()
        self.published = 0
        self.threads = ThreadPoolExecutor(8)
        self.jobs: list[Future[KindReport]] = []

    def start(self, name: str, **settings: Any) -> None:
        def note(event: Event) -> None:
            with self.news:
                if isinstance(event, Delivered):
                    self.delivered.append((name, event))
                self.news.notify_all()

        def reached(step: str, _: Mapping[str, Any]) -> None:
            with self.news:
                self.reads[name] += step == "5"
                self.news.notify_all()

        def work() -> KindReport:
            worker = Worker(
                self.topic,
                self.lake.table("bars_log"),
                settings=DeliverySettings(repeat_window=WINDOW, **settings),
                membership=self.shares.join(name),
                on_event=note,
                failpoint=reached,
            )
            return worker.run(self.stop, once=False)

        self.jobs.append(self.threads.submit(work))

    def publish(self, count: int) -> None:
        for _ in range(0, count, 20):
            self.topic.publish(sample_bars(20, first=self.published))
            self.published += 20

    def rows(self, name: str | None = None) -> int:
        return sum(event.rows for who, event in self.delivered if name in {None, who})

    def rows_in_lake(self) -> int:
        table = self.lake.table("bars_log")
        return sum(file.row_count for file in table.live_files(table.load()))

    def wait_for_all(self) -> None:
        with self.news:
            assert self.news.wait_for(lambda: self.rows_in_lake() == self.published, timeout=60)

    def wait_for_rows(self, name: str | None, count: int) -> None:
        with self.news:
            assert self.news.wait_for(lambda: self.rows(name) >= count, timeout=60)

    def end(self) -> None:
        self.stop.set()
        for job in self.jobs:
            job.result()

    def assert_sound(self) -> None:
        table = self.lake.table("bars_log")
        rows = table.read(table.load(), columns=["volume"]).column("volume")
        assert sorted(rows.to_pylist()) == list(range(self.published))
        found = findings(
            self.topic,
            self.folder / "catalog.db",
            repeat_window=WINDOW,
            acknowledged=self.shares.acknowledged,
        )
        assert found == []
        report = verify(self.lake)
        assert report.sound, report.findings


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    team = Team(tmp_path)
    yield team
    team.stop.set()
    team.threads.shutdown()
    team.stream.close()
    team.lake.close()


def test_a_partition_changes_hands_with_rows_in_the_buffer(team: Team) -> None:
    """Who loses a partition commits what it holds of it; who gets it goes on behind that."""
    team.shares.give(ann="0 1", bob="")
    team.start("ann", flush_seconds=3600)
    team.start("bob", flush_seconds=0.05)
    team.publish(200)
    with team.news:  # Ann has read both; nothing makes her commit.
        assert team.news.wait_for(lambda: team.reads["ann"] >= 2, timeout=60)
    team.shares.give(ann="0")
    team.wait_for_rows("ann", 1)
    assert [event.cause for _, event in team.delivered] == ["partitions"]
    team.publish(200)
    team.shares.give(ann="0", bob="1")
    team.wait_for_rows("bob", 1)
    team.shares.give(bob="0 1")
    team.wait_for_all()
    team.end()
    team.assert_sound()
    assert team.shares.acknowledged == lake_offsets(team.folder / "catalog.db", team.topic)


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "committer"), [(0, "direct"), (1, "handover"), (2, "handover")])
def test_shares_that_never_rest(team: Team, seed: int, committer: str) -> None:
    """Three workers lose and get partitions all the time, some of which two have, or nobody.

    So there are two committers at once, and none, and whatever was handed over arrives once.
    """
    chance = random.Random(seed)
    names = ("ann", "bob", "eve")
    for name in names:
        flush_rows = chance.choice([40, 90])
        team.start(
            name,
            flush_rows=flush_rows,
            flush_seconds=0.1,
            committer=committer,
            handover_seconds=0.3,
        )
    for turn in range(12):
        listed = team.topic.partitions()
        shares = {name: " ".join(chance.sample(listed, k=chance.randint(0, 2))) for name in names}
        team.shares.give(**shares)
        team.publish(60)
        if turn in {3, 7}:
            team.topic.split(listed[-1])
        with team.news:
            team.news.wait(timeout=0.3)
    team.shares.give(ann=" ".join(team.topic.partitions()))
    team.wait_for_all()
    team.end()
    team.assert_sound()


def handing(team: Team, **settings: Any) -> None:
    """Four workers with a partition each, of which the first commits for all."""
    for partition in team.topic.partitions():
        team.topic.split(partition)
    shares = {"ann": "0 1 2", "bob": "3", "eve": "4", "joe": "5"}
    team.shares.give(**shares)
    for name in shares:
        team.start(name, flush_seconds=0.1, **settings)


def test_one_commits_for_all(team: Team) -> None:
    """More than three workers hand their files to the one that reads the first partition."""
    team.publish(100)
    handing(team)
    for _ in range(5):
        team.publish(100)
        team.wait_for_all()
    team.end()
    team.assert_sound()
    table = team.lake.table("bars_log")
    together = [
        decode_ranges(snapshot.summary[RANGES])[team.topic.identity().id]
        for snapshot in table.snapshots(table.load())
    ]
    assert any({"3", "4", "5"} & set(ranges) != set(ranges) for ranges in together)
    assert any(len({"3", "4", "5"} & set(ranges)) > 1 for ranges in together)
    assert table.requests.all() == []


def test_without_a_committer_each_helps_itself(team: Team) -> None:
    """Nobody reads the first partition: who handed over waits a little, and commits itself."""
    team.publish(100)
    handing(team, handover_seconds=0.2)
    team.shares.give(ann="1", bob="3", eve="4", joe="5 2")
    team.publish(100)
    team.shares.give(bob="0 1", eve="4", joe="5 2 3")
    team.wait_for_all()
    team.end()
    team.assert_sound()
    table = team.lake.table("bars_log")
    assert table.requests.all() == []


def test_who_is_alone_settles_what_others_left(team: Team) -> None:
    """Bob handed over and no committer came: who gets all partitions commits it, and tidies up."""
    team.publish(100)
    team.shares.give(bob="1 2")
    team.start("bob", flush_seconds=0.1, committer="handover", handover_seconds=60)
    table = team.lake.table("bars_log")
    wait_until(lambda: table.requests.all() != [])
    team.shares.give(ann=" ".join(team.topic.partitions()))
    team.start("ann", flush_seconds=0.1, committer="handover")
    team.wait_for_all()
    team.end()
    team.assert_sound()
    assert table.requests.all() == []
    assert team.rows("bob") > 0

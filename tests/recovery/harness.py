"""What the recovery tests share: a log that fills, workers that die, and the judge."""

from __future__ import annotations

import random
import signal
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import tickerlake
from tickerlake import clock
from tickerlake.config import make_workspace
from tickerlake.lake.handover import Request
from tickerlake.lake.maintenance import compact, expire, sweep
from tickerlake.streams import StreamsSettings
from tickerlake.streams.registry import open_stream
from tickerlake.testing.faults import Child, Nursery, Plan
from tickerlake.testing.invariants import Eyes, findings, lake_offsets
from tickerlake.testing.sample_records import sample_bars

WINDOW = 400
#: Small flushes, so that a run has many commits, and reads that cut across them.
SETTINGS: dict[str, Any] = {
    "flush_rows": 40,
    "read_records": 30,
    "repeat_window": WINDOW,
    "commit_pause_seconds": 0.002,
}

#: One commits for the others.
HANDING = {**SETTINGS, "committer": "handover", "handover_seconds": 0.4}

#: Before the others nothing was read, after them all that was read is committed.
HOLDING = {"5", "6", "6a", "7", "2", "3", "8a", "8b", "9", "8"}


class Case:
    """One workspace. Bars, repeats and records that nobody can decode go into its log."""

    def __init__(
        self, folder: Path, nursery: Nursery, seed: int = 1, *, eyes: Eyes | None = None
    ) -> None:
        self.folder = folder
        #: Where the judge looks; a lake that lies elsewhere is named by the workspace's settings.
        self.lake = eyes or folder / "catalog.db"
        self.nursery = nursery
        make_workspace(folder)
        self.stream = open_stream("embedded:", workspace=folder, settings=StreamsSettings())
        self.topic = self.stream.topic("bar")
        self.random = random.Random(seed)
        self.published = 0
        self.kills: Counter[str] = Counter()

    def publish(self, count: int = 150) -> None:
        """New bars in several batches, some of them sent twice, and a few dead letters."""
        third = count // 3
        for first in range(self.published, self.published + count, third):
            bars = sample_bars(third, first=first)
            self.topic.publish(bars)
            if self.random.random() < 0.3:
                self.topic.publish(bars.slice(0, third // 2))
        self.published += count
        partition = self.random.choice(self.topic.partitions())
        self.stream.append_raw("bar", partition, [b'{"symbol":"X","open":"', b"\xff\xfe"])

    def start(self, **plan: Any) -> Child:
        plan = {"settings": SETTINGS, **plan}
        return self.nursery.start(Plan(str(self.folder), **plan))

    def backlog(self) -> int:
        """Records of the log that no commit covers."""
        offsets = lake_offsets(self.lake, self.topic)
        return sum(
            self.topic.bounds(name).end - offsets.get(name, 0) for name in self.topic.partitions()
        )

    def killed(self, child: Child, *, step: str) -> bool:
        """Wait for its end; count it if SIGKILL ended it while records were in flight.

        Uncommitted records must lie in the log; and wherever a step finds rows in a worker's
        hands at all, this worker must have held some.
        """
        if child.wait() != -signal.SIGKILL or self.backlog() == 0:
            return False
        holding = step != "random" and child.rows_in_hand() > 0
        if step in HOLDING and not holding:
            return False
        self.kills["killed"] += 1
        self.kills["with uncommitted records"] += 1
        self.kills["with rows in its hands"] += holding
        return True

    def kill_at(self, step: str, nth: int, **plan: Any) -> bool:
        return self.killed(self.start(step=step, nth=nth, **plan), step=step)

    def kill_after(self, seconds: float, **plan: Any) -> bool:
        child = self.start(**plan)
        clock.sleep(seconds)
        child.signal(signal.SIGKILL)
        return self.killed(child, step="random")

    def deliver(self) -> dict[str, Any]:
        """A worker that nobody disturbs, up to the log's end."""
        return self.start().report()

    def maintain(self) -> None:
        """All that maintenance may do to files and snapshots while no worker lives."""
        with tickerlake.open(self.folder, settings={"tables.fsync": False}) as workspace:
            compact(workspace.lake)
            expire(workspace.lake, keep=3)
            sweep(workspace.lake, age_hours=0)

    def kill_at_handover(self, step: str, nth: int) -> bool:
        """One reads half of the partitions and commits for both; one of the two dies.

        What a dead worker had handed over is committed once, or void; who hands over to a dead
        committer commits itself.
        """
        fault = {"step": step, "nth": nth}
        of_committer, of_other = ({}, fault) if step == "7a" else (fault, {})
        committer = self.start(share="0 1 2", once=False, settings=HANDING, **of_committer)
        other = self.start(share="3 4 5", settings=HANDING, **of_other)
        if step == "7a":
            struck = self.killed(other, step=step)
            committer.signal(signal.SIGTERM)
            # It may be told to end before it has begun.
            assert committer.wait() in {0, -signal.SIGTERM}, committer.report()
            return struck
        assert "error" not in (told := other.report()), told
        committer.signal(signal.SIGTERM)
        return self.killed(committer, step="random")

    def requests(self) -> list[Request]:
        """What was handed over and stands there yet, wherever the lake is."""
        with tickerlake.open(self.folder) as workspace:
            return workspace.lake.table("bars_log").requests.all()

    def acknowledged(self) -> dict[str, int]:
        with sqlite3.connect(self.folder / "stream" / "bars.sqlite") as log:
            rows = log.execute("select partition, acknowledged from partitions").fetchall()
        log.close()
        return {str(partition): offset for partition, offset in rows}

    def wipe_acknowledged(self) -> None:
        with sqlite3.connect(self.folder / "stream" / "bars.sqlite") as log:
            log.execute("update partitions set acknowledged = 0")
        log.close()

    def findings(self) -> list[str]:
        return findings(
            self.topic,
            self.lake,
            repeat_window=WINDOW,
            acknowledged=self.acknowledged(),
        )

    def assert_sound(self) -> None:
        assert self.findings() == []

    def assert_complete(self) -> None:
        """Deliver the rest: all of the log is in the lake, once."""
        assert "error" not in self.deliver()
        assert self.backlog() == 0
        self.assert_sound()

    def record_kills(self, request: pytest.FixtureRequest, step: str) -> None:
        request.node.user_properties.append(("kills", (step, dict(self.kills))))

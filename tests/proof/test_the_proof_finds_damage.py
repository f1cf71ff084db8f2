"""A test of the proof: workers that break one rule of the protocol, and runs that must say so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from tickerlake.proof import DiskLakes, Evidence, Fault, Run, Series, UserLogs
from tickerlake.testing.faults import Nursery


class Zombie(Fault):
    """A worker that keeps the protocol, or does not, sleeps before its commit; one overtakes it."""

    name, group, what = "zombie", "worker", ""
    partitions = 2
    breaks: ClassVar[str | None] = None
    #: Where it sleeps, and whether it holds nothing but repeats by then.
    step: ClassVar[str] = "3"
    only_repeats: ClassVar[bool] = False

    def strike(self, run: Run) -> None:
        run.publish()
        run.deliver()
        if not self.only_repeats:
            run.publish()
        run.publish_again()
        plan = {"holding": not self.only_repeats, "settings": {"flush_rows": 100_000}}
        sleeper = run.paused(self.step, breaks=self.breaks, **plan)
        run.struck("asleep", sleeper)
        run.publish(60)
        run.deliver()
        run.wake(sleeper)
        run.judge()


class Unfenced(Zombie):
    breaks, step = "no fence", "6"


class PropertyOnly(Zombie):
    breaks, only_repeats = "property-only commits", True


class OwnRetries(Zombie):
    breaks = "own retries"


class OwnCleaning(Zombie):
    breaks = "own cleaning"


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery(patience_seconds=60) as nursery:
        yield nursery


def shown(folder: Path, fault: type[Fault], nursery: Nursery) -> Evidence:
    lakes, keep = DiskLakes(folder), folder / "kept"
    series = Series(
        [fault],
        logs=UserLogs("embedded:"),
        lakes=lakes,
        folder=folder,
        seed=1,
        path=None,
        keep=keep,
    )
    return series.run_once(1, fault, nursery)


@pytest.mark.slow
@pytest.mark.parametrize("only_repeats", [False, True])
def test_a_worker_that_keeps_the_protocol_comes_through(
    tmp_path: Path, nursery: Nursery, only_repeats: bool
) -> None:
    """Nothing is found where nothing is wrong, so what is found below is real."""
    kept = type("Kept", (Zombie,), {"only_repeats": only_repeats})
    evidence = shown(tmp_path, kept, nursery)
    assert (evidence.struck, evidence.sound, evidence.findings) == (True, True, [])


@pytest.mark.slow
@pytest.mark.parametrize("fault", [Unfenced, OwnRetries])
def test_rows_that_come_twice_are_counted(
    tmp_path: Path, nursery: Nursery, fault: type[Fault]
) -> None:
    """Without the fence, or with PyIceberg's own retries: duplicated records, and a kept lake."""
    evidence = shown(tmp_path, fault, nursery)
    assert evidence.duplicated > 0
    assert any("is 2 rows" in finding for finding in evidence.findings)
    (kept,) = (tmp_path / "kept").iterdir()
    assert (kept / "lake" / "bars_log").is_dir()
    assert list(kept.glob("log-*.bin"))


@pytest.mark.slow
def test_an_offset_that_goes_back_is_seen(tmp_path: Path, nursery: Nursery) -> None:
    """With property-only commits a zombie takes an offset back, and what follows comes twice."""
    evidence = shown(tmp_path, PropertyOnly, nursery)
    assert not evidence.sound
    assert any("went back" in finding for finding in evidence.findings)


@pytest.mark.slow
def test_a_live_file_that_is_gone_is_seen(tmp_path: Path, nursery: Nursery) -> None:
    """With PyIceberg's own cleaning manifests of a live snapshot are deleted."""
    evidence = shown(tmp_path, OwnCleaning, nursery)
    assert any("is gone" in finding for finding in evidence.findings)

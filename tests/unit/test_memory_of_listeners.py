"""What a listening process that was killed leaves to the next one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tickerlake.records import Kind
from tickerlake.sources.holes import Hole
from tickerlake.sources.memory import Left, Memory
from tickerlake.sources.reach import Series

HEARD = datetime(2024, 3, 5, 15, 30, tzinfo=UTC)
NOW = HEARD + timedelta(hours=1)
ACME, BETA = Series("trade", "ACME"), Series("trade", "BETA")
#: Half of it is filled already.
OPEN = Hole(
    "ACME",
    "trade",
    HEARD - timedelta(hours=2),
    HEARD - timedelta(hours=1),
    "a cut",
    since=HEARD - timedelta(hours=1.5),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "live"


def began(
    folder: Path,
    symbols: Sequence[str] = ("ACME", "BETA"),
    kinds: Sequence[Kind] = ("trade", "bar"),
) -> tuple[Memory, Sequence[Left]]:
    memory = Memory(folder, "acme")
    return memory, memory.left_behind(symbols, kinds)


def killed(folder: Path, *holes: Hole) -> None:
    """A run that had heard of both until then, and whose lock nobody holds any more."""
    memory, _ = began(folder)
    memory.note(HEARD, {ACME: HEARD - timedelta(seconds=1), BETA: None}, holes)
    memory.release()


def holes_of(left: Sequence[Left]) -> dict[str, tuple[datetime, datetime]]:
    return {
        hole.symbol: (hole.start, hole.end)
        for one in left
        for hole in one.holes_until(NOW, delay_seconds=0.0)
    }


def test_the_time_since_is_a_hole(folder: Path) -> None:
    """From the newest record of each symbol, or from when it was last heard, until now."""
    killed(folder, OPEN)
    _, left = began(folder)
    holes = holes_of(left)
    assert HEARD - timedelta(seconds=30) < holes["ACME"][0] < HEARD
    assert HEARD - timedelta(minutes=30) < holes["BETA"][0] < HEARD
    assert {end for _, end in holes.values()} == {NOW}
    assert [hole for one in left for hole in one.holes] == [OPEN]


def test_it_is_left_until_another_has_noted_it(folder: Path) -> None:
    """Killed again before it was told: the one after learns it. Once noted, nobody does."""
    killed(folder)
    second, _ = began(folder)
    second.release()
    third, left = began(folder)
    assert holes_of(left)
    third.note(NOW, {ACME: NOW, BETA: NOW}, ())
    third.release()
    _, after = began(folder)
    assert {start for start, _ in holes_of(after).values()} == {NOW - timedelta(seconds=5)}


def test_who_lives_is_left_alone(folder: Path) -> None:
    """A second process over the same symbols takes nothing from one that still listens."""
    first, _ = began(folder)
    first.note(HEARD, {ACME: HEARD}, ())
    second, left = began(folder)
    assert not left
    second.close(())
    first.release()
    assert holes_of(began(folder)[1])


def test_who_ends_politely_leaves_only_what_is_open(folder: Path) -> None:
    """No hole since a stop; holes that history had no time to answer wait for the next one."""
    first, _ = began(folder)
    first.note(HEARD, {ACME: HEARD}, ())
    first.close([OPEN])
    second, left = began(folder)
    assert not holes_of(left)
    assert [hole for one in left for hole in one.holes] == [OPEN]
    second.note(NOW, {ACME: NOW}, ())
    second.close(())
    assert not began(folder)[1]


def test_what_others_left_stays(folder: Path) -> None:
    """Who asks for one symbol takes that one; the other's hole waits for whoever asks for it."""
    killed(folder)
    first, left = began(folder, ["acme"], ["trade"])
    assert set(holes_of(left)) == {"ACME"}
    first.note(NOW, {ACME: NOW}, ())
    first.close(())
    assert not began(folder, ["ACME"])[1]
    assert not began(folder, ["BETA"], ["quote"])[1]
    assert set(holes_of(began(folder, ["*"])[1])) == {"BETA"}


def test_a_torn_or_foreign_file_is_no_trouble(folder: Path) -> None:
    """What cannot be read is passed over, and where nothing can be written that is told."""
    killed(folder)
    (folder / "acme-torn.json").write_text('{"heard_until":')
    memory, left = began(folder)
    assert set(holes_of(left)) == {"ACME", "BETA"}
    assert memory.trouble is None
    (folder / "file").write_text("")
    blocked, left = began(folder / "file")
    blocked.note(NOW, {ACME: NOW}, ())
    blocked.close(())
    assert not left
    assert "cannot be known" in (blocked.trouble or "")

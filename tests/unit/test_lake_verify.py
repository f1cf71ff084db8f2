"""`lake verify` finds each kind of damage; a sound lake has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tickerlake.lake import Change
from tickerlake.lake.hint import read_hint, version_of
from tickerlake.lake.lake import Lake
from tickerlake.lake.maintenance import verify
from tickerlake.lake.positions import Range, check_hash, encode_ranges, offset_property
from tickerlake.lake.table import IcebergTable
from tickerlake.testing.lake_suite import STREAM, bars, deliver


@pytest.fixture
def table(lake: Lake) -> IcebergTable:
    """A table with thirty delivered rows."""
    table = lake.table("bars_log")
    deliver(table, 20)
    deliver(table, 10)
    return table


def problems(lake: Lake) -> list[str]:
    return [finding.problem for finding in verify(lake).findings]


def claim(table: IcebergTable, span: Range, first: int, count: int) -> None:
    """Deliver `count` rows from position `first`, and claim that it was `span`."""
    loaded = table.load()
    changed = {offset_property(STREAM, "0"): str(span.end)}
    summary = {
        "tickerlake.check": check_hash({**loaded.properties, **changed}),
        "tickerlake.ranges": encode_ranges({STREAM: {"0": span}}),
    }
    files = table.write(bars(first, count)) if count else ()
    table.commit(loaded, Change(append=files, properties=changed, summary=summary))


def test_a_sound_lake(lake: Lake, table: IcebergTable) -> None:
    """Nothing is found; repeats and losses that were counted are no damage."""
    claim(table, Range(30, 40, dropped=3), 30, 7)
    claim(table, Range(40, 50, lost=10), 0, 0)
    report = verify(lake)
    assert (report.sound, report.rows) == (True, 37)


def test_a_missing_file(lake: Lake, table: IcebergTable) -> None:
    """A live file that somebody removed is named."""
    path = Path(table.files(table.load())[0])
    path.unlink()
    (finding,) = verify(lake).findings
    assert "cannot be read" in finding.problem
    assert str(path) in finding.found


def test_a_damaged_file(lake: Lake, table: IcebergTable) -> None:
    """A live file with bytes missing is named."""
    path = Path(table.files(table.load())[0])
    path.write_bytes(path.read_bytes()[:-20])
    assert problems(lake) == ["A live data file cannot be read."]


def test_rows_that_came_twice(lake: Lake, table: IcebergTable) -> None:
    """Rows of positions that were delivered before are counted."""
    table.commit(table.load(), Change(append=table.write(bars(5, 4))))
    (finding,) = verify(lake).findings
    assert "more than once" in finding.problem
    assert "4 positions" in finding.found


def test_a_file_that_is_live_twice(lake: Lake, table: IcebergTable) -> None:
    """One file in two commits: its rows would be read twice."""
    files = table.write(bars(30, 4))
    claim(table, Range(30, 34), 0, 0)
    for _ in range(2):
        table.commit(table.load(), Change(append=files))
    assert problems(lake) == ["A data file is live more than once, so its rows are too."]


def test_a_hole_between_deliveries(lake: Lake, table: IcebergTable) -> None:
    """Ranges that do not follow on each other lost records between them."""
    claim(table, Range(35, 40), 35, 5)
    assert "The ranges of the deliveries do not follow on each other." in problems(lake)


def test_rows_that_never_came(lake: Lake, table: IcebergTable) -> None:
    """A delivery that claims more positions than it has rows and repeats."""
    claim(table, Range(30, 40, dropped=2), 30, 5)
    (finding,) = verify(lake).findings
    assert finding.problem == "Positions are missing."


def test_rows_of_no_delivery(lake: Lake, table: IcebergTable) -> None:
    """Rows at positions that no delivery has reached."""
    table.commit(table.load(), Change(append=table.write(bars(50, 2))))
    found = problems(lake)
    assert "A row's position is not below the offset." in found
    assert "Rows came from positions that no delivery tells of." in found


def test_a_hint_that_lags_is_mended(lake: Lake, table: IcebergTable) -> None:
    """Verification says that the version hint was behind, and puts it right."""
    hint = Path(table.folder) / "metadata" / "version-hint.text"
    hint.write_text("00000-old")
    assert verify(lake).mended_hints == ("bars_log",)
    assert verify(lake).mended_hints == ()
    assert read_hint(Path(table.folder)) == version_of(table.load().metadata_location)


def test_the_hint_is_mended_at_the_next_load(table: IcebergTable) -> None:
    """A writer was killed before it wrote the hint: whoever loads next writes it."""
    (Path(table.folder) / "metadata" / "version-hint.text").unlink()
    loaded = table.load()
    assert read_hint(Path(table.folder)) == version_of(loaded.metadata_location)

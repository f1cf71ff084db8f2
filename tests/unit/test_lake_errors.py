"""Whatever is damaged or missing: the error is ours, and says what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tickerlake.errors import StorageError, TickerlakeError
from tickerlake.lake.lake import Lake
from tickerlake.lake.maintenance import compact, expire, rewind, status, sweep, verify
from tickerlake.lake.registry import open_lake
from tickerlake.testing.lake_suite import deliver


def remove(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scribble(path: Path) -> None:
    path.write_bytes(b"\x00\xff tickerlake" * 200)


USES: dict[str, Callable[[Lake], object]] = {
    "read": lambda lake: lake.table("bars_log").read(lake.table("bars_log").load()),
    "status": status,
    "compact": compact,
    "expire": lambda lake: expire(lake, keep=1),
    "sweep": lambda lake: sweep(lake, age_hours=0),
    "rewind": rewind,
}


@pytest.mark.parametrize("harm", [remove, cut, scribble])
@pytest.mark.parametrize("pattern", ["*-m0.avro", "snap-*.avro", "*.metadata.json", "*.parquet"])
def test_no_foreign_error_comes_through(
    tmp_path: Path, pattern: str, harm: Callable[[Path], None]
) -> None:
    """Metadata, manifest list, manifest or data file: every use fails as ours, or does not care."""
    lake = open_lake("./lake", "sqlite:", workspace=tmp_path)
    for _ in range(2):
        deliver(lake.table("bars_log"), 10)
    lake.close()
    for path in (tmp_path / "lake" / "bars_log").rglob(pattern):
        harm(path)
    fresh = open_lake("./lake", "sqlite:", workspace=tmp_path)
    for use in USES.values():
        with contextlib.suppress(TickerlakeError):
            use(fresh)
    assert not verify(fresh, ["bars_log"]).sound
    fresh.close()


def test_a_catalog_that_was_damaged_under_an_open_lake(lake: Lake, tmp_path: Path) -> None:
    """The catalog's file turns to rubbish while we run: load and commit say so in our words."""
    table = lake.table("bars_log")
    deliver(table, 10)
    lake.close()
    for path in tmp_path.glob("catalog.db*"):
        scribble(path)
    with pytest.raises(StorageError, match="catalog cannot be used"):
        table.load()
    with pytest.raises(StorageError):
        lake.names()

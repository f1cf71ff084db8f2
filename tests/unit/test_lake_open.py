"""Opening a lake: places, catalogs, formats, and folders that were moved."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tickerlake.errors import (
    ConfigError,
    DataLossError,
    MalformedError,
    NewerVersionError,
    NotFoundError,
    StorageError,
    WorkspaceMovedError,
)
from tickerlake.lake.lake import Lake
from tickerlake.lake.maintenance import relocate, sweep, verify
from tickerlake.lake.registry import open_lake
from tickerlake.testing.lake_suite import deliver


def open_here(workspace: Path) -> Lake:
    return open_lake("./lake", "sqlite:", workspace=workspace)


def filled(workspace: Path) -> None:
    """A lake with three deliveries, closed again."""
    workspace.mkdir(parents=True, exist_ok=True)
    lake = open_here(workspace)
    for _ in range(3):
        deliver(lake.table("bars_log"), 10)
    lake.close()


NO_ROOM = """
import resource, signal, sys
from pathlib import Path
from tickerlake.cache import CachedSource
from tickerlake.errors import StorageError
from tickerlake.lake.registry import open_lake
from tickerlake.sources import BarsRequest, open_source

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for room_bytes in (0, 4_096, 12_000, 20_000, 30_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (room_bytes, resource.RLIM_INFINITY))
    folder = Path(sys.argv[1]) / str(room_bytes)
    for attempt in (
        lambda: open_lake("./lake", "sqlite:", workspace=folder),
        lambda: CachedSource(open_source("sample"), folder / "cache").bars(BarsRequest("IBM")),
    ):
        try:
            attempt()
        except StorageError as error:
            print(error)
"""


def test_no_room_for_catalog_or_index_is_said(tmp_path: Path) -> None:
    """However far a disk lets their making come, its end is a storage error, never a stranger's."""
    done = subprocess.run(
        [sys.executable, "-c", NO_ROOM, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for name in ("catalog", "cache"):
        assert re.search(rf"(?i)the (lake's )?{name} .* cannot be", done.stdout), done.stdout


def test_a_catalog_that_is_not_built(tmp_path: Path) -> None:
    """The error says so, says what there is, and no folder is made."""
    with pytest.raises(ConfigError, match="not built yet") as caught:
        open_lake("./lake", "glue:", workspace=tmp_path)
    assert "sqlite:" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_catalog_that_does_not_exist(tmp_path: Path) -> None:
    """A typing mistake is a configuration error."""
    with pytest.raises(ConfigError, match="no catalog of the kind"):
        open_lake("./lake", "sqlight:", workspace=tmp_path)


@pytest.mark.parametrize("lake", ["gs://bucket/prefix", "s3://", "http://host/lake"])
def test_a_lake_on_a_store_that_is_not_built(tmp_path: Path, lake: str) -> None:
    """The error says what there is, and nothing is made."""
    with pytest.raises(ConfigError, match="is not built") as caught:
        open_lake(lake, "sqlite:", workspace=tmp_path)
    assert "s3://bucket/prefix" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_catalog_file_of_ones_own(tmp_path: Path) -> None:
    """`sqlite:some/file.db` starts at the workspace."""
    lake = open_lake("./lake", "sqlite:state/my.db", workspace=tmp_path)
    lake.close()
    assert (tmp_path / "state" / "my.db").exists()


@pytest.mark.parametrize("name", ["a b", "a#b", "a?b=c", "ä%20"])
def test_folders_may_have_any_name(tmp_path: Path, name: str) -> None:
    """Spaces and characters that mean something in an address are only characters here."""
    filled(tmp_path / name)
    lake = open_here(tmp_path / name)
    assert verify(lake).rows == 30
    lake.close()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_lake_of_a_later_version(tmp_path: Path) -> None:
    """It is not touched, and the error names the version to install."""
    filled(tmp_path)
    marker = tmp_path / "lake" / "tickerlake-lake.json"
    document = json.loads(marker.read_text())
    marker.write_text(json.dumps({**document, "format": 99, "written_by": "9.9"}))
    with pytest.raises(NewerVersionError, match="later tickerlake") as caught:
        open_here(tmp_path)
    assert "9.9" in str(caught.value)


def test_a_marker_that_cannot_be_read(tmp_path: Path) -> None:
    """A damaged marker is said to be damaged, not taken for a new lake."""
    filled(tmp_path)
    (tmp_path / "lake" / "tickerlake-lake.json").write_text("{")
    with pytest.raises(MalformedError, match="marker"):
        open_here(tmp_path)


def test_a_moved_workspace_is_refused_then_relocated(tmp_path: Path) -> None:
    """Its paths point elsewhere; `relocate` rewrites them, and everything is there."""
    filled(tmp_path / "old")
    shutil.move(tmp_path / "old", tmp_path / "new")
    with pytest.raises(WorkspaceMovedError, match="moved or copied") as caught:
        open_here(tmp_path / "new")
    assert "lake relocate" in str(caught.value)
    report = relocate("./lake", "sqlite:", workspace=tmp_path / "new")
    assert report.tables == ("bars_log",)
    lake = open_here(tmp_path / "new")
    deliver(lake.table("bars_log"), 10)
    sweep(lake, age_hours=0)
    found = verify(lake)
    assert found.sound, found.findings
    assert found.rows == 40
    assert len(lake.table("bars_log").snapshots(lake.table("bars_log").load())) == 5
    lake.close()
    assert relocate("./lake", "sqlite:", workspace=tmp_path / "new").tables == ()


@pytest.mark.parametrize("moved", [False, True], ids=["in its place", "moved too"])
def test_a_lost_catalog_is_no_empty_lake(tmp_path: Path, moved: bool) -> None:
    """Tables that the catalog forgot are not quietly begun anew: `relocate` takes them in again."""
    filled(tmp_path / "old")
    if moved:
        shutil.move(tmp_path / "old", tmp_path / "new")
    here = tmp_path / ("new" if moved else "old")
    for file in here.glob("catalog.db*"):
        file.unlink()
    if not moved:
        with pytest.raises(DataLossError, match="bars_log") as caught:
            open_here(here)
        assert "lake relocate" in str(caught.value)
    assert relocate("./lake", "sqlite:", workspace=here).registered == ("bars_log",)
    lake = open_here(here)
    deliver(lake.table("bars_log"), 10)
    found = verify(lake)
    assert found.sound, found.findings
    assert found.rows == 40
    lake.close()


def test_a_copy_does_not_touch_the_original(tmp_path: Path) -> None:
    """A copied workspace is refused too; relocated, the two go their own ways."""
    filled(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    with pytest.raises(WorkspaceMovedError):
        open_here(tmp_path / "two")
    relocate("./lake", "sqlite:", workspace=tmp_path / "two")
    copy, original = open_here(tmp_path / "two"), open_here(tmp_path / "one")
    deliver(copy.table("bars_log"), 10)
    assert verify(copy).rows == 40
    assert verify(original).rows == 30
    copy.close()
    original.close()


def test_a_copy_with_the_originals_catalog_is_refused(tmp_path: Path) -> None:
    """Relocating it would turn the original's tables to the copy."""
    outside = f"sqlite:{tmp_path / 'shared.db'}"
    (tmp_path / "one").mkdir()
    lake = open_lake("./lake", outside, workspace=tmp_path / "one")
    deliver(lake.table("bars_log"), 10)
    lake.close()
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    with pytest.raises(ConfigError, match="still that of the original"):
        relocate("./lake", outside, workspace=tmp_path / "two")


def test_a_lake_folder_that_was_deleted(tmp_path: Path) -> None:
    """The catalog still names tables whose files are gone: a storage error, and no traceback."""
    filled(tmp_path)
    shutil.rmtree(tmp_path / "lake")
    lake = open_here(tmp_path)
    with pytest.raises(StorageError, match="metadata of the table bars_log cannot be read"):
        lake.table("bars_log").load()
    lake.close()


def test_a_catalog_that_was_deleted(tmp_path: Path) -> None:
    """A table that vanished is not found; a damaged catalog is a storage error."""
    filled(tmp_path)
    lake = open_here(tmp_path)
    table = lake.table("bars_log")
    lake.catalog.drop_table(("tickerlake", "bars_log"))
    with pytest.raises(NotFoundError, match="no longer has the table"):
        table.load()
    lake.close()
    for path in tmp_path.glob("catalog.db*"):
        path.write_bytes(b"this is no database, not at all" * 100)
    with pytest.raises(StorageError, match="catalog"):
        open_here(tmp_path)


def test_threads_that_open_a_new_lake_at_once(tmp_path: Path) -> None:
    """Each makes the marker, and none falls over another's."""

    def open_one(number: int) -> bool:
        open_lake("./lake", "sqlite:", workspace=tmp_path / str(number // 4)).close()
        return True

    for number in range(5):
        (tmp_path / str(number)).mkdir()
    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(open_one, range(20)))

"""`version-hint.text`: tells readers without a catalog which metadata file is the newest.

Other people's DuckDB reads `iceberg_scan('lake/bars_log')` by it, fresh and without a lock. The
catalog stays the truth; the hint follows it and is never needed by tickerlake itself. Local
folders alone have one: a store offers no lock under which it could never go back.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tickerlake.lake.store import path_of
from tickerlake.locks import file_lock

__all__ = ["HINT_FILE", "LOCK_FILE", "read_hint", "update_hint", "version_of"]

HINT_FILE = "version-hint.text"
LOCK_FILE = "version-hint.lock"


def version_of(metadata_location: str) -> str:
    """What the hint says when this metadata file is the newest."""
    return Path(path_of(metadata_location)).name.removesuffix(".metadata.json")


def read_hint(folder: Path) -> str | None:
    """What the hint of a table's folder says; null if there is none."""
    try:
        return (folder / "metadata" / HINT_FILE).read_text()
    except FileNotFoundError:
        return None


def update_hint(folder: Path, pointer: Callable[[], str]) -> None:
    """Make the hint say what the catalog says now.

    The catalog is read under the lock: of two writers the later one has read the later state, so
    the hint never goes back.

    Raises:
        OSError: The hint cannot be written. The table is whole all the same.
    """
    metadata = folder / "metadata"
    with file_lock(metadata / LOCK_FILE):
        location = pointer()
        if read_hint(folder) == version_of(location):
            return
        fresh = metadata / f".{HINT_FILE}.{os.getpid()}"
        fresh.write_text(version_of(location))
        fresh.replace(metadata / HINT_FILE)

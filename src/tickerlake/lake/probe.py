"""Does the catalog compare before it swaps? Asked at start, on a scratch table."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import pyarrow as pa

from tickerlake.errors import CommitRefusedError, ConfigError
from tickerlake.lake.base import Change
from tickerlake.lake.catalog import NAMESPACE, LakeCatalog
from tickerlake.lake.commit import commit
from tickerlake.lake.local_io import location_of
from tickerlake.lake.manifests import Manifests
from tickerlake.lake.tables import iceberg_schema

__all__ = ["PROBE", "forget_old_probes", "probe_catalog"]

#: How names of scratch tables begin.
PROBE = "probe_"


def probe_catalog(catalog: LakeCatalog, folder: Path) -> None:
    """Let two rivals commit on top of one state: exactly one must win.

    Raises:
        ConfigError: Both landed, so the catalog cannot fence a stale writer.
    """
    name = f"{PROBE}{uuid.uuid4().hex}"
    place = _place(folder, name)
    identifier = (NAMESPACE, name)
    try:
        catalog.create_table(
            identifier,
            iceberg_schema(pa.schema([("symbol", pa.string())])),
            location=location_of(place),
        )
        rivals = [catalog.load_table(identifier) for _ in range(2)]
        commit(rivals[0], Change(), merge_at=20, manifests=Manifests())
        try:
            commit(rivals[1], Change(), merge_at=20, manifests=Manifests())
        except CommitRefusedError:
            return
        raise ConfigError(
            "The lake's catalog cannot tell a stale writer from a fresh one.",
            expected="of two rival commits on one state, one is refused",
            found="both landed",
            todo="use another catalog: this one would lose or duplicate records",
        )
    finally:
        if catalog.pointer(identifier) is not None:
            catalog.drop_table(identifier)
        shutil.rmtree(place, ignore_errors=True)


def forget_old_probes(catalog: LakeCatalog, folder: Path, *, before_seconds: float) -> None:
    """Remove what probes that were killed left behind before `before_seconds` (epoch)."""
    for _, name in catalog.list_tables(NAMESPACE):
        if not name.startswith(PROBE):
            continue
        place = _place(folder, name)
        if not place.exists() or place.stat().st_mtime < before_seconds:
            catalog.drop_table((NAMESPACE, name))
            shutil.rmtree(place, ignore_errors=True)


def _place(folder: Path, name: str) -> Path:
    return folder / f".{name}"

"""`lake sweep`: delete files that no snapshot names.

Age alone never suffices: a worker that was paused for days may commit a file after the sweep has
deleted it. So the sweep commits an empty snapshot first, the fence: whoever decided on an older
state is refused from then on, reads again, and writes files anew that are older than half the
sweep's age. Only then does it delete what was older than that age before the fence and stands
in no snapshot and no metadata log of the fenced metadata.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tickerlake import clock
from tickerlake.lake.base import Change, Loaded
from tickerlake.lake.hint import HINT_FILE, LOCK_FILE
from tickerlake.lake.lake import Lake
from tickerlake.lake.probe import forget_old_probes
from tickerlake.lake.retry import commit_until_landed
from tickerlake.lake.store import path_of
from tickerlake.lake.table import IcebergTable
from tickerlake.lake.vendor import reading

if TYPE_CHECKING:
    from pyiceberg.table.metadata import TableMetadata

__all__ = ["SweepReport", "sweep"]


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What the sweep did to one table."""

    table: str
    deleted_files: int
    deleted_bytes: int
    #: Files that no snapshot names, but too young to be certain of.
    young_files: int


def sweep(
    lake: Lake, names: Sequence[str] | None = None, *, age_hours: float | None = None
) -> list[SweepReport]:
    """Delete files that were older than `age_hours` and that nothing names.

    Args:
        lake: The lake.
        names: Which tables; all that exist if null.
        age_hours: `sweep_age_hours` of the settings if null. It must be longer than the longest
            query, and than a worker takes from writing a file to committing it.
    """
    hours = lake.settings.sweep_age_hours if age_hours is None else age_hours
    reports = [_sweep(lake.table(name), hours) for name in (names or lake.names())]
    oldest_seconds = clock.real_now().timestamp() - hours * 3600
    forget_old_probes(lake.catalog, lake.store, before_seconds=oldest_seconds)
    return reports


def _sweep(table: IcebergTable, hours: float) -> SweepReport:
    oldest_seconds = clock.real_now().timestamp() - hours * 3600
    commit_until_landed(table, lambda _: Change(summary={"tickerlake.fence": "sweep"}))
    with reading(table.name, "manifests"):
        named = _named(table, table.load())
    deleted = freed = young = 0
    unnamed = []
    for file in table.store.files(table.folder):
        if file.path in named:
            continue
        if file.modified_seconds >= oldest_seconds:
            young += 1
            continue
        unnamed.append(file.path)
        deleted += 1
        freed += file.byte_count
    table.store.delete(unnamed)
    return SweepReport(table.name, deleted, freed, young)


def _named(table: IcebergTable, loaded: Loaded) -> set[str]:
    """All files that one metadata names: itself, its log, every snapshot, and what those name."""
    metadata: TableMetadata = loaded.handle.metadata
    named = {path_of(loaded.metadata_location)}
    named |= {path_of(entry.metadata_file) for entry in metadata.metadata_log}
    named |= {path_of(statistics.statistics_path) for statistics in metadata.statistics}
    named |= {f"{table.folder}/metadata/{name}" for name in (HINT_FILE, LOCK_FILE)}
    manifests: dict[str, None] = {}
    for snapshot in metadata.snapshots:
        named.add(path_of(snapshot.manifest_list))
        for manifest in snapshot.manifests(loaded.handle.io):
            if manifest.manifest_path in manifests:
                continue
            manifests[manifest.manifest_path] = None
            named.add(path_of(manifest.manifest_path))
            entries = manifest.fetch_manifest_entry(loaded.handle.io)
            named |= {path_of(entry.data_file.file_path) for entry in entries}
    return named

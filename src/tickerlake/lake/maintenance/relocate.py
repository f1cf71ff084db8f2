"""`lake relocate`: after a workspace was moved or copied, make its paths true again.

Tables that the catalog has forgotten, because its file was lost, are taken in again first.

Iceberg names every file by its absolute path. All manifests, manifest lists and the metadata of
every kept snapshot are written anew beside the old ones; then one transaction of the catalog
turns all tables at once, and last the marker says where the lake is. Killed in between, it is
run again. Data files are not touched; the old metadata goes with the next sweep.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path

from pyiceberg.catalog.sql import IcebergTables
from pyiceberg.io import InputFile
from pyiceberg.manifest import (
    ManifestEntry,
    ManifestFile,
    write_manifest,
    write_manifest_list,
)
from pyiceberg.serializers import FromInputFile, ToOutputFile
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot
from sqlalchemy import update
from sqlalchemy.orm import Session

from tickerlake.errors import ConfigError
from tickerlake.lake.catalog import catalog_path, check_catalog
from tickerlake.lake.catalog_sql import SqlLakeCatalog, open_sqlite
from tickerlake.lake.hint import update_hint
from tickerlake.lake.local_io import LocalFileIO
from tickerlake.lake.local_store import LocalStore
from tickerlake.lake.lost import register_lost
from tickerlake.lake.marker import read_marker, write_marker
from tickerlake.lake.probe import PROBE
from tickerlake.lake.registry import lake_folder
from tickerlake.lake.settings import LakeSettings
from tickerlake.lake.store import location_of, path_of

__all__ = ["RelocateReport", "relocate"]


@dataclass(frozen=True, slots=True)
class RelocateReport:
    """From where to where; no tables if the lake was in its place.

    `registered` are tables that the catalog had forgotten and knows again.
    """

    before: str
    after: str
    tables: tuple[str, ...]
    registered: tuple[str, ...] = ()


def relocate(
    lake_url: str, catalog_url: str, *, workspace: Path, settings: LakeSettings | None = None
) -> RelocateReport:
    """Make a moved lake's paths true. Takes what `open_lake` takes, which refuses such a lake.

    Raises:
        ConfigError: The lake is in a bucket or its catalog no SQLite file; or the folder is a copy,
            and its catalog is still that of the original.
        NewerVersionError: The lake was written by a later tickerlake.
        StorageError: The disk is full; nothing has changed.
    """
    chosen = settings or LakeSettings()
    workspace = workspace.resolve()
    after = lake_folder(lake_url, workspace)
    if check_catalog(catalog_url) != "sqlite":
        raise ConfigError(
            "Only a lake with a SQLite catalog is relocated.",
            expected='catalog = "sqlite:"',
            found=f'catalog = "{catalog_url}"',
            todo="put the lake back where its catalog says that it is",
        )
    path = catalog_path(catalog_url, workspace)
    marker = read_marker(after)
    before = Path(marker.location) if marker else after
    if before != after:
        _refuse_a_borrowed_catalog(path, workspace, before)
    store = LocalStore(after, fsync=chosen.fsync)
    catalog = open_sqlite(path, store=store, settings=chosen)
    try:
        registered = register_lost(catalog, store)
        moved: list[str] = []
        if before != after:
            moved = _Move(catalog, before, after, fsync=chosen.fsync).run(registered)
        write_marker(after)
        for name in moved:
            _write_hint(catalog, after / name, name)
    finally:
        catalog.close()
    return RelocateReport(str(before), str(after), tuple(moved), registered)


def _refuse_a_borrowed_catalog(catalog: Path, workspace: Path, before: Path) -> None:
    if before.exists() and not catalog.resolve().is_relative_to(workspace):
        raise ConfigError(
            "This lake is a copy, but its catalog is still that of the original.",
            expected=f"a catalog inside {workspace}",
            found=str(catalog),
            todo="copy the catalog's file too and name the copy in tickerlake.toml",
        )


def _write_hint(catalog: SqlLakeCatalog, folder: Path, name: str) -> None:
    update_hint(folder, lambda: catalog.pointer(catalog.identifier(name)) or "")


class _MovedFiles(LocalFileIO):
    """Reads files where they are now, whatever their old name says."""

    def __init__(self, move: _Move, *, fsync: bool) -> None:
        super().__init__({"tickerlake.fsync": "true" if fsync else "false"})
        self._move = move

    def new_input(self, location: str) -> InputFile:
        return super().new_input(self._move.moved(location))


class _Move:
    def __init__(self, catalog: SqlLakeCatalog, before: Path, after: Path, *, fsync: bool) -> None:
        self._catalog = catalog
        self._before = location_of(str(before))
        self._after = location_of(str(after))
        self._io = _MovedFiles(self, fsync=fsync)

    def run(self, registered: tuple[str, ...]) -> list[str]:
        """Write all metadata anew, then turn all tables at once; return their names."""
        turned: dict[str, tuple[str, str]] = {}
        for _, name in self._catalog.list_tables(self._catalog.namespace):
            pointer = self._catalog.pointer(self._catalog.identifier(name))
            if name.startswith(PROBE):
                continue  # A scratch table of a probe that was killed: the sweep forgets it.
            elsewhere = pointer is not None and pointer.startswith(f"{self._before}/")
            if pointer is not None and (elsewhere or name in registered):
                turned[name] = (pointer, self._rewrite(pointer))
        with Session(self._catalog.engine) as session:
            for name, (old, new) in turned.items():
                session.execute(
                    update(IcebergTables)
                    .where(
                        IcebergTables.catalog_name == self._catalog.name,
                        IcebergTables.table_name == name,
                        IcebergTables.metadata_location == old,
                    )
                    .values(metadata_location=new, previous_metadata_location=None)
                )
            session.commit()
        return sorted(turned)

    def moved(self, location: str) -> str:
        """The location with the new folder in place of the old one."""
        if location.startswith(f"{self._before}/"):
            return self._after + location.removeprefix(self._before)
        return location

    def _rewrite(self, pointer: str) -> str:
        metadata = FromInputFile.table_metadata(self._io.new_input(pointer))
        written: dict[str, ManifestFile] = {}
        changed = metadata.model_copy(
            update={
                "location": self.moved(metadata.location),
                "snapshots": [
                    self._snapshot(metadata, snapshot, written) for snapshot in metadata.snapshots
                ],
                # Older metadata files name the old place: they are of no use to anybody.
                "metadata_log": [],
            }
        )
        version = int(Path(path_of(pointer)).name.partition("-")[0]) + 1
        folder = self.moved(pointer).rpartition("/")[0]
        location = f"{folder}/{version:05d}-{uuid.uuid4()}.metadata.json"
        ToOutputFile.table_metadata(changed, self._io.new_output(location))
        return location

    def _snapshot(
        self, metadata: TableMetadata, snapshot: Snapshot, written: dict[str, ManifestFile]
    ) -> Snapshot:
        manifests = []
        for manifest in snapshot.manifests(self._io):
            if manifest.manifest_path not in written:
                written[manifest.manifest_path] = self._manifest(metadata, manifest)
            manifests.append(written[manifest.manifest_path])
        location = self._beside(snapshot.manifest_list, f"snap-{snapshot.snapshot_id}-0")
        with write_manifest_list(
            format_version=metadata.format_version,
            output_file=self._io.new_output(location),
            snapshot_id=snapshot.snapshot_id,
            parent_snapshot_id=snapshot.parent_snapshot_id,
            sequence_number=snapshot.sequence_number,
            avro_compression="deflate",
        ) as writer:
            writer.add_manifests(manifests)
        return snapshot.model_copy(update={"manifest_list": location})

    def _manifest(self, metadata: TableMetadata, manifest: ManifestFile) -> ManifestFile:
        location = self._beside(manifest.manifest_path, "moved")
        with write_manifest(
            format_version=metadata.format_version,
            spec=metadata.specs()[manifest.partition_spec_id],
            schema=metadata.schema(),
            output_file=self._io.new_output(location),
            snapshot_id=manifest.added_snapshot_id or 0,
            avro_compression="deflate",
        ) as writer:
            for entry in manifest.fetch_manifest_entry(self._io, discard_deleted=False):
                writer.add_entry(self._entry(entry))
        return ManifestFile.from_args(
            manifest_path=location,
            manifest_length=writer.to_manifest_file().manifest_length,
            partition_spec_id=manifest.partition_spec_id,
            content=manifest.content,
            sequence_number=manifest.sequence_number,
            min_sequence_number=manifest.min_sequence_number,
            added_snapshot_id=manifest.added_snapshot_id,
            added_files_count=manifest.added_files_count,
            existing_files_count=manifest.existing_files_count,
            deleted_files_count=manifest.deleted_files_count,
            added_rows_count=manifest.added_rows_count,
            existing_rows_count=manifest.existing_rows_count,
            deleted_rows_count=manifest.deleted_rows_count,
            partitions=manifest.partitions,
            key_metadata=manifest.key_metadata,
        )

    def _entry(self, entry: ManifestEntry) -> ManifestEntry:
        # The entry was read for us alone, so it may be changed; file_path is its second field.
        entry.data_file[1] = self.moved(entry.data_file.file_path)
        return entry

    def _beside(self, location: str, prefix: str) -> str:
        folder = self.moved(location).rpartition("/")[0]
        return f"{folder}/{prefix}-{uuid.uuid4()}.avro"

"""The one commit function: for delivery, compaction, expiry and every other change of a table.

It is built from PyIceberg's public pieces (manifest writers, updates, requirements) and hands
them to the catalog itself, once. PyIceberg's own transaction is not used: it repeats a stale
append by itself, and it deletes the manifests of a commit that had landed when a request was
sent twice. See ADR 0004.

Promise: one compare-and-swap on exactly the parent snapshot that the caller decided on. Nothing
is tried twice, and nothing that the table may name is deleted, whatever happens.
"""

from __future__ import annotations

import math
import uuid
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.manifest import (
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestWriter,
    write_manifest,
    write_manifest_list,
)
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRefType
from pyiceberg.table.snapshots import (
    Operation,
    Snapshot,
    SnapshotSummaryCollector,
    Summary,
    ancestors_of,
    update_snapshot_summaries,
)
from pyiceberg.table.update import (
    AddSnapshotUpdate,
    AssertRefSnapshotId,
    AssertTableUUID,
    RemovePropertiesUpdate,
    RemoveSnapshotsUpdate,
    SetPropertiesUpdate,
    SetSnapshotRefUpdate,
    TableRequirement,
    TableUpdate,
)

from tickerlake import clock
from tickerlake.errors import (
    CommitRefusedError,
    CommitUnknownError,
    TickerlakeError,
)
from tickerlake.lake.base import Change
from tickerlake.lake.manifests import Manifests
from tickerlake.lake.positions import CHECK, stream_ids
from tickerlake.lake.vendor import reading

if TYPE_CHECKING:
    from pyiceberg.partitioning import PartitionSpec
    from pyiceberg.table import CommitTableResponse, Table

__all__ = ["commit"]

_COMPRESSION: Final = "deflate"


def commit(
    table: Table, change: Change, *, merge_at: int, manifests: Manifests
) -> CommitTableResponse:
    """Commit `change` on top of exactly the snapshot that `table` was loaded with.

    Raises:
        CommitRefusedError: The catalog refused. It may still have landed: load again.
        CommitUnknownError: The answer is unknown: load again.
        StorageError: A file cannot be read or written; the catalog was not asked.
    """
    with reading(table.name()[-1], "manifests"):
        staged = _Stage(table, merge_at, manifests).stage(change)
    try:
        return table.catalog.commit_table(table, staged.requirements, staged.updates)
    except CommitFailedException as error:
        raise CommitRefusedError(
            f"The table {table.name()[-1]} has changed since it was read.",
            found=str(error),
            todo="read the table again and decide anew",
        ) from error
    except TickerlakeError:
        # Our own file access failed before the catalog was asked.
        raise
    except Exception as error:
        raise CommitUnknownError(
            f"Nobody knows whether the commit to {table.name()[-1]} landed.",
            found=f"{type(error).__name__}: {error}",
            todo="read the table again and look",
        ) from error


@dataclass(frozen=True, slots=True)
class _Staged:
    updates: tuple[TableUpdate, ...]
    requirements: tuple[TableRequirement, ...]


class _Stage:
    """Writes the manifests of one new snapshot and says what the catalog must compare and set."""

    def __init__(self, table: Table, merge_at: int, manifests: Manifests) -> None:
        self._table = table
        self._metadata = table.metadata
        self._parent = table.metadata.current_snapshot()
        self._merge_at = merge_at
        self._manifests = manifests
        self._snapshot_id = table.metadata.new_snapshot_id()
        self._commit_id = uuid.uuid4()
        self._manifest_count = 0
        self._sequence_number = table.metadata.next_sequence_number()

    def stage(self, change: Change) -> _Staged:
        parent_id = self._parent.snapshot_id if self._parent else None
        kept, deleted = self._without(set(change.delete))
        manifests = [*self._added(change), *self._deleted(deleted), *self._merged(kept)]
        snapshot = Snapshot(
            snapshot_id=self._snapshot_id,
            parent_snapshot_id=parent_id,
            manifest_list=self._write_list(manifests, parent_id),
            sequence_number=self._sequence_number,
            timestamp_ms=self._timestamp_ms(),
            summary=self._summary(change, deleted),
            schema_id=self._metadata.current_schema_id,
        )
        updates: list[TableUpdate] = [
            AddSnapshotUpdate(snapshot=snapshot),
            SetSnapshotRefUpdate(
                ref_name=MAIN_BRANCH,
                type=SnapshotRefType.BRANCH,
                snapshot_id=self._snapshot_id,
                max_ref_age_ms=None,
                max_snapshot_age_ms=None,
                min_snapshots_to_keep=None,
            ),
        ]
        if change.properties:
            updates.append(SetPropertiesUpdate(updates=dict(change.properties)))
        if change.forget:
            updates.append(RemovePropertiesUpdate(removals=list(change.forget)))
        if change.expire:
            updates.append(RemoveSnapshotsUpdate(snapshot_ids=list(change.expire)))
        return _Staged(
            tuple(updates),
            (
                AssertTableUUID(uuid=self._metadata.table_uuid),
                AssertRefSnapshotId(ref=MAIN_BRANCH, snapshot_id=parent_id),
            ),
        )

    def _timestamp_ms(self) -> int:
        # Later than the last one even if the clock was set back: deliveries are put in order by it.
        now_ms = int(clock.real_now().timestamp() * 1000)
        return max(now_ms, self._metadata.last_updated_ms + 1)

    def _added(self, change: Change) -> list[ManifestFile]:
        if not change.append:
            return []
        entries = [
            ManifestEntry.from_args(
                status=ManifestEntryStatus.ADDED,
                snapshot_id=self._snapshot_id,
                data_file=file.data_file,
            )
            for file in change.append
        ]
        with self._new_manifest(self._metadata.spec()) as writer:
            for entry in entries:
                writer.add(entry)
        manifest = writer.to_manifest_file()
        # Known from here on with the sequence number that readers inherit: merging need not read.
        for entry in entries:
            entry.sequence_number = entry.file_sequence_number = self._sequence_number
        self._manifests.know(self._table, manifest, entries)
        return [manifest]

    def _without(self, paths: set[str]) -> tuple[list[ManifestFile], list[ManifestEntry]]:
        """The parent's manifests without some files, and the entries that were taken out."""
        kept: list[ManifestFile] = []
        deleted: list[ManifestEntry] = []
        for manifest in self._parent.manifests(self._table.io) if self._parent else ():
            if not manifest.has_added_files() and not manifest.has_existing_files():
                continue  # It only tells what an earlier snapshot deleted.
            if not paths or manifest.content != ManifestContent.DATA:
                kept.append(manifest)
                continue
            entries = self._manifests.entries(self._table, manifest)
            gone = [entry for entry in entries if entry.data_file.file_path in paths]
            deleted.extend(gone)
            if not gone:
                kept.append(manifest)
            elif len(gone) < len(entries):
                rest = [entry for entry in entries if entry.data_file.file_path not in paths]
                kept.append(self._existing(manifest.partition_spec_id, rest))
        missing = paths - {entry.data_file.file_path for entry in deleted}
        if missing:
            raise CommitRefusedError(
                f"{len(missing)} data files of {self._table.name()[-1]} are no longer live.",
                found=min(missing),
                todo="read the table again and decide anew",
            )
        return kept, deleted

    def _deleted(self, entries: list[ManifestEntry]) -> list[ManifestFile]:
        by_spec: dict[int, list[ManifestEntry]] = defaultdict(list)
        for entry in entries:
            by_spec[entry.data_file.spec_id].append(entry)
        manifests = []
        for spec_id, group in by_spec.items():
            with self._new_manifest(self._metadata.specs()[spec_id]) as writer:
                for entry in group:
                    writer.delete(entry)
            manifests.append(writer.to_manifest_file())
        return manifests

    def _merged(self, manifests: list[ManifestFile]) -> list[ManifestFile]:
        """Merge manifests of about the same size once enough of them have come together.

        By size, so that a large one is not written again at every turn.
        """
        groups: dict[tuple[int, int], list[ManifestFile]] = defaultdict(list)
        result = []
        for manifest in manifests:
            if manifest.content == ManifestContent.DATA:
                groups[manifest.partition_spec_id, self._size_class(manifest)].append(manifest)
            else:
                result.append(manifest)
        for (spec_id, _), group in groups.items():
            if len(group) < self._merge_at:
                result.extend(group)
                continue
            entries = [e for m in group for e in self._manifests.entries(self._table, m)]
            result.append(self._existing(spec_id, entries))
        return result

    def _size_class(self, manifest: ManifestFile) -> int:
        files = (manifest.added_files_count or 0) + (manifest.existing_files_count or 0)
        return int(math.log(max(1, files), self._merge_at))

    def _existing(self, spec_id: int, entries: list[ManifestEntry]) -> ManifestFile:
        with self._new_manifest(self._metadata.specs()[spec_id]) as writer:
            for entry in entries:
                writer.existing(entry)
        manifest = writer.to_manifest_file()
        self._manifests.know(self._table, manifest, entries)
        return manifest

    def _new_manifest(self, spec: PartitionSpec) -> ManifestWriter:
        name = f"{self._commit_id}-m{self._manifest_count}.avro"
        self._manifest_count += 1
        return write_manifest(
            format_version=self._metadata.format_version,
            spec=spec,
            schema=self._metadata.schema(),
            output_file=self._table.io.new_output(self._location(name)),
            snapshot_id=self._snapshot_id,
            avro_compression=_COMPRESSION,
        )

    def _write_list(self, manifests: list[ManifestFile], parent_id: int | None) -> str:
        location = self._location(f"snap-{self._snapshot_id}-0-{self._commit_id}.avro")
        with write_manifest_list(
            format_version=self._metadata.format_version,
            output_file=self._table.io.new_output(location),
            snapshot_id=self._snapshot_id,
            parent_snapshot_id=parent_id,
            sequence_number=self._sequence_number,
            avro_compression=_COMPRESSION,
        ) as writer:
            writer.add_manifests(manifests)
        return location

    def _location(self, name: str) -> str:
        return self._table.location_provider().new_metadata_location(name)

    def _summary(self, change: Change, deleted: list[ManifestEntry]) -> Summary:
        collector = SnapshotSummaryCollector()
        schema, spec = self._metadata.schema(), self._metadata.spec()
        for file in change.append:
            collector.add_file(file.data_file, schema, spec)
        for entry in deleted:
            data = entry.data_file
            collector.remove_file(data, schema, self._metadata.specs()[data.spec_id])
        operation = Operation.OVERWRITE if deleted else Operation.APPEND
        words = {**self._carried_check(), **change.summary}
        previous = self._parent.summary if self._parent else None
        return update_snapshot_summaries(
            Summary(operation=operation, **collector.build(), **words),
            previous.additional_properties if previous else None,
        )

    def _carried_check(self) -> dict[str, str]:
        """The check of the newest ancestor that has one, carried on unchanged.

        Computing it anew here would vouch for properties that somebody else may have changed.
        """
        if not stream_ids(self._metadata.properties):
            return {}
        for ancestor in ancestors_of(self._parent, self._metadata):
            if ancestor.summary and CHECK in ancestor.summary.additional_properties:
                return {CHECK: ancestor.summary.additional_properties[CHECK]}
        return {}

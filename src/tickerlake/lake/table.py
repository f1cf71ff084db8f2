"""One Iceberg table behind the commit protocol of the design (steps 6 to 9)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError
from pyiceberg.table.snapshots import ancestors_of

from tickerlake.errors import CommitRefusedError, StorageError, TickerlakeError
from tickerlake.lake.base import Change, Loaded, SnapshotInfo, WrittenFile
from tickerlake.lake.catalog import LakeCatalog
from tickerlake.lake.commit import commit
from tickerlake.lake.handover import Requests
from tickerlake.lake.hint import read_hint, update_hint, version_of
from tickerlake.lake.manifests import LiveFile, Manifests, may_hold
from tickerlake.lake.settings import LakeSettings
from tickerlake.lake.store import Store, location_of, path_of
from tickerlake.lake.tables import TableSpec, iceberg_schema
from tickerlake.lake.vendor import patiently, reading
from tickerlake.lake.writer import FRESH, stored_type, write_rows

if TYPE_CHECKING:
    from pyiceberg.table import Table
    from pyiceberg.table.metadata import TableMetadata

__all__ = ["IcebergTable"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: Partitions whose first wanted positions lie within so many share a term of a read's condition.
_CLOSE = 100_000

#: Rows of one piece where memory matters more than time.
_PIECE_ROWS = 65_536


class IcebergTable:
    """One table of the lake. Safe to use from several threads; each takes its own `load`.

    Promise: a commit lands on exactly the state that was loaded, or not at all. Not promised:
    that a commit which raised did not land. Unknown is not failed.
    """

    def __init__(
        self,
        catalog: LakeCatalog,
        spec: TableSpec,
        settings: LakeSettings,
        store: Store,
        folder: str,
    ) -> None:
        self.name = spec.name
        self.spec = spec
        self.settings = settings
        self.store = store
        self.requests = Requests(store, folder)
        #: Where its files are: a local path, or one that begins with `s3://`.
        self.folder = folder
        self.catalog = catalog
        self._identifier = catalog.identifier(spec.name)
        self._manifests = Manifests(at_once=1 if store.scheme is None else 16)

    def load(self) -> Loaded:
        """Read the newest metadata from the catalog; mend the version hint if it lags."""
        table = self._load()
        if self.hint_lags(table.metadata_location):
            # A reader without the right to write here must be able to read all the same.
            with contextlib.suppress(OSError):
                self.mend_hint()
        snapshot = table.metadata.current_snapshot()
        return Loaded(
            name=self.name,
            properties=dict(table.metadata.properties),
            snapshot_id=snapshot.snapshot_id if snapshot else None,
            metadata_location=table.metadata_location,
            table_id=str(table.metadata.table_uuid),
            handle=table,
        )

    def write(self, rows: pa.Table, *, prefix: str = FRESH) -> tuple[WrittenFile, ...]:
        """Write data files once, sorted, under unique names, one month each (step 6).

        Raises:
            StorageError: The disk is full; what was begun is removed.
        """
        table = self._with_columns()
        return write_rows(self.store, table, self.spec, self.settings, rows, prefix=prefix)

    def commit(self, loaded: Loaded, change: Change) -> int:
        """Commit `change` on top of exactly `loaded`; return the new snapshot's id.

        Raises:
            CommitRefusedError: The catalog refused. It may still have landed: load again.
            CommitUnknownError: The answer is unknown: load again.
            StorageError: The disk is full; the catalog was not asked.
        """
        table: Table = loaded.handle
        _check_present(change.append)
        landed = commit(
            table,
            _by_location(change),
            merge_at=self.settings.manifests_merge_at,
            manifests=self._manifests,
        )
        self.catalog.remember(landed.metadata_location, landed.metadata)
        # It has landed: what follows is housekeeping that the next load or the sweep makes good.
        # An error from here on, also one of the catalog, would pass for one of the commit, and
        # the caller would remove files that are live.
        with contextlib.suppress(OSError, TickerlakeError):
            self.mend_hint()
        with contextlib.suppress(StorageError):
            _delete_old_metadata(self.store, table.metadata, landed.metadata)
        snapshot = landed.metadata.current_snapshot()
        if snapshot is None:  # pragma: no cover - a commit always makes a snapshot
            raise CommitRefusedError(f"The table {self.name} has no snapshot after a commit.")
        return snapshot.snapshot_id

    def discard(self, files: tuple[WrittenFile, ...]) -> None:
        """Remove files that certainly stand in no snapshot."""
        # What cannot be removed now is the sweep's.
        with contextlib.suppress(StorageError):
            self.store.delete([file.path for file in files])

    def live_files(
        self,
        loaded: Loaded,
        *,
        symbols: Sequence[str] | None = None,
        ts_from: datetime | None = None,
        ts_to: datetime | None = None,
    ) -> list[LiveFile]:
        """Live data files that may hold rows of these symbols in [`ts_from`, `ts_to`)."""
        with reading(self.name, "list of files"):
            live = self._manifests.live(loaded.handle, loaded.handle.current_snapshot())
        return [
            file for file in live if may_hold(file, symbols=symbols, ts_from=ts_from, ts_to=ts_to)
        ]

    def files(
        self,
        loaded: Loaded,
        *,
        symbols: Sequence[str] | None = None,
        ts_from: datetime | None = None,
        ts_to: datetime | None = None,
    ) -> list[str]:
        """Paths of `live_files`, as DuckDB's `read_parquet` takes them."""
        found = self.live_files(loaded, symbols=symbols, ts_from=ts_from, ts_to=ts_to)
        return [file.path for file in found]

    def read(
        self,
        loaded: Loaded,
        *,
        columns: Sequence[str] | None = None,
        stream: str | None = None,
        starts: Mapping[str, int] | None = None,
        not_null: str | None = None,
        encoded: bool = False,
    ) -> pa.Table:
        """Rows of one state, in no promised order; see `LakeTable.read`."""
        files = self.live_files(loaded)
        names = list(columns) if columns is not None else self.spec.schema.names
        wanted: list[ds.Expression] = []
        if stream is not None:
            wanted.append(ds.field("_stream") == stream)
        if not_null is not None:
            wanted.append(ds.field(not_null).is_valid())
        if starts is None:
            return self.read_files(files, columns=names, condition=_all_of(wanted), encoded=encoded)
        # All partitions in one read: opening every file once for each of them costs far more.
        files = [file for file in files if _in_reach(file, starts)]
        wanted.append(_any_of(starts))
        placed = list(dict.fromkeys([*names, "_partition", "_offset"]))
        rows = self.read_files(files, columns=placed, condition=_all_of(wanted), encoded=encoded)
        return rows.filter(_from_starts(rows, starts)).select(names)

    def read_files(
        self,
        files: Sequence[LiveFile],
        *,
        columns: Sequence[str] | None = None,
        condition: ds.Expression | None = None,
        encoded: bool = False,
    ) -> pa.Table:
        """Rows of some data files. Columns that a file does not have yet are null.

        Args:
            files: Which files.
            columns: Which columns; all of them if null.
            condition: Only rows for which this holds.
            encoded: Repeated strings as dictionaries, as they lie in the file: a third of the
                memory.
        """
        names = list(columns) if columns is not None else self.spec.schema.names
        schema = self._read_schema(encoded=encoded)
        if not files:
            return pa.schema([schema.field(name) for name in names]).empty_table()
        with reading(self.name, "data"):
            return self._dataset(files, schema).to_table(columns=names, filter=condition)

    def read_slowly(
        self, files: Sequence[LiveFile], columns: Sequence[str], *, encoded: bool = False
    ) -> Iterator[pa.Table]:
        """Rows of some data files, in pieces, file after file: takes longer, and little memory."""
        whole = self._read_schema(encoded=encoded)
        schema = pa.schema([whole.field(name) for name in columns])
        for file in files:
            with reading(self.name, "data"), self.parquet(file) as parquet:
                there = [name for name in columns if name in parquet.schema_arrow.names]
                # In this thread: what other threads allocate and we free is long kept by theirs.
                for batch in parquet.iter_batches(_PIECE_ROWS, columns=there, use_threads=False):
                    piece = pa.Table.from_batches([batch])
                    for name in set(columns).difference(there):
                        field = schema.field(name)
                        piece = piece.append_column(field, pa.nulls(len(piece), field.type))
                    yield piece.select(list(columns)).cast(schema)

    def _read_schema(self, *, encoded: bool) -> pa.Schema:
        return pa.schema(
            field.with_type(stored_type(field)) if encoded else field for field in self.spec.schema
        )

    def _dataset(self, files: Sequence[LiveFile], schema: pa.Schema) -> ds.Dataset:
        coded = [field.name for field in schema if pa.types.is_dictionary(field.type)]
        return ds.dataset(
            [self.store.key(file.path) for file in files],
            schema=schema,
            format=ds.ParquetFileFormat(dictionary_columns=coded),
            filesystem=self.store.filesystem,
        )

    def batches(self, loaded: Loaded, columns: Sequence[str]) -> Iterator[pa.Table]:
        """All rows of one state, a bounded number at a time."""
        for file in self.live_files(loaded):
            with reading(self.name, "data"), self.parquet(file) as parquet:
                for batch in parquet.iter_batches(1_000_000, columns=list(columns)):
                    yield pa.Table.from_batches([batch]).select(list(columns))

    def parquet(self, file: LiveFile) -> pq.ParquetFile:
        """One data file, open; a context manager."""
        return pq.ParquetFile(self.store.key(file.path), filesystem=self.store.filesystem)

    def snapshots(self, loaded: Loaded) -> list[SnapshotInfo]:
        """The ancestors of the current snapshot that are still kept, oldest first, itself last."""
        metadata: TableMetadata = loaded.handle.metadata
        chain = [
            SnapshotInfo(
                id=snapshot.snapshot_id,
                parent_id=snapshot.parent_snapshot_id,
                committed_at=_EPOCH + timedelta(milliseconds=snapshot.timestamp_ms),
                summary=dict(snapshot.summary.additional_properties) if snapshot.summary else {},
            )
            for snapshot in ancestors_of(metadata.current_snapshot(), metadata)
        ]
        return chain[::-1]

    def metadata_location(self) -> str:
        """The newest metadata file, as the catalog says now."""
        with reading(self.name, "metadata"):
            location = patiently(self.catalog, lambda c: c.pointer(self._identifier))
            if location is None:
                raise NoSuchTableError(self.name)
            return location

    def hint_lags(self, metadata_location: str) -> bool:
        """Whether `version-hint.text` says another thing; never where no hints are kept."""
        if self.store.scheme is not None:
            return False
        return read_hint(Path(self.folder)) != version_of(metadata_location)

    def mend_hint(self) -> None:
        """Make `version-hint.text` say what the catalog says now, where hints are kept.

        Raises:
            OSError: The hint cannot be written.
        """
        if self.store.scheme is None:
            update_hint(Path(self.folder), self.metadata_location)

    def _with_columns(self) -> Table:
        """The table, after it got the columns that have come since it was made; they hold nulls."""
        while absent := _absent(table := self._load(), self.spec):
            schema = iceberg_schema(self.spec.schema)
            # Another process may do it at the same moment: then look again.
            with contextlib.suppress(CommitFailedException), table.update_schema() as update:
                for name in absent:
                    update.add_column(name, schema.find_field(name).field_type)
        return table

    def _load(self) -> Table:
        with reading(self.name, "metadata"):
            return patiently(self.catalog, lambda c: c.load_table(self._identifier))


def _absent(table: Table, spec: TableSpec) -> list[str]:
    known = set(table.schema().column_names)
    return [field.name for field in spec.schema if field.name not in known]


def _check_present(files: Sequence[WrittenFile]) -> None:
    """A sweep with too small an age may have taken them: better no commit than a hollow one."""
    for file in files:
        if not file.is_there:
            raise CommitRefusedError(
                f"The data file {file.path} is gone before it was committed.",
                expected="files that nobody deletes while a worker waits for its commit",
                found="no such file; nothing was committed",
                todo="run it again, and sweep with a longer age: --age-hours",
            )


def _by_location(change: Change) -> Change:
    """Paths as users and DuckDB know them → locations as manifests hold them."""
    return replace(change, delete=tuple(location_of(path) for path in change.delete))


def _in_reach(file: LiveFile, starts: Mapping[str, int]) -> bool:
    """Whether the file may hold a row of one of the partitions at or after its start."""
    low, high = file.bounds.get("_partition", (None, None))
    _, last = file.bounds.get("_offset", (None, None))
    return any(
        (low is None or low <= partition <= high) and (last is None or last >= start)
        for partition, start in starts.items()
    )


def _all_of(terms: Sequence[ds.Expression]) -> ds.Expression | None:
    condition = None
    for term in terms:
        condition = term if condition is None else condition & term
    return condition


def _any_of(starts: Mapping[str, int]) -> ds.Expression:
    """Which rows may be wanted: a term for each group of partitions that stand close together."""
    groups: list[list[str]] = []
    for name in sorted(starts, key=starts.__getitem__):
        if groups and starts[name] - starts[groups[-1][0]] <= _CLOSE:
            groups[-1].append(name)
        else:
            groups.append([name])
    condition = ds.scalar(False)
    for group in groups:
        late = ds.field("_offset") >= int(starts[group[0]])
        condition |= ds.field("_partition").isin(group) & late
    return condition


def _from_starts(rows: pa.Table, starts: Mapping[str, int]) -> pa.ChunkedArray:
    """Which rows lie exactly at or after their partition's start."""
    names = pa.array(starts, pa.string())
    numbers = np.array([int(start) for start in starts.values()], np.int64)
    partitions = rows.column("_partition")
    if pa.types.is_dictionary(partitions.type):
        partitions = partitions.cast(pa.string())
    places = pc.index_in(partitions, names)
    return pc.greater_equal(rows.column("_offset"), pc.take(pa.array(numbers), places))


def _delete_old_metadata(store: Store, before: TableMetadata, after: TableMetadata) -> None:
    """Remove metadata files that have left the log; at least 100 stay for slow readers."""
    kept = {entry.metadata_file for entry in after.metadata_log}
    gone = [e.metadata_file for e in before.metadata_log if e.metadata_file not in kept]
    if gone:
        store.delete([path_of(location) for location in gone])

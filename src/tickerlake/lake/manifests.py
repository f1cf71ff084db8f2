"""Which data files are live, and which of them a reader needs: manifests, read once each.

A manifest never changes under its name, so what was decoded stays in memory. A query then costs
one look at the newest manifest list.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import TYPE_CHECKING, Any

from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    ManifestContent,
    ManifestEntry,
    ManifestFile,
)
from pyiceberg.types import PrimitiveType

from tickerlake.errors import MalformedError
from tickerlake.lake.store import path_of
from tickerlake.lake.writer import COMPACTED

if TYPE_CHECKING:
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot

__all__ = ["LiveFile", "Manifests", "may_hold"]

#: Columns whose bounds are kept for pruning.
_BOUNDED = ("symbol", "ts", "_partition", "_offset", "fetched_at")


@dataclass(frozen=True, slots=True)
class LiveFile:
    """A data file that a snapshot names, with what is known about its rows."""

    path: str
    row_count: int
    byte_count: int
    #: Months since 1970-01; null for rows without a time, and in tables without partitions.
    month: int | None
    #: Sequence number of the commit that brought the file.
    sequence_number: int
    #: Written by our compaction: its superseded marks may be trusted.
    compacted: bool
    #: Lowest and highest value by column; a column that is missing may hold anything.
    bounds: dict[str, tuple[Any, Any]]
    entry: Any = field(compare=False, repr=False)


class Manifests:
    """Decoded manifests of one table. Safe to use from several threads.

    Args:
        keep: How many stay in memory.
        at_once: How many are read at a time: a store that is far away answers each after a while.
    """

    def __init__(self, keep: int = 2_000, *, at_once: int = 1) -> None:
        self._keep = keep
        self._at_once = at_once
        self._decoded: OrderedDict[str, tuple[LiveFile, ...]] = OrderedDict()
        self._live: OrderedDict[int, tuple[LiveFile, ...]] = OrderedDict()
        self._lock = Lock()

    def live(self, table: Table, snapshot: Snapshot | None) -> tuple[LiveFile, ...]:
        """All live data files of a snapshot.

        Raises:
            MalformedError: The snapshot has delete files, which only other engines write.
        """
        if snapshot is None:
            return ()
        with self._lock:
            known = self._live.get(snapshot.snapshot_id)
        if known is not None:
            return known
        files: list[LiveFile] = []
        manifests = snapshot.manifests(table.io)
        self._read_ahead(table, manifests)
        for manifest in manifests:
            if manifest.content != ManifestContent.DATA:
                raise MalformedError(
                    f"The table {'.'.join(table.name())} has delete files.",
                    expected="tables that are only ever appended to and compacted",
                    found=f"the delete manifest {manifest.manifest_path}",
                    todo="rewrite the table's data files with the engine that deleted rows",
                )
            files.extend(self.of(table, manifest))
        with self._lock:
            self._live[snapshot.snapshot_id] = tuple(files)
            while len(self._live) > 8:
                self._live.popitem(last=False)
        return tuple(files)

    def _read_ahead(self, table: Table, manifests: Sequence[ManifestFile]) -> None:
        with self._lock:
            unread = [
                manifest
                for manifest in manifests
                if manifest.content == ManifestContent.DATA
                and manifest.manifest_path not in self._decoded
            ]
        if self._at_once > 1 and len(unread) > 1:
            with ThreadPoolExecutor(self._at_once, thread_name_prefix="manifests") as threads:
                list(threads.map(lambda manifest: self.of(table, manifest), unread))

    def entries(self, table: Table, manifest: ManifestFile) -> list[ManifestEntry]:
        """The live entries of one manifest. Nobody may change them."""
        return [file.entry for file in self.of(table, manifest)]

    def of(self, table: Table, manifest: ManifestFile) -> tuple[LiveFile, ...]:
        """The live files of one manifest."""
        with self._lock:
            known = self._decoded.get(manifest.manifest_path)
            if known is not None:
                self._decoded.move_to_end(manifest.manifest_path)
                return known
        return self.know(table, manifest, manifest.fetch_manifest_entry(table.io))

    def know(
        self, table: Table, manifest: ManifestFile, entries: Sequence[ManifestEntry]
    ) -> tuple[LiveFile, ...]:
        """Keep the live entries of a manifest, with their sequence numbers, as read or written."""
        files = tuple(_live_file(table, entry) for entry in entries)
        with self._lock:
            self._decoded[manifest.manifest_path] = files
            while len(self._decoded) > self._keep:
                self._decoded.popitem(last=False)
        return files


def _live_file(table: Table, entry: ManifestEntry) -> LiveFile:
    data = entry.data_file
    assert data.content == DataFileContent.DATA  # noqa: S101 - it stands in a data manifest
    path = path_of(data.file_path)
    return LiveFile(
        path=path,
        row_count=data.record_count,
        byte_count=data.file_size_in_bytes,
        month=data.partition[0] if len(data.partition) else None,
        sequence_number=entry.sequence_number or 0,
        compacted=path.rpartition("/")[2].startswith(COMPACTED),
        bounds=_bounds(table, data),
        entry=entry,
    )


def _bounds(table: Table, data: DataFile) -> dict[str, tuple[Any, Any]]:
    schema = table.schema()
    bounds = {}
    for name in _BOUNDED:
        if name not in schema.column_names:
            continue
        column = schema.find_field(name)
        low = (data.lower_bounds or {}).get(column.field_id)
        high = (data.upper_bounds or {}).get(column.field_id)
        if low is not None and high is not None:
            kind = column.field_type
            assert isinstance(kind, PrimitiveType)  # noqa: S101 - all our columns are
            bounds[name] = (from_bytes(kind, low), from_bytes(kind, high))
    return bounds


def may_hold(
    file: LiveFile,
    *,
    symbols: Sequence[str] | None = None,
    ts_from: datetime | None = None,
    ts_to: datetime | None = None,
) -> bool:
    """Whether the file may hold a row of these symbols in [`ts_from`, `ts_to`)."""
    if symbols is not None and "symbol" in file.bounds:
        low, high = file.bounds["symbol"]
        if not any(low <= symbol <= high for symbol in symbols):
            return False
    if "ts" in file.bounds:
        low, high = file.bounds["ts"]
        if ts_from is not None and high < microseconds(ts_from):
            return False
        if ts_to is not None and low >= microseconds(ts_to):
            return False
    return True


def microseconds(instant: datetime) -> int:
    """Microseconds since 1970, exactly."""
    whole = int(instant.replace(microsecond=0).timestamp())
    return whole * 1_000_000 + instant.microsecond

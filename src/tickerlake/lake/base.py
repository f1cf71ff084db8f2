"""What the lake and those who write to it hand each other: plain frozen data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import pyarrow as pa

if TYPE_CHECKING:
    from tickerlake.lake.handover import Requests
    from tickerlake.lake.manifests import LiveFile
    from tickerlake.lake.store import Store

__all__ = ["Change", "LakeTable", "Loaded", "SnapshotInfo", "WrittenFile"]


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A data file that lies in the table's folder and that no snapshot may name yet.

    `written_at_seconds` is the machine's time (epoch seconds) at which it was complete: files
    older than half the sweep's age must be written again before a commit.
    """

    path: str
    row_count: int
    byte_count: int
    written_at_seconds: float
    data_file: Any = field(compare=False, repr=False)
    store: Store = field(compare=False, repr=False)

    @property
    def is_there(self) -> bool:
        """Whether nobody has deleted it.

        Raises:
            StorageError: The store cannot be read.
        """
        return self.store.exists(self.path)


@dataclass(frozen=True, slots=True)
class Loaded:
    """One freshly loaded metadata of a table, shared with no other thread.

    Everything that a commit decides on comes from one such object: `properties`, the parent
    `snapshot_id`, and the requirements that the catalog will compare (`handle`).
    """

    name: str
    properties: Mapping[str, str]
    snapshot_id: int | None
    metadata_location: str
    #: The table's own id: the same for as long as it is the same table, wherever it lies.
    table_id: str
    handle: Any = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Change:
    """What one commit does: always a new snapshot, never properties alone."""

    append: tuple[WrittenFile, ...] = ()
    #: Paths of live data files that this snapshot no longer names (compaction).
    delete: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    #: Names of properties that the table no longer has.
    forget: tuple[str, ...] = ()
    summary: Mapping[str, str] = field(default_factory=dict)
    #: Ids of snapshots that the table forgets (expiry).
    expire: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """One state of a table, as its metadata tells it."""

    id: int
    parent_id: int | None
    committed_at: datetime
    summary: Mapping[str, str]


@runtime_checkable
class LakeTable(Protocol):
    """One Iceberg table behind the commit protocol of the design (steps 6 to 9)."""

    name: str
    #: What workers hand each other to commit.
    requests: Requests

    def load(self) -> Loaded:
        """Read the newest metadata from the catalog."""
        ...

    def write(self, rows: pa.Table) -> tuple[WrittenFile, ...]:
        """Write data files once, sorted, under unique names, one partition value each (step 6).

        Raises:
            StorageError: The disk is full; what was begun is removed.
        """
        ...

    def commit(self, loaded: Loaded, change: Change) -> int:
        """Commit `change` on top of exactly `loaded`; return the new snapshot's id.

        Neither retries nor deletes anything, whatever happens.

        Raises:
            CommitRefusedError: The catalog refused. It may still have landed: load again.
            CommitUnknownError: The answer is unknown: load again.
        """
        ...

    def discard(self, files: tuple[WrittenFile, ...]) -> None:
        """Remove files that certainly stand in no snapshot."""
        ...

    def live_files(
        self,
        loaded: Loaded,
        *,
        symbols: Sequence[str] | None = None,
        ts_from: datetime | None = None,
        ts_to: datetime | None = None,
    ) -> list[LiveFile]:
        """Live data files that may hold rows of these symbols in [`ts_from`, `ts_to`)."""
        ...

    def files(
        self,
        loaded: Loaded,
        *,
        symbols: Sequence[str] | None = None,
        ts_from: datetime | None = None,
        ts_to: datetime | None = None,
    ) -> list[str]:
        """Paths of `live_files`, as DuckDB's `read_parquet` takes them."""
        ...

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
        """Rows of one state, in no promised order.

        Args:
            loaded: Which state.
            columns: Which columns; all of them if null.
            stream: Only rows that came from this stream id.
            starts: Only rows that came from these partitions, each from its position on.
            not_null: Only rows that have a value in this column.
            encoded: Repeated strings as dictionaries, as they lie in the files.
        """
        ...

    def snapshots(self, loaded: Loaded) -> list[SnapshotInfo]:
        """The ancestors of the current snapshot that are still kept, oldest first, itself last."""
        ...

"""Where a lake's files lie: a folder on local disk, or a prefix of a bucket."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
from pyarrow.fs import FileSystem

__all__ = ["Output", "Store", "StoredFile", "location_of", "path_of"]

_FILE = "file://"


def path_of(location: str) -> str:
    """The path by which readers know an Iceberg location: `/lake/x.avro`, `s3://lake/x.avro`."""
    return location.removeprefix(_FILE)


def location_of(path: str) -> str:
    """The Iceberg location of an absolute path: what `path_of` undoes."""
    return f"{_FILE}{path}" if path.startswith("/") else path


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file, and what the store says about it."""

    path: str
    byte_count: int
    #: By the store's own clock, in seconds since 1970.
    modified_seconds: float


class Output(Protocol):
    """A file that is being written. Nobody may rely on it before `finish` has returned."""

    #: What to write to; `finish` closes it.
    file: pa.NativeFile

    def finish(self) -> int:
        """Complete the file, durably; return how many bytes it has.

        Raises:
            OSError: It is not whole. `discard` removes what there is of it.
        """
        ...

    def discard(self) -> None:
        """Remove what was begun. Never raises for a store that does not answer."""
        ...


class Store(Protocol):
    """Files that are written once, under names that nobody else uses, and never changed.

    Paths are absolute, as readers know them. Requests that fail for a while are sent again by the
    store itself, with growing pauses: that is safe, because each file has one writer.
    """

    #: The lake's folder.
    root: str
    #: How paths begin, such as `s3`; null: these are local files, which anything can open by name.
    scheme: str | None
    #: Reads what `key` names.
    filesystem: FileSystem
    #: For PyIceberg's catalogs: how they reach the files of this store.
    properties: Mapping[str, Any]

    def key(self, path: str) -> str:
        """How `filesystem` names a path."""
        ...

    def home(self, namespace: str, name: str, *, hidden: bool = False) -> str:
        """The folder of a new table; `hidden` is one that people need not see."""
        ...

    def files(self, folder: str) -> Iterator[StoredFile]:
        """All files below a folder; none if there is no such folder.

        Raises:
            StorageError: The store cannot be read.
        """
        ...

    def exists(self, path: str) -> bool:
        """Whether there is such a file.

        Raises:
            StorageError: The store cannot be read.
        """
        ...

    def create(self, path: str) -> Output:
        """Begin a file under a name that nobody else uses.

        Raises:
            OSError: It cannot be begun.
        """
        ...

    def delete(self, paths: Iterable[str]) -> None:
        """Remove files; those that are gone already are no error.

        Raises:
            StorageError: Some may still be there.
        """
        ...

    def delete_folder(self, folder: str) -> None:
        """Remove a scratch table's folder, as far as that can be done."""
        ...

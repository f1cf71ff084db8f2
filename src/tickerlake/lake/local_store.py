"""A lake on local disk."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow.fs import LocalFileSystem

from tickerlake.lake.local_io import make_folder, sync_file, sync_folder
from tickerlake.lake.store import StoredFile
from tickerlake.lake.store_errors import storage_error

__all__ = ["LocalStore"]


class LocalStore:
    """Files in a folder.

    Promise: with `fsync`, a file that is finished, and its name, are on the disk.
    """

    scheme: str | None = None

    def __init__(self, root: Path, *, fsync: bool) -> None:
        self.root = str(root)
        self.filesystem = LocalFileSystem()
        self.properties: Mapping[str, Any] = {
            "py-io-impl": "tickerlake.lake.local_io.LocalFileIO",
            "tickerlake.fsync": "true" if fsync else "false",
        }
        self._fsync = fsync

    def key(self, path: str) -> str:
        """Paths are what the operating system takes."""
        return path

    def home(self, namespace: str, name: str, *, hidden: bool = False) -> str:  # noqa: ARG002
        """A folder of the lake's own, which belongs to one namespace only."""
        return f"{self.root}/{'.' if hidden else ''}{name}"

    def files(self, folder: str) -> Iterator[StoredFile]:
        """All files below a folder."""
        for path in Path(folder).rglob("*"):
            try:
                if path.is_file():
                    facts = path.stat()
                    yield StoredFile(str(path), facts.st_size, facts.st_mtime)
            except FileNotFoundError:
                continue  # A worker beside us has removed what it did not need.

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        return Path(path).exists()

    def create(self, path: str) -> _LocalOutput:
        """Begin a file; its folder is made."""
        return _LocalOutput(Path(path), fsync=self._fsync)

    def delete(self, paths: Iterable[str]) -> None:
        """Remove files."""
        for path in paths:
            try:
                Path(path).unlink(missing_ok=True)
            except OSError as error:
                raise storage_error(error, path) from error

    def delete_folder(self, folder: str) -> None:
        """Remove a folder and all in it."""
        shutil.rmtree(folder, ignore_errors=True)


class _LocalOutput:
    def __init__(self, path: Path, *, fsync: bool) -> None:
        self._path = path
        self._fsync = fsync
        make_folder(path.parent, fsync=fsync)
        self.file = pa.OSFile(str(path), "wb")

    def finish(self) -> int:
        self.file.close()
        if self._fsync:
            sync_file(self._path)
            sync_folder(self._path.parent)
        return self._path.stat().st_size

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            self.file.close()
        self._path.unlink(missing_ok=True)

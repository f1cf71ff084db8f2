"""Files of a lake on local disk, for PyIceberg: durable when closed, and plain about a full disk.

PyIceberg's own local file access neither syncs to disk nor copes with `#` or `?` in a folder's
name. The catalog names this class in its `py-io-impl` property.
"""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pyiceberg.io import FileIO, InputFile, InputStream, OutputFile, OutputStream

from tickerlake.lake.store import path_of
from tickerlake.lake.store_errors import storage_error

__all__ = [
    "LocalFileIO",
    "make_folder",
    "sync_file",
    "sync_folder",
]


def sync_file(path: Path) -> None:
    """Wait until the file's bytes are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path, *, fsync: bool) -> None:
    """Make a folder and those above it; their names are on the disk when this returns."""
    if path.is_dir():
        return
    make_folder(path.parent, fsync=fsync)
    path.mkdir(exist_ok=True)
    if fsync:
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    sync_file(path)


def _path(location: str) -> Path:
    return Path(path_of(location))


class _LocalInput(InputFile):
    def __len__(self) -> int:
        return _path(self.location).stat().st_size

    def exists(self) -> bool:
        return _path(self.location).exists()

    def open(self, seekable: bool = True) -> InputStream:  # noqa: ARG002 - always seekable
        return BytesIO(_path(self.location).read_bytes())


class _LocalStream:
    """Collects the bytes and writes them in one go: metadata files are small."""

    def __init__(self, path: Path, *, overwrite: bool, fsync: bool) -> None:
        self._path = path
        self._overwrite = overwrite
        self._fsync = fsync
        self._buffer = BytesIO()
        #: pyarrow asks for this before it writes.
        self.closed = False

    def writable(self) -> bool:
        return not self.closed

    def flush(self) -> None:
        """Nothing is promised before `close`."""

    def write(self, b: bytes) -> int:
        return self._buffer.write(b)

    def tell(self) -> int:
        return self._buffer.tell()

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        mode = "wb" if self._overwrite else "xb"
        try:
            make_folder(self._path.parent, fsync=self._fsync)
            with self._path.open(mode) as file:
                file.write(self._buffer.getbuffer())
                if self._fsync:
                    file.flush()
                    os.fsync(file.fileno())
            if self._fsync and self._path.name.endswith(".metadata.json"):
                # The last file before the catalog is asked: with it all names are on the disk.
                sync_folder(self._path.parent)
        except FileExistsError:
            raise
        except OSError as error:
            self._path.unlink(missing_ok=True)
            raise storage_error(error, self._path) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exctype: type[BaseException] | None,
        excinst: BaseException | None,
        exctb: TracebackType | None,
    ) -> None:
        # A file that its writer did not finish is not written at all.
        if exctype is None:
            self.close()
        self.closed = True


class _LocalOutput(OutputFile):
    def __init__(self, location: str, *, fsync: bool) -> None:
        super().__init__(location)
        self._fsync = fsync

    def __len__(self) -> int:
        return _path(self.location).stat().st_size

    def exists(self) -> bool:
        return _path(self.location).exists()

    def to_input_file(self) -> InputFile:
        return _LocalInput(self.location)

    def create(self, overwrite: bool = False) -> OutputStream:
        path = _path(self.location)
        if not overwrite and path.exists():
            raise FileExistsError(path)
        return _LocalStream(path, overwrite=overwrite, fsync=self._fsync)


class LocalFileIO(FileIO):
    """PyIceberg's view of the local disk."""

    def __init__(self, properties: dict[str, Any] | None = None) -> None:
        super().__init__(properties or {})
        self._fsync = str(self.properties.get("tickerlake.fsync", "true")) == "true"

    def new_input(self, location: str) -> InputFile:
        """A file to read."""
        return _LocalInput(location)

    def new_output(self, location: str) -> OutputFile:
        """A file to write once."""
        return _LocalOutput(location, fsync=self._fsync)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Remove a file."""
        name = location if isinstance(location, str) else location.location
        _path(name).unlink()

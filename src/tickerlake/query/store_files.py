"""DuckDB's way to a lake in a bucket: ranges of files, read through the lake's own store.

DuckDB's `httpfs` is an extension that it downloads, and a second place for endpoints and keys. The
store is there already. DuckDB asks for no more than the column chunks that a query needs, and
keeps footers and what it has read.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, Final

import pyarrow as pa
from fsspec import AbstractFileSystem

from tickerlake.errors import StorageError
from tickerlake.lake.store import Store

__all__ = ["StoreFiles"]

_OPEN_MAX: Final = 1_000
#: How much of a file's end is read at once when it is opened: its footer, and a small file whole.
_END_BYTES: Final = 32 * 1024
_AT_ONCE: Final = 16
#: Files never change under their name. (1970 is no time for DuckDB, which would then keep nothing.)
_NEVER: Final = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Open:
    """An open file, and what was read of it already."""

    file: pa.NativeFile
    size: int
    end: bytes

    def read(self, count: int, position: int) -> bytes:
        """So many bytes from there."""
        begin = position - (self.size - len(self.end))
        if begin >= 0:
            return self.end[begin : begin + count]
        piece: bytes = self.file.read_at(count, position)
        return piece


class StoreFiles(AbstractFileSystem):  # type: ignore[misc] # fsspec has no types
    """Files of one store, to read only. Safe to use from DuckDB's threads."""

    cachable = False

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.protocol = store.scheme
        self._store = store
        self._files: OrderedDict[str, _Open] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, path: str, mode: str = "rb", **_: Any) -> _Reader:  # noqa: ANN401, ARG002
        """One more reader of a file, which is looked up once and stays open."""
        return _Reader(path, self._file(path))

    def info(self, path: str, **_: Any) -> dict[str, Any]:  # noqa: ANN401
        """A file's size."""
        return {"name": path, "size": self._file(path).size, "type": "file"}

    def prefetch(self, paths: Iterable[str]) -> None:
        """Open files that a query is about to read: DuckDB would do it one after the other."""
        with self._lock:
            closed = [path for path in paths if path not in self._files]
        if len(closed) > 1:
            with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="store-files") as threads:
                list(threads.map(self._try, closed))

    def _try(self, path: str) -> None:
        # What goes wrong is told to whoever really needs the file.
        with contextlib.suppress(OSError, StorageError):
            self._file(path)

    def modified(self, path: str) -> datetime:  # noqa: ARG002
        """Never."""
        return _NEVER

    def exists(self, path: str, **_: Any) -> bool:  # noqa: ANN401
        """Whether there is such a file."""
        return self._store.exists(path)

    def glob(self, path: str, **_: Any) -> Sequence[str]:  # noqa: ANN401
        """The files that a pattern names; a name is itself."""
        if not any(letter in path for letter in "*?["):
            return [path]
        folder = path.partition("*")[0].partition("?")[0].partition("[")[0].rpartition("/")[0]
        return [file.path for file in self._store.files(folder) if fnmatchcase(file.path, path)]

    def _file(self, path: str) -> _Open:
        with self._lock:
            file = self._files.get(path)
        if file is None:
            try:
                opened = self._store.filesystem.open_input_file(self._store.key(path))
                size = opened.size()
                end_bytes = min(size, _END_BYTES)
                file = _Open(opened, size, opened.read_at(end_bytes, size - end_bytes))
            except FileNotFoundError:
                raise  # A mistake of the query's, as on local disk.
            except OSError as error:
                raise _unreadable(path, error) from error
            with self._lock:
                self._files[path] = file
                while len(self._files) > _OPEN_MAX:
                    self._files.popitem(last=False)
        return file


class _Reader:
    """A position in a file, one for each thread: DuckDB seeks and then reads."""

    mode = "rb"

    def __init__(self, path: str, file: _Open) -> None:
        self._path = path
        self._file = file
        self._here = threading.local()

    def seek(self, position: int, whence: int = 0) -> int:
        """Go to a position from the file's begin, which is all that DuckDB asks for."""
        assert whence == 0  # noqa: S101
        self._here.position = position
        return position

    def tell(self) -> int:
        """Where this thread is."""
        return int(getattr(self._here, "position", 0))

    def read(self, count: int = -1) -> bytes:
        """So many bytes from there."""
        position = self.tell()
        if count < 0:
            count = self._file.size - position
        try:
            piece = self._file.read(count, position)
        except OSError as error:
            raise _unreadable(self._path, error) from error
        self._here.position = position + len(piece)
        return piece

    def close(self) -> None:
        """Nothing: others may read the same file."""


def _unreadable(path: str, error: OSError) -> StorageError:
    return StorageError(f"The file {path} cannot be read.", found=str(error))

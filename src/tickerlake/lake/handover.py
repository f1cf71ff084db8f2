"""Small files beside a table, through which workers hand each other what is ready to be committed.

One file is one request: data files that are written, and words about them that this room does not
read. It goes through the lake's store, so it works over machines wherever the lake does. It is an
ORC file among the data, for a bucket that a catalog governs takes nothing but files of tables, and
nobody who looks for a table's Parquet shall find it.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
from pyarrow import orc

from tickerlake.lake.base import WrittenFile
from tickerlake.lake.store import Store, location_of
from tickerlake.lake.store_errors import storage_error

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile

__all__ = ["Request", "Requests"]

#: Grows when an older worker could no longer read a request; it then leaves it alone.
_FORMAT: Final = 1

_COLUMN: Final = "request"
_COUNTS: Final = ("column_sizes", "value_counts", "null_value_counts", "nan_value_counts")
_BOUNDS: Final = ("lower_bounds", "upper_bounds")
_PLAIN: Final = ("record_count", "file_size_in_bytes", "split_offsets", "sort_order_id")


@dataclass(frozen=True, slots=True)
class Request:
    """What one worker asks another to commit."""

    path: str
    words: Mapping[str, Any]
    files: tuple[WrittenFile, ...]


class Requests:
    """The requests of one table. Safe to use from several threads, processes and machines.

    Promise: a request is seen whole or not at all. Not promised: that it is seen only once.
    """

    def __init__(self, store: Store, folder: str) -> None:
        self._store = store
        self._folder = f"{folder}/data/handover"

    def put(self, words: Mapping[str, Any], files: Sequence[WrittenFile]) -> str:
        """Make a request; return its path.

        Raises:
            StorageError: The store cannot be written.
        """
        document = {"format": _FORMAT, "words": words, "files": [_packed(file) for file in files]}
        path = f"{self._folder}/{uuid.uuid4()}.orc"
        try:
            output = self._store.create(path)
            orc.write_table(pa.table({_COLUMN: [json.dumps(document)]}), output.file)
            output.finish()
        except OSError as error:
            raise storage_error(error, path) from error
        return path

    def all(self) -> list[Request]:
        """All requests that are there, the oldest first.

        Raises:
            StorageError: The store cannot be read.
        """
        files = sorted(self._store.files(self._folder), key=lambda file: file.modified_seconds)
        found = [self._read(file.path) for file in files]
        return [request for request in found if request is not None]

    def remove(self, paths: Iterable[str]) -> None:
        """Take requests away; those that are gone already are no error.

        Raises:
            StorageError: Some may still be there.
        """
        self._store.delete(paths)

    def _read(self, path: str) -> Request | None:
        """Null where it went meanwhile, is not whole yet, or another version wrote it."""
        try:
            with self._store.filesystem.open_input_file(self._store.key(path)) as file:
                document = json.loads(orc.read_table(file).column(_COLUMN)[0].as_py())
        except (OSError, ValueError):
            return None
        if not isinstance(document, dict) or document.get("format") != _FORMAT:
            return None
        files = tuple(_unpacked(each, self._store) for each in document["files"])
        return Request(path, document["words"], files)


def _packed(file: WrittenFile) -> dict[str, Any]:
    data: DataFile = file.data_file
    return {
        "path": file.path,
        "written_at_seconds": file.written_at_seconds,
        "partition": [data.partition[place] for place in range(len(data.partition))],
        "spec_id": data.spec_id,
        **{name: getattr(data, name) for name in (*_PLAIN, *_COUNTS)},
        **{
            name: {
                number: base64.b64encode(bound).decode()
                for number, bound in (getattr(data, name) or {}).items()
            }
            for name in _BOUNDS
        },
    }


def _unpacked(packed: Mapping[str, Any], store: Store) -> WrittenFile:
    from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
    from pyiceberg.typedef import Record

    fields: dict[str, Any] = {name: packed[name] for name in _PLAIN}
    for name in _COUNTS:
        fields[name] = {int(number): count for number, count in (packed[name] or {}).items()}
    for name in _BOUNDS:
        bounds = packed[name].items()
        fields[name] = {int(number): base64.b64decode(bound) for number, bound in bounds}
    data = DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=location_of(packed["path"]),
        file_format=FileFormat.PARQUET,
        partition=Record(*packed["partition"]),
        equality_ids=None,
        key_metadata=None,
        **fields,
    )
    data.spec_id = packed["spec_id"]
    return WrittenFile(
        packed["path"],
        packed["record_count"],
        packed["file_size_in_bytes"],
        packed["written_at_seconds"],
        data,
        store,
    )

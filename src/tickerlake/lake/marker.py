"""The lake's marker: which format it has, and where it was when its paths were written.

A lake on local disk has it in its folder, so that it is found before any catalog. One in a bucket
has it in the properties of its namespace: some buckets hold tables only.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pyiceberg.exceptions import CommitFailedException
from sqlalchemy.exc import IntegrityError

from tickerlake import __version__
from tickerlake.errors import (
    ConfigError,
    MalformedError,
    NewerVersionError,
    StorageError,
    WorkspaceMovedError,
)
from tickerlake.lake.catalog import LakeCatalog
from tickerlake.lake.local_io import sync_file
from tickerlake.lake.vendor import patiently, reading

__all__ = [
    "FORMAT",
    "MARKER_FILE",
    "Marker",
    "check_marker",
    "check_namespace",
    "read_marker",
    "write_marker",
]

MARKER_FILE = "tickerlake-lake.json"

#: Grows when an older tickerlake could no longer write this lake safely.
FORMAT = 1

#: Properties of a namespace.
_FORMAT: Final = "tickerlake.format"
_LOCATION: Final = "tickerlake.location"
_WRITTEN_BY: Final = "tickerlake.written-by"


@dataclass(frozen=True, slots=True)
class Marker:
    """What a lake folder says about itself."""

    format: int
    #: Absolute path of the folder when its Iceberg paths were written.
    location: str
    #: Version of tickerlake that wrote the marker.
    written_by: str


def read_marker(folder: Path) -> Marker | None:
    """The marker of a lake folder; null if it has none yet.

    Raises:
        NewerVersionError: Written by a later tickerlake.
        MalformedError: The marker cannot be read.
    """
    path = folder / MARKER_FILE
    try:
        document = json.loads(path.read_text())
        marker = Marker(
            int(document["format"]), str(document["location"]), str(document["written_by"])
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise MalformedError(
            f"The lake's marker {path} cannot be read.",
            expected='a JSON object with "format", "location" and "written_by"',
            found=str(error),
            todo="restore the file from a backup",
        ) from error
    _refuse_newer(marker, str(folder))
    return marker


def _refuse_newer(marker: Marker, folder: str) -> None:
    if marker.format > FORMAT:
        raise NewerVersionError(
            f"The lake {folder} was written by a later tickerlake.",
            expected=f"lake format {FORMAT} or older",
            found=f"lake format {marker.format}, written by tickerlake {marker.written_by}",
            todo=f"install tickerlake {marker.written_by} or later",
        )


def write_marker(folder: Path) -> None:
    """Say that the folder's paths are true here.

    Raises:
        StorageError: The folder cannot be written.
    """
    document = {"format": FORMAT, "location": str(folder), "written_by": __version__}
    fresh = folder / f".{MARKER_FILE}.{uuid.uuid4()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fresh.write_text(json.dumps(document, indent=2) + "\n")
        sync_file(fresh)  # A marker that a power cut left empty would shut the lake.
        fresh.replace(folder / MARKER_FILE)
    except OSError as error:
        raise StorageError(
            f"The lake folder {folder} cannot be written.",
            found=error.strerror or str(error),
            todo="make room on the disk, or give this user the right to write there",
        ) from error


def check_marker(folder: Path) -> None:
    """Make the marker on first use; refuse a lake that is newer or lies elsewhere.

    Raises:
        NewerVersionError: Written by a later tickerlake.
        WorkspaceMovedError: The folder was moved or copied; its paths point elsewhere.
    """
    marker = read_marker(folder)
    if marker is None:
        write_marker(folder)
    elif marker.location != str(folder):
        raise WorkspaceMovedError(
            f"The lake {folder} was moved or copied here.",
            expected=f"the lake at {marker.location}, where its paths point",
            found=str(folder),
            todo="run `tickerlake lake relocate`, or move the folder back",
        )


def check_namespace(catalog: LakeCatalog, root: str) -> None:
    """Mark the catalog's namespace on first use; refuse one of a newer lake or of another place.

    Raises:
        NewerVersionError: Written by a later tickerlake.
        ConfigError: Its tables lie in another lake.
    """
    with reading("lake", "namespace"):
        marked = patiently(catalog, lambda c: c.load_namespace_properties(c.namespace))
        if _LOCATION not in marked:
            words = {_LOCATION: root, _FORMAT: str(FORMAT), _WRITTEN_BY: __version__}
            # A rival that was first has written the same, or the next look finds what it wrote.
            with contextlib.suppress(IntegrityError, CommitFailedException):
                catalog.update_namespace_properties(catalog.namespace, updates=words)
            marked = patiently(catalog, lambda c: c.load_namespace_properties(c.namespace))
    marker = Marker(int(marked[_FORMAT]), marked[_LOCATION], marked.get(_WRITTEN_BY, ""))
    _refuse_newer(marker, root)
    if marker.location != root:
        raise ConfigError(
            f"The catalog's namespace {catalog.namespace!r} belongs to another lake.",
            expected=f'lake = "{marker.location}"',
            found=f'lake = "{root}"',
            todo="name that lake, or give this one a namespace of its own: [tables] namespace",
        )

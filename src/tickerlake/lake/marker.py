"""The lake folder's marker: which format it has, and where it was when its paths were written."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from pathlib import Path

from tickerlake import __version__
from tickerlake.errors import MalformedError, NewerVersionError, StorageError, WorkspaceMovedError
from tickerlake.lake.local_io import sync_file

__all__ = ["FORMAT", "MARKER_FILE", "Marker", "check_marker", "read_marker", "write_marker"]

MARKER_FILE = "tickerlake-lake.json"

#: Grows when an older tickerlake could no longer write this lake safely.
FORMAT = 1


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
    if marker.format > FORMAT:
        raise NewerVersionError(
            f"The lake {folder} was written by a later tickerlake.",
            expected=f"lake format {FORMAT} or older",
            found=f"lake format {marker.format}, written by tickerlake {marker.written_by}",
            todo=f"install tickerlake {marker.written_by} or later",
        )
    return marker


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

"""What a store's errors mean to the user: something to mend, or an outage that passes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tickerlake.errors import LakeUnreachableError, StorageError

__all__ = ["is_outage", "storage_error"]

_TODO_HERE: Final = (
    "make room on the disk, or give this user the right to write there, and run it again"
)
_TODO_ELSEWHERE: Final = (
    "see that the store runs, that [tables.s3] names it, and that the AWS credentials of this "
    "process may read, write, list and delete there; then run it again"
)
#: What pyarrow's S3 client says, in text alone, of no connection, of too many requests, and of a
#: server that is not well.
_PASSING: Final = re.compile(
    r"AWS Error (NETWORK_CONNECTION|SLOW_DOWN|SERVICE_UNAVAILABLE|INTERNAL_FAILURE|THROTTLING"
    r"|REQUEST_TIMEOUT|[A-Z_]+ \(HTTP status (429|5\d\d)\))"
)


def is_outage(error: Exception) -> bool:
    """Whether a bucket did not answer pyarrow, or said that it cannot at the moment."""
    return _PASSING.search(str(error)) is not None


def storage_error(
    error: Exception | str, path: Path | str, *, outage: bool | None = None
) -> StorageError:
    """What a failed write, read, listing or deletion of `path` means; for raising.

    Raised after all tries of the store's client: an outage of a bucket is a
    `LakeUnreachableError`, all else (rights, a full disk) a `StorageError`. `outage` says so of
    errors that are not pyarrow's.
    """
    local = str(path).startswith("/")
    if outage is None:
        outage = isinstance(error, OSError) and is_outage(error)
    return (LakeUnreachableError if outage else StorageError)(
        f"The file {path} cannot be written or read.",
        found=(error.strerror if isinstance(error, OSError) else None) or str(error),
        todo=_TODO_HERE if local else _TODO_ELSEWHERE,
    )

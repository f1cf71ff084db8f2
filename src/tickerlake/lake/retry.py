"""Commit again and again until it landed: for changes that depend on nothing but the newest state.

Delivery has stricter rules (its steps 7 to 9) and does not use this.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from tickerlake import clock
from tickerlake.errors import CommitRefusedError, CommitUnknownError
from tickerlake.lake.base import Change, Loaded, WrittenFile
from tickerlake.lake.table import IcebergTable

__all__ = ["commit_until_landed"]

_TRIES_MAX = 50
_WAIT_SECONDS_MAX = 0.5


def commit_until_landed(
    table: IcebergTable,
    decide: Callable[[Loaded], Change | None],
    *,
    files: tuple[WrittenFile, ...] = (),
) -> int | None:
    """Load, let `decide` say what to do on that state, commit; begin again when refused.

    Args:
        table: The table.
        decide: Called with each fresh state; null means that there is nothing to do any more.
        files: Data files that every answer of `decide` appends. When they are live, an earlier
            try has landed after all. They are removed only if they certainly stand in no
            snapshot: when nothing was to be done before the first try. Else the sweep decides.

    Returns:
        The snapshot that the change made or was found in; null if `decide` said there was nothing
        to do.

    Raises:
        CommitRefusedError: Rivals won every time.
    """
    unclear = False
    for attempt in range(_TRIES_MAX):
        loaded = table.load()
        if files and unclear and _live(table, loaded, files):
            return loaded.snapshot_id
        change = decide(loaded)
        if change is None:
            if not unclear:
                table.discard(files)
            return None
        try:
            return table.commit(loaded, change)
        except (CommitRefusedError, CommitUnknownError):
            # Refused or unknown: either may have landed, so look before trying again.
            unclear = True
            clock.sleep(random.uniform(0, min(_WAIT_SECONDS_MAX, 0.01 * 2**attempt)))  # noqa: S311
    raise CommitRefusedError(
        f"The table {table.name} was changed by others {_TRIES_MAX} times in a row.",
        todo="run it again when fewer workers write",
    )


def _live(table: IcebergTable, loaded: Loaded, files: tuple[WrittenFile, ...]) -> bool:
    live = set(table.files(loaded))
    return all(file.path in live for file in files)

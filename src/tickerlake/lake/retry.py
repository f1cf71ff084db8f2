"""Commit again and again until it landed: for changes that depend on nothing but the newest state.

Delivery has stricter rules (its steps 7 to 9) and does not use this.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from tickerlake import clock
from tickerlake.errors import CommitRefusedError, CommitUnknownError
from tickerlake.lake.base import Change, Loaded

if TYPE_CHECKING:
    from tickerlake.lake.table import IcebergTable

__all__ = ["commit_until_landed"]

_TRIES_MAX = 50
_WAIT_SECONDS_MAX = 0.5


def commit_until_landed(
    table: IcebergTable, decide: Callable[[Loaded], Change | None]
) -> int | None:
    """Load, let `decide` say what to do on that state, commit; begin again when refused.

    Args:
        table: The table.
        decide: Called with each fresh state; null means that there is nothing to do (any more).
            A try that was refused or whose answer was lost may have landed: `decide` must see
            that in the state. Files of such a try are the sweep's to delete, never ours.

    Returns:
        The snapshot that the change made; null if there was nothing to do.

    Raises:
        CommitRefusedError: Rivals won every time.
    """
    for attempt in range(_TRIES_MAX):
        loaded = table.load()
        change = decide(loaded)
        if change is None:
            return None
        try:
            return table.commit(loaded, change)
        except (CommitRefusedError, CommitUnknownError):
            clock.sleep(random.uniform(0, min(_WAIT_SECONDS_MAX, 0.01 * 2**attempt)))  # noqa: S311
    raise CommitRefusedError(
        f"The table {table.name} was changed by others {_TRIES_MAX} times in a row.",
        todo="run it again when fewer workers write",
    )

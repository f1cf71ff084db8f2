"""What a worker does for its table every N commits, so that nobody has to think of it."""

from __future__ import annotations

import contextlib

import pyarrow as pa

from tickerlake.errors import CommitRefusedError, CommitUnknownError
from tickerlake.lake.derived import fold_deliveries, refresh_latest
from tickerlake.lake.lake import Lake
from tickerlake.lake.maintenance.compact import compact
from tickerlake.lake.maintenance.expire import expire
from tickerlake.lake.tables import DELIVERIES, LATEST
from tickerlake.records import TABLES

__all__ = ["tell_others", "tend"]


def tend(lake: Lake, name: str) -> None:
    """Expire old snapshots, bring `latest` up to date, merge small files of closed days.

    Cheap when there is little to do: a month is compacted only once `compact_at_files` files have
    come together in it.

    Raises:
        CommitRefusedError: Rivals won every time; nothing is lost, the next turn does it.
    """
    expire(lake, [name])
    refresh_latest(lake)
    at_files = lake.settings.compact_at_files
    compact(lake, [name, DELIVERIES], fresh_files_min=at_files)
    for derived in (DELIVERIES, LATEST):
        if len(lake.table(derived).load().handle.metadata.snapshots) > lake.settings.snapshots_max:
            expire(lake, [derived], keep=lake.settings.snapshots_max // 2)


def tell_others(lake: Lake) -> None:
    """Bring `deliveries` and `latest` up to date, for engines that read no snapshot summaries.

    Our own views look at the tables themselves, so this is never late for them. Where rivals win
    every time nothing is lost: they, or the next turn, do the same.
    """
    # What a delivery's threads have freed is still held for them, and would be held beside ours.
    pa.default_memory_pool().release_unused()
    for name in lake.names():
        if name in TABLES.values():
            with contextlib.suppress(CommitRefusedError, CommitUnknownError):
                fold_deliveries(lake, name)
    with contextlib.suppress(CommitRefusedError, CommitUnknownError):
        refresh_latest(lake)

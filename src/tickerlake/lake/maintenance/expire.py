"""`lake expire`: forget old snapshots, so that commits stay as fast as the first.

What their summaries tell is folded into `deliveries` before. Data files are not touched: what no
snapshot names any more is the sweep's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tickerlake.lake.base import Change, Loaded
from tickerlake.lake.derived import fold_deliveries
from tickerlake.lake.lake import Lake
from tickerlake.lake.positions import CHECK, RANGES
from tickerlake.lake.retry import commit_until_landed
from tickerlake.lake.table import IcebergTable
from tickerlake.records import TABLES

__all__ = ["ExpireReport", "expire"]


@dataclass(frozen=True, slots=True)
class ExpireReport:
    """What one expiry did to one table."""

    table: str
    expired: int
    kept: int


def expire(
    lake: Lake, names: Sequence[str] | None = None, *, keep: int | None = None
) -> list[ExpireReport]:
    """Forget all but the newest `keep` snapshots of each table.

    Args:
        lake: The lake.
        names: Which tables; all that exist if null.
        keep: How many to leave; `snapshots_max` of the settings if null. Snapshots that a branch
            or a tag holds stay, and so does the newest that carries a checkpoint.
    """
    return [_expire(lake, name, keep) for name in (names or lake.names())]


def _expire(lake: Lake, name: str, keep: int | None) -> ExpireReport:
    table = lake.table(name)
    limit = max(1, lake.settings.snapshots_max if keep is None else keep)
    folded = fold_deliveries(lake, name) if name in TABLES.values() else set[int]()
    counts = (0, 0)

    def decide(loaded: Loaded) -> Change | None:
        nonlocal counts
        old = _old(table, loaded, limit, folded)
        counts = (len(old), len(loaded.handle.metadata.snapshots) - len(old))
        return Change(expire=old) if old else None

    commit_until_landed(table, decide)
    return ExpireReport(name, *counts)


def _old(table: IcebergTable, loaded: Loaded, limit: int, folded: set[int]) -> tuple[int, ...]:
    chain = table.snapshots(loaded)
    # Our own commit adds one.
    kept = chain[-(limit - 1) :] if limit > 1 else []
    if not chain or len(chain) < limit:
        return ()
    checked = [snapshot.id for snapshot in chain if CHECK in snapshot.summary]
    held = {ref.snapshot_id for ref in loaded.handle.metadata.refs.values()}
    spared = {snapshot.id for snapshot in kept} | held | set(checked[-1:])
    ancestors = {snapshot.id: snapshot for snapshot in chain}
    first = kept[0].committed_at if kept else chain[-1].committed_at
    old = []
    for snapshot in loaded.handle.metadata.snapshots:
        if snapshot.snapshot_id in spared:
            continue
        ancestor = ancestors.get(snapshot.snapshot_id)
        if ancestor is None:
            # Somebody turned the table back past it: it stays while it may be wanted again.
            gone = snapshot.timestamp_ms < first.timestamp() * 1000
        else:
            gone = RANGES not in ancestor.summary or ancestor.id in folded
        if gone:
            old.append(snapshot.snapshot_id)
    return tuple(old)

"""What the deliveries of one table tell, from its live snapshots and from `deliveries`."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.lake.base import Loaded
from tickerlake.lake.chain import Chain, chains
from tickerlake.lake.derived import delivery_rows, folded_deliveries
from tickerlake.lake.lake import Lake
from tickerlake.lake.table import IcebergTable

__all__ = ["history", "history_of_state"]

_Key = tuple[str, str]


def history(lake: Lake, table: IcebergTable, loaded: Loaded) -> dict[_Key, Chain]:
    """The chain of each stream and partition, united by snapshot."""
    # The source was read first: what is folded meanwhile is then seen twice, never missed.
    live = delivery_rows(table.name, table.snapshots(loaded))
    folded = folded_deliveries(lake, table.name)
    ids = live.column("snapshot_id").combine_chunks()
    only_folded = folded.filter(pc.invert(pc.is_in(folded.column("snapshot_id"), ids)))
    return chains(pa.concat_tables([only_folded, live]))


def history_of_state(lake: Lake, table: IcebergTable, loaded: Loaded) -> dict[_Key, Chain]:
    """The same as the loaded state itself knew it: without what somebody has turned back.

    Of the deliveries that expiry has folded those belong to it that are older than the snapshots
    that are left; younger ones were made by snapshots that are no ancestors of this state.
    """
    ancestors = table.snapshots(loaded)
    folded = folded_deliveries(lake, table.name)
    if ancestors:
        older = pc.less(folded.column("committed_at"), ancestors[0].committed_at)
        folded = folded.filter(older)
    return chains(pa.concat_tables([folded, delivery_rows(table.name, ancestors)]))

"""What the deliveries of one table tell, from its live snapshots and from `deliveries`."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.lake.base import Loaded
from tickerlake.lake.chain import Chain, chains
from tickerlake.lake.derived import delivery_rows, folded_deliveries
from tickerlake.lake.lake import Lake
from tickerlake.lake.table import IcebergTable

__all__ = ["history"]


def history(lake: Lake, table: IcebergTable, loaded: Loaded) -> dict[tuple[str, str], Chain]:
    """The chain of each stream and partition, united by snapshot."""
    # The source was read first: what is folded meanwhile is then seen twice, never missed.
    live = delivery_rows(table.name, table.snapshots(loaded))
    folded = folded_deliveries(lake, table.name)
    ids = live.column("snapshot_id").combine_chunks()
    only_folded = folded.filter(pc.invert(pc.is_in(folded.column("snapshot_id"), ids)))
    return chains(pa.concat_tables([only_folded, live]))

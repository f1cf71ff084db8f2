"""What a table tells about each partition of a stream since the first delivery.

The sums come from the commits' own summaries (`deliveries` holds those that have expired), so any
process can tell them, whoever delivered. Asked again, only what is new is looked at.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.lake.base import Loaded
from tickerlake.lake.derived import delivery_rows, folded_deliveries
from tickerlake.lake.lake import Lake
from tickerlake.lake.tables import DELIVERIES

__all__ = ["TableTotals", "Totals"]


@dataclass(frozen=True, slots=True)
class Totals:
    """One partition since its first delivery."""

    rows: int = 0
    dropped: int = 0
    lost: int = 0
    #: Rows that are dead letters, those that were mended or discarded since included.
    dead_letters: int = 0
    #: When a commit last moved this partition on.
    committed_at: datetime | None = None


class TableTotals:
    """Sums over one table's commits for one stream. Not to be shared between threads."""

    def __init__(self, lake: Lake, table: str, stream_id: str) -> None:
        self._lake = lake
        self._table = lake.table(table)
        self._stream_id = stream_id
        self._last: int | None = None
        self._sums: dict[str, Totals] = {}
        self._dead: dict[str, Counter[str]] = {}

    def read(self, loaded: Loaded) -> dict[str, Totals]:
        """Sums by partition, as of `loaded`."""
        self._add(loaded)
        dead = self._dead_letters(loaded)
        return {
            partition: replace(self._sums.get(partition, Totals()), dead_letters=dead[partition])
            for partition in {*self._sums, *dead}
        }

    def _add(self, loaded: Loaded) -> None:
        snapshots = self._table.snapshots(loaded)
        ids = [snapshot.id for snapshot in snapshots]
        if self._last in ids:
            rows = delivery_rows(self._table.name, snapshots[ids.index(self._last) + 1 :])
        else:
            # The first look, or one so late that what came since has expired, or was taken back.
            self._sums = {}
            rows = self._folded()
            known = set(rows.column("snapshot_id").to_pylist())
            live = [snapshot for snapshot in snapshots if snapshot.id not in known]
            rows = pa.concat_tables([rows, delivery_rows(self._table.name, live)])
        self._last = ids[-1] if ids else None
        self._sum(rows.filter(pc.equal(rows.column("stream"), self._stream_id)))

    def _folded(self) -> pa.Table:
        if DELIVERIES not in self._lake.names():
            return delivery_rows(self._table.name, [])
        return folded_deliveries(self._lake, self._table.name)

    def _sum(self, rows: pa.Table) -> None:
        sums = rows.group_by("partition").aggregate(
            [("rows", "sum"), ("dropped", "sum"), ("lost", "sum"), ("committed_at", "max")]
        )
        for row in sums.to_pylist():
            old = self._sums.get(row["partition"], Totals())
            self._sums[row["partition"]] = Totals(
                rows=old.rows + row["rows_sum"],
                dropped=old.dropped + row["dropped_sum"],
                lost=old.lost + row["lost_sum"],
                committed_at=row["committed_at_max"],
            )

    def _dead_letters(self, loaded: Loaded) -> Counter[str]:
        """By partition. Files never change, so each is opened once."""
        files = {file.path: file for file in self._table.live_files(loaded)}
        self._dead = {path: count for path, count in self._dead.items() if path in files}
        for path, file in files.items():
            if path not in self._dead:
                rows = self._table.read_files(
                    [file],
                    columns=["_partition"],
                    condition=(pc.field("_stream") == self._stream_id)
                    & pc.field("dead_reason").is_valid(),
                )
                self._dead[path] = Counter(rows.column("_partition").to_pylist())
        return sum(self._dead.values(), Counter())

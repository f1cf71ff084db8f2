"""Tables that are derived and never a second truth: `deliveries` and `latest`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from tickerlake.lake.base import Change, Loaded, SnapshotInfo
from tickerlake.lake.lake import Lake
from tickerlake.lake.manifests import LiveFile
from tickerlake.lake.positions import RANGES, REWOUND, Range, decode_ranges
from tickerlake.lake.retry import commit_until_landed
from tickerlake.lake.table import IcebergTable
from tickerlake.lake.tables import DELIVERIES, LATEST, SPECS
from tickerlake.records import STATE_RANK, TABLES, Kind, address_of

__all__ = [
    "delivery_rows",
    "fold_deliveries",
    "folded_deliveries",
    "latest_knows",
    "refresh_latest",
]

_SEEN: Final = "tickerlake.latest."
_KINDS: Final[tuple[Kind, ...]] = ("bar", "trade")
_WHOSE: Final = ("provider", "symbol")
_OF_BAR: Final = [*_WHOSE, "ts"]
_PLACE: Final = pa.field("place", pa.int32())


def delivery_rows(table: str, snapshots: Iterable[SnapshotInfo]) -> pa.Table:
    """What snapshots' summaries tell about positions, as rows of `deliveries`."""
    rows = [
        _delivery_row(table, snapshot, stream, partition, span)
        for snapshot in snapshots
        for stream, spans in decode_ranges(snapshot.summary.get(RANGES, "{}")).items()
        for partition, span in spans.items()
    ]
    return pa.Table.from_pylist(rows, schema=SPECS[DELIVERIES].schema)


def _delivery_row(
    table: str, snapshot: SnapshotInfo, stream: str, partition: str, span: Range
) -> dict[str, object]:
    rewound = REWOUND in snapshot.summary
    return {
        "table_name": table,
        "snapshot_id": snapshot.id,
        "committed_at": snapshot.committed_at,
        "event": "rewound" if rewound else "lost" if span.lost else "delivered",
        "stream": stream,
        "partition": partition,
        "from_position": span.start,
        "to_position": span.end,
        "rows": 0 if rewound else span.rows,
        "dropped": span.dropped,
        "lost": span.lost,
        "gaps": span.gaps,
        "to_address": address_of(span.end) or None,
    }


def folded_deliveries(lake: Lake, table: str) -> pa.Table:
    """The rows of one table that are folded already."""
    deliveries = lake.table(DELIVERIES)
    loaded = deliveries.load()
    return deliveries.read_files(
        deliveries.live_files(loaded), condition=ds.field("table_name") == table
    )


def fold_deliveries(lake: Lake, table: str) -> set[int]:
    """Bring the summaries of a table's snapshots into `deliveries`; return all ids that are there.

    Idempotent by snapshot id. The commit asserts the very state of `deliveries` whose ids were
    read, so two that fold at once cannot both add a snapshot.
    """
    source, deliveries = lake.table(table), lake.table(DELIVERIES)
    telling = [s for s in source.snapshots(source.load()) if RANGES in s.summary]
    known: set[int] = set()

    def decide(loaded: Loaded) -> Change | None:
        known.clear()
        known.update(_folded_ids(deliveries, loaded, table, telling))
        rows = delivery_rows(table, [s for s in telling if s.id not in known])
        return Change(append=deliveries.write(rows)) if rows.num_rows else None

    if telling:
        commit_until_landed(deliveries, decide)
    return known | {snapshot.id for snapshot in telling}


def _folded_ids(
    deliveries: IcebergTable, loaded: Loaded, table: str, snapshots: list[SnapshotInfo]
) -> set[int]:
    """Which of the snapshots are in `deliveries`; files that end before them are not opened."""
    first = min(snapshot.committed_at for snapshot in snapshots)
    condition = (ds.field("table_name") == table) & (ds.field("committed_at") >= first)
    ids = deliveries.read_files(
        deliveries.live_files(loaded), columns=["snapshot_id"], condition=condition
    )
    return set(ids.column("snapshot_id").to_pylist())


def latest_knows(latest: Loaded) -> dict[str, int]:
    """Up to which commit (sequence number) of each table a state of `latest` has seen all rows."""
    known = {TABLES[kind]: latest.properties.get(_SEEN + TABLES[kind], "0") for kind in _KINDS}
    return {table: int(number) for table, number in known.items()}


def refresh_latest(lake: Lake, *, rebuild: bool = False) -> int:
    """Bring the last bar or trade price of each provider and symbol into `latest`.

    Only files that have come since the last refresh are read. With `rebuild` all are, which is
    right at any time and needed only after rows were taken away (a rollback).

    Returns:
        How many rows `latest` has.
    """
    latest = lake.table(LATEST)
    rows = 0

    def decide(loaded: Loaded) -> Change | None:
        nonlocal rows
        old = latest.live_files(loaded)
        found = [latest.read_files([] if rebuild else old)]
        seen: dict[str, str] = {}
        for name, known in latest_knows(loaded).items():
            after = 0 if rebuild else known
            fresh, newest = _arrived(lake.table(name), after)
            found.extend(fresh)
            seen[_SEEN + name] = str(newest)
        table = _newest(pa.concat_tables(found))
        rows = table.num_rows
        if all(loaded.properties.get(name) == value for name, value in seen.items()):
            return None
        return Change(
            append=latest.write(table),
            delete=tuple(file.path for file in old),
            properties=seen,
        )

    commit_until_landed(latest, decide)
    return rows


_PRICE: Final = {"bars_log": "close", "trades_log": "price"}


def _arrived(table: IcebergTable, after: int) -> tuple[list[pa.Table], int]:
    """Candidates from files that commits after sequence number `after` brought."""
    files = table.live_files(table.load())
    newest = max((file.sequence_number for file in files), default=after)
    price = _PRICE[table.name]
    names = [
        field.name
        for field in SPECS[LATEST].schema
        if field.name in table.spec.schema.names and field.name != "price"
    ]
    # A compacted file holds only what fresh ones had brought before.
    fresh = [
        file
        for file in files
        if file.sequence_number > after and not (file.compacted and after > 0)
    ]
    best, files = _last_times(table, fresh, price)
    rows = [
        _as_latest(alive.join(best, ["provider", "symbol", "ts"], join_type="left semi"), price)
        for alive in _alive(table.read_slowly(files, [*names, price, "dead_reason"]), price)
    ]
    return rows, max(newest, after)


def _last_times(
    table: IcebergTable, files: Sequence[LiveFile], price: str
) -> tuple[pa.Table, list[LiveFile]]:
    """The last `ts` of each provider and symbol, and the files that hold a row of it.

    Three columns, two of them numbers of a dictionary: rows are read whole only where they win.
    """
    columns = [*_WHOSE, "ts", price, "dead_reason"]
    tops = [pa.schema([*(table.spec.schema.field(n) for n in _OF_BAR), _PLACE]).empty_table()]
    for place, file in enumerate(files):
        for alive in _alive(table.read_slowly([file], columns, encoded=True), price):
            top = _tops(alive.select(_OF_BAR).unify_dictionaries())
            top = top.append_column(_PLACE, pa.repeat(pa.scalar(place, _PLACE.type), len(top)))
            tops.append(top.cast(tops[0].schema))
    found = pa.concat_tables(tops)
    best = _tops(found)
    holding = found.join(best, _OF_BAR, join_type="left semi")[_PLACE.name]
    return best, [files[place] for place in sorted(pc.unique(holding).to_pylist())]


def _tops(rows: pa.Table) -> pa.Table:
    """The last `ts` of each provider and symbol."""
    grouped = rows.group_by(list(_WHOSE), use_threads=False).aggregate([("ts", "max")])
    return grouped.rename_columns({"ts_max": "ts"}).select(_OF_BAR)


def _alive(pieces: Iterable[pa.Table], price: str) -> Iterator[pa.Table]:
    """Without dead letters, and what has no price."""
    for rows in pieces:
        sound = pc.and_(pc.is_null(rows.column("dead_reason")), pc.is_valid(rows.column(price)))
        alive = rows.filter(sound)
        if alive.num_rows:
            yield alive


def _as_latest(rows: pa.Table, price: str) -> pa.Table:
    schema = SPECS[LATEST].schema
    rows = rows.rename_columns(["price" if name == price else name for name in rows.column_names])
    columns = [
        rows.column(field.name).cast(field.type)
        if field.name in rows.column_names
        else pa.nulls(rows.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _newest(rows: pa.Table) -> pa.Table:
    """The last row of each provider and symbol by (ts, state, fetched_at, event_id)."""
    if rows.num_rows == 0:
        return rows
    ranks = pa.array(list(STATE_RANK), pa.string()), pa.array(list(STATE_RANK.values()), pa.int8())
    places = pc.index_in(rows.column("state"), ranks[0])
    keyed = rows.append_column("_rank", pc.fill_null(pc.take(ranks[1], places), 2))
    order = ["provider", "symbol", "ts", "_rank", "fetched_at", "event_id"]
    keyed = keyed.sort_by([(name, "ascending") for name in order]).drop_columns(["_rank"])
    keyed = keyed.combine_chunks()
    same = np.ones(keyed.num_rows - 1, dtype=bool)
    for name in ("provider", "symbol"):
        column = keyed.column(name).combine_chunks()
        equal = pc.fill_null(pc.equal(column[1:], column[:-1]), False)
        same &= equal.to_numpy(zero_copy_only=False)
    return keyed.filter(pa.array(np.append(~same, True)))

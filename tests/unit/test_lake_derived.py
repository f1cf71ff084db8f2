"""`deliveries` and `latest`: derived from the tables, and right however often they are made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import duckdb
import pyarrow as pa

from tickerlake.lake import Change
from tickerlake.lake.derived import (
    delivery_rows,
    fold_deliveries,
    folded_deliveries,
    refresh_latest,
)
from tickerlake.lake.lake import Lake
from tickerlake.lake.tables import SPECS, iceberg_schema
from tickerlake.query import views
from tickerlake.testing.lake_suite import bars, deliver


def test_folding_twice_adds_nothing(lake: Lake) -> None:
    """Each snapshot's ranges come into `deliveries` once, by the snapshot's id."""
    table = lake.table("bars_log")
    for partition in ("0", "1", "0"):
        deliver(table, 10, partition=partition)
    assert len(fold_deliveries(lake, "bars_log")) == 3
    fold_deliveries(lake, "bars_log")
    deliver(table, 5)
    fold_deliveries(lake, "bars_log")
    rows = folded_deliveries(lake, "bars_log").sort_by("committed_at").to_pylist()
    spans = [(r["partition"], r["from_position"], r["to_position"], r["rows"]) for r in rows]
    assert spans == [("0", 0, 10, 10), ("1", 0, 10, 10), ("0", 10, 20, 10), ("0", 20, 25, 5)]
    assert {r["event"] for r in rows} == {"delivered"}


def test_a_table_of_an_earlier_version_gets_the_columns_that_have_come_since(lake: Lake) -> None:
    """`deliveries` without them: old rows stay, new ones come, the view has both."""
    spec = SPECS["deliveries"]
    since = ("gaps", "to_address")
    earlier = pa.schema([field for field in spec.schema if field.name not in since])
    identifier = ("tickerlake", "deliveries")
    lake.catalog.create_table(identifier, iceberg_schema(earlier))
    table = lake.table("bars_log")
    deliver(table, 10)
    rows = delivery_rows("bars_log", table.snapshots(table.load())).drop_columns(list(since))
    lake.catalog.load_table(identifier).append(rows)
    deliver(table, 10)
    fold_deliveries(lake, "bars_log")
    told = folded_deliveries(lake, "bars_log").sort_by("from_position")
    assert told.column("rows").to_pylist() == [10, 10]
    assert told.column("gaps").to_pylist() == [None, 0]
    deliveries = lake.table("deliveries")
    view = views.deliveries(tuple(deliveries.files(deliveries.load())), views.empty(spec.schema))
    assert duckdb.sql(f"select sum(rows), sum(gaps) from ({view})").fetchall() == [(20, 0)]


def test_latest_is_the_newest_price_of_each_symbol(lake: Lake) -> None:
    """A refresh reads only what came since; a rebuild comes to the same; dead letters are out."""
    table = lake.table("bars_log")
    deliver(table, 30)
    assert refresh_latest(lake) == 3
    deliver(table, 30)
    dead = bars(1000, 1)
    place = dead.column_names.index("dead_reason")
    dead = dead.set_column(place, "dead_reason", pa.array(["high < low"]))
    table.commit(table.load(), Change(append=table.write(dead)))
    assert refresh_latest(lake) == 3
    fresh = _latest(lake)
    assert fresh == {"AAPL": 58.0, "IBM": 59.0, "MSFT": 57.0}
    refresh_latest(lake, rebuild=True)
    assert _latest(lake) == fresh


def test_a_final_bar_beats_a_forming_one_of_a_faster_clock(lake: Lake) -> None:
    """`latest` chooses by state before it looks at `fetched_at`."""
    table = lake.table("bars_log")
    when = datetime(2013, 3, 1, tzinfo=UTC)
    final, forming = bars(0, 1, start=when), bars(0, 1, start=when)
    later = pa.array([when + timedelta(days=1)], pa.timestamp("us", tz="UTC"))
    forming = _with(forming, state=pa.array(["forming"]), fetched_at=later, close=pa.array([99.0]))
    table.commit(table.load(), Change(append=table.write(pa.concat_tables([forming, final]))))
    refresh_latest(lake)
    assert _latest(lake) == {"MSFT": 0.0}


def _latest(lake: Lake) -> dict[str, float]:
    table = lake.table("latest")
    return {row["symbol"]: row["price"] for row in table.read(table.load()).to_pylist()}


def _with(rows: pa.Table, **columns: pa.Array) -> pa.Table:
    for name, values in columns.items():
        rows = rows.set_column(rows.column_names.index(name), rows.schema.field(name), values)
    return rows

"""Streams and lakes that were made before a kind of record existed go on as they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pytest

import tickerlake
from command import tickerlake as command
from tickerlake import config
from tickerlake.records import TABLES, Kind, conform, with_event_ids
from tickerlake.testing.sample_records import sample_bars

LATER: Kind = "price_band"


def bands(*uppers: float) -> pa.Table:
    count = len(uppers)
    at = pa.array([1_704_207_600_000_000] * count, pa.timestamp("us", "UTC"))
    columns = {
        "provider": ["suite"] * count, "symbol": ["ACME"] * count, "ts": at, "fetched_at": at,
        "ts_ns": [1_704_207_600_000_000_000] * count, "upper": list(uppers),
    }  # fmt: skip
    return with_event_ids(conform(pa.table(columns), LATER), LATER)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A workspace with bars in its lake, and neither topic nor table of price bands."""
    folder, _ = config.make_workspace(tmp_path / "old")
    with tickerlake.open(folder) as made:
        made.stream.topic("bar").publish(sample_bars(10))
        made.deliver(once=True)
        catalog = made.lake.catalog
        table = Path(made.lake.table(TABLES[LATER]).folder)
        catalog.drop_table(catalog.identifier(TABLES[LATER]))
        shutil.rmtree(table)
        made.stream.remove(LATER)
    return folder


def is_met(folder: Path) -> tuple[bool, bool]:
    """Whether stream and lake have it."""
    with tickerlake.open(folder) as opened:
        return LATER in opened.stream.kinds(), TABLES[LATER] in opened.lake.names()


@pytest.mark.slow
def test_who_asks_sees_an_empty_view_and_makes_nothing(old: Path) -> None:
    """Every view answers, status and doctor are content, and the old lake stays as it is."""
    assert is_met(old) == (False, False)
    with tickerlake.open(old) as opened:
        assert opened.sql("select * from price_bands").table.num_rows == 0
        assert "upper" in opened.sql("describe price_bands").table["column_name"].to_pylist()
        for view in ("dead_letters", "deliveries", "latest", "gaps"):
            opened.sql(f"select count(*) from {view}")
        assert opened.sql("select count(*) as n from bars").table["n"].to_pylist() == [10]
    topics = command("status", "--json", cwd=old).json["topics"]
    assert {topic["topic"]: topic["partitions"] for topic in topics}["price_bands"] == []
    command("doctor", cwd=old)
    assert is_met(old) == (False, False)


def test_it_is_delivered_from_the_first_record_on(old: Path) -> None:
    """A delivery without any is none that fails; the first record has its place."""
    command("deliver", "--once", cwd=old)
    with tickerlake.open(old) as opened:
        opened.stream.topic(LATER).publish(bands(11.0, 12.0))
        assert opened.sql("select count(*) as n from price_bands").table["n"].to_pylist() == [2]
        assert opened.deliver(once=True).total.rows == 2
        uppers = opened.sql("select upper from price_bands order by upper").table["upper"]
    assert uppers.to_pylist() == [11.0, 12.0]

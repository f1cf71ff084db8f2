"""Another tool turns a table back, or meddles with its offsets; `lake rewind` mends it."""

from __future__ import annotations

from tickerlake.lake.derived import fold_deliveries
from tickerlake.lake.lake import Lake
from tickerlake.lake.maintenance import expire, rewind, status, verify
from tickerlake.lake.positions import offset_property
from tickerlake.testing.lake_suite import STREAM, deliver


def turn_back(lake: Lake, snapshot_id: int) -> None:
    """What another tool's rollback does: rows go, properties stay."""
    foreign = lake.catalog.load_table(("tickerlake", "bars_log"))
    with foreign.manage_snapshots() as snapshots:
        snapshots.set_current_snapshot(snapshot_id)


def test_a_rollback_is_seen_and_rewound(lake: Lake) -> None:
    """Two partitions lose rows: verify says so, rewind sets the offsets, delivery goes on."""
    table = lake.table("bars_log")
    for partition in ("0", "1", "0"):
        deliver(table, 10, partition=partition)
    kept = table.load().snapshot_id
    assert kept is not None
    for partition in ("0", "1"):
        deliver(table, 10, partition=partition)
    turn_back(lake, kept)
    assert status(lake, ["bars_log"])[0].check == "disagrees"
    assert "turned back" in verify(lake).findings[0].problem
    (report,) = rewind(lake, ["bars_log"])
    changes = [(item.partition, item.before, item.after) for item in report.rewound]
    assert changes == [("0", 30, 20), ("1", 20, 10)]
    assert verify(lake).sound
    for partition in ("0", "1"):
        deliver(table, 10, partition=partition)
    report_after = verify(lake)
    assert report_after.sound, report_after.findings
    assert table.read(table.load()).num_rows == 50


def test_a_table_turned_back_twice_to_the_same_state(lake: Lake) -> None:
    """The second time its offsets agree again, but nobody tells of the rewind between."""
    table = lake.table("bars_log")
    deliver(table, 10)
    kept = table.load().snapshot_id
    assert kept is not None
    deliver(table, 10)
    fold_deliveries(lake, "bars_log")
    for _ in range(2):
        turn_back(lake, kept)
        rewind(lake, ["bars_log"])
        report = verify(lake)
        assert report.sound, report.findings
    deliver(table, 10)
    assert verify(lake).sound
    assert table.read(table.load()).num_rows == 20


def test_a_rewind_without_need_does_nothing(lake: Lake) -> None:
    """Offsets that agree with their history stay, even those that stand behind dropped repeats."""
    table = lake.table("bars_log")
    deliver(table, 10)
    before = table.load()
    (report,) = rewind(lake)
    assert report.rewound == ()
    assert table.load().metadata_location == before.metadata_location


def test_a_table_turned_back_to_nothing(lake: Lake) -> None:
    """All rows are gone but the partition's registration: delivery begins where it began."""
    table = lake.table("bars_log")
    deliver(table, 0)
    first = table.load().snapshot_id
    assert first is not None
    deliver(table, 10)
    turn_back(lake, first)
    rewind(lake)
    assert table.load().properties[offset_property(STREAM, "0")] == "0"
    deliver(table, 10)
    assert verify(lake).sound


def test_an_offset_that_another_tool_lowered(lake: Lake) -> None:
    """A property-only commit takes an offset back: it is seen, and rewind sets it right."""
    table = lake.table("bars_log")
    deliver(table, 10)
    foreign = lake.catalog.load_table(("tickerlake", "bars_log"))
    with foreign.transaction() as transaction:
        transaction.set_properties({offset_property(STREAM, "0"): "5"})
    assert status(lake, ["bars_log"])[0].check == "disagrees"
    rewind(lake)
    assert table.load().properties[offset_property(STREAM, "0")] == "10"
    assert verify(lake).sound


def test_a_rollback_is_seen_through_maintenance(lake: Lake) -> None:
    """Expiry and other commits after the rollback do not vouch for the offsets."""
    table = lake.table("bars_log")
    for _ in range(3):
        deliver(table, 10)
    kept = table.load().snapshot_id
    assert kept is not None
    deliver(table, 10)
    expire(lake, keep=3)
    turn_back(lake, kept)
    expire(lake, keep=2)
    expire(lake, keep=1)
    assert status(lake, ["bars_log"])[0].check == "disagrees"
    rewind(lake)
    deliver(table, 10)
    report = verify(lake)
    assert report.sound, report.findings


def test_an_offset_that_was_removed_comes_back(lake: Lake) -> None:
    """Another tool removed a partition's offset: rewind finds it again in the rows."""
    table = lake.table("bars_log")
    for partition in ("0", "1"):
        deliver(table, 10, partition=partition)
    foreign = lake.catalog.load_table(("tickerlake", "bars_log"))
    with foreign.transaction() as transaction:
        transaction.remove_properties(offset_property(STREAM, "1"))
    (report,) = rewind(lake, ["bars_log"])
    assert [(item.partition, item.after) for item in report.rewound] == [("1", 10)]
    assert table.load().properties[offset_property(STREAM, "1")] == "10"
    assert verify(lake).sound

"""What every lake must do, whatever its catalog: subclass `LakeSuite` and give it `make_lake`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from tickerlake import clock
from tickerlake.errors import CommitRefusedError, CommitUnknownError, NotFoundError
from tickerlake.lake import Change
from tickerlake.lake.lake import Lake
from tickerlake.lake.maintenance import compact, expire, rewind, sweep, verify
from tickerlake.lake.positions import Range, check_hash, encode_ranges, offset_property
from tickerlake.lake.table import IcebergTable
from tickerlake.records import lake_schema

__all__ = ["STREAM", "LakeSuite", "bars", "deliver"]

#: The stream id that the suite's rows come from.
STREAM = "00000000000000aa"

_START = datetime(2013, 1, 31, 12, tzinfo=UTC)
_SYMBOLS = ("MSFT", "AAPL", "IBM")


def bars(first: int, count: int, *, start: datetime = _START, partition: str = "0") -> pa.Table:
    """Rows of `bars_log` at positions `first` … of one partition, one an hour, symbols in turn."""
    numbers = range(first, first + count)
    values: dict[str, list[object]] = {
        "kind": ["bar"] * count,
        "provider": ["suite"] * count,
        "symbol": [_SYMBOLS[n % 3] for n in numbers],
        "ts": [start + timedelta(hours=n) for n in numbers],
        "event_id": [n * 7919 for n in numbers],
        "fetched_at": [start + timedelta(hours=n + 1) for n in numbers],
        "interval": ["1h"] * count,
        "close": [float(n) for n in numbers],
        "state": ["final"] * count,
        "session": ["regular"] * count,
        "_stream": [STREAM] * count,
        "_partition": [partition] * count,
        "_offset": list(numbers),
        "_index": [0] * count,
    }
    schema = lake_schema("bar")
    columns = [
        pa.array(values[field.name], field.type)
        if field.name in values
        else pa.nulls(count, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def deliver(table: IcebergTable, count: int, *, partition: str = "0", **where: datetime) -> int:
    """Deliver the next `count` positions of a partition, as a worker would; return the offset."""
    loaded = table.load()
    name = offset_property(STREAM, partition)
    first = int(loaded.properties.get(name, "0"))
    files = table.write(bars(first, count, partition=partition, **where)) if count else ()
    changed = {name: str(first + count)}
    span = {STREAM: {partition: Range(first, first + count)}}
    summary = {
        "tickerlake.check": check_hash({**loaded.properties, **changed}),
        "tickerlake.ranges": encode_ranges(span),
    }
    table.commit(loaded, Change(append=files, properties=changed, summary=summary))
    return first + count


class LakeSuite:
    """The contract of a lake. Subclasses give a fresh lake, and further handles on the same one."""

    @pytest.fixture
    def make_lake(self) -> Callable[[], Lake]:
        """Open the same lake once more, with a catalog connection of its own."""
        raise NotImplementedError

    @pytest.fixture
    def lake(self, make_lake: Callable[[], Lake]) -> Lake:
        """A lake that holds nothing yet."""
        return make_lake()

    def test_a_table_is_made_on_first_use(self, lake: Lake) -> None:
        """A fresh lake has no tables; asking for one makes it; an unknown name is refused."""
        assert lake.names() == []
        lake.table("bars_log")
        assert lake.names() == ["bars_log"]
        with pytest.raises(NotFoundError, match="bars_log"):
            lake.table("nonsense")

    def test_what_was_written_is_read(self, lake: Lake) -> None:
        """Rows and offset arrive together in one commit, over a month's end and for null times."""
        table = lake.table("bars_log")
        deliver(table, 100)
        loaded = table.load()
        rows = table.read(loaded).sort_by("_offset")
        assert rows.equals(bars(0, 100))
        assert loaded.properties[offset_property(STREAM, "0")] == "100"
        assert len(table.files(loaded)) == 2
        untimed = bars(100, 2).set_column(3, "ts", pa.nulls(2, pa.timestamp("us", tz="UTC")))
        table.commit(loaded, Change(append=table.write(untimed)))
        assert table.read(table.load()).num_rows == 102

    def test_files_are_sorted_by_symbol_and_time(self, lake: Lake) -> None:
        """Inside each file rows stand by symbol, then time, whatever order they came in."""
        table = lake.table("bars_log")
        deliver(table, 50)
        for file in table.live_files(table.load()):
            rows = table.read_files([file], columns=["symbol", "ts"])
            assert rows.equals(rows.sort_by([("symbol", "ascending"), ("ts", "ascending")]))

    def test_only_files_that_may_matter_are_named(self, lake: Lake) -> None:
        """Pruning by symbol and time leaves out files of another month or of other symbols."""
        table = lake.table("bars_log")
        deliver(table, 100)
        loaded = table.load()
        march = datetime(2013, 3, 1, tzinfo=UTC)
        assert len(table.files(loaded, symbols=["IBM"])) == 2
        assert table.files(loaded, symbols=["ZZZ"]) == []
        assert table.files(loaded, ts_from=march) == []
        assert len(table.files(loaded, ts_to=datetime(2013, 2, 1, tzinfo=UTC))) == 1

    def test_the_tail_of_one_partition_is_read(self, lake: Lake) -> None:
        """Rows can be asked for by stream, partition and first position."""
        table = lake.table("bars_log")
        deliver(table, 40, partition="0")
        deliver(table, 40, partition="1")
        loaded = table.load()
        tail = table.read(loaded, columns=["_offset"], starts={"1": 30})
        assert sorted(tail["_offset"].to_pylist()) == list(range(30, 40))
        assert table.read(loaded, stream="another").num_rows == 0

    def test_a_commit_without_rows_is_a_snapshot_too(self, lake: Lake) -> None:
        """An offset that moves without rows makes an empty snapshot, which fences others."""
        table = lake.table("bars_log")
        deliver(table, 0)
        stale = table.load()
        deliver(table, 0)
        with pytest.raises(CommitRefusedError):
            table.commit(stale, Change(properties={"tickerlake.offset.s.0": "9"}))
        assert len(table.snapshots(table.load())) == 2

    def test_of_six_rivals_one_wins(self, make_lake: Callable[[], Lake]) -> None:
        """Six handles commit on one state, round after round: one lands, five are refused."""
        tables = [make_lake().table("bars_log") for _ in range(6)]
        for _ in range(3):
            loads = [table.load() for table in tables]
            files = [table.write(bars(0, 5)) for table in tables]
            landed = 0
            for table, loaded, written in zip(tables, loads, files, strict=True):
                try:
                    table.commit(loaded, Change(append=written))
                    landed += 1
                except (CommitRefusedError, CommitUnknownError):
                    table.discard(written)
            assert landed == 1
        assert tables[0].read(tables[0].load()).num_rows == 15

    def test_the_check_is_carried_on_and_not_renewed(self, lake: Lake) -> None:
        """A commit that changes no offset keeps its parent's check, so it vouches for nothing."""
        table = lake.table("bars_log")
        deliver(table, 10)
        check = table.snapshots(table.load())[-1].summary["tickerlake.check"]
        table.commit(table.load(), Change(properties={"tickerlake.offset.s.0": "5"}))
        loaded = table.load()
        assert table.snapshots(loaded)[-1].summary["tickerlake.check"] == check
        assert check != check_hash(loaded.properties)

    def test_a_foreign_property_survives(self, make_lake: Callable[[], Lake]) -> None:
        """A property that another tool sets between our load and our commit is not lost."""
        table = make_lake().table("bars_log")
        loaded = table.load()
        catalog = make_lake().catalog
        foreign = catalog.load_table(catalog.identifier("bars_log"))
        with foreign.transaction() as transaction:
            transaction.set_properties({"owner": "somebody"})
        table.commit(loaded, Change(append=table.write(bars(0, 5))))
        assert table.load().properties["owner"] == "somebody"

    def test_the_catalog_compares(self, lake: Lake) -> None:
        """The probe passes where the second of two rivals is refused, and leaves nothing."""
        lake.probe()
        assert lake.names() == []
        assert not [file for file in lake.store.files(lake.folder) if "probe_" in file.path]

    def test_maintenance_keeps_every_row(self, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
        """Compaction, expiry and the sweep of two days later: fewer files, the same rows.

        Who reads on meanwhile is not disturbed, and who wakes after it is refused.
        """
        table = lake.table("bars_log")
        for _ in range(5):
            deliver(table, 10)
        slow_reader = table.load()
        compact(lake, ["bars_log"])
        assert table.read(slow_reader).num_rows == 50
        expire(lake, ["bars_log"], keep=2)
        waiting = table.write(bars(50, 10))
        before = len(list(lake.store.files(table.folder)))
        assert sweep(lake, ["bars_log"])[0].deleted_files == 0
        later = clock.real_now() + timedelta(days=2)
        monkeypatch.setattr(clock, "real_now", lambda: later)
        sweep(lake, ["bars_log"])
        assert len(list(lake.store.files(table.folder))) < before
        with pytest.raises(CommitRefusedError, match="is gone"):
            table.commit(table.load(), Change(append=waiting))
        report = verify(lake, ["bars_log"])
        assert report.sound, report.findings
        assert report.rows == 50

    def test_a_table_that_was_turned_back_is_rewound(self, lake: Lake) -> None:
        """A foreign rollback is found, and mended from what the table holds."""
        table = lake.table("bars_log")
        for _ in range(3):
            deliver(table, 10)
        before = table.snapshots(table.load())[1].id
        foreign = lake.catalog.load_table(lake.catalog.identifier("bars_log"))
        foreign.manage_snapshots().rollback_to_snapshot(before).commit()
        assert not verify(lake, ["bars_log"]).sound
        rewind(lake, ["bars_log"])
        deliver(table, 10)
        report = verify(lake, ["bars_log"])
        assert report.sound, report.findings
        assert report.rows == 30

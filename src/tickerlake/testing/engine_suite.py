"""What every query engine must do: subclass `EngineSuite` and give it `open_engine`.

The suite fills a lake and a stream as publisher and delivery do, and looks only at answers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tickerlake.delivery import deliver
from tickerlake.delivery.dead_letters import discard, requeue
from tickerlake.errors import LimitError, QueryError, RangeError, RetentionPassedError
from tickerlake.lake.derived import refresh_latest
from tickerlake.lake.lake import Lake
from tickerlake.lake.maintenance import compact, expire
from tickerlake.lake.registry import open_lake
from tickerlake.query import VIEWS, Engine, QuerySettings
from tickerlake.records import KINDS, Kind, conform
from tickerlake.streams import Stream, StreamsSettings, open_stream

__all__ = ["EngineSuite", "House", "bar", "trade"]

_DAY = datetime(2013, 3, 1, tzinfo=UTC)


def bar(
    day: int = 0, *, symbol: str = "IBM", fetched: float = 0.0, **values: object
) -> dict[str, Any]:
    """One daily bar of 2013-03-01 + `day`, fetched `fetched` hours after that day began."""
    ts = _DAY + timedelta(days=day)
    return {
        "provider": "suite",
        "symbol": symbol,
        "ts": ts,
        "fetched_at": ts + timedelta(hours=fetched),
        "interval": "1d",
        "session_date": ts.date(),
        "open": 10.0,
        "high": 12.0,
        "low": 9.0,
        "close": 11.0,
        "adj_close": 10.5,
        "volume": 100.0,
        "currency": "USD",
        "state": "final",
        "session": "regular",
        **values,
    }


def trade(second: int = 0, **values: object) -> dict[str, Any]:
    """One trade, `second` seconds after 2013-03-01 began."""
    ts = _DAY + timedelta(seconds=second)
    return {
        "provider": "suite",
        "symbol": "IBM",
        "ts": ts,
        "ts_ns": int(ts.timestamp()) * 10**9,
        "fetched_at": ts,
        "price": 11.0,
        "size": 1.0,
        "trade_id": str(second),
        **values,
    }


class House:
    """A lake and a stream in one folder, and what publisher and delivery do to them.

    `lake` is one that lies elsewhere.
    """

    def __init__(
        self, folder: Path, streams: StreamsSettings | None = None, *, lake: Lake | None = None
    ) -> None:
        self.lake: Lake = lake or open_lake("./lake", "sqlite:", workspace=folder)
        self.stream: Stream = open_stream(
            "embedded:", workspace=folder, settings=streams or StreamsSettings()
        )

    def publish(self, *records: dict[str, Any], kind: Kind = "bar") -> None:
        """Put records on the stream, each batch in one publish."""
        columns = {name: [record.get(name) for record in records] for name in records[0]}
        self.stream.topic(kind).publish(conform(pa.table(columns), kind))

    def deliver(self) -> None:
        """Bring everything that is on the stream into the lake."""
        deliver(self.stream, self.lake, KINDS, once=True, stop=threading.Event())

    def close(self) -> None:
        """Close both."""
        self.stream.close()
        self.lake.close()


class EngineSuite:
    """The contract of a query engine. Subclasses open one over the given lake and stream."""

    @pytest.fixture
    def house(self, tmp_path: Path) -> Iterator[House]:
        """A lake and a stream that hold nothing yet."""
        house = House(tmp_path)
        yield house
        house.close()

    @pytest.fixture
    def open_engine(self) -> Callable[[House, QuerySettings], Engine]:
        """Open an engine over the house's lake and stream."""
        raise NotImplementedError

    @pytest.fixture
    def engine(
        self, house: House, open_engine: Callable[[House, QuerySettings], Engine]
    ) -> Iterator[Engine]:
        """An engine with the default settings."""
        engine = open_engine(house, QuerySettings())
        yield engine
        engine.close()

    @pytest.mark.parametrize("source", [*VIEWS, "bars_as_of('2013-03-01T00:00:00Z')"])
    def test_every_view_works_on_an_empty_lake(self, engine: Engine, source: str) -> None:
        """A lake that holds nothing answers with columns and no rows."""
        answer = engine.sql(f"select * from {source}")
        assert len(answer) == 0
        assert answer.table.num_columns > 5

    def test_what_there_is_can_be_asked(self, engine: Engine) -> None:
        """SHOW TABLES and the information schema name exactly the views; DESCRIBE their columns."""
        assert engine.sql("show tables").table.column("name").to_pylist() == sorted(VIEWS)
        named = engine.sql("select table_name from information_schema.tables").table
        assert sorted(named.column("table_name").to_pylist()) == sorted(VIEWS)
        assert "close" in engine.sql("describe bars").table.column("column_name").to_pylist()

    def test_a_record_is_visible_once_published_and_once_delivered(
        self, house: House, engine: Engine
    ) -> None:
        """The same single row is seen before delivery, after it, and with both places in use."""
        for day in range(3):
            house.publish(bar(day))
            assert one(engine, "select count(*) from bars") == day + 1
            house.deliver()
            assert one(engine, "select count(*) from bars") == day + 1
        assert one(engine, "select count(*) from bars_history") == 3

    def test_the_newest_state_wins_whatever_the_clocks_said(
        self, house: House, engine: Engine
    ) -> None:
        """A final bar beats a forming one that claims to be fetched later, in every place."""
        house.publish(bar(state="final", fetched=10, close=11.5))
        for after in (house.deliver, lambda: None):
            house.publish(bar(state="forming", fetched=11, close=10.5, high=13.0))
            after()
            assert one(engine, "select close from bars") == 11.5
        house.publish(bar(state="revised", fetched=12, close=11.75))
        assert one(engine, "select close from bars") == 11.75
        house.deliver()
        assert one(engine, "select close from bars") == 11.75

    def test_history_keeps_every_state_and_bars_has_no_adj_close(
        self, house: House, engine: Engine
    ) -> None:
        """All states of a bar stand in the history; what was true only once is in no view."""
        house.publish(bar(state="forming", fetched=1))
        house.deliver()
        house.publish(bar(state="final", fetched=9))
        states = engine.sql("select state from bars_history order by fetched_at").table
        assert states.column("state").to_pylist() == ["forming", "final"]
        assert "adj_close" not in engine.sql("select * from bars").table.column_names

    def test_as_of_shows_what_was_known_then(self, house: House, engine: Engine) -> None:
        """Both ways of asking about the past agree, and the tail is not part of it."""
        house.publish(bar(state="forming", fetched=1, close=9.5), bar(fetched=9, close=11.5))
        house.deliver()
        house.publish(bar(1, fetched=1))
        noon = _DAY + timedelta(hours=5)
        assert one(engine, "select close from bars", as_of=noon) == 9.5
        assert one(engine, "select close from bars_as_of('2013-03-01T05:00:00Z')") == 9.5
        assert one(engine, "select close from bars_as_of('2013-03-01T06:00:00+01:00')") == 9.5
        assert one(engine, "select count(*) from bars_history", as_of=noon) == 1
        later = _DAY + timedelta(days=5)
        assert one(engine, "select count(*) from bars", as_of=later) == 1
        assert one(engine, "select count(*) from bars") == 2
        with pytest.raises(RangeError, match="zone"):
            engine.sql("select 1", as_of=datetime(2013, 3, 1))  # noqa: DTZ001 - that is the point

    def test_compaction_changes_no_answer(self, house: House, engine: Engine) -> None:
        """Marked rows, fresh rows and the tail together give what they gave apart."""
        house.publish(*[bar(day, state="forming", fetched=1, close=9.5) for day in range(3)])
        house.publish(*[bar(day, fetched=9, close=11.0) for day in range(3)])
        house.deliver()
        compact(house.lake)
        house.publish(bar(1, state="revised", fetched=20, close=11.9))
        house.deliver()
        house.publish(bar(2, state="revised", fetched=20, close=9.1))
        # Arrives late and is older than what compaction has settled.
        house.publish(bar(0, state="provisional", fetched=30, close=10.1))
        query = "select ts, close, state from bars order by ts"
        expected = [11.0, 11.9, 9.1]
        assert engine.sql(query).table.column("close").to_pylist() == expected
        house.deliver()
        assert engine.sql(query).table.column("close").to_pylist() == expected
        compact(house.lake)
        assert engine.sql(query).table.column("close").to_pylist() == expected
        assert one(engine, "select count(*) from bars_history") == 9
        early = _DAY + timedelta(hours=5)
        assert one(engine, "select close from bars", as_of=early) == 9.5
        day = "select close from bars where symbol = 'IBM' and ts = '2013-03-02'"
        assert one(engine, day) == 11.9

    def test_a_repeated_record_is_shown_once(self, house: House, engine: Engine) -> None:
        """A producer's retry shows once, whichever of the two lies in the lake."""
        house.publish(bar())
        house.publish(bar())
        assert one(engine, "select count(*) from bars_history") == 1
        house.deliver()
        house.publish(bar())
        assert one(engine, "select count(*) from bars_history") == 1
        house.publish(bar(fetched=2))
        assert one(engine, "select count(*) from bars_history") == 2

    def test_repeats_of_what_others_delivered_are_recognised(
        self, house: House, engine: Engine, open_engine: Callable[[House, QuerySettings], Engine]
    ) -> None:
        """An engine that never read the first of two, or was overtaken since, sees one as well."""
        query = "select count(*) from bars_history"
        house.publish(bar(0))
        assert one(engine, query) == 1
        house.publish(bar(1))
        house.deliver()
        house.publish(bar(0), bar(1))
        newcomer = open_engine(house, QuerySettings())
        assert one(newcomer, query) == 2
        assert one(engine, query) == 2
        newcomer.close()

    def test_dead_letters_stand_apart_with_what_became_of_them(
        self, house: House, engine: Engine
    ) -> None:
        """A record that breaks a rule is in no view but one, under one position for its life."""
        house.publish(bar(0, low=99.0), bar(1, low=99.0), bar(2, low=99.0), bar(3))
        query = "select position, status, reason, payload from dead_letters order by ts"
        before = engine.sql(query).table.to_pylist()
        house.deliver()
        after = engine.sql(query).table.to_pylist()
        assert before == after
        assert [letter["status"] for letter in after] == ["open"] * 3
        assert all('"IBM"' in letter["payload"] for letter in after)
        assert one(engine, "select count(*) from bars_history") == 1
        requeue(house.stream, house.lake, after[0]["position"], mended(bar(0)))
        # Somebody else mends it too, in another way: delivery will drop that one.
        requeue(house.stream, house.lake, after[0]["position"], mended(bar(0, symbol="FB")))
        discard(house.lake, after[1]["position"], "a typing error")
        states = engine.sql("select status from dead_letters order by ts").table
        assert states.column("status").to_pylist() == ["requeued", "discarded", "open"]
        assert one(engine, "select count(*) from bars") == 2
        house.deliver()
        assert one(engine, "select count(*) from bars") == 2
        assert one(engine, "select count(distinct status) from dead_letters") == 3

    def test_trades_gaps_and_actions(self, house: House, engine: Engine) -> None:
        """Trades and price bands are all shown; of gaps and actions the newest word counts."""
        house.publish(trade(1), trade(2), kind="trade")
        bands = {
            "provider": "suite", "symbol": "IBM", "ts": _DAY, "fetched_at": _DAY, "ts_ns": 1,
            "upper": 12.0, "indicators": "17",
        }  # fmt: skip
        house.publish({**bands, "lower": 9.0}, {**bands, "lower": 10.0}, kind="price_band")
        gap = {
            "provider": "suite", "symbol": "IBM", "ts": _DAY, "interval": "1m", "gap_kind": "bar",
            "to_ts": _DAY + timedelta(hours=1),
        }  # fmt: skip
        house.publish({**gap, "fetched_at": _DAY, "filled": False}, kind="gap")
        house.deliver()
        later = _DAY + timedelta(hours=2)
        house.publish({**gap, "fetched_at": later, "filled": True}, kind="gap")
        split = {
            "provider": "suite", "symbol": "IBM", "ts": _DAY, "action": "split",
            "ex_date": _DAY.date(), "numerator": 2.0, "denominator": 1.0,
        }  # fmt: skip
        house.publish({**split, "fetched_at": _DAY}, kind="corporate_action")
        assert one(engine, "select count(*) from trades") == 2
        assert one(engine, "select sum(upper - lower) from price_bands") == 5.0
        assert one(engine, "select filled from gaps") is True
        assert one(engine, "select numerator from corporate_actions") == 2.0

    def test_latest_is_the_last_price_wherever_it_lies(self, house: House, engine: Engine) -> None:
        """The maintained table, files it has not seen, compacted ones and the tail: newest wins."""
        query = "select price from latest where symbol = 'IBM'"
        for day in range(6):
            house.publish(bar(day, close=10.0 + day / 10))
            assert one(engine, query) == 10.0 + day / 10
            if day % 2:
                house.deliver()
            if day == 3:
                refresh_latest(house.lake)
            if day == 1:
                compact(house.lake)
            assert one(engine, query) == 10.0 + day / 10
        assert one(engine, "select count(*) from latest") == 1

    def test_deliveries_outlive_expiry(self, house: House, engine: Engine) -> None:
        """What was delivered when is told from live snapshots and folded ones alike, once each."""
        query = """select from_position, to_position, rows, dropped from deliveries
            where table_name = 'bars_log' and to_position > from_position order by from_position"""
        house.publish(bar())
        house.deliver()
        house.publish(bar(), bar(1))
        house.deliver()
        told = engine.sql(query).table.to_pylist()
        assert [tuple(row.values()) for row in told] == [(0, 1, 1, 0), (1, 3, 1, 1)]
        expire(house.lake, keep=1)
        assert engine.sql(query).table.to_pylist() == told

    def test_a_tail_beyond_the_limit_is_counted(
        self, house: House, open_engine: Callable[[House, QuerySettings], Engine]
    ) -> None:
        """Only so many records are read from the stream; the answer says how many are not."""
        engine = open_engine(house, QuerySettings(tail_records_max=10))
        house.publish(*[bar(day) for day in range(25)])
        answer = engine.sql("select count(*) as n from bars")
        assert answer.table.to_pylist() == [{"n": 10}]
        assert len(answer.warnings) == 1
        assert "15 more" in answer.warnings[0]
        house.deliver()
        assert engine.sql("select count(*) as n from bars").warnings == ()
        assert one(engine, "select count(*) from bars") == 25
        engine.close()

    def test_a_table_that_was_turned_back_is_told(self, house: House, engine: Engine) -> None:
        """Where another tool took rows away behind the offsets, each answer says what to do."""
        for day in range(2):
            house.publish(bar(day))
            house.deliver()
        assert engine.sql("select * from bars").warnings == ()
        table = house.lake.table("bars_log").load().handle
        parent = table.current_snapshot().parent_snapshot_id
        table.manage_snapshots().set_current_snapshot(parent).commit()
        answer = engine.sql("select * from bars")
        assert len(answer) == 1
        assert "lake rewind bars_log" in answer.warnings[0]

    def test_too_many_rows_are_cut_and_said(
        self, house: House, open_engine: Callable[[House, QuerySettings], Engine]
    ) -> None:
        """The row limit gives the first rows, and a mark that there are more."""
        engine = open_engine(house, QuerySettings(rows_max=10))
        cut = engine.sql("select * from range(11)")
        assert (len(cut), cut.truncated, len(cut.warnings)) == (10, True, 1)
        whole = engine.sql("select * from range(10)")
        assert (len(whole), whole.truncated, whole.warnings) == (10, False, ())
        engine.close()

    def test_a_query_that_takes_too_long_is_stopped(
        self, house: House, open_engine: Callable[[House, QuerySettings], Engine]
    ) -> None:
        """The time limit ends a query before its first row and in the middle of its rows."""
        engine = open_engine(house, QuerySettings(time_limit_seconds=0.1, rows_max=10**12))
        many = "range(100000000) a, range(100000000) b"
        for query in (f"select count(*) from {many} where a.range = b.range * 7 % 5",
                      f"select a.range from {many}"):  # fmt: skip
            with pytest.raises(LimitError, match="longer than"):
                engine.sql(query)
        assert one(engine, "select 1") == 1
        engine.close()

    def test_a_query_that_needs_too_much_memory_is_stopped(
        self, house: House, open_engine: Callable[[House, QuerySettings], Engine]
    ) -> None:
        """The memory limit ends a query, and the engine answers the next one."""
        engine = open_engine(house, QuerySettings(memory_bytes_max=32 * 1024**2))
        with pytest.raises(LimitError, match="memory"):
            engine.sql(
                "select count(*) from (select distinct range, hash(range) from range(100000000))"
            )
        assert one(engine, "select 1") == 1
        engine.close()

    def test_unknown_names_come_with_the_nearest(self, engine: Engine) -> None:
        """A misspelt view or column is named, with the one that was probably meant."""
        for query, name, meant in [
            ("select * from barz", "barz", "bars"),
            ("select clos from bars", "clos", "close"),
            ("select b.symbl from bars b", "symbl", "symbol"),
            ("select * from bars where intervall = '1d'", "intervall", "interval"),
        ]:
            with pytest.raises(QueryError) as caught:
                engine.sql(query)
            assert name in caught.value.problem
            assert f"did you mean {meant}?" in str(caught.value)

    def test_the_result_becomes_what_users_expect(self, house: House, engine: Engine) -> None:
        """Arrow at heart, pandas and polars at a call, times in UTC."""
        house.publish(bar())
        answer = engine.sql("select symbol, ts, close from bars")
        assert answer.table.schema.field("ts").type == pa.timestamp("us", tz="UTC")
        assert answer.to_pandas()["close"].tolist() == [11.0]
        assert answer.to_polars()["ts"].to_list() == [_DAY]

    def test_a_stream_that_starts_too_late_is_an_error(
        self, tmp_path: Path, open_engine: Callable[[House, QuerySettings], Engine]
    ) -> None:
        """Records that retention took before they were delivered are never silently missing."""
        folder = tmp_path / "short"
        folder.mkdir()
        house = House(folder, StreamsSettings(retention_bytes=1, retention_drops_undelivered=True))
        house.publish(bar())
        house.deliver()
        for day in range(1, 6):
            house.publish(bar(day))
        engine = open_engine(house, QuerySettings())
        with pytest.raises(RetentionPassedError, match="does not hold"):
            engine.sql("select * from bars")
        engine.close()
        house.close()


def one(engine: Engine, query: str, *, as_of: datetime | None = None) -> Any:  # noqa: ANN401
    """The single value of an answer with one row and one column."""
    table = engine.sql(query, as_of=as_of).table
    assert (table.num_rows, table.num_columns) == (1, 1), table
    return table.column(0)[0].as_py()


def mended(record: dict[str, Any]) -> dict[str, Any]:
    """The record as JSON would give it."""
    return {name: str(v) if hasattr(v, "year") else v for name, v in record.items()}

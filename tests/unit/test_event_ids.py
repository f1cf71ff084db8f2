"""Event ids: stable forever, and different whenever the event is."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from tickerlake.records import KINDS, SCHEMAS, Kind, conform, with_event_ids

BAR: dict[str, Any] = {
    "provider": "sample",
    "symbol": "AAPL",
    "ts": datetime(2013, 3, 1, tzinfo=UTC),
    "fetched_at": datetime(2013, 3, 2, 1, 2, 3, 4, tzinfo=UTC),
    "interval": "1d",
    "session": "regular",
    "session_date": date(2013, 3, 1),
    "open": 438.0,
    "high": 438.18,
    "low": 429.98,
    "close": 430.47,
    "volume": 19730300.0,
    "currency": "USD",
    "state": "final",
}


def ids(*records: dict[str, Any], kind: Kind = "bar") -> list[int]:
    table = conform(pa.Table.from_pylist(list(records), SCHEMAS[kind]), kind)
    table = table.set_column(0, "kind", pa.array([kind] * len(records)))
    return with_event_ids(table, kind)["event_id"].to_pylist()


def test_the_id_of_a_known_bar_never_changes() -> None:
    """Lakes hold these numbers for years: the ids of these records are frozen here."""
    trade = {
        "provider": "x", "symbol": "BTC-USD", "ts": BAR["ts"], "fetched_at": BAR["ts"],
        "price": 0.1, "size": 2.5, "trade_id": "é-7", "ts_ns": 1362096000000000001,
    }  # fmt: skip
    assert ids(BAR) == [2959740710475988229]
    assert ids(trade, kind="trade") == [-3797076140447733234]


def test_a_retry_has_the_id_of_the_first_try_wherever_it_stands() -> None:
    """Neither neighbours, nor chunks, nor the order of columns change an id."""
    other = BAR | {"symbol": "MSFT", "volume": None}
    alone = ids(BAR)
    assert ids(other, BAR)[1:] == alone
    table = pa.Table.from_pylist([other, BAR], SCHEMAS["bar"])
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    turned = chunked.select(list(reversed(chunked.column_names)))
    assert with_event_ids(turned, "bar")["event_id"].to_pylist()[1:] == alone


@pytest.mark.parametrize(
    "change",
    [
        {"symbol": "AAPLX"},
        {"state": "revised"},
        {"fetched_at": BAR["fetched_at"] + timedelta(microseconds=1)},
        {"close": 430.4700000000001},
        {"volume": None},
        {"open": BAR["high"], "high": BAR["open"]},
        {"session_date": date(2013, 3, 2)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_event_has_another_id(change: dict[str, Any]) -> None:
    """Key, state, fetched_at and every value count, and so does the place where a value stands."""
    assert ids(BAR | change) != ids(BAR)


def test_ids_that_are_there_stay() -> None:
    """Only nulls are filled."""
    first, second = ids(BAR | {"event_id": 42}, BAR)
    assert first == 42
    assert second == ids(BAR)[0]


def test_a_mended_letter_takes_its_id_from_where_the_letter_lies() -> None:
    """Requeueing one letter twice gives one event, however it was mended."""
    origin = {"origin": "00ff/3/17/0"}
    assert ids(BAR | origin) == ids(BAR | origin | {"close": 1.0, "state": "revised"})
    assert ids(BAR | origin) != ids(BAR | {"origin": "00ff/3/18/0"})


def test_both_zeros_and_all_nans_are_one_value() -> None:
    """The sign of zero and the bits of NaN differ between machines, the event does not."""
    assert ids(BAR | {"volume": 0.0}) == ids(BAR | {"volume": -0.0})
    assert ids(BAR | {"volume": float("nan")}) == ids(BAR | {"volume": -float("nan")})


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_table_of_any_kind_is_no_special_case(kind: Kind) -> None:
    """Nothing in, nothing out, with the schema kept."""
    empty = SCHEMAS[kind].empty_table()
    assert with_event_ids(empty, kind).schema == empty.schema


def test_ids_of_many_bars_do_not_meet() -> None:
    """A hundred thousand neighbouring bars have a hundred thousand ids."""
    count = 100_000
    prices = pa.array([1.0 + i / 100 for i in range(count)])
    table = pa.table({"open": prices, "symbol": pa.array(["A", "B"] * (count // 2))})
    filled = with_event_ids(conform(table, "bar"), "bar")
    assert len(filled["event_id"].unique()) == count

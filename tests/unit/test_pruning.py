"""What a query can need is read from its syntax tree, and never too little."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import duckdb
import pytest

from tickerlake.query.pruning import EVERYTHING, Wanted, wanted
from tickerlake.query.sandbox import Tree, check

_TICK = timedelta(microseconds=1)
_MARCH = datetime(2013, 3, 1, tzinfo=UTC)
_APRIL = datetime(2013, 4, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    database = duckdb.connect(":memory:")
    yield database
    database.close()


def of(database: duckdb.DuckDBPyConnection, query: str) -> Wanted:
    def parse(text: str) -> Tree:
        rows = database.execute(
            "select json_serialize_sql(?::varchar, skip_null := true, skip_empty := true)", [text]
        ).fetchall()
        return json.loads(rows[0][0])

    return wanted(check(query, parse), "bars")


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("symbol = 'IBM'", Wanted(frozenset({"IBM"}))),
        ("'IBM' = symbol", Wanted(frozenset({"IBM"}))),
        ("bars.symbol = 'IBM'", Wanted(frozenset({"IBM"}))),
        ("symbol in ('IBM', 'FB')", Wanted(frozenset({"IBM", "FB"}))),
        ("symbol in ('IBM', 'FB') and symbol = 'FB'", Wanted(frozenset({"FB"}))),
        ("symbol = 'A' and symbol = 'B'", Wanted(frozenset())),
        ("ts >= '2013-03-01'", Wanted(ts_from=_MARCH)),
        ("ts > timestamp '2013-03-01 00:00:00'", Wanted(ts_from=_MARCH)),
        ("ts < timestamptz '2013-04-01T02:00:00+02:00'", Wanted(ts_to=_APRIL + _TICK)),
        ("'2013-04-01' >= ts", Wanted(ts_to=_APRIL + _TICK)),
        ("ts = date '2013-03-01'", Wanted(ts_from=_MARCH, ts_to=_MARCH + _TICK)),
        (
            "ts between '2013-03-01' and '2013-04-01' and close > 3 and symbol = 'IBM'",
            Wanted(frozenset({"IBM"}), _MARCH, _APRIL + _TICK),
        ),
    ],
)
def test_literal_conditions_narrow(
    database: duckdb.DuckDBPyConnection, condition: str, expected: Wanted
) -> None:
    """Conditions on symbol and ts against literals are understood, in each way to write them."""
    assert of(database, f"select * from bars where {condition}") == expected
    assert of(database, f"select max(close) from (from bars where {condition})") == expected


@pytest.mark.parametrize(
    "query",
    [
        "select * from bars",
        "select * from bars where symbol = 'A' or close > 1",
        "select * from bars where not symbol = 'A'",
        "select * from bars where symbol <> 'A'",
        "select * from bars where symbol = upper('a')",
        "select * from bars where symbol = 'a' collate nocase",
        "select * from bars where lower(symbol) = 'a'",
        "select * from bars where symbol like 'A%'",
        "select * from bars where symbol in ('A', upper('b'))",
        "select * from bars where ts >= now()",
        "select * from bars where ts >= 'soon'",
        "select * from bars where ts::date = '2013-03-01'",
        "select * from bars where ts > timestamp '2013-03-01T00:00:00+05:00'",
        "select * from bars where session_date = '2013-03-01'",
        "select * from bars having symbol = 'A'",
        # The view stands twice, or beside others: a condition may speak of another one.
        "select * from bars where symbol = 'A' union all select * from bars",
        "select * from bars where symbol = 'A' and close > (select avg(close) from bars)",
        "select * from bars b join trades t using (symbol) where b.symbol = 'A'",
        "with bars as (select * from trades) select * from bars where symbol = 'A'",
        "select * from trades where symbol = 'A' and price > (select max(close) from bars)",
        "select * from bars where other.symbol = 'A'",
        # Other names for the columns: this symbol is the view's first column, the provider.
        "select * from bars as b(symbol) where symbol = 'sample'",
        # Instants that time itself does not reach.
        "select * from bars where ts <= '9999-12-31T23:59:59.999999'",
        "select * from bars where ts >= '0001-01-01T00:00:00+05:00'",
    ],
)
def test_what_is_not_understood_narrows_nothing(
    database: duckdb.DuckDBPyConnection, query: str
) -> None:
    """Where a row might be needed all the same, everything is."""
    assert of(database, query) == EVERYTHING

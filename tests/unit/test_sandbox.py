"""The SQL sandbox: one SELECT or EXPLAIN of one; nothing is written, nothing outside is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tickerlake.errors import QueryError, QueryRefusedError, TickerlakeError
from tickerlake.query.duckdb import DuckDBEngine
from tickerlake.testing.engine_suite import House, bar


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace; what lies beside the lake in it is outside."""
    folder = tmp_path_factory.mktemp("sandbox")
    (folder / "outside.csv").write_text("secret\nunspeakable\n")
    (folder / "outside.json").write_text('{"secret": "unspeakable"}\n')
    return folder


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[DuckDBEngine]:
    """An engine over a lake with one delivered bar and one in the tail."""
    house = House(folder)
    house.publish(bar())
    house.deliver()
    house.publish(bar(1))
    engine = DuckDBEngine(house.lake, house.stream)
    yield engine
    engine.close()
    house.close()


WRITES = [
    "copy (select 1) to '{outside}'",
    "copy (select 1) to '{inside}'",
    "copy bars from '{outside}'",
    "explain copy (select 1) to '{inside}'",
    "explain analyze copy (select 1) to '{inside}'",
    "EXPLAIN /* x */ ANALYZE -- y\n COPY (select 1) TO '{inside}'",
    "/* a */ explain analyze copy (select 1) to '{inside}'",
    "explain (analyze) copy (select 1) to '{inside}'",
    "explain (analyze, format json) copy (select 1) to '{inside}'",
    "explain explain analyze copy (select 1) to '{inside}'",
    "export database '{inside}'",
    "import database '{inside}'",
    "create table t as select 1",
    "create view v as select 1",
    "create macro m() as 1",
    "create temp table t as select 1",
    "insert into bars values (1)",
    "update bars set close = 0",
    "delete from bars",
    "drop view bars",
    "alter table bars add column x int",
    "truncate bars",
    "explain analyze create table t as select 1",
    "explain analyze insert into t values (1)",
    "with x as (insert into t values (1) returning *) select * from x",
]

SWITCHES = [
    "attach '{outside}' as other",
    "attach ':memory:' as other",
    "detach memory",
    "use memory",
    "install httpfs",
    "load httpfs",
    "set enable_external_access = true",
    "set lock_configuration = false",
    "set global threads = 1",
    "reset threads",
    "pragma database_list",
    "pragma enable_external_access",
    "call pragma_version()",
    "call enable_logging()",
    "begin",
    "commit",
    "vacuum",
    "checkpoint",
    "prepare p as select 1",
    "execute p",
    "set variable x = 1",
    "create secret s (type s3)",
]

SEVERAL = [
    "",
    ";",
    "-- nothing",
    "select 1; select 2",
    "select 1; drop view bars",
    "select 1; copy (select 1) to '{inside}'",
    "explain select 1; select 2",
    "explain select 1; copy (select 1) to '{inside}'",
]

HIDDEN = [
    "select * from query('select 1')",
    "select * from query_table('bars')",
    "select * from json_execute_serialized_sql(json_serialize_sql('select 1'))",
    "select * from enable_logging()",
    "select * from checkpoint()",
    "select * from duckdb_secrets()",
    "select * from duckdb_settings()",
    "select * from arrow_scan(1, 2, 3)",
    "select * from bars where close > (select max(x) from query('select 1 as x'))",
    "with t as (from read_duckdb('{outside}')) select * from t",
    "select * from sqlite_scan('{outside}', 't')",
    "select * from iceberg_scan('{outside}')",
]

FILES = [
    "select * from '{outside}'",
    "from '{outside}'",
    "select * from read_csv('{outside}')",
    "select * from read_csv_auto('{outside}')",
    "select * from read_text('{outside}')",
    "select * from read_blob('{outside}')",
    "select * from read_json('{folder}/outside.json')",
    "select * from read_parquet('{folder}/*')",
    "select * from parquet_scan('{outside}')",
    "select * from parquet_metadata('{outside}')",
    "select * from sniff_csv('{outside}')",
    "select * from glob('{folder}/*')",
    "select * from glob('/etc/*')",
    "select * from read_text('{folder}/lake/../outside.csv')",
    "select * from read_text(['{outside}'])",
    "select (select content from read_text('{outside}'))",
    "explain analyze select * from read_csv('{outside}')",
    "select * from read_csv('http://127.0.0.1:1/x.csv')",
    "select * from 's3://bucket/x.parquet'",
]


def filled(statement: str, folder: Path) -> str:
    """The statement with paths in it."""
    return (
        statement.replace("{outside}", str(folder / "outside.csv"))
        .replace("{inside}", str(folder / "lake" / "written.csv"))
        .replace("{folder}", str(folder))
    )


@pytest.mark.parametrize("statement", [*WRITES, *SWITCHES, *SEVERAL, *HIDDEN])
def test_what_does_not_only_read_is_refused(
    engine: DuckDBEngine, folder: Path, statement: str
) -> None:
    """Whatever writes, switches, hides or doubles is refused or no SQL at all; nothing changes."""
    before = sorted(path for path in folder.rglob("*") if path.suffix != ".json")
    with pytest.raises((QueryRefusedError, QueryError)):
        engine.sql(filled(statement, folder))
    assert not (folder / "lake" / "written.csv").exists()
    assert sorted(path for path in folder.rglob("*") if path.suffix != ".json") == before
    assert engine.sql("select count(*) as n from bars").table.to_pylist() == [{"n": 2}]


@pytest.mark.parametrize("statement", FILES)
def test_files_outside_the_lake_cannot_be_read(
    engine: DuckDBEngine, folder: Path, statement: str
) -> None:
    """No road leads to a file outside: it is refused as reaching out, and names nothing of it."""
    with pytest.raises(QueryRefusedError) as caught:
        engine.sql(filled(statement, folder))
    assert "unspeakable" not in str(caught.value)


@pytest.mark.parametrize(
    "statement",
    [
        "copy (select 1) to '{inside}'",
        "explain analyze copy (select 1) to '{inside}'",
        "set threads = 1",
        "attach ':memory:'",
        "select * from query('select 1')",
    ],
)
def test_refusals_say_what_is_allowed(engine: DuckDBEngine, folder: Path, statement: str) -> None:
    """A refusal says what was found, what would run, and what to do; it is the caller's to mend."""
    with pytest.raises(QueryRefusedError) as caught:
        engine.sql(filled(statement, folder))
    error = caught.value
    assert error.expected
    assert error.found
    assert error.todo
    assert error.exit_code == 2


def test_a_select_with_more_behind_it_is_called_that(engine: DuckDBEngine) -> None:
    """Nobody is told that a SELECT is not a SELECT."""
    with pytest.raises(QueryRefusedError, match="this is more than one SELECT"):
        engine.sql("select 1; drop table bars")


@pytest.mark.parametrize(
    "statement",
    [
        "select count(*) from bars",
        "SELECT count(*) FROM bars;",
        "  -- a comment\n select count(*) from bars",
        "from bars",
        "table bars",
        "values (1), (2)",
        "(select 1) union all (select 2)",
        "with recursive t(n) as (select 1 union all select n + 1 from t where n < 5) from t",
        "with b as (select * from bars) select * from b join bars using (symbol, ts)",
        "explain select * from bars",
        "explain analyze select * from bars",
        "EXPLAIN (select 1)",
        "explain analyze with b as (from bars) from b",
        "(select count(*) from bars) union all (select 2)",
        "with bars as (select 1 as one) select one from bars",
        "with b as (with bars as (select 1 as one) from bars) select one from b join bars on true",
        "with recursive t(n) as (select 1 union all select n + 1 from t where n < 3) from t, bars",
        "WITH b AS MATERIALIZED (SELECT * FROM bars) SELECT max(b.close) FROM b, b AS c",
        "from bars select close limit 1",
        "select * from temp.bars",
        "select * from Bars as b where B.Close > 1 order by 1; -- the end",
        "select (select max(close) from bars), count(*) from bars_history /* twice */",
        "describe select * from bars",
        "describe bars",
        "summarize bars",
        "show tables",
        "select * from bars_as_of('2013-03-02T00:00:00Z')",
        "select unnest([1, 2]), * from range(3)",
        "select * from bars where ts in (select max(ts) from bars)",
        "select symbol, avg(close) over (order by ts) from bars qualify row_number() over () = 1",
        'select "explain" from (select 1 as "explain")',
    ],
)
def test_what_only_reads_runs(engine: DuckDBEngine, statement: str) -> None:
    """Every way to say SELECT, and EXPLAIN of it, gives an answer."""
    assert len(engine.sql(statement)) > 0


def test_a_local_variable_of_the_caller_is_no_table(engine: DuckDBEngine) -> None:
    """The engine does not look for tables in the Python program around it."""
    secret = engine.sql("select 42 as secret").table
    with pytest.raises(QueryError, match="no view 'secret'"):
        engine.sql("select * from secret")
    assert len(secret) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "select 1 / 'x'::int",
        "select error('boom')",
        "select nosuchfunction(1)",
        "select sum(symbol) from bars",
        "select * from bars group by symbol",
        "select $1",
        "select (((",
        "select 'x'::date from range(200000)",
    ],
)
def test_errors_of_the_engine_are_ours(engine: DuckDBEngine, statement: str) -> None:
    """No exception of the engine's own leaks; the message keeps what it said."""
    with pytest.raises(TickerlakeError) as caught:
        engine.sql(statement)
    assert type(caught.value) is QueryError


def test_times_that_no_reader_can_show_are_refused(engine: DuckDBEngine) -> None:
    """`infinity` would be a bug for whoever writes the answer as text; as text it is one."""
    for value in ("timestamp 'infinity'", "timestamptz '-infinity'", "date '290000-01-01'"):
        with pytest.raises(QueryError, match="no calendar has"):
            engine.sql(f"select {value} as x from bars")
    assert engine.sql("select timestamp 'infinity'::varchar as x").table["x"][0].as_py()
    assert engine.sql("select null::timestamp as x, max(ts) from bars").table.num_rows == 1

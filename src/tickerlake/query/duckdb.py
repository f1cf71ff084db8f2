"""DuckDB over the lake's files and the stream's fresh tail."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.adjust import bases_of
from tickerlake.errors import (
    LakeUnreachableError,
    LimitError,
    QueryError,
    QueryRefusedError,
    RangeError,
    StorageError,
)
from tickerlake.lake.lake import Lake
from tickerlake.lake.store import Store
from tickerlake.query import views
from tickerlake.query.adjusted import refused
from tickerlake.query.base import VIEWS, Result
from tickerlake.query.nearest import nearest
from tickerlake.query.present import Present
from tickerlake.query.sandbox import Checked, Tree, check
from tickerlake.query.settings import QuerySettings
from tickerlake.query.tail import Tail
from tickerlake.records import REPEAT_WINDOW, Kind
from tickerlake.streams import Stream

if TYPE_CHECKING:
    from tickerlake.query.store_files import StoreFiles

__all__ = ["DuckDBEngine", "newest_rows"]

_BATCH_ROWS: Final = 100_000
_UTC: Final = "UTC"


class DuckDBEngine:
    """Answers SQL from one loaded state of each table and the tail that follows exactly it.

    Promise: every answer sees each record of lake and stream once, whatever the delivery does
    meanwhile; a later answer never sees less than an earlier one. Nothing is ever written.

    Not promised: that two tables are of the same instant; each is loaded on its own.

    Safe to use from several threads.
    """

    def __init__(
        self,
        lake: Lake,
        stream: Stream,
        settings: QuerySettings | None = None,
        *,
        repeat_window: int = REPEAT_WINDOW,
        sources: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self._settings = settings or QuerySettings()
        self._lake = lake
        self._bases = bases_of(sources or {})
        self._tail = Tail(
            stream,
            records_max=self._settings.tail_records_max,
            repeat_window=repeat_window,
        )
        self._database = _open(lake.store, self._settings)
        self._files: StoreFiles | None = None
        if lake.store.scheme is not None:
            from tickerlake.query.store_files import StoreFiles

            self._files = StoreFiles(lake.store)
            self._database.register_filesystem(self._files)

    def sql(self, query: str, *, as_of: datetime | None = None) -> Result:
        """Run one SELECT, or EXPLAIN of one. See `Engine.sql`."""
        if as_of is not None and as_of.tzinfo is None:
            raise RangeError(
                f"The as-of time {as_of.isoformat()} has no time zone.",
                expected="an aware datetime",
                found="a naive one",
                todo="add tzinfo=datetime.UTC if you mean UTC",
            )
        with closing(self._database.cursor()) as cursor:
            checked = check(query, partial(_parse, cursor))
            present = Present(cursor, self._lake, self._tail, as_of, self._bases)
            with (
                _translated(cursor, checked),
                _time_limit(cursor, self._settings.time_limit_seconds),
            ):
                statement = present.prepare(checked)
                if self._files is not None:
                    self._files.prefetch(present.files)
                table, truncated = _run_apart(cursor, statement, self._settings.rows_max)
        warnings = tuple(present.warnings())
        if truncated:
            cut = f"The answer was cut after {self._settings.rows_max:,} rows ([query] rows_max)"
            warnings += (f"{cut}: filter, aggregate or add a LIMIT.",)
        return Result(table, warnings, truncated)

    def close(self) -> None:
        """Give back the engine's memory."""
        self._database.close()


def newest_rows(rows: pa.Table, kind: Kind) -> pa.Table:
    """The newest row of each key, sound or dead; rows whose key has a null are left out."""
    with closing(duckdb.connect(":memory:")) as database:
        database.register("rows_given", rows)
        return database.sql(views.newest_of("rows_given", kind)).to_arrow_table()


def _open(store: Store, settings: QuerySettings) -> duckdb.DuckDBPyConnection:
    """A database in memory that reads the lake's folder and nothing else; settings are locked."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{settings.memory_bytes_max}B",
        "python_enable_replacements": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    if settings.threads is not None:
        config["threads"] = settings.threads
    database = duckdb.connect(":memory:", config=config)
    folder = (store.root.rstrip("/") + "/").replace("'", "''")
    for statement in (
        f"set TimeZone = '{_UTC}'",
        # A warm point query is mostly the reading of footers.
        "set parquet_metadata_cache = true",
        "set temp_directory = ''",
        f"set allowed_directories = ['{folder}']",
        "set enable_external_access = false",
        "set lock_configuration = true",
    ):
        database.execute(statement).fetchall()
    return database


def _parse(cursor: duckdb.DuckDBPyConnection, text: str) -> Tree:
    query = "select json_serialize_sql(?::varchar, skip_null := true, skip_empty := true)"
    tree = cursor.execute(query, [text]).fetchall()[0][0]
    return json.loads(tree)


def _run_apart(
    cursor: duckdb.DuckDBPyConnection, statement: str, rows_max: int
) -> tuple[pa.Table, bool]:
    """Run in a thread of its own, so that Ctrl-C and SIGTERM reach this one while DuckDB works.

    DuckDB looks for Ctrl-C alone, and makes a nameless error of it.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="sql") as apart:
        answer = apart.submit(_run, cursor, statement, rows_max)
        try:
            return answer.result()
        except KeyboardInterrupt:
            cursor.interrupt()
            raise


def _run(cursor: duckdb.DuckDBPyConnection, statement: str, rows_max: int) -> tuple[pa.Table, bool]:
    reader = cursor.sql(statement).to_arrow_reader(_BATCH_ROWS)
    batches, missing, truncated = [], rows_max, False
    for batch in reader:
        if batch.num_rows > missing:
            batches.append(batch.slice(0, missing))
            truncated = True
            break
        batches.append(batch)
        missing -= batch.num_rows
    table = _in_utc(pa.Table.from_batches(batches, reader.schema))
    _refuse_unreadable(table)
    return table, truncated


def _refuse_unreadable(table: pa.Table) -> None:
    """`infinity` and years beyond 9999 are times for the engine, and for no reader of Arrow."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
            try:
                pc.min_max(column.cast(pa.date32(), safe=False)).as_py()
            except OverflowError as error:
                raise QueryError(
                    f"The column {name!r} of the answer holds a time that no calendar has.",
                    expected="times in the years 1 to 9999",
                    todo=f"filter them, or ask for {name}::varchar",
                ) from error


def _in_utc(table: pa.Table) -> pa.Table:
    """DuckDB calls UTC by its full name; the rest of the world does not."""
    fields = [
        field.with_type(pa.timestamp(field.type.unit, _UTC))
        if pa.types.is_timestamp(field.type) and field.type.tz
        else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields))


@contextmanager
def _time_limit(cursor: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
    timer = threading.Timer(seconds, cursor.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (duckdb.InterruptException, OSError) as error:
        # Inside an Arrow stream the interrupt arrives as an OSError with the engine's text.
        if "INTERRUPT" not in str(error).upper():
            raise
        raise LimitError(
            f"The query took longer than {seconds:g} s and was stopped.",
            expected="an answer within [query] time_limit_seconds",
            todo="filter by symbol and ts, aggregate less, or raise the limit",
        ) from error
    finally:
        timer.cancel()


@contextmanager
def _translated(cursor: duckdb.DuckDBPyConnection, checked: Checked) -> Iterator[None]:
    """The engine's errors as ours."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise LimitError(
            "The query needs more memory than it may use.",
            expected="an answer within [query] memory_bytes_max",
            found=_first_line(error),
            todo="filter by symbol and ts, aggregate less, or raise the limit",
        ) from error
    except duckdb.PermissionException as error:
        raise QueryRefusedError(
            "The query reaches outside the lake.",
            expected="views, and files inside the lake's folder",
            found=_first_line(error),
            todo="query the views; `show tables` lists them",
        ) from error
    except (duckdb.Error, OSError, pa.ArrowException) as error:
        cause = refused(str(error)) or _store_error(error)
        raise cause or _query_error(error, cursor, checked) from error


def _store_error(error: Exception) -> StorageError | None:
    """The store's error, which comes back from DuckDB as the text of a traceback."""
    todo = "see that the lake's store answers; `tickerlake doctor` tells more"
    for kind in (LakeUnreachableError, StorageError):
        _, mark, said = str(error).rpartition(f"{kind.__name__}: ")
        if mark:
            problem, _, found = said.partition("\n  found: ")
            return kind(problem, found=found or None, todo=todo)
    return None


def _query_error(
    error: Exception, cursor: duckdb.DuckDBPyConnection, checked: Checked
) -> QueryError:
    text = str(error)
    missing = re.search(r"Table with name (\S+) does not exist", text)
    if missing:
        name = missing.group(1)
        return QueryError(
            f"There is no view {name!r}.",
            expected=", ".join(VIEWS),
            found=name,
            todo=nearest(name, VIEWS) or "`show tables` lists the views",
        )
    missing = re.search(r'(?:Referenced column|does not have a column named) "([^"]+)"', text)
    if missing:
        name = missing.group(1)
        known = _columns(cursor, [view for view in VIEWS if view in checked.tables])
        return QueryError(
            f"There is no column {name!r}.",
            expected=", ".join(known) or None,
            found=name,
            todo=nearest(name, known) or "`describe bars` lists the columns of a view",
        )
    return QueryError(
        f"DuckDB could not run this: {_first_line(error)}",
        found=checked.statement if len(checked.statement) <= 200 else None,
        todo="mend the place that the message names",
    )


def _columns(cursor: duckdb.DuckDBPyConnection, names: list[str]) -> list[str]:
    return sorted({column for view in names for column in cursor.sql(views.nothing(view)).columns})


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    # What the store's side of DuckDB raised comes as a traceback, whose end says it.
    return lines[-1] if lines[0].startswith("Traceback") else lines[0]

"""Small real stand-ins for what the page is given: an engine over DuckDB, a feed to push into."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pyarrow as pa

from tickerlake import clock
from tickerlake.errors import QueryError, QueryRefusedError
from tickerlake.query import Engine, Result
from tickerlake.records import Kind, lake_schema
from tickerlake.web import Hop, LiveFeed, Pipeline, SymbolFinder, WebSettings, serve

__all__ = ["BarsChain", "Chain", "bars_table", "daily_bars", "serve_in_thread"]


def bars_table(rows: list[dict[str, Any]]) -> pa.Table:
    """Bars as the codec gives them: `lake_schema("bar")`, with plain values for what is left out.

    Args:
        rows: At least symbol, ts (aware) and close each.
    """
    filled = []
    for number, row in enumerate(rows):
        close = row["close"]
        plain = {
            "kind": "bar", "provider": "test", "interval": "1d", "session": "regular",
            "session_date": row["ts"].date(), "open": close, "high": close, "low": close,
            "volume": 1_000.0, "currency": "USD", "state": "final", "event_id": number,
            "fetched_at": datetime(2013, 3, 2, tzinfo=UTC),
        }  # fmt: skip
        filled.append({**plain, **row})
    return pa.Table.from_pylist(filled, schema=lake_schema("bar"))


def daily_bars(symbol: str, days: int, *, last: datetime, close: float = 100.0) -> pa.Table:
    """A wave of daily bars that ends at `last`: the same on every machine, and easy to see."""
    rows = []
    for day in range(days):
        middle = close * (1 + 0.002 * day + 0.01 * ((day * 7) % 11 - 5))
        up = 1 if (day * 5) % 7 > 2 else -1
        rows.append(
            {
                "symbol": symbol,
                "ts": last - timedelta(days=days - 1 - day),
                "open": middle - up,
                "high": middle + 2,
                "low": middle - 2,
                "close": middle + up,
                "volume": 1e6 * (1 + day % 5),
            }
        )
    return bars_table(rows)


class BarsChain:
    """Engine, live feed and pipeline in one: what is pushed can be queried and is sent live.

    The promise is the real chain's: `sql` sees a bar before a subscriber hears of it.
    """

    def __init__(self, *tables: pa.Table) -> None:
        import duckdb

        self._database = duckdb.connect()
        self._lock = threading.Lock()
        self._log = pa.concat_tables([lake_schema("bar").empty_table(), *tables])
        self._callbacks: list[Callable[[Kind, pa.Table], None]] = []

    def push(self, table: pa.Table) -> None:
        """Let bars arrive, as a live feed's thread does."""
        with self._lock:
            self._log = pa.concat_tables([self._log, table])
            callbacks = list(self._callbacks)
        for callback in callbacks:
            callback("bar", table)

    def subscribe(self, callback: Callable[[Kind, pa.Table], None]) -> Callable[[], None]:
        """As `LiveFeed` promises."""
        with self._lock:
            self._callbacks.append(callback)

        def unsubscribe() -> None:
            with self._lock:
                self._callbacks.remove(callback)

        return unsubscribe

    def sql(self, query: str, *, as_of: datetime | None = None) -> Result:
        """One SELECT over `bars`, `bars_history` and `latest`."""
        import duckdb

        if not query.lstrip().lower().startswith(("select", "with", "explain")):
            raise QueryRefusedError(
                "Only a SELECT is run here.", found=query, todo="write one SELECT"
            )
        with self._lock, self._database.cursor() as cursor:
            log = self._log
            if as_of is not None:
                log = log.filter(pa.compute.less_equal(log.column("fetched_at"), as_of))
            cursor.execute("set timezone = 'UTC'")
            cursor.register("bars_history", log)
            cursor.execute(
                """create or replace temp view bars as select * from bars_history
                qualify row_number() over (
                    partition by provider, symbol, interval, session, ts
                    order by case state when 'forming' then 0 when 'provisional' then 1 else 2 end
                        desc, fetched_at desc, event_id desc) = 1"""
            )
            cursor.execute(
                """create or replace temp view latest as
                select symbol, provider, ts, close as price, currency from bars
                qualify row_number() over (partition by symbol, provider order by ts desc) = 1"""
            )
            try:
                return Result(cursor.sql(query).to_arrow_table())
            except duckdb.Error as error:
                raise QueryError(str(error), todo="mend the query") from error

    def close(self) -> None:
        """Give back the database."""
        self._database.close()

    def pipeline(self) -> Pipeline:
        """Every hop has all that was pushed."""
        count = self._log.num_rows
        hops = tuple(
            Hop(name, count, 0.0, 0, 0.0, "ok", f"the test's {name}")
            for name in ("source", "stream", "delivery", "lake", "query")
        )
        return Pipeline(hops, clock.now())


class Chain(Engine, LiveFeed, Protocol):
    """Whatever is engine, live feed and pipeline in one."""

    def pipeline(self) -> Pipeline:
        """How far each hop is."""
        ...


@contextmanager
def serve_in_thread(
    chain: Chain, settings: WebSettings, search: SymbolFinder | None = None
) -> Iterator[str]:
    """The real server on a free port of loopback; gives its address."""
    address: list[str] = []
    bound, stop = threading.Event(), threading.Event()

    def on_address(text: str) -> None:
        address.append(text)
        bound.set()

    def run() -> None:
        try:
            serve(
                chain,
                live=chain,
                pipeline=chain.pipeline,
                search=search,
                settings=settings,
                on_address=on_address,
                stop=stop,
            )
        finally:
            bound.set()

    thread = threading.Thread(target=run, name="page-server")
    thread.start()
    try:
        bound.wait(30)
        yield address[0]
    finally:
        stop.set()
        thread.join(30)

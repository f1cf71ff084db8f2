"""The page over the real stream, delivery, lake and engine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from itertools import islice
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake import clock
from tickerlake.delivery import deliver
from tickerlake.lake.lake import Lake
from tickerlake.query import Result
from tickerlake.query.live import Live
from tickerlake.query.registry import open_engine
from tickerlake.records import Kind, with_event_ids
from tickerlake.streams import Stream, StreamsSettings, open_stream
from tickerlake.testing.page import serve_in_thread
from tickerlake.testing.sample_records import sample_bars
from tickerlake.web import Hop, Pipeline, WebSettings

BARS = 700
PER_SYMBOL = BARS // 7


class RealChain:
    """Engine and live reader as the application puts them together."""

    def __init__(self, lake: Lake, stream: Stream) -> None:
        self._engine = open_engine("duckdb", lake=lake, stream=stream)
        self._live = Live(stream, ["bar"])

    def sql(self, query: str, *, as_of: datetime | None = None) -> Result:
        return self._engine.sql(query, as_of=as_of)

    def subscribe(self, callback: Callable[[Kind, pa.Table], None]) -> Callable[[], None]:
        return self._live.subscribe(callback)

    def pipeline(self) -> Pipeline:
        return Pipeline((Hop("stream"),), clock.now())

    def close(self) -> None:
        self._live.close()
        self._engine.close()


def moved(table: pa.Table, close: float) -> pa.Table:
    """The last bar anew, with another close (within its day), fetched a second later."""
    last = table.slice(table.num_rows - 1)
    names = table.column_names
    values = {
        "close": pa.array([close]),
        "fetched_at": pc.add(last.column("fetched_at"), pa.scalar(1_000_000, pa.duration("us"))),
        "event_id": pa.nulls(1, pa.int64()),
    }
    for name, value in values.items():
        last = last.set_column(names.index(name), table.schema.field(name), value)
    return with_event_ids(last, "bar")


def test_a_published_bar_reaches_page_chart_and_sql(lake: Lake, tmp_path: Path) -> None:
    """From the tail before any delivery, from the lake after it, and live as it is published."""
    stream = open_stream("embedded:", workspace=tmp_path, settings=StreamsSettings())
    topic = stream.topic("bar")
    history = sample_bars(BARS)
    topic.publish(history)
    chain = RealChain(lake, stream)
    try:
        with serve_in_thread(chain, WebSettings(port=0)) as address:
            page = httpx.Client(base_url=address, timeout=60)

            def counts() -> tuple[int, int, int]:
                rows = page.get("/sql.json", params={"q": "select count(*) as n from bars"}).json()
                return (
                    len(page.get("/.json").json()),
                    len(page.get("/chart/AAPL.json").json()),
                    rows[0]["n"],
                )

            assert counts() == (7, PER_SYMBOL, BARS)
            deliver(stream, lake, ["bar"], once=True, stop=threading.Event())
            assert counts() == (7, PER_SYMBOL, BARS)
            symbol, close = (history.column(name)[-1].as_py() for name in ("symbol", "close"))
            close += 0.25
            with page.stream("GET", "/api/stream", params={"symbols": symbol}) as live:
                lines = live.iter_lines()
                assert next(lines).startswith("retry")  # subscribed: from now on nothing is missed
                topic.publish(moved(history, close))
                assert any(f'"close":{close}' in line for line in islice(lines, 100))
            newest = page.get(f"/chart/{symbol}.json").json()[-1]
            assert newest["close"] == close
            assert counts() == (7, PER_SYMBOL, BARS)
            page.close()
    finally:
        chain.close()
        stream.close()

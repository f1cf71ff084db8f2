"""A hole on a socket is filled over REST, and what both told is in the lake once."""

from __future__ import annotations

import itertools
import json
import threading
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tickerlake.publish import Publisher, publish_feed
from tickerlake.query.known import known_actions, known_bars
from tickerlake.query.registry import open_engine
from tickerlake.records import TOPICS, Kind
from tickerlake.sources import Source, open_source
from tickerlake.sources.feed import Feed
from tickerlake.sources.sockets import SocketSettings
from tickerlake.testing.engine_suite import House
from tickerlake.testing.provider import ProviderAnswer, ProviderRequest, provider_server
from tickerlake.testing.socket_provider import Cut, Hear, Say, Silence, socket_provider

QUICK = SocketSettings(
    batch_seconds=0.01,
    reconnect_seconds=0.01,
    backfill_pause_seconds=0.01,
    backfill_settle_seconds=0.0,
)
#: The story stands in the middle of a minute: none begins while a test runs.
NOW = datetime(2024, 3, 5, 15, 30, 20, tzinfo=UTC)
_STORIES = itertools.count()
BEGAN_MS = int(NOW.timestamp() * 1000) - 3000


@pytest.fixture(autouse=True)
def story(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is now in each test, whenever it runs: each has its own microsecond to begin at."""
    monkeypatch.setenv("TICKERLAKE_NOW", NOW.replace(microsecond=next(_STORIES)).isoformat())


def moment(number: int) -> int:
    """One trade each tenth of a second, all of the last seconds."""
    return BEGAN_MS + 100 * number


def binance_row(number: int) -> dict[str, Any]:
    return {
        "a": number, "p": f"{10 + number}.50", "q": "0.25", "f": number, "l": number,
        "T": moment(number), "m": number % 2 == 0, "M": True,
    }  # fmt: skip


def binance_frame(number: int) -> str:
    row = binance_row(number) | {"e": "aggTrade", "E": moment(number), "s": "ACMEUSDT"}
    return json.dumps({"stream": "acmeusdt@aggTrade", "data": row})


def binance_history(request: ProviderRequest) -> ProviderAnswer:
    """Trades 0 to 12, from a time or an id on."""
    assert request.path == "/api/v3/aggTrades"
    first = int(request.query.get("fromId", "0"))
    start = int(request.query.get("startTime", "0"))
    return ProviderAnswer(
        [binance_row(n) for n in range(first, 13) if moment(n) >= start],
    )


def coinbase_row(number: int) -> dict[str, Any]:
    at = datetime.fromtimestamp(moment(number) / 1000, tz=UTC)
    return {
        "trade_id": number, "side": "sell" if number % 2 else "buy", "size": "0.25",
        "price": f"{10 + number}.50", "time": at.isoformat().replace("+00:00", "Z"),
    }  # fmt: skip


def coinbase_frame(number: int) -> str:
    row = {"type": "match", "maker_order_id": "m", "taker_order_id": "t", "sequence": number}
    return json.dumps(row | {"product_id": "ACME-USD"} | coinbase_row(number))


def coinbase_history(request: ProviderRequest) -> ProviderAnswer:
    """Newest first; `after` means older than."""
    assert request.path == "/products/ACME-USD/trades"
    before = int(request.query.get("after", "13"))
    return ProviderAnswer([coinbase_row(n) for n in reversed(range(13)) if n < before])


def lake_after(
    house: House, source: Source, symbol: str, *, kind: Kind = "trade", holes: int = 2
) -> tuple[list[Any], list[Any]]:
    """The lake's records and gaps, once every one of so many gaps has its last word."""
    publisher = Publisher(
        source,
        house.stream,
        known=partial(known_bars, house.lake, house.stream),
        known_actions=partial(known_actions, house.lake, house.stream),
    )
    stop = threading.Event()
    patience = threading.Timer(60, stop.set)
    patience.start()
    feed, told = Feed(source, [symbol], [kind], QUICK), []
    for report in publish_feed(feed, publisher, stop=stop):
        told += [said.event for said in report.said if said.event in ("gap", "filled")]
        if told.count("gap") == told.count("filled") == holes:
            stop.set()
    patience.cancel()
    house.deliver()
    with closing(open_engine("duckdb", lake=house.lake, stream=house.stream)) as engine:
        records = engine.sql(f"select * from {TOPICS[kind]} order by ts").table.to_pylist()
        return records, engine.sql("select filled from gaps").table.to_pylist()


def test_binance(tmp_path: Path) -> None:
    """Ids 8 to 10 are missing between two frames, 12 comes after a cut: all are there, once."""
    house = House(tmp_path)
    first, second = map(binance_frame, (7, 11)), map(binance_frame, (12,))
    with (
        provider_server(binance_history) as rest,
        socket_provider([Say(*first), Cut()], [Say(*second), Silence()]) as server,
    ):
        settings = {"base_url": rest.base_url, "socket_url": server.url}
        trades, gaps = lake_after(house, open_source("binance", settings=settings), "ACMEUSDT")
    house.close()
    assert [int(row["trade_id"]) for row in trades] == [7, 8, 9, 10, 11, 12]
    assert [gap["filled"] for gap in gaps] == [True, True]


def test_coinbase(tmp_path: Path) -> None:
    """The same, where history tells its pages backwards and every trade by its id."""
    house = House(tmp_path)
    first, second = map(coinbase_frame, (7, 11)), map(coinbase_frame, (12,))
    with (
        provider_server(coinbase_history) as rest,
        socket_provider([Hear(), Say(*first), Cut()], [Hear(), Say(*second), Silence()]) as server,
    ):
        settings = {"base_url": rest.base_url, "socket_url": server.url}
        trades, gaps = lake_after(house, open_source("coinbase", settings=settings), "ACME-USD")
    house.close()
    assert [int(row["trade_id"]) for row in trades] == [7, 8, 9, 10, 11, 12]
    assert [gap["filled"] for gap in gaps] == [True, True]


def minute(back: int) -> int:
    """The start of a minute, so many before the running one, in epoch ms."""
    return (BEGAN_MS // 60_000 - back) * 60_000


def kline_frame(back: int) -> str:
    start, close = minute(back), minute(back) + 59_999
    bar = {"t": start, "T": close, "s": "ACMEUSDT", "i": "1m", "x": True, "n": 3, "f": 1, "L": 3}
    bar |= {"o": "1.0", "h": "2.0", "l": "0.5", "c": "1.5", "v": "10", "q": "15", "V": "5"}
    event = {"e": "kline", "E": close, "s": "ACMEUSDT", "k": bar | {"Q": "7", "B": "0"}}
    return json.dumps({"stream": "acmeusdt@kline_1m", "data": event})


def kline_history(request: ProviderRequest) -> ProviderAnswer:
    """Two closed minutes, from `startTime` on."""
    assert request.path == "/api/v3/klines"
    start = int(request.query.get("startTime", "0"))
    rows = [
        [minute(n), "1.0", "2.0", "0.5", "1.5", "10", minute(n) + 59_999, "15", 3, "5", "7", "0"]
        for n in (2, 1)
    ]
    return ProviderAnswer([row for row in rows if row[0] >= start])


def test_bars(tmp_path: Path) -> None:
    """A minute that nobody sent comes from history; those that were sent are not news."""
    house = House(tmp_path)
    with (
        provider_server(kline_history) as rest,
        socket_provider([Say(kline_frame(2)), Cut()], [Say(kline_frame(0)), Silence()]) as server,
    ):
        settings = {"base_url": rest.base_url, "socket_url": server.url}
        source = open_source("binance", settings=settings)
        bars, gaps = lake_after(house, source, "ACMEUSDT", kind="bar", holes=1)
    house.close()
    starts = [int(bar["ts"].timestamp() * 1000) for bar in bars]
    assert starts == [minute(2), minute(1), minute(0)]
    assert gaps == [{"filled": True}]

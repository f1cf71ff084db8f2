"""The crypto exchanges over a socket and REST of this machine: a hole is seen, told and filled."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

import crypto_doubles as doubles
from tickerlake.errors import RangeError
from tickerlake.records import Kind
from tickerlake.sources.feed import Feed, Fresh
from tickerlake.sources.sockets import SocketSettings
from tickerlake.testing.provider import Handler, ProviderServer
from tickerlake.testing.socket_provider import Hear, Say, SocketProvider, socket_provider

QUICK = SocketSettings(
    batch_seconds=0.01,
    reconnect_seconds=0.01,
    backfill_pause_seconds=0.01,
    backfill_settle_seconds=0.0,
)


@contextmanager
def feeding(
    name: str, handler: Handler, symbol: str, *frames: object, hears: int = 1
) -> Iterator[tuple[Feed, SocketProvider, ProviderServer]]:
    """A feed of trades whose socket says these frames once it has heard the subscription."""
    texts = [frame if isinstance(frame, str) else json.dumps(frame) for frame in frames]
    with (
        socket_provider([Hear(hears), Say(*texts)]) as socket,
        doubles.played(name, handler, socket_url=socket.url) as (source, rest),
    ):
        yield Feed(source, [symbol], ["trade"], QUICK), socket, rest


def gathered(feed: Feed, enough: Callable[[list[Fresh]], bool]) -> list[Fresh]:
    stop, got = threading.Event(), []
    for fresh in feed.fresh(stop):
        got.append(fresh)
        if enough(got):
            stop.set()
    return got


def rows(got: Sequence[Fresh], kind: Kind) -> list[dict[str, Any]]:
    tables = [fresh.tables[kind] for fresh in got if kind in fresh.tables]
    return [row for table in tables for row in table.to_pylist()]


def is_filled(got: Sequence[Fresh]) -> bool:
    return any(row["filled"] for row in rows(got, "gap"))


def kraken_frame(number: int) -> dict[str, Any]:
    price, size, time, side, *_, trade_id = doubles.kraken_trade(number)
    moment = datetime.fromtimestamp(int(time[1:].partition(".")[0]), UTC)
    row = {
        "symbol": "ACME/USD", "side": "buy" if side == "b" else "sell", "price": float(price),
        "qty": float(size), "ord_type": "limit", "trade_id": trade_id,
        "timestamp": f"{moment:%Y-%m-%dT%H:%M:%S}.123456Z",
    }  # fmt: skip
    return {"channel": "trade", "type": "update", "data": [row]}


def coinbase_frame(number: int) -> dict[str, Any]:
    told = doubles.coinbase_trade(number)
    return {"type": "match", "product_id": "ACME-USD", "sequence": number * 9, **told}


def binance_frame(number: int) -> dict[str, Any]:
    told = {"e": "aggTrade", "E": 1, "s": "ACMEUSDT", **doubles.agg_trade(number)}
    return {"stream": "acmeusdt@aggTrade", "data": told}


@dataclass(frozen=True)
class Case:
    """An exchange, how its socket tells trade n, and where history has it under which id."""

    name: str
    handler: Handler
    symbol: str
    frame: Callable[[int], dict[str, Any]]
    path: str
    first_id: int = 0


CASES = [
    Case("binance", doubles.binance, "ACMEUSDT", binance_frame, "/api/v3/aggTrades"),
    Case("binance_us", doubles.binance, "ACMEUSDT", binance_frame, "/api/v3/aggTrades"),
    Case("coinbase", doubles.coinbase, "ACME-USD", coinbase_frame, "/products/ACME-USD/trades"),
    Case("kraken", doubles.kraken, "ACME/USD", kraken_frame, "/0/public/Trades", 1),
]


def test_only_chosen_kinds_come_whatever_is_sent() -> None:
    """Trades were asked for: quotes that come all the same, as in a recording, are left out."""
    quote = {"u": 5, "s": "ACMEUSDT", "b": "0.1", "B": "3", "a": "0.2", "A": "4"}
    frames = {"stream": "acmeusdt@bookTicker", "data": quote}, binance_frame(4800)
    with feeding("binance", doubles.binance, "ACMEUSDT", *frames) as (feed, _, _):
        got = gathered(feed, lambda got: bool(rows(got, "trade")))
    assert len(rows(got, "trade")) == 1
    assert rows(got, "quote") == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_hole_in_the_numbers_is_filled_over_rest(case: Case) -> None:
    """Trades that the socket left out come from history, and both tell one trade alike."""
    frames = case.frame(4800), case.frame(4806)
    with feeding(case.name, case.handler, case.symbol, *frames) as (feed, socket, rest):
        got = gathered(feed, is_filled)
        assert case.symbol.lower() in str(socket.heard[0][0]).lower()
        assert rest.count(case.path) >= 1
    found = [row for row in rows(got, "gap") if row["filled"]]
    assert [(row["symbol"], row["gap_kind"]) for row in found] == [(case.symbol, "trade")]
    trades = rows(got, "trade")
    ids = {int(row["trade_id"]) - case.first_id for row in trades}
    assert set(range(4800, 4807)) <= ids
    for number in (4800, 4806):
        same = [
            {**row, "fetched_at": None}
            for row in trades
            if row["trade_id"] == str(number + case.first_id)
        ]
        assert len(same) >= 2
        assert same.count(same[0]) == len(same), same


def test_bitfinex_fills_what_lay_between_two_frames() -> None:
    """A frame that is left out may have been of any channel: all of them are asked for."""
    subscribed = {
        "event": "subscribed", "channel": "trades", "chanId": 17, "symbol": "tACMEUSD",
    }  # fmt: skip
    frames = (subscribed, [17, "hb", 1], [17, "hb", 3])
    with feeding("bitfinex", doubles.bitfinex, "tACMEUSD", *frames, hears=2) as (
        feed,
        socket,
        rest,
    ):
        got = gathered(feed, is_filled)
        assert [json.loads(text)["event"] for text in socket.heard[0]] == ["conf", "subscribe"]
        assert rest.count("/v2/trades/tACMEUSD/hist") >= 1
    assert "frames 2 to 2 of the connection did not come" in rows(got, "gap")[0]["reason"]


@pytest.mark.parametrize(
    ("name", "handler", "symbol", "frame"),
    [
        ("coinbase", doubles.coinbase, "NO-SUCH",
         {"type": "error", "message": "Failed to subscribe", "reason": "NO-SUCH is not valid"}),
        ("kraken", doubles.kraken, "NO/SUCH",
         {"method": "subscribe", "success": False, "error": "Currency pair not supported"}),
        ("bitfinex", doubles.bitfinex, "tNOSUCH",
         {"event": "error", "msg": "symbol: invalid", "code": 10300}),
    ],
)  # fmt: skip
def test_a_refused_subscription_ends_the_feed(
    name: str, handler: Handler, symbol: str, frame: dict[str, Any]
) -> None:
    """Asking again would not help: it is wrong use, and no new connection follows."""
    with feeding(name, handler, symbol, frame) as (feed, socket, _):
        with pytest.raises(RangeError, match="refuses the subscription"):
            list(feed.fresh(threading.Event()))
        assert len(socket.paths) == 1

"""Tiingo's socket, played on this machine: the login is in the subscription, a refusal is final."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from tickerlake.errors import ConfigError
from tickerlake.sources.feed import Feed, Fresh
from tickerlake.sources.sockets import SocketSettings
from tickerlake.sources.tiingo import TiingoSettings, TiingoSource
from tickerlake.testing.socket_provider import (
    Cut,
    Hear,
    Say,
    SocketProvider,
    Step,
    socket_provider,
)

QUICK = SocketSettings(
    batch_seconds=0.01,
    reconnect_seconds=0.01,
    backfill_pause_seconds=0.01,
    backfill_settle_seconds=0.0,
)
WELCOME = '{"messageType":"I","data":{"subscriptionId":6},"response":{"code":200}}'
REFUSED = (
    '{"messageType":"E","response":{"code":400,"message":"thresholdLevel not valid for your'
    ' subscription tier"}}'
)


def price(number: int) -> str:
    data = [f"2024-01-02T10:00:0{number}.000000001-05:00", "acme", 10.0 + number]
    return json.dumps({"messageType": "A", "service": "iex", "data": data})


def feed(server: SocketProvider) -> Feed:
    source = TiingoSource(TiingoSettings(socket_url=server.url, api_key="t0ken"))
    return Feed(source, ["ACME"], ["quote"], QUICK)


def quotes(got: list[Fresh]) -> list[dict[str, Any]]:
    tables = [fresh.tables["quote"] for fresh in got if "quote" in fresh.tables]
    return [row for table in tables for row in table.to_pylist()]


def test_reference_prices_come_over_a_cut() -> None:
    """After a cut another connection subscribes again, and the hole is told as a gap."""
    steps: list[list[Step]] = [
        [Hear(1), Say(WELCOME, price(1)), Cut()],
        [Hear(1), Say(WELCOME, price(2))],
    ]
    stop, got = threading.Event(), []
    with socket_provider(*steps) as server:
        for fresh in feed(server).fresh(stop):
            got.append(fresh)
            if len(quotes(got)) == 2:
                stop.set()
    assert [(row["symbol"], row["bid"]) for row in quotes(got)] == [("ACME", 11.0), ("ACME", 12.0)]
    assert server.paths[:2] == ["/iex", "/iex"]
    (asked,) = server.heard[0]
    assert json.loads(asked)["eventData"] == {"thresholdLevel": 6, "tickers": ["acme"]}
    assert any("gap" in fresh.tables for fresh in got)


def test_a_refused_level_ends_it() -> None:
    """A level that the account does not have is wrong use: nobody tries again."""
    with (
        socket_provider([Hear(1), Say(REFUSED)]) as server,
        pytest.raises(ConfigError, match="threshold_level"),
    ):
        list(feed(server).fresh(threading.Event()))
    assert len(server.paths) == 1

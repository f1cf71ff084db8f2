"""Alpaca and Massive over a real socket: login, records, a cut, and what history fills in."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alpaca_double import Alpaca, alpaca_server
from massive_double import KEY, Massive, massive_server
from tickerlake.errors import ConfigError
from tickerlake.sources import Source
from tickerlake.sources.feed import Feed
from tickerlake.sources.sockets import SocketSettings
from tickerlake.testing.provider import ProviderAnswer, ProviderRequest
from tickerlake.testing.socket_provider import Cut, Hear, Say, Silence, Step, socket_provider
from us_frames import ALPACA_TRADE, MASSIVE_TRADE

QUICK = SocketSettings(
    batch_seconds=0.01,
    reconnect_seconds=0.01,
    backfill_pause_seconds=0.01,
    backfill_settle_seconds=0.0,
)
NOW = datetime(2024, 3, 5, 15, 30, 20, tzinfo=UTC)
BEGAN = NOW - timedelta(seconds=5)
_STORIES = itertools.count()


@pytest.fixture(autouse=True)
def story(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is now in each test, whenever it runs: each has its own microsecond to begin at."""
    monkeypatch.setenv("TICKERLAKE_NOW", NOW.replace(microsecond=next(_STORIES)).isoformat())


def alpaca_talk(*numbers: int) -> list[Step]:
    """A whole talk of Alpaca's, up to these trades."""
    return [
        Say('[{"T":"success","msg":"connected"}]'),
        Hear(),
        Say('[{"T":"success","msg":"authenticated"}]'),
        Hear(),
        Say('[{"T":"subscription","trades":["ACME"]}]'),
        Say(json.dumps([alpaca_trade(number) for number in numbers])),
    ]


def alpaca_trade(number: int) -> dict[str, Any]:
    at = BEGAN + timedelta(milliseconds=number)
    return {**ALPACA_TRADE, "i": number, "t": at.isoformat().replace("+00:00", "Z")}


def gathered(source: Source, *, until: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Trades and gap records, once there are so many different trades and a filled gap."""
    stop = threading.Event()
    patience = threading.Timer(60, stop.set)
    patience.start()
    trades: list[dict[str, Any]] = []
    gaps: list[dict[str, Any]] = []
    for fresh in Feed(source, ["ACME"], ["trade"], QUICK).fresh(stop):
        trades += fresh.tables["trade"].to_pylist() if "trade" in fresh.tables else []
        gaps += fresh.tables["gap"].to_pylist() if "gap" in fresh.tables else []
        if len({row["trade_id"] for row in trades}) >= until and any(g["filled"] for g in gaps):
            stop.set()
    patience.cancel()
    return trades, gaps


class MissedByAlpaca(Alpaca):
    """Whatever range is asked for, trades 2 and 3 lie at its start."""

    def page(self, kind: str, query: Mapping[str, str]) -> ProviderAnswer:
        rows = [{**ALPACA_TRADE, "i": number, "t": query["start"]} for number in (2, 3)]
        return ProviderAnswer({kind: {"ACME": rows}, "next_page_token": None})


class MissedByMassive(Massive):
    """Whatever range is asked for, trade 2 lies at its start."""

    def answer(self, request: ProviderRequest) -> ProviderAnswer:
        at = int(request.query["timestamp.gte"])
        row = {"price": 10.5, "size": 3, "exchange": 4, "id": "2", "sip_timestamp": at}
        return ProviderAnswer({"status": "OK", "results": [row]})


def test_alpaca_fills_what_a_cut_left_out() -> None:
    """Trades 2 and 3 came while nobody listened: they are asked for over REST."""
    with (
        socket_provider([*alpaca_talk(1), Cut()], [*alpaca_talk(4), Silence()]) as server,
        alpaca_server(MissedByAlpaca(), socket_url=server.url, feed="iex") as (source, history),
    ):
        trades, gaps = gathered(source, until=4)
        assert server.paths == ["/v2/iex"] * 2
        login, subscription = (json.loads(said) for said in server.heard[1])
        assert history.count("/v2/stocks/trades") >= 1
    assert (login["action"], subscription["trades"]) == ("auth", ["ACME"])
    assert {row["trade_id"] for row in trades} == {"1", "2", "3", "4"}
    assert {row["provider"] for row in trades} == {"alpaca_iex"}
    assert any(gap["filled"] for gap in gaps)


def massive_talk(*numbers: int) -> list[Step]:
    """A whole talk of Massive's, up to these trades."""
    started = int(BEGAN.timestamp() * 1000)
    trades = [{**MASSIVE_TRADE, "i": str(n), "t": started + n} for n in numbers]
    return [
        Say('[{"ev":"status","status":"connected","message":"Connected Successfully"}]'),
        Hear(),
        Say('[{"ev":"status","status":"auth_success","message":"authenticated"}]'),
        Hear(),
        Say('[{"ev":"status","status":"success","message":"subscribed to: T.ACME"}]'),
        Say(json.dumps(trades)),
    ]


def test_massive_waits_for_its_other_connection_to_end() -> None:
    """A key that is connected elsewhere is told so; later it may, and the hole is filled."""
    busy = '[{"ev":"status","status":"max_connections","message":"Maximum number of connections"}]'
    with (
        socket_provider(
            [*massive_talk(1), Say(busy), Cut()], [*massive_talk(3), Silence()]
        ) as server,
        massive_server(MissedByMassive(), socket_url=server.url, delay_seconds=0.0) as (source, _),
    ):
        trades, _ = gathered(source, until=3)
        assert json.loads(server.heard[1][0]) == {"action": "auth", "params": KEY}
    assert {row["trade_id"] for row in trades} == {"1", "2", "3"}


def test_a_refused_key_ends_it() -> None:
    """No new connection is made with a key that is not accepted; the key is not in the error."""
    refused = '[{"T":"error","code":402,"msg":"auth failed"}]'
    with (
        socket_provider([alpaca_talk()[0], Hear(), Say(refused), Silence()]) as server,
        alpaca_server(Alpaca(), socket_url=server.url) as (source, _),
        pytest.raises(ConfigError, match="ALPACA_API_KEY") as error,
    ):
        gathered(source, until=1)
    assert len(server.heard) == 1
    assert "ours-alone" not in str(error.value)

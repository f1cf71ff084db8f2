"""Alpaca and Massive keep the contract of a live source; the frames are ours, in their shapes."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest

from tickerlake.errors import UnreachableError, UsageError
from tickerlake.sources import Frame, Live, open_source
from tickerlake.testing.dialect_suite import SECRET, DialectSuite
from us_frames import (
    ALPACA_BANDS,
    ALPACA_BAR,
    ALPACA_QUOTE,
    ALPACA_TRADE,
    AT,
    MASSIVE_BANDS,
    MASSIVE_MINUTE,
    MASSIVE_QUOTE,
    MASSIVE_TRADE,
    frames,
)


def live(name: str, **settings: Any) -> Live:
    keys = {"api_key": "K", "api_secret": "S"} if name == "alpaca" else {"api_key": "K"}
    source = open_source(name, settings={**keys, **settings})
    assert isinstance(source, Live)
    return source


class TestAlpaca(DialectSuite):
    """Arrays of trades, quotes, price bands, bars and their revisions."""

    symbols = ("ACME",)
    frames = (
        '[{"T":"success","msg":"connected"}]',
        '[{"T":"success","msg":"authenticated"}]',
        '[{"T":"subscription","trades":["ACME"],"quotes":["ACME"],"bars":["ACME"]}]',
        json.dumps([ALPACA_TRADE, ALPACA_QUOTE, {**ALPACA_TRADE, "i": 8, "x": "Q"}]),
        json.dumps([ALPACA_BAR, {"T": "s", "S": "ACME", "sc": "H"}]),
        json.dumps([{**ALPACA_BAR, "T": "u", "v": 101}, {**ALPACA_TRADE, "i": 9}]),
        json.dumps([ALPACA_BANDS]),
    )
    records: ClassVar = {"trade": 3, "quote": 1, "price_band": 1, "bar": 2}
    refusals = tuple(
        json.dumps([{"T": "error", "code": code, "msg": "no"}]) for code in (402, 405, 409, 410)
    )

    @pytest.fixture
    def live(self) -> Live:
        return live("alpaca", api_key="PKOURS", api_secret=SECRET)


class TestMassive(DialectSuite):
    """Arrays of T, Q, A, AM, LULD and status."""

    symbols = ("ACME", "BRK.B")
    frames = (
        '[{"ev":"status","status":"connected","message":"Connected Successfully"}]',
        '[{"ev":"status","status":"auth_success","message":"authenticated"}]',
        '[{"ev":"status","status":"success","message":"subscribed to: T.ACME"}]',
        json.dumps([MASSIVE_TRADE, MASSIVE_QUOTE, {**MASSIVE_TRADE, "i": "8"}]),
        json.dumps([MASSIVE_MINUTE, {**MASSIVE_MINUTE, "ev": "A"}]),
        json.dumps([MASSIVE_BANDS, {**MASSIVE_BANDS, "T": "BRK.B", "t": 1704207600000}]),
    )
    records: ClassVar = {"trade": 2, "quote": 1, "price_band": 2, "bar": 2}
    refusals = (
        '[{"ev":"status","status":"auth_failed","message":"authentication failed"}]',
        '[{"ev":"status","status":"error","message":"not authorized for Q.ACME"}]',
    )

    @pytest.fixture
    def live(self) -> Live:
        return live("massive", api_key=SECRET)


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("alpaca", [{"T": "error", "code": 406, "msg": "connection limit exceeded"}]),
        ("alpaca", [{"T": "error", "code": 407, "msg": "slow client"}]),
        ("alpaca", [{"T": "error", "code": 500, "msg": "internal error"}]),
        ("massive", [{"ev": "status", "status": "max_connections", "message": "Maximum number"}]),
        ("massive", [{"ev": "status", "status": "auth_timeout", "message": "timed out"}]),
    ],
)
def test_what_passes_is_tried_again(name: str, frame: list[dict[str, Any]]) -> None:
    """A lingering connection, a slow reader, a time-out: a new connection may do."""
    error = live(name).dialect(["ACME"], ["trade"]).read(frames(frame)).error
    assert isinstance(error, UnreachableError)
    assert not isinstance(error, UsageError)


def test_the_login_waits_for_the_welcome() -> None:
    """Nothing is said first; each step is answered, by the key and then by the subscription."""
    talk = live("alpaca", feed="iex").dialect(["ACME", "ZED"], ["bar", "trade"])
    assert talk.url == "wss://stream.data.alpaca.markets/v2/iex"
    assert talk.hello() == ()
    login = talk.read(frames([{"T": "success", "msg": "connected"}])).replies
    assert [json.loads(said) for said in login] == [{"action": "auth", "key": "K", "secret": "S"}]
    said = talk.read(frames([{"T": "success", "msg": "authenticated"}])).replies
    assert [json.loads(one) for one in said] == [
        {
            "action": "subscribe",
            "bars": ["ACME", "ZED"],
            "updatedBars": ["ACME", "ZED"],
            "trades": ["ACME", "ZED"],
        }
    ]
    massive = live("massive").dialect(["ACME", "*"], ["quote", "bar"])
    assert massive.url == "wss://socket.massive.com/stocks"
    status = {"ev": "status", "status": "connected"}
    login = massive.read(frames([status])).replies
    assert [json.loads(one) for one in login] == [{"action": "auth", "params": "K"}]
    old = {**status, "status": "success", "message": "authenticated"}
    heard = massive.read(frames([old]))
    assert not heard.ready
    assert json.loads(heard.replies[0]) == {
        "action": "subscribe",
        "params": "Q.ACME,Q.*,AM.ACME,AM.*",
    }


def test_a_second_login_is_no_end() -> None:
    """403 on the socket says that we are logged in already: a note."""
    talk = live("alpaca").dialect(["ACME"], ["trade"])
    heard = talk.read(frames([{"T": "error", "code": 403, "msg": "already authenticated"}]))
    assert heard.error is None
    assert "already authenticated" in heard.notes[0]


def test_a_frame_keeps_its_own_time() -> None:
    """`fetched_at` of a record is when its frame came, whichever frames came beside it."""
    talk = live("massive").dialect(["ACME"], ["trade"])
    told = frames([MASSIVE_TRADE], [MASSIVE_TRADE, MASSIVE_TRADE])
    table = talk.read([Frame(AT, "out", "", "[]"), *told]).tables["trade"]
    times = [frame.received_at for frame in told]
    assert table["fetched_at"].to_pylist() == [times[0], times[1], times[1]]

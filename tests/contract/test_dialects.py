"""Every live source keeps the contract. The frames are ours, in the providers' shapes."""

from __future__ import annotations

import json
from typing import ClassVar

import pytest

from tickerlake.sources import Live, open_source
from tickerlake.testing.dialect_suite import SECRET, DialectSuite
from yahoo_pricing import pricing


def opened(name: str, **settings: object) -> Live:
    source = open_source(name, settings=settings)
    assert isinstance(source, Live)
    return source


class TestFinnhub(DialectSuite):
    """Trades without ids, price updates without trades, pings."""

    _equal: ClassVar = {"c": ["1", "12"], "p": 10.25, "s": "ACME", "t": 1704207600000, "v": 5}
    _coin: ClassVar = {"p": 43000.5, "s": "BINANCE:BTCUSDT", "t": 1704207600100, "v": 0.00042}
    _update: ClassVar = {"p": 10.26, "s": "ACME", "t": 1704207600200, "v": 0}
    symbols = ("ACME", "BINANCE:BTCUSDT")
    frames = (
        json.dumps({"data": [_equal, _equal], "type": "trade"}),
        '{"type":"ping"}',
        json.dumps({"data": [_equal, _coin | {"c": None}, _update], "type": "trade"}),
    )
    records: ClassVar = {"trade": 4}
    refusals = ('{"type":"error","msg":"Invalid API key"}',)

    @pytest.fixture
    def live(self) -> Live:
        return opened("finnhub", api_key=SECRET)


class TestYahoo(DialectSuite):
    """A ticker in base64 protobuf: prices, the day's volume, and sometimes bid and ask."""

    symbols = ("ACME", "BTC-USD")
    frames = (
        pricing(
            id="ACME", price=10.5, time_ms=1704207600000, day_volume=1000, bid=10.25, ask=10.75
        ),
        pricing(
            id="ACME", price=10.5, time_ms=1704207600500, day_volume=1000, bid=10.25, ask=10.75
        ),
        pricing(id="ACME", price=10.5, time_ms=1704207601000, day_volume=1200),
        pricing(id="BTC-USD", price=43000.42, time_ms=1704207601000, quote_type=41),
        pricing(id="ACME", price=10.6, time_ms=1704250000000, day_volume=50),
    )
    records: ClassVar = {"trade": 4, "quote": 1}

    @pytest.fixture
    def live(self) -> Live:
        return opened("yahoo")

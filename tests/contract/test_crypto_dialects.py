"""The contract of live sources over the crypto exchanges, in talks of our own."""

from __future__ import annotations

import json
from typing import ClassVar

import pytest

from tickerlake.sources import Live, open_source
from tickerlake.testing.dialect_suite import DialectSuite


def opened(name: str) -> Live:
    source = open_source(name)
    assert isinstance(source, Live)
    return source


def wrapped(stream: str, **data: object) -> str:
    return json.dumps({"stream": stream, "data": data}, separators=(",", ":"))


class TestBinanceLive(DialectSuite):
    """Binance's streams keep the contract."""

    symbols = ("ACMEUSDT", "ACMEBTC")
    frames = (
        '{"result":null,"id":1}',
        wrapped("acmeusdt@aggTrade", e="aggTrade", E=1704200000001, s="ACMEUSDT", a=7, p="1.5",
                q="2", f=9, l=9, T=1704200000000, m=True, M=True),
        wrapped("acmebtc@bookTicker", u=5, s="ACMEBTC", b="0.1", B="3", a="0.2", A="4"),
        wrapped("acmeusdt@kline_1m", e="kline", E=1704200001000, s="ACMEUSDT", k={
            "t": 1704199980000, "T": 1704200039999, "s": "ACMEUSDT", "i": "1m", "f": 1, "L": 2,
            "o": "1", "c": "2", "h": "3", "l": "1", "v": "9", "n": 2, "x": False}),
        '{"e":"aggTrade","E":1,"s":"ACMEUSDT","a":9,"p":"1.6","q":"1","T":1704200002000,"m":false}',
        '{"u":6,"s":"ACMEBTC","b":"0.11","B":"3","a":"0.2","A":"4"}',
    )  # fmt: skip
    records: ClassVar = {"trade": 2, "quote": 2, "bar": 1}
    refusals = ('{"error":{"code":2,"msg":"Invalid request: unknown stream"},"id":1}',)

    @pytest.fixture
    def live(self) -> Live:
        return opened("binance")


class TestBinanceUsLive(TestBinanceLive):
    """Those of Binance.US, too."""

    @pytest.fixture
    def live(self) -> Live:
        return opened("binance_us")


def match(number: int, kind: str = "match", side: str = "sell") -> str:
    told = {
        "type": kind, "trade_id": number, "maker_order_id": "a", "taker_order_id": "b",
        "side": side, "size": "0.25", "price": "10.5", "product_id": "ACME-USD",
        "sequence": number * 10, "time": f"2024-01-02T14:59:{number:02}.123456Z",
    }  # fmt: skip
    return json.dumps(told)


class TestCoinbaseLive(DialectSuite):
    """Coinbase's feed keeps the contract."""

    symbols = ("ACME-USD",)
    frames = (
        '{"type":"subscriptions","channels":[{"name":"matches","product_ids":["ACME-USD"]}]}',
        match(4, "last_match"),
        match(5, side="buy"),
        (
            '{"type":"heartbeat","sequence":60,"last_trade_id":0,"product_id":"ACME-USD",'
            '"time":"2024-01-02T15:00:00.000000Z"}'
        ),
        (
            '{"type":"ticker","sequence":61,"product_id":"ACME-USD","price":"10.5","best_bid":"10",'
            '"best_bid_size":"1","best_ask":"11","best_ask_size":"2","side":"buy",'
            '"time":"2024-01-02T14:59:05.123456Z","trade_id":5,"last_size":"0.25"}'
        ),
        match(8),
    )
    records: ClassVar = {"trade": 3, "quote": 1}
    refusals = (
        '{"type":"error","message":"Failed to subscribe","reason":"NO-SUCH is no valid product"}',
    )

    @pytest.fixture
    def live(self) -> Live:
        return opened("coinbase")


def trade(*numbers: int, kind: str = "update") -> str:
    rows = [
        {"symbol": "BTC/USD", "side": "buy", "price": 10.5, "qty": 0.25, "ord_type": "limit",
         "trade_id": number, "timestamp": f"2024-01-02T14:59:{number:02}.123456Z"}
        for number in numbers
    ]  # fmt: skip
    return json.dumps({"channel": "trade", "type": kind, "data": rows})


class TestKrakenLive(DialectSuite):
    """Kraken's second version keeps the contract."""

    symbols = ("BTC/USD",)
    frames = (
        '{"channel":"status","type":"update","data":[{"api_version":"v2","system":"online"}]}',
        (
            '{"method":"subscribe","req_id":1,"result":{"channel":"trade","symbol":"BTC/USD"},'
            '"success":true,"time_in":"2024-01-02T14:59:00Z"}'
        ),
        trade(1, 2, kind="snapshot"),
        '{"channel":"heartbeat"}',
        (
            '{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":10,"bid_qty":1,'
            '"ask":11.5,"ask_qty":2,"last":10.5,"volume":5,"vwap":10.1,"low":9,"high":12,"change":1}]}'
        ),
        trade(5),
        '{"method":"pong","time_in":"2024-01-02T14:59:00Z"}',
    )
    records: ClassVar = {"trade": 3, "quote": 1}
    refusals = (
        (
            '{"error":"Currency pair not supported NO/SUCH","method":"subscribe","req_id":1,'
            '"success":false,"symbol":"NO/SUCH"}'
        ),
        (
            '{"errorMessage":"Currency pair not supported NO/SUCH","event":"subscriptionStatus",'
            '"pair":"NO/SUCH","status":"error"}'
        ),
    )

    @pytest.fixture
    def live(self) -> Live:
        return opened("kraken")


class TestKrakenFirstVersion(DialectSuite):
    """Recordings of the first version keep the contract, too."""

    symbols = ("XBT/USD",)
    frames = (
        '{"connectionID":18239578009413566319,"event":"systemStatus","status":"online"}',
        (
            '{"channelID":9,"channelName":"trade","event":"subscriptionStatus","pair":"XBT/USD",'
            '"status":"subscribed","subscription":{"name":"trade"}}'
        ),
        (
            '[9,[["10.5","0.25","1704207540.123456","s","l",""],'
            '["10.6","0.25","1704207540.123456","b","m",""]],"trade","XBT/USD"]'
        ),
        '{"event":"heartbeat"}',
        '[11,{"a":["11","1","1.5"],"b":["10","1","2.5"],"c":["10.5","0.25"]},"ticker","XBT/USD"]',
    )
    records: ClassVar = {"trade": 2, "quote": 1}

    @pytest.fixture
    def live(self) -> Live:
        return opened("kraken")


class TestBitfinexLive(DialectSuite):
    """Bitfinex's socket keeps the contract."""

    symbols = ("tACMEUSD",)
    frames = (
        '{"event":"info","version":2,"serverId":"a","platform":{"status":1}}',
        '{"event":"conf","status":"OK","flags":65536}',
        '{"event":"subscribed","channel":"trades","chanId":17,"symbol":"tACMEUSD"}',
        "[17,[[2,1704207541000,-0.5,10.5],[1,1704207540000,0.25,10]],1]",
        '{"event":"subscribed","channel":"ticker","chanId":18,"symbol":"tACMEUSD"}',
        "[18,[10,1,11,2.5,0.1,0.01,10.5,99,12,9],2]",
        '[17,"hb",3]',
        '[17,"te",[3,1704207542000,0.25,10.25],4]',
        '[17,"tu",[3,1704207542000,0.25,10.25],5]',
        '[17,"tu",[4,1704207543000,0.5,10.25],8]',
    )
    records: ClassVar = {"trade": 4, "quote": 1}
    refusals = (
        '{"event":"error","msg":"symbol: invalid","code":10300,"symbol":"tNOSUCH"}',
        '{"event":"error","msg":"subscribe: limit","code":10305}',
    )

    @pytest.fixture
    def live(self) -> Live:
        return opened("bitfinex")

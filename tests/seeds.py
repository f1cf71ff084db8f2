"""One or a few good answers and talks of each provider, small, in its own shape, written by us.

They are what fuzzing starts from; what each means is for the provider's own tests to say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from yahoo_double import chart, encoded, error
from yahoo_pricing import pricing

_DAYS = {"2024-01-02T14:30": (10.0, 11.0, 9.0, 10.5, 100.0)}
_YAHOO_DAYS = chart(
    _DAYS | {"2024-01-03T14:30": (10.5, 12.0, 10.0, 11.5, 50.0)},
    firstTradeDate=1704205800,
    events={
        "dividends": {"1704205800": {"amount": 0.25, "date": 1704205800}},
        "splits": {
            "1704292200": {
                "date": 1704292200, "numerator": 4, "denominator": 1, "splitRatio": "4:1",
            }
        },
    },
)  # fmt: skip


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


_KLINE = [
    1704153600000, "10.0", "11.0", "9.0", "10.5", "1.50", 1704239999999, "15.7", 3, "0.5", "5.2",
    "0",
]  # fmt: skip
_ALPACA_BAR = {"t": "2024-01-02T05:00:00Z", "o": 10, "h": 11, "l": 9, "c": 10.5, "v": 9, "n": 2}
_ALPHA = {
    "Meta Data": {
        "1. Information": "Intraday (1min) open, high, low, close prices and volume",
        "2. Symbol": "ACME",
        "3. Last Refreshed": "2024-01-02 16:00:00",
        "4. Interval": "1min",
        "5. Output Size": "Compact",
        "6. Time Zone": "US/Eastern",
    },
    "Time Series (1min)": {
        "2024-01-02 15:59:00": {
            "1. open": "10.0", "2. high": "11.0", "3. low": "9.0", "4. close": "10.5",
            "5. volume": "100",
        }
    },
}  # fmt: skip
_ALPHA_DAYS = {
    "Meta Data": {"2. Symbol": "ACME", "5. Time Zone": "US/Eastern"},
    "Time Series (Daily)": {
        "2024-01-02": {
            "1. open": "10.0", "2. high": "11.0", "3. low": "9.0", "4. close": "10.5",
            "5. adjusted close": "5.25", "6. volume": "100", "7. dividend amount": "0.25",
            "8. split coefficient": "2.0",
        }
    },
}  # fmt: skip
_CSV = b"""Date,Open,High,Low,Close,Volume
2024-01-02,10,11,9,10.5,100
2024-01-03,10.5,12,10,11.5,50
"""

#: Answers over HTTP, and files.
PAYLOADS: Mapping[str, Sequence[bytes]] = {
    "alpaca": (
        _json({"bars": {"ACME": [_ALPACA_BAR]}, "next_page_token": "QUNNRXxEfDE="}),
        _json({"symbol": "ACME", "next_page_token": None, "trades": [
            {"t": "2024-01-02T15:00:00.123456789Z", "x": "V", "p": 10.5, "s": 5, "c": ["@", "I"],
             "i": 7, "z": "C"}]}),
        _json({"symbol": "ACME", "next_page_token": None, "quotes": [
            {"t": "2024-01-02T15:00:00.5Z", "ax": "V", "ap": 10.6, "as": 1, "bx": "V", "bp": 10.4,
             "bs": 2, "c": ["R"], "z": "C"}]}),
        _json([{"id": "1", "class": "us_equity", "exchange": "NYSE", "symbol": "ACME",
                "name": "Acme Inc.", "status": "active", "tradable": True}]),
        _json({"code": 40010001, "message": "invalid feed"}),
    ),
    "alphavantage": (
        _json(_ALPHA),
        _json(_ALPHA_DAYS),
        _json({"Information": "our standard API rate limit is 25 requests per day"}),
        _json({"bestMatches": [{"1. symbol": "ACME", "2. name": "Acme", "3. type": "Equity",
                                "4. region": "United States", "8. currency": "USD"}]}),
        b"timestamp,open,high,low,close,volume\r\n2024-01-02,10,11,9,10.5,100\r\n",
    ),
    "binance": (
        _json([_KLINE]),
        _json([{"a": 7, "p": "10.5", "q": "0.1", "f": 1, "l": 2, "T": 1704207600000, "m": True,
                "M": True}]),
        _json({"symbols": [{"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC",
                            "quoteAsset": "USDT"}], "rateLimits": []}),
        _json({"code": -1121, "msg": "Invalid symbol."}),
    ),
    "bitfinex": (
        _json([[1704153600000, 10, 10.5, 11, 9, 1.5], [1704153660000, 10.5, 10, 11, 9, 2]]),
        _json([[7, 1704207600000, -0.1, 10.5]]),
        _json([["BTCUSD", "AVAX:USD"]]),
        _json(["error", 10020, "symbol: invalid"]),
    ),
    "capture": (b'[{"T":"t","S":"ACME","p":10.5}]\n[{"T":"t","S":"ACME","p":10.6}]\n',),
    "coinbase": (
        _json([[1704153660, 9, 11, 10, 10.5, 1.5], [1704153600, 9, 11, 10, 10.5, 2]]),
        _json([{"time": "2024-01-02T15:00:00.123456Z", "trade_id": 7, "price": "10.5",
                "size": "0.1", "side": "sell"}]),
        _json([{"id": "BTC-USD", "base_currency": "BTC", "quote_currency": "USD",
                "status": "online", "trading_disabled": False}]),
        _json({"message": "NotFound"}),
    ),
    "files": (
        _CSV.replace(b"Date", b"Ticker,Date", 1).replace(b"\n20", b"\nACME,20"),
        _json([{"symbol": "ACME", "ts": "2024-01-02T15:00:00Z", "interval": "1m", "open": 10,
                "high": 11, "low": 9, "close": 10.5, "volume": 5}]),
        b'{"symbol":"ACME","date":"2024-01-02","open":1,"high":1,"low":1,"close":1}\n',
    ),
    "finnhub": (
        _json({"count": 1, "result": [{"description": "ACME INC", "displaySymbol": "ACME",
                                       "symbol": "ACME", "type": "Common Stock"}]}),
        _json({"error": "You don't have access to this resource."}),
    ),
    "kraken": (
        _json({"error": [], "result": {"XXBTZUSD": [
            [1704153600, "10.0", "11.0", "9.0", "10.5", "10.2", "1.5", 3]], "last": 1704153600}}),
        _json({"error": [], "result": {"XXBTZUSD": [
            ["10.5", "0.1", 1704207600.1234567, "b", "l", "", 7]], "last": "1704207600123456789"}}),
        _json({"error": [], "result": {"XXBTZUSD": {
            "altname": "XBTUSD", "wsname": "XBT/USD", "base": "XXBT", "quote": "ZUSD",
            "status": "online"}}}),
        _json({"error": ["EQuery:Unknown asset pair"]}),
    ),
    "massive": (
        _json({"ticker": "ACME", "adjusted": True, "queryCount": 1, "resultsCount": 1,
               "status": "OK", "results": [
                   {"t": 1704171600000, "o": 10, "h": 11, "l": 9, "c": 10.5, "v": 100, "vw": 10.1,
                    "n": 3}]}),
        _json({"status": "OK", "results": [
            {"sip_timestamp": 1704207600123456789, "price": 10.5, "size": 5, "exchange": 4,
             "sequence_number": 7, "id": "9", "conditions": [12]}]}),
        _json({"status": "OK", "results": [
            {"ticker": "ACME", "name": "Acme", "market": "stocks", "type": "CS", "active": True,
             "currency_name": "usd", "composite_figi": "BBG000B9XRY4"}]}),
        _json({"status": "OK", "results": [
            {"ticker": "ACME", "execution_date": "2024-01-02", "split_from": 1, "split_to": 4}]}),
        _json({"status": "NOT_AUTHORIZED", "message": "upgrade your plan"}),
    ),
    "sample": (_CSV,),
    "stooq": (
        _CSV,
        _CSV.replace(b"\n", b"\r\n").replace(b",Volume", b"").replace(b",100", b""),
        b"Exceeded the daily hits limit",
    ),
    "tiingo": (
        _json([{"date": "2024-01-02T00:00:00.000Z", "close": 10.5, "high": 11, "low": 9,
                "open": 10, "volume": 100, "adjClose": 5.25, "adjHigh": 5.5, "adjLow": 4.5,
                "adjOpen": 5, "adjVolume": 200, "divCash": 0.25, "splitFactor": 2.0}]),
        b"date,close,high,low,open,volume\n2024-01-02,10.5,11,9,10,100\n",
        _json([{"date": "2024-01-02T15:00:00.000Z", "open": 10, "high": 11, "low": 9,
                "close": 10.5}]),
        _json([{"ticker": "ACME", "name": "Acme", "assetType": "Stock", "isActive": True,
                "countryCode": "US", "permaTicker": "US1", "openFIGI": "BBG000B9XRY4"}]),
        _json({"detail": "Not found."}),
    ),
    "yahoo": (
        encoded(_YAHOO_DAYS),
        encoded(chart(_DAYS, dataGranularity="1m", adjclose=False)),
        encoded({"request": {"url": "https://x"}, "response": {"body": _YAHOO_DAYS}}),
        encoded(error("Not Found", "No data found, symbol may be delisted")),
        _json({"quotes": [{"symbol": "ACME", "shortname": "Acme", "quoteType": "EQUITY",
                           "exchange": "NYQ"}], "count": 1}),
        _json({"quoteResponse": {"result": [{"symbol": "ACME", "longName": "Acme Inc."}],
                                 "error": None}}),
    ),
}  # fmt: skip

_KRAKEN_ACK = {
    "method": "subscribe",
    "success": True,
    "result": {"channel": "trade", "symbol": "BTC/USD"},
}
_TIINGO_TRADE = [
    "T", "2024-01-02T10:00:00.123456789-05:00", 1704207600123456789, "acme", None, None, None,
    None, None, 10.5, 5, None, 0, 0, 0, 0,
]  # fmt: skip

#: What sockets say, from the first word to records.
FRAMES: Mapping[str, Sequence[object]] = {
    "alpaca": (
        [{"T": "success", "msg": "connected"}],
        [{"T": "success", "msg": "authenticated"}],
        [{"T": "subscription", "trades": ["ACME"], "quotes": ["ACME"], "bars": ["*"]}],
        [{"T": "t", "S": "ACME", "i": 7, "x": "V", "p": 10.5, "s": 5, "c": ["@"], "z": "C",
          "t": "2024-01-02T15:00:00.123456789Z"},
         {"T": "q", "S": "ACME", "bx": "V", "bp": 10.4, "bs": 1, "ax": "V", "ap": 10.6, "as": 1,
          "c": ["R"], "z": "C", "t": "2024-01-02T15:00:00.2Z"},
         {"T": "l", "S": "ACME", "u": 11, "d": 9, "i": "B", "z": "C",
          "t": "2024-01-02T15:00:00.3Z"}],
        [{"T": "b", "S": "ACME", "o": 10, "h": 11, "l": 9, "c": 10.5, "v": 100,
          "t": "2024-01-02T15:00:00Z"}],
        [{"T": "error", "code": 407, "msg": "slow client"}],
    ),
    "binance": (
        {"result": None, "id": 1},
        {"stream": "btcusdt@aggTrade", "data": {
            "e": "aggTrade", "E": 1704207600123, "s": "BTCUSDT", "a": 7, "p": "10.5", "q": "0.1",
            "f": 1, "l": 2, "T": 1704207600120, "m": False, "M": True}},
        {"stream": "btcusdt@bookTicker", "data": {
            "u": 1, "s": "BTCUSDT", "b": "10.4", "B": "1", "a": "10.6", "A": "2"}},
        {"stream": "btcusdt@kline_1m", "data": {"e": "kline", "E": 1704207660000, "s": "BTCUSDT",
            "k": {"t": 1704207600000, "T": 1704207659999, "s": "BTCUSDT", "i": "1m", "o": "10",
                  "h": "11", "l": "9", "c": "10.5", "v": "1.5", "n": 3, "x": True, "f": 1, "L": 2,
                  "q": "15"}}},
    ),
    "bitfinex": (
        {"event": "info", "version": 2, "platform": {"status": 1}},
        {"event": "conf", "status": "OK", "flags": 65536},
        {"event": "subscribed", "channel": "trades", "chanId": 17, "symbol": "tBTCUSD",
         "pair": "BTCUSD"},
        [17, [[7, 1704207600000, 0.1, 10.5]], 1],
        [17, "te", [8, 1704207601000, -0.2, 10.6], 2],
        [17, "hb", 3],
        {"event": "subscribed", "channel": "ticker", "chanId": 18, "symbol": "tBTCUSD"},
        [18, [10.4, 1, 10.6, 2, 0.1, 0.01, 10.5, 100, 11, 9], 4],
    ),
    "coinbase": (
        {"type": "subscriptions", "channels": [{"name": "matches", "product_ids": ["BTC-USD"]}]},
        {"type": "match", "trade_id": 7, "maker_order_id": "a", "taker_order_id": "b",
         "side": "sell", "size": "0.1", "price": "10.5", "product_id": "BTC-USD", "sequence": 99,
         "time": "2024-01-02T15:00:00.123456Z"},
        {"type": "ticker", "sequence": 100, "product_id": "BTC-USD", "price": "10.5",
         "best_bid": "10.4", "best_ask": "10.6", "time": "2024-01-02T15:00:00.5Z",
         "trade_id": 8, "last_size": "0.1", "side": "buy"},
        {"type": "heartbeat", "sequence": 101, "last_trade_id": 8, "product_id": "BTC-USD",
         "time": "2024-01-02T15:00:01Z"},
    ),
    "finnhub": (
        {"type": "ping"},
        {"data": [{"c": ["1"], "p": 10.5, "s": "ACME", "t": 1704207600000, "v": 5}],
         "type": "trade"},
        {"type": "error", "msg": "Invalid API key"},
    ),
    "kraken": (
        {"channel": "status", "type": "update", "data": [{"system": "online"}]},
        _KRAKEN_ACK,
        {"channel": "trade", "type": "update", "data": [
            {"symbol": "BTC/USD", "side": "buy", "price": 10.5, "qty": 0.1, "ord_type": "limit",
             "trade_id": 7, "timestamp": "2024-01-02T15:00:00.123456Z"}]},
        {"channel": "ticker", "type": "update", "data": [
            {"symbol": "BTC/USD", "bid": 10.4, "ask": 10.6, "bid_qty": 1, "ask_qty": 2,
             "last": 10.5, "volume": 3}]},
        {"channel": "heartbeat"},
        [321, [["10.5", "0.1", "1704207600.123456", "b", "l", ""]], "trade", "XBT/USD"],
    ),
    "massive": (
        [{"ev": "status", "status": "connected", "message": "Connected Successfully"}],
        [{"ev": "status", "status": "auth_success", "message": "authenticated"}],
        [{"ev": "T", "sym": "ACME", "x": 4, "i": "7", "z": 3, "p": 10.5, "s": 5, "c": [12],
          "t": 1704207600123, "q": 9},
         {"ev": "Q", "sym": "ACME", "bx": 4, "bp": 10.4, "bs": 1, "ax": 7, "ap": 10.6, "as": 2,
          "c": 1, "t": 1704207600124, "q": 10, "z": 3},
         {"ev": "AM", "sym": "ACME", "v": 100, "av": 900, "op": 10, "vw": 10.2, "o": 10,
          "c": 10.5, "h": 11, "l": 9, "a": 10.1, "z": 5, "s": 1704207600000, "e": 1704207660000}],
        [{"ev": "LULD", "T": "ACME", "h": 11, "l": 9, "i": [1], "z": 3, "t": 1704207600123456789,
          "q": 1}],
    ),
    "tiingo": (
        {"messageType": "I", "data": {"subscriptionId": 61},
         "response": {"code": 200, "message": "Success"}},
        {"messageType": "H", "response": {"code": 200, "message": "HeartBeat"}},
        {"messageType": "A", "service": "iex", "data": [
            "2024-01-02T10:00:00.123456789-05:00", "acme", 10.25]},
        {"messageType": "A", "service": "iex", "data": _TIINGO_TRADE},
        {"messageType": "E", "response": {"code": 400, "message": "thresholdLevel not valid"}},
    ),
    "yahoo": (
        pricing(id="ACME", price=10.5, time_ms=1704207600000, day_volume=100, bid=10.25, ask=11.0),
        pricing(id="ACME", price=10.5, time_ms=1704207601000, day_volume=1200),
    ),
}  # fmt: skip

_TWINS = {"capture": "finnhub", "binance_us": "binance", "polygon": "massive"}


def payloads(name: str) -> Sequence[bytes]:
    """Good answers of a provider; whoever adds one adds some."""
    return PAYLOADS[_origin(name, PAYLOADS)]


def frames(name: str) -> Sequence[str]:
    """A good talk of a provider, frame by frame."""
    talk = FRAMES[_origin(name, FRAMES)]
    return [frame if isinstance(frame, str) else json.dumps(frame) for frame in talk]


def _origin(name: str, known: Mapping[str, object]) -> str:
    """`alpaca_sip` is fed by `alpaca`'s."""
    origin = _TWINS.get(name, name)
    if origin not in known:
        origin = next((other for other in known if name.startswith(other)), "")
    assert origin, f"tests/seeds.py has nothing of {name}: fuzzing needs something to start from"
    return origin

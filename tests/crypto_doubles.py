"""Small crypto exchanges that play their providers' REST answers, in payloads of our own.

Every exchange trades ACME against USD, one trade a minute: bars are flat at a price that is their
minute's number, so that each row can be told from every other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from tickerlake import clock
from tickerlake.sources import Source, open_source
from tickerlake.testing.provider import (
    Handler,
    ProviderAnswer,
    ProviderRequest,
    ProviderServer,
    provider_server,
)

#: The first minute that any of them has.
LISTED = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp())


@contextmanager
def played(name: str, handler: Handler, **settings: Any) -> Iterator[tuple[Source, ProviderServer]]:
    """The source against a server on this machine, without pauses."""
    with provider_server(handler) as server:
        quick = {"requests_per_second": None, "backoff_seconds": 0.001, "attempts_max": 2}
        source = open_source(name, settings={"base_url": server.base_url} | quick | settings)
        try:
            yield source, server
        finally:
            source.close()  # type: ignore[attr-defined]


def at(text: str) -> int:
    """Epoch seconds of "2024-01-02T14:30" in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def starts(first: float, last: float, step: int, *, offset: int = 0) -> list[int]:
    """Bars' starts in `[first, last]` that are not before the listing, epoch seconds."""
    begin = max(-(-int(first) // 1), LISTED)
    begin += (offset - begin) % step
    return list(range(begin, int(last) + 1, step))


_BINANCE = {
    "1m": 60, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "4h": 14_400, "1d": 86_400,
    "1w": 604_800,
}  # fmt: skip
_MONDAY = 4 * 86_400


def kline(
    start: int, step: int, *, price: str | None = None, volume: str = "1.50000000"
) -> list[Any]:
    """One row of Binance's klines."""
    told = price or f"{start // 60 % 100_000}.25000000"
    end = (start + step) * 1000 - 1
    return [start * 1000, told, told, told, told, volume, end, "9.0", 3, "0.5", "4.5", "0"]


def binance(request: ProviderRequest) -> ProviderAnswer:
    """Klines, aggregate trades and symbols as Binance gives them."""
    query = request.query
    if request.path == "/api/v3/exchangeInfo":
        return ProviderAnswer({"timezone": "UTC", "rateLimits": [], "symbols": BINANCE_SYMBOLS})
    if query.get("symbol") != "ACMEUSDT":
        return ProviderAnswer({"code": -1121, "msg": "Invalid symbol."}, 400)
    limit = int(query.get("limit", 500))
    if request.path == "/api/v3/aggTrades":
        first = int(query["fromId"]) if "fromId" in query else _id_at(int(query["startTime"]))
        return ProviderAnswer([agg_trade(n) for n in range(first, first + limit)])
    step = _BINANCE[query["interval"]]
    offset = _MONDAY if query["interval"] == "1w" else 0
    first, last = int(query["startTime"]) / 1000, int(query["endTime"]) / 1000
    rows = starts(-(-first // 1), last, step, offset=offset)[:limit]
    return ProviderAnswer([kline(start, step) for start in rows])


BINANCE_SYMBOLS = [
    {"symbol": "ACMEUSDT", "status": "TRADING", "baseAsset": "ACME", "quoteAsset": "USDT"},
    {"symbol": "ACMEBTC", "status": "HALT", "baseAsset": "ACME", "quoteAsset": "BTC"},
    {"symbol": "OLDACME", "status": "BREAK", "baseAsset": "OLD", "quoteAsset": "ACME"},
]


def _id_at(milliseconds: int) -> int:
    return max(0, -(-(milliseconds - LISTED * 1000) // 30_000)) * 3


def agg_trade(number: int) -> dict[str, Any]:
    """Three trades share each half minute's millisecond."""
    return {
        "a": number, "p": f"{100 + number}.50", "q": "0.10", "f": number * 2, "l": number * 2 + 1,
        "T": LISTED * 1000 + number // 3 * 30_000, "m": number % 2 == 0, "M": True,
    }  # fmt: skip


def coinbase(request: ProviderRequest) -> ProviderAnswer:
    """Candles and trades, the newest first, as Coinbase gives them."""
    if request.path == "/products":
        return ProviderAnswer(COINBASE_PRODUCTS)
    _, _, product, what = request.path.split("/")
    if product != "ACME-USD":
        return ProviderAnswer({"message": "NotFound"}, 404)
    query = request.query
    if what == "trades":
        after = int(query.get("after", COINBASE_NEWEST + 1))
        last = min(after - 1, COINBASE_NEWEST)
        first = max(1, last - int(query["limit"]) + 1)
        return ProviderAnswer([coinbase_trade(n) for n in range(last, first - 1, -1)])
    step = int(query["granularity"])
    rows = starts(int(query["start"]), int(query["end"]), step)
    if len(rows) > 300:
        return ProviderAnswer({"message": "granularity too small: aggregations exceeds 300"}, 400)
    # A row before the start comes, too, and a bucket without trades does not.
    rows = [max(LISTED, int(query["start"]) // step * step - step), *rows]
    return ProviderAnswer([candle(at_) for at_ in reversed(rows) if at_ // step % 10 != 7])


def candle(start: int) -> list[Any]:
    """One row of Coinbase's: time, low, high, open, close, volume."""
    price = start // 60 % 100_000
    return [start, price, price + 3, price + 1.5, price + 2, 12.5]


COINBASE_NEWEST = 5000
COINBASE_PRODUCTS = [
    {"id": "ACME-USD", "base_currency": "ACME", "quote_currency": "USD", "status": "online"},
    {"id": "OLD-USD", "base_currency": "OLD", "quote_currency": "USD", "status": "delisted"},
]


def coinbase_trade(number: int) -> dict[str, Any]:
    """One trade each half minute, the first of the listing with id 1."""
    moment = datetime.fromtimestamp(LISTED + (number - 1) * 30, UTC)
    return {
        "trade_id": number, "side": "sell" if number % 2 else "buy", "size": "0.25000000",
        "price": f"{number}.50000000", "time": f"{moment:%Y-%m-%dT%H:%M:%S}.123456Z",
    }  # fmt: skip


def kraken(request: ProviderRequest) -> ProviderAnswer:
    """The newest 720 candles, trades and pairs, as Kraken gives them: errors with HTTP 200."""
    if request.path == "/0/public/AssetPairs":
        return ProviderAnswer({"error": [], "result": KRAKEN_PAIRS})
    query = request.query
    if query["pair"] != "ACMEUSD":
        return ProviderAnswer({"error": ["EQuery:Unknown asset pair"]})
    if request.path == "/0/public/Trades":
        first = max(0, (int(query["since"]) - 123_456_789) // 10**9 - LISTED + 1)
        rows = [kraken_trade(n) for n in range(first, first + int(query["count"]))]
        last = str((LISTED + first + len(rows) - 1) * 10**9 + 123456789)
        return ProviderAnswer(kraken_text({"XACMEZUSD": rows, "last": last}))
    step = int(query["interval"]) * 60
    now = int(clock.now().timestamp()) // step * step
    rows = [n for n in starts(now - 719 * step, now, step) if n > int(query["since"])]
    told = [kraken_candle(start) for start in rows]
    return ProviderAnswer({"error": [], "result": {"XACMEZUSD": told, "last": now - step}})


def kraken_candle(start: int) -> list[Any]:
    """One row of Kraken's: time, open, high, low, close, vwap, volume, count."""
    price = start // 60 % 100_000
    return [start, f"{price}.5", f"{price + 3}", f"{price}", f"{price + 2}", "0.0", "12.5", 7]


def kraken_trade(number: int) -> list[Any]:
    """One trade a second; its time is a number with nine digits behind the point."""
    time = f"<{LISTED + number}.123456789>"
    return [f"{number}.5", "0.25", time, "b" if number % 2 else "s", "l", "", number + 1]


def kraken_text(result: object) -> str:
    """As JSON, in which `"<1.5>"` becomes the number with exactly these digits."""
    return json.dumps({"error": [], "result": result}).replace('"<', "").replace('>"', "")


KRAKEN_PAIRS = {
    "XACMEZUSD": {"altname": "ACMEUSD", "wsname": "ACME/USD", "status": "online"},
    "XXBTZUSD": {"altname": "XBTUSD", "wsname": "XBT/USD", "status": "online"},
    "XXBTZUSD.d": {"altname": "XBTUSD.d"},
}


_BITFINEX = {"1m": 60, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "1D": 86_400, "1W": 604_800}


def bitfinex(request: ProviderRequest) -> ProviderAnswer:
    """Candles, trades and pairs as Bitfinex gives them, asked with sort=1."""
    if request.path == "/v2/conf/pub:list:pair:exchange":
        return ProviderAnswer([["ACMEUSD", "ACME:USTF0"]])
    query = request.query
    assert query["sort"] == "1"
    _, _, what, key, _ = request.path.split("/")
    if not key.endswith("tACMEUSD"):
        return ProviderAnswer(["error", 10020, "symbol: invalid"], 400)
    first, last, limit = (int(query[name]) for name in ("start", "end", "limit"))
    if what == "trades":
        numbers = range(max(0, first // 1000 - LISTED) * 3, (last // 1000 - LISTED + 1) * 3)
        rows = [bitfinex_trade(number) for number in numbers]
        return ProviderAnswer([row for row in rows if first <= row[1] <= last][:limit])
    step = _BITFINEX[key.split(":")[1]]
    offset = _MONDAY if step == 604_800 else 0
    found = starts(-(-first // 1000), last / 1000, step, offset=offset)
    found = [start for start in found if start // step % 10 != 7]  # nobody traded
    return ProviderAnswer([bitfinex_candle(start) for start in found[:limit]])


def bitfinex_candle(start: int) -> list[Any]:
    """One row of Bitfinex's: time, open, close, high, low, volume, and what may come later."""
    price = start // 60 % 100_000
    return [start * 1000, price + 0.5, price + 2, price + 3, price, 12.5, None]


def bitfinex_trade(number: int) -> list[Any]:
    """Three trades a second, of one millisecond; negative amounts were sold."""
    return [number + 1, (LISTED + number // 3) * 1000, -0.25 if number % 2 else 0.25, number + 1.5]

"""Small crypto exchanges that play their providers' REST answers, in payloads of our own.

Every exchange trades ACME against USD, one trade a minute: bars are flat at a price that is their
minute's number, so that each row can be told from every other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

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

"""Binance's answers over REST → bars, trades, symbols, or the error of our tree that they tell."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from tickerlake.errors import (
    ConfigError,
    MalformedError,
    RangeError,
    RateLimitedError,
    TickerlakeError,
    UnreachableError,
)
from tickerlake.sources import crypto
from tickerlake.sources import crypto_shape as shape
from tickerlake.sources.base import Answer, Hit, empty_answer
from tickerlake.sources.columns import unnamed_interval
from tickerlake.sources.crypto_shape import Told
from tickerlake.sources.refusals import Rule
from tickerlake.sources.refusals import refusal as told_refusal

__all__ = ["listed", "parse_answer", "quote_of", "refusal"]

#: What ends a symbol: quote assets, now or once, of which no two end the same symbol.
_QUOTES: Final = {
    "binance": (
        "USDT", "USDC", "FDUSD", "TUSD", "BUSD", "USDP", "USDS", "USD1", "RLUSD", "BTC", "ETH",
        "BNB", "SOL", "XRP", "TRX", "DOGE", "DOT", "DAI", "VAI", "PAX", "EUR", "EURI", "GBP",
        "TRY", "BRL", "AUD", "RUB", "UAH", "NGN", "ZAR", "JPY", "PLN", "RON", "ARS", "MXN", "CZK",
        "COP", "IDRT", "BIDR", "BKRW", "BVND", "UST",
    ),
    "binance_us": ("USDT", "USDC", "DAI", "UST", "BTC", "ETH", "BNB", "USD"),
}  # fmt: skip
#: Answers that hold none of our records, by a key of theirs.
_OTHERS: Final = {
    "lastUpdateId": "the book of orders",
    "serverTime": "the server's time",
    "bidPrice": "best bid and ask, without their time",
    "priceChange": "what happened in 24 hours",
    "mins": "an average price",
}
#: Binance.US had BUSD beside USD, and some assets end in B.
_ENDS_IN_B: Final = ("ARB", "BNB", "SHIB")


def quote_of(symbol: str, provider: str) -> str | None:
    """The quote asset, by how the symbol ends; null where that does not tell."""
    if provider == "binance_us" and symbol.endswith("BUSD"):
        return "USD" if symbol.removesuffix("USD") in _ENDS_IN_B else "BUSD"
    return next((end for end in _QUOTES[provider] if symbol.endswith(end) and symbol != end), None)


def parse_answer(document: Any, told: Told) -> Answer:  # noqa: ANN401 - JSON is any
    """The records of a decoded answer.

    Raises:
        TickerlakeError: What the answer tells, or that it is none.
    """
    if isinstance(document, Mapping) and "symbols" in document:
        count = len(listed(document, told))
        return crypto.noted(f"a list of {count:,} symbols, no records")
    other = crypto.other_answer(document, _OTHERS)
    if other is not None:
        return other
    first = document[0] if isinstance(document, list) and document else document
    if isinstance(first, Mapping) and set(first) == {"symbol", "price"}:
        return crypto.noted("newest prices, without their time, no records")
    if isinstance(document, Mapping):
        raise _told(200, document, told.title, told.symbol) or shape.malformed(
            told.title, "its whole", "klines, trades or exchangeInfo", sorted(map(str, document))
        )
    if not isinstance(document, list):
        raise shape.malformed(told.title, "its whole", "a list or an object", document)
    if not document:
        return empty_answer()
    return _trades(document, told) if isinstance(document[0], Mapping) else _klines(document, told)


def listed(document: Any, told: Told) -> list[Hit]:  # noqa: ANN401 - JSON is any
    """The symbols of exchangeInfo.

    Raises:
        MalformedError: It is none.
    """
    rows = document.get("symbols") if isinstance(document, Mapping) else None
    if not isinstance(rows, list):
        raise shape.malformed(told.title, "symbols", "a list", document)
    hits = []
    for row in rows:
        said = row if isinstance(row, Mapping) else {}
        symbol, base, quote = (said.get(key) for key in ("symbol", "baseAsset", "quoteAsset"))
        if not (isinstance(symbol, str) and isinstance(base, str) and isinstance(quote, str)):
            raise shape.malformed(told.title, "symbols", "symbol, baseAsset and quoteAsset", row)
        hits.append(
            Hit(
                symbol=symbol,
                name=f"{base} / {quote}",
                type="crypto",
                exchange=told.provider.upper(),
                currency=quote,
                provider=told.provider,
                provider_symbol=symbol,
                # HALT passes; BREAK is what a symbol that was taken off ends with.
                listed=None if "status" not in said else said["status"] != "BREAK",
            )
        )
    return hits


def refusal(
    status: int, body: bytes, headers: Mapping[str, str], title: str, symbol: str | None
) -> TickerlakeError | None:
    """The error that an answer tells by its status, then by its body; None for a good one."""
    if status < 300:
        return None
    if status in (418, 429):
        wait = headers.get("retry-after")
        return RateLimitedError(
            f"{title} has shut us out for a while." if status == 418 else f"{title} says: later.",
            expected="an answer",
            found=f"HTTP {status}, {body[:120].decode(errors='replace')}",
            todo=f"wait {wait} s, then try again" if wait else "wait some minutes, then try again",
        )
    if status == 403:
        return UnreachableError(
            f"{title}'s firewall turns us away.",
            expected="an answer",
            found=f"HTTP 403, {body[:120].decode(errors='replace')}",
            todo="wait some minutes; if it stays, set base_url to another of its hosts",
        )
    try:
        document = shape.decoded(body, title)
    except MalformedError:
        document = None
    return _told(status, document, title, symbol)


def _told(status: int, document: object, title: str, symbol: str | None) -> TickerlakeError | None:
    told = document if isinstance(document, Mapping) else {}
    code, text = told.get("code"), str(told.get("msg", ""))
    found = f"HTTP {status}, code {code}: {text[:120]}"
    if status == 451 or "restricted location" in text:
        return ConfigError(
            f"{title} does not answer where we are.",
            expected="an answer",
            found=found,
            todo="set base_url to https://data-api.binance.vision, or use the source binance_us",
        )
    if status < 300 and code is None:
        return None
    if code == -1121 or (code == -1100 and "symbol" in text):
        return shape.unknown(title, symbol, found)
    if isinstance(code, int) and -1199 <= code <= -1100:
        return RangeError(
            f"{title} does not take this request.", expected="a range and an interval it has",
            found=found, todo="ask for another range or interval",
        )  # fmt: skip
    known = told_refusal(
        _RULES, provider=title, status=status, text=text, symbol=symbol,
        expected="klines, trades or exchangeInfo", code=str(code),
    )  # fmt: skip
    return known or MalformedError(
        f"{title} refuses this request.", expected="klines, trades or exchangeInfo", found=found,
        todo="report it, with what was found",
    )  # fmt: skip


_RULES: Final = (
    Rule(RateLimitedError, "{provider} says: later.", "wait some minutes",
         codes=("-1003", "-1015")),
    Rule(UnreachableError, "{provider} cannot answer at the moment.", "try again later",
         codes=("-1000", "-1001", "-1006", "-1007", "-1016")),
)  # fmt: skip


def _klines(rows: list[Any], told: Told) -> Answer:
    title, symbol = told.title, told.require_symbol()
    opened, *prices, closed = shape.columns_of(rows, 7, title)
    starts = shape.nanoseconds(opened, title, "the open time")
    # The close time is the next one's open, less 1 ms (or 1 µs).
    length = (shape.nanoseconds(closed, title, "the close time") - starts).max() // 10**9 + 1
    known = {seconds: name for name, seconds in crypto.INTERVAL_SECONDS.items()}
    own = known.get(int(length)) or ("1mo" if length >= 28 * 86_400 else None)
    if own is None:
        raise unnamed_interval(title, f"{length:,} s")
    if told.interval not in (None, own):
        raise shape.malformed(title, "its times", f"bars of {told.interval}", f"bars of {own}")
    candles = crypto.Candles(
        starts, *(shape.floats(column, title, "a price or volume") for column in prices)
    )
    return candles.answer(told, currency=quote_of(symbol, told.provider), own=own)


def _trades(rows: list[Any], told: Told) -> Answer:
    """Aggregate trades (a, p, q, T, m) or single ones (id, price, qty, time, isBuyerMaker)."""
    whole = "id" in rows[0]
    keys = ("id", "price", "qty", "time", "isBuyerMaker") if whole else ("a", "p", "q", "T", "m")
    try:
        ids, prices, sizes, times, makers = ([row[key] for row in rows] for key in keys)
    except (KeyError, TypeError) as error:
        raise shape.malformed(told.title, "its trades", f"objects with {keys}", rows) from error
    symbol = told.require_symbol()
    table = crypto.trades(
        told,
        symbol=symbol,
        currency=quote_of(symbol, told.provider),
        ids=ids,
        prices=prices,
        sizes=sizes,
        times=shape.nanoseconds(times, told.title, "the time of a trade"),
        # The buyer was there first: whoever came then sold.
        sides=crypto.sides(makers, {True: "sell", False: "buy"}),
    )
    return dataclasses.replace(empty_answer(), ticks={"trade": table})

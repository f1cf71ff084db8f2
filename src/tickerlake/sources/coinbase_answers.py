"""Coinbase's answers over REST → bars, trades, products, or the error of our tree they tell."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

import pyarrow as pa

from tickerlake.errors import (
    ConfigError,
    MalformedError,
    NotFoundError,
    RangeError,
    RateLimitedError,
    TickerlakeError,
)
from tickerlake.sources import crypto
from tickerlake.sources import crypto_shape as shape
from tickerlake.sources.base import Answer, Hit, empty_answer
from tickerlake.sources.crypto_shape import Told
from tickerlake.sources.frames import text_ns
from tickerlake.sources.refusals import Rule
from tickerlake.sources.refusals import refusal as told_refusal

__all__ = ["listed", "parse_answer", "quote_of", "refusal"]


#: Answers that hold none of our records, by a key of theirs.
_OTHERS: Final = {
    "max_precision": "a list of currencies",
    "bids": "the book of orders",
    "base_currency": "what a product is",
    "ask": "the ticker's newest state",
    "volume_30day": "what happened in 24 hours",
    "epoch": "the server's time",
}


#: What the taker did, by what the maker did.
_TAKERS: Final[Mapping[Any, str]] = {"sell": "buy", "buy": "sell"}


def quote_of(symbol: str) -> str | None:
    """The quote currency: what stands behind the dash."""
    return symbol.rpartition("-")[2] if "-" in symbol else None


def parse_answer(document: Any, told: Told) -> Answer:  # noqa: ANN401 - JSON is any
    """The records of a decoded answer.

    Raises:
        TickerlakeError: What the answer tells, or that it is none.
    """
    other = crypto.other_answer(document, _OTHERS)
    if other is not None and not isinstance(document, list):
        return other
    if isinstance(document, Mapping):
        raise _told(200, document, told.title, told.symbol) or shape.malformed(
            told.title, "its whole", "candles, trades or products", sorted(map(str, document))
        )
    if not isinstance(document, list):
        raise shape.malformed(told.title, "its whole", "a list or an object", document)
    if not document:
        return empty_answer()
    if not isinstance(document[0], Mapping):
        return _candles(document, told)
    if "base_currency" in document[0]:
        return crypto.noted(f"a list of {len(listed(document, told)):,} products, no records")
    return other or _trades(document, told)


def listed(document: Any, told: Told) -> list[Hit]:  # noqa: ANN401 - JSON is any
    """The products.

    Raises:
        MalformedError: It is no list of products.
    """
    if not isinstance(document, list):
        raise shape.malformed(told.title, "its products", "a list", document)
    hits = []
    for row in document:
        said = row if isinstance(row, Mapping) else {}
        keys = ("id", "base_currency", "quote_currency")
        symbol, base, quote = (said.get(key) for key in keys)
        if not (isinstance(symbol, str) and isinstance(base, str) and isinstance(quote, str)):
            raise shape.malformed(told.title, "its products", " ".join(keys), row)
        hits.append(
            Hit(
                symbol=symbol,
                name=f"{base} / {quote}",
                type="crypto",
                exchange=told.provider.upper(),
                currency=quote,
                provider=told.provider,
                provider_symbol=symbol,
                listed=None if "status" not in said else said["status"] != "delisted",
            )
        )
    return hits


_RULES: Final = (
    Rule(RateLimitedError, "{provider} says: later.", "wait some seconds", words=("rate limit",)),
    Rule(NotFoundError, "{provider} does not know {name}.",
         "check the spelling; `tickerlake search` finds symbols",
         statuses=(404,), words=("notfound",)),
    Rule(ConfigError, "{provider} does not answer where we are, or not us.",
         "look whether it serves your country; or set base_url to a mirror", statuses=(401, 403)),
)  # fmt: skip
#: Of an answer that is an error already.
_RANGES: Final = (
    Rule(RangeError, "{provider} does not take this request.", "ask for another range or interval",
         words=("granularity", "aggregations", "start", "too old", "end")),
)  # fmt: skip


def refusal(status: int, body: bytes, title: str, symbol: str | None) -> TickerlakeError | None:
    """The error that an answer tells by its status, then by its message; None for a good one."""
    if status < 300:
        return None
    try:
        document = shape.decoded(body, title)
    except MalformedError:
        document = {"message": body[:80].decode(errors="replace")}
    return _told(status, document, title, symbol)


def _told(status: int, document: object, title: str, symbol: str | None) -> TickerlakeError | None:
    text = str(document.get("message", "")) if isinstance(document, Mapping) else ""
    rules = (*_RULES, *(_RANGES if text and status < 500 and not 300 <= status < 400 else ()))
    return told_refusal(
        rules, provider=title, status=status, text=text, symbol=symbol, expected="candles or trades"
    )


def _candles(rows: list[Any], told: Told) -> Answer:
    """Rows are time, LOW, HIGH, open, close, volume: the newest first."""
    title, symbol = told.title, told.require_symbol()
    times, *prices = shape.columns_of(rows, 6, title)
    starts = shape.nanoseconds(times, title, "the time of a candle")
    low, high, opened, close, volume = (
        shape.floats(column, title, "a price or volume") for column in prices
    )
    candles = crypto.Candles(starts, opened, high, low, close, volume)
    return candles.answer(told, currency=quote_of(symbol))


def _trades(rows: list[Any], told: Told) -> Answer:
    """The newest first; `side` is the maker's."""
    symbol = told.require_symbol()
    try:
        keys = ("trade_id", "price", "size", "time", "side")
        ids, prices, sizes, times, sides = ([row[key] for row in rows] for key in keys)
    except (KeyError, TypeError) as error:
        raise shape.malformed(told.title, "its trades", f"objects with {keys}", rows) from error
    stamps = text_ns(shape.texts(times, told.title, "the time of a trade"))
    if stamps.null_count:
        raise shape.malformed(told.title, "the time of a trade", "ISO 8601", times)
    table = crypto.trades(
        told,
        symbol=symbol,
        currency=quote_of(symbol),
        ids=ids,
        prices=prices,
        sizes=sizes,
        times=stamps.to_numpy(),
        # The maker sold: so the taker bought.
        sides=crypto.sides(sides, _TAKERS),
    )
    in_order = table.take(pa.array(range(table.num_rows - 1, -1, -1), pa.int64()))
    return dataclasses.replace(empty_answer(), ticks={"trade": in_order})

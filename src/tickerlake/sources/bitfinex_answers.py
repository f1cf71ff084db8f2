"""Bitfinex's answers over REST → bars, trades, pairs, or the error of our tree that they tell.

Everything is an array without names, and arrays grow without notice: they are read by place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from tickerlake.errors import (
    ConfigError,
    MalformedError,
    NotFoundError,
    RangeError,
    RateLimitedError,
    TickerlakeError,
    UnreachableError,
)
from tickerlake.sources import crypto
from tickerlake.sources import crypto_shape as shape
from tickerlake.sources.base import Answer, Hit, empty_answer
from tickerlake.sources.crypto_shape import Told
from tickerlake.sources.refusals import Rule
from tickerlake.sources.refusals import refusal as told_refusal

__all__ = ["listed", "parse_answer", "quote_of", "refusal"]

#: Numbers above it are times in ms (2001), below it are ids, prices or amounts.
_MS_MIN = 10**12


def quote_of(symbol: str) -> str | None:
    """The quote currency: behind the colon, or the last three letters."""
    if ":" in symbol:
        return symbol.rpartition(":")[2]
    return symbol[-3:] if len(symbol) >= 7 else None


def parse_answer(document: Any, told: Told) -> Answer:  # noqa: ANN401 - JSON is any
    """The records of a decoded answer.

    Raises:
        TickerlakeError: What the answer tells, or that it is none.
    """
    refused = _told(200, document, told.title, told.symbol)
    if refused is not None:
        raise refused
    if not isinstance(document, list):
        raise shape.malformed(told.title, "its whole", "an array", document)
    if not document:
        return empty_answer()
    if told.symbol and told.symbol.startswith("f"):
        return crypto.noted(f"{told.symbol}: funding, which is another market, no records")
    first = document[0]
    if isinstance(first, int) and first >= _MS_MIN and len(document) >= 6:
        document, first = [document], document  # `last` gives one row, flat
    other = _other(document)
    if other is not None:
        return crypto.noted(f"{other}, no records")
    if not isinstance(first, list):
        raise shape.malformed(told.title, "its whole", "rows of candles, trades or pairs", document)
    if first and isinstance(first[0], str):
        return crypto.noted(f"a list of {len(listed(document, told)):,} pairs, no records")
    times = shape.columns_of(document, 4, told.title)[0]
    is_candles = len(first) >= 6 and isinstance(times[0], int) and times[0] >= _MS_MIN
    return _candles(document, told) if is_candles else _trades(document, told)


def _other(document: list[Any]) -> str | None:
    """What holds none of our records: it is told by its form alone."""
    first = document[0]
    rows = first if isinstance(first, list) else document
    if document in ([0], [1]):
        return "the state of the platform"
    if not isinstance(first, list):
        numbers = all(isinstance(value, int | float) for value in document)
        return "the newest state of one market" if numbers and len(document) >= 10 else None
    if isinstance(rows[:1], list) and isinstance((rows or [None])[0], str) and len(rows) > 1:
        is_market = not isinstance(rows[1], str)
        return "the newest states of markets" if is_market else None
    is_book = len(rows) == 3 and all(isinstance(value, int | float) for value in rows)
    return "the book of orders" if is_book else None


def listed(document: Any, told: Told) -> list[Hit]:  # noqa: ANN401 - JSON is any
    """The pairs: one list inside another.

    Raises:
        MalformedError: It is no list of pairs.
    """
    nested = document[0] if isinstance(document, list) and len(document) == 1 else None
    if not isinstance(nested, list) or not all(isinstance(pair, str) for pair in nested):
        raise shape.malformed(told.title, "its pairs", "[[pair, …]]", document)
    hits = []
    for pair in nested:
        symbol = f"t{pair}"
        quote = quote_of(symbol)
        base = pair.partition(":")[0] if ":" in pair else pair[:-3]
        hits.append(
            Hit(
                symbol=symbol,
                name=f"{base} / {quote}" if quote else base,
                type="crypto",
                exchange=told.provider.upper(),
                currency=quote,
                provider=told.provider,
                provider_symbol=symbol,
                listed=True,
            )
        )
    return hits


def refusal(status: int, body: bytes, title: str, symbol: str | None) -> TickerlakeError | None:
    """The error that an answer tells by its status, then by its body; None for a good one."""
    if status < 300:
        return None
    try:
        document = shape.decoded(body, title)
    except MalformedError:
        document = body[:80].decode(errors="replace")
    return _told(status, document, title, symbol)


_RULES: Final = (
    Rule(RateLimitedError, "{provider} says: later.", "wait a minute, then try again",
         codes=("11010",), words=("ratelimit", "rate_limit")),
    Rule(NotFoundError, "{provider} does not know {name}.",
         "check the spelling; `tickerlake search` finds symbols", words=("symbol", "pair")),
    Rule(ConfigError, "{provider} does not answer where we are, or not us.",
         "look whether it serves your country; or set base_url to a mirror", statuses=(401, 403)),
    Rule(RangeError, "{provider} does not take this request.", "ask for another range or interval",
         codes=("10020",), statuses=(400, 422)),
    Rule(UnreachableError, "{provider} cannot answer at the moment.", "try again later",
         codes=("20060", "10000", "10001"), words=("maintenance",)),
)  # fmt: skip
#: Said of a symbol, without the word.
_INVALID: Final = "invalid"


def _told(status: int, document: object, title: str, symbol: str | None) -> TickerlakeError | None:
    """`["error", code, text]`, or `{"error": …}`, with any status."""
    code, text = _words(document)
    if status < 300 and code is None and not text:
        return None
    if code == 10020 and text.lower() == _INVALID:
        return shape.unknown(title, symbol, f"HTTP {status}, code {code}: {text}")
    told = text if code is None else f"code {code}: {text}"
    found = told_refusal(
        _RULES, provider=title, status=status, text=told, symbol=symbol,
        expected="candles or trades", code=str(code or ""),
    )  # fmt: skip
    return found or MalformedError(
        f"{title} refuses this request.", expected="candles, trades or pairs",
        found=f"HTTP {status}: {told[:160]}", todo="report it, with what was found",
    )  # fmt: skip


def _words(document: object) -> tuple[object, str]:
    if isinstance(document, list) and document[:1] == ["error"]:
        told = [*document, None, ""]
        return told[1] or "none", str(told[2])
    if isinstance(document, Mapping):
        return None, str(document.get("error") or document.get("message") or dict(document))
    return (None, document) if isinstance(document, str) else (None, "")


def _candles(rows: list[Any], told: Told) -> Answer:
    """Rows are time, open, CLOSE, high, low, volume."""
    title, symbol = told.title, told.require_symbol()
    times, *prices = shape.columns_of(rows, 6, title)
    starts = shape.nanoseconds(times, title, "the time of a candle")
    opened, close, high, low, volume = (
        shape.floats(column, title, "a price or volume") for column in prices
    )
    candles = crypto.Candles(starts, opened, high, low, close, volume)
    return candles.answer(told, currency=quote_of(symbol))


def _trades(rows: list[Any], told: Told) -> Answer:
    """Rows are id, time, amount (negative: the taker sold), price."""
    title, symbol = told.title, told.require_symbol()
    ids, times, amounts, prices = shape.columns_of(rows, 4, title)
    signed = shape.floats(amounts, title, "the amount of a trade").to_numpy(zero_copy_only=False)
    table = crypto.trades(
        told,
        symbol=symbol,
        currency=quote_of(symbol),
        ids=ids,
        prices=prices,
        sizes=abs(signed).tolist(),
        times=shape.nanoseconds(times, title, "the time of a trade"),
        sides=["sell" if amount < 0 else "buy" for amount in signed.tolist()],
    )
    return dataclasses.replace(empty_answer(), ticks={"trade": table.sort_by("ts_ns")})

"""Kraken's answers over REST → bars, trades, pairs, or the error of our tree that they tell.

Every answer is `{"error": […], "result": …}` and comes with HTTP 200 also when it is an error. The
key of a result is never the name that was asked for: XBTUSD is answered with XXBTZUSD.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

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

__all__ = [
    "document_of",
    "listed",
    "modern",
    "pair_of",
    "parse_answer",
    "quote_of",
    "refusal",
    "seconds_ns",
]

#: Names of the first version, and of REST, by those of the second.
_OLD: Final = {"BTC": "XBT", "DOGE": "XDG"}
_NEW: Final = {old: new for new, old in _OLD.items()}
#: Answers that hold none of our records, by a key of theirs.
_OTHERS: Final = {
    "aclass": "a list of assets",
    "bids": "the book of orders",
    "v": "the ticker's newest state",
}
_QUOTES: Final = (
    "USDT", "USDC", "USDQ", "USDR", "PYUSD", "DAI", "USD", "EUR", "GBP", "CAD", "JPY", "CHF",
    "AUD", "XBT", "BTC", "ETH",
)  # fmt: skip


def pair_of(symbol: str) -> str:
    """What REST calls it: BTC/USD is XBTUSD; a name without a slash is sent as it is."""
    base, slash, quote = symbol.partition("/")
    return f"{_OLD.get(base, base)}{_OLD.get(quote, quote)}" if slash else symbol


def modern(name: str) -> str:
    """The name of the second version: XBT/USD is BTC/USD."""
    return "/".join(_NEW.get(asset, asset) for asset in name.split("/"))


def quote_of(symbol: str) -> str | None:
    """The quote currency: behind the slash, or how the name ends (XXBTZUSD: USD)."""
    if "/" in symbol:
        return symbol.partition("/")[2]
    return next((end for end in _QUOTES if symbol.endswith(end) and symbol != end), None)


def document_of(document: Any, told: Told) -> Mapping[str, Any]:  # noqa: ANN401 - JSON is any
    """What stands in `result`.

    Raises:
        TickerlakeError: The error that the answer tells, or that it is none.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("error"), list):
        raise shape.malformed(told.title, "its whole", "error and result", document)
    refused = _told(200, document["error"], told.title, told.symbol)
    if refused is not None:
        raise refused
    result = document.get("result")
    if not isinstance(result, Mapping):
        raise shape.malformed(told.title, "result", "an object", result)
    return result


def parse_answer(document: Any, told: Told) -> Answer:  # noqa: ANN401 - JSON is any
    """The records of a decoded answer.

    Raises:
        TickerlakeError: What the answer tells, or that it is none.
    """
    result = document_of(document, told)
    named = [(key, value) for key, value in result.items() if key != "last"]
    if not named:
        return empty_answer() if "last" in result else crypto.noted("an answer without a pair")
    key, rows = named[0]
    if key in ("unixtime", "status"):
        return crypto.noted("the server's time or state, no records")
    if isinstance(rows, Mapping):
        if "wsname" in rows or "altname" in rows:
            return crypto.noted(f"a list of {len(named):,} pairs, no records")
        other = crypto.other_answer(rows, _OTHERS)
        if other is not None:
            return other
        raise shape.malformed(told.title, "result", "candles, trades or pairs", rows)
    # REST answers of today name the pair asked for, or one key of several names of it.
    told = dataclasses.replace(told, symbol=told.symbol or key)
    if not rows:
        return empty_answer()
    if isinstance(rows, list) and all(isinstance(row, list) and len(row) == 3 for row in rows):
        return crypto.noted("best bids and asks of the past, no records")
    # A candle's fourth value is a price, a trade's the letter b or s.
    is_trades = shape.columns_of(rows, 6, told.title)[3][0] in ("b", "s")
    return _trades(rows, told) if is_trades else _candles(rows, told)


def listed(result: Mapping[str, Any], told: Told) -> list[Hit]:
    """The pairs; those of the dark pool, which have no name on the socket, are left out.

    Raises:
        MalformedError: It is no list of pairs.
    """
    hits = []
    for row in result.values():
        if not isinstance(row, Mapping):
            raise shape.malformed(told.title, "its pairs", "an object a pair", row)
        name = row.get("wsname")
        if not isinstance(name, str) or "/" not in name:
            continue
        symbol = modern(name)
        base, _, quote = symbol.partition("/")
        hits.append(
            Hit(
                symbol=symbol,
                name=f"{base} / {quote}",
                type="crypto",
                exchange=told.provider.upper(),
                currency=quote,
                provider=told.provider,
                provider_symbol=symbol,
                listed=True if "status" in row else None,
            )
        )
    return hits


def refusal(status: int, body: bytes, title: str, symbol: str | None) -> TickerlakeError | None:
    """The error that an answer tells by its status; those with HTTP 200 are told by `_told`."""
    if status < 300:
        return None
    try:
        document = shape.decoded(body, title)
        said = document.get("error") if isinstance(document, Mapping) else None
    except MalformedError:
        said = None
    words = said if isinstance(said, list) else [body[:80].decode(errors="replace")]
    return _told(status, words, title, symbol)


_RULES: Final = (
    Rule(NotFoundError, "{provider} does not know {name}.",
         "check the spelling; `tickerlake search` finds symbols",
         words=("unknown asset pair", "invalid asset pair")),
    Rule(RateLimitedError, "{provider} says: later.", "wait some seconds, then try again",
         words=("rate limit", "throttled", "limit exceeded")),
    Rule(UnreachableError, "{provider} cannot answer at the moment.", "try again later",
         words=("unavailable", "busy", "timeout", "internal error", "market in")),
    Rule(ConfigError, "{provider} does not answer where we are, or not us.",
         "look whether it serves your country; or set base_url to a mirror",
         statuses=(403,),
         words=("permission denied", "invalid key", "restricted", "temporary lockout")),
    Rule(RangeError, "{provider} does not take this request.", "ask for another range or interval",
         words=("invalid arguments", "unknown method")),
)  # fmt: skip


def _told(status: int, errors: list[Any], title: str, symbol: str | None) -> TickerlakeError | None:
    """Severity is the first letter: E is an error, W only a warning."""
    said = [str(error) for error in errors if not str(error).startswith("W")]
    if status < 300 and not said:
        return None
    text = "; ".join(said)
    found = told_refusal(
        _RULES,
        provider=title,
        status=status,
        text=text,
        symbol=symbol,
        expected="candles or trades",
    )
    return found or MalformedError(
        f"{title} refuses this request.", expected="candles, trades or pairs",
        found=f"HTTP {status}: {text[:120]}", todo="report it, with what was found",
    )  # fmt: skip


def _candles(rows: list[Any], told: Told) -> Answer:
    """Rows are time, open, high, low, close, vwap, volume, count: the oldest first."""
    title = told.title
    columns = shape.columns_of(rows, 7, title)
    starts = shape.nanoseconds(columns[0], title, "the time of a candle")
    prices = (shape.floats(columns[at], title, "a price or volume") for at in (1, 2, 3, 4, 6))
    return crypto.Candles(starts, *prices).answer(told, currency=quote_of(told.require_symbol()))


def _trades(rows: list[Any], told: Told) -> Answer:
    """Rows are price, volume, time, b|s, m|l, misc, and of late the trade's id."""
    title = told.title
    prices, sizes, times, sides, *_ = shape.columns_of(rows, 6, title)
    symbol = told.require_symbol()
    table = crypto.trades(
        told,
        symbol=symbol,
        currency=quote_of(symbol),
        ids=[row[6] if len(row) > 6 else None for row in rows],
        prices=prices,
        sizes=sizes,
        times=seconds_ns(times, title),
        sides=crypto.sides(sides, {"s": "sell", "b": "buy"}),
    )
    return dataclasses.replace(empty_answer(), ticks={"trade": table})


def seconds_ns(times: Sequence[Any], title: str) -> shape.Int64s:
    """Seconds as decimal text with up to nine digits, as ns: a float would lose some.

    Cut to µs: that is all that the socket tells of the same trade, and both must agree.

    Raises:
        MalformedError: They are none, or not of this age.
    """
    texts = shape.texts(times, title, "the time of a trade")
    try:
        nanos = pc.multiply(texts.cast(_SECONDS), _PER_SECOND).cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise shape.malformed(title, "the time of a trade", "seconds", error) from error
    return shape.nanoseconds(nanos, title, "the time of a trade") // 1000 * 1000


_SECONDS: Final = pa.decimal128(19, 9)
_PER_SECOND: Final = pa.scalar(Decimal(10**9), pa.decimal128(10, 0))

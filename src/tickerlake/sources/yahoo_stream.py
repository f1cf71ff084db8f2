"""What Yahoo says on its streamer, version 2: a ticker, not a tape.

A frame tells the last price and the day's volume so far; what traded between two frames is merged.
So a `trade` of ours is "the price stood here, and so much was traded since the frame before", its
`conditions` say `ticker`, and nothing proves that none is missing. Frames with a bid or an ask make
a `quote` too. Sources: yfinance's and other clients' code, one recording; no vendor page.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import pyarrow as pa

from tickerlake.records import Kind
from tickerlake.sources.frames import ticks
from tickerlake.sources.live import Frame, Heard
from tickerlake.sources.yahoo_protobuf import Pricing, read_pricing

__all__ = ["YahooTalk", "is_pricing"]

_FRAME_BYTES_MAX: Final = 10_000
_KEEP_ALIVE_SECONDS: Final = 15.0
#: `quote_type` of a frame; the heartbeat is no instrument.
_TYPES: Final = {
    8: "equity", 9: "index", 11: "fund", 12: "fund", 13: "option", 14: "currency", 18: "future",
    20: "etf", 41: "crypto",
}  # fmt: skip
_HEARTBEAT: Final = 7
_HOURS: Final = {0: "pre", 2: "post", 3: "extended", 4: "overnight"}
#: 1900 to 2200: nothing else is a time of a market.
_TIMES_MS: Final = range(-2_208_988_800_000, 7_258_118_400_000)


class _Envelope(msgspec.Struct):
    type: str = ""
    message: str | None = None


_DECODER: Final = msgspec.json.Decoder(_Envelope)


def is_pricing(payload: bytes) -> bool:
    """Whether a single document is a frame of the streamer: version 2, or the bare version 1."""
    if len(payload) > _FRAME_BYTES_MAX:
        return False
    try:
        return bool(_pricing(payload.strip()).symbol)
    except ValueError:
        return False


class YahooTalk:
    """One connection. A trade's size is the growth of the day's volume, so the first has none."""

    headers: Mapping[str, str] = {}
    keep_alive_seconds: float | None = _KEEP_ALIVE_SECONDS

    def __init__(
        self, socket_url: str, symbols: Sequence[str], kinds: Sequence[Kind], *, silence: float
    ) -> None:
        self.url = f"{socket_url}/?version=2"
        self.silence_seconds = silence
        self._symbols = tuple(symbols)
        self._kinds = frozenset(kinds)
        #: Of each symbol: time, price and volume of its last frame, then bid and ask with sizes.
        self._trades: dict[str, tuple[int, float, int | None]] = {}
        self._quotes: dict[str, tuple[Any, ...]] = {}

    def hello(self) -> Sequence[str | bytes]:
        """The subscription, all symbols at once."""
        return [json.dumps({"subscribe": self._symbols})]

    def keep_alive(self) -> Sequence[str | bytes]:
        """The subscription again: without it Yahoo stops sending."""
        return self.hello()

    def read(self, frames: Sequence[Frame]) -> Heard:
        """What moved: a repeated price with an unmoved volume is no trade."""
        trades: list[tuple[Any, ...]] = []
        quotes: list[tuple[Any, ...]] = []
        notes: dict[str, None] = {}
        ready = False
        for frame in frames:
            if frame.direction != "in":
                continue
            try:
                told = _pricing(frame.data)
            except ValueError as error:
                notes[f"a frame that is no pricing message ({error})"] = None
                continue
            ready = True
            if not told.symbol or told.quote_type == _HEARTBEAT:
                continue
            if told.time_ms is None or told.time_ms not in _TIMES_MS:
                notes[f"{told.symbol}: a frame without a time was left out"] = None
                continue
            if "trade" in self._kinds:
                trades += self._trade(told, frame)
            if "quote" in self._kinds:
                quotes += self._quote(told, frame)
        tables: dict[Kind, pa.Table] = {}
        if trades:
            tables["trade"] = _table("trade", trades, _TRADE)
        if quotes:
            tables["quote"] = _table("quote", quotes, _QUOTE)
        return Heard(tables=tables, ready=ready, notes=tuple(notes))

    def _trade(self, told: Pricing, frame: Frame) -> list[tuple[Any, ...]]:
        if told.price is None or told.time_ms is None:
            return []
        now = (told.time_ms, told.price, told.day_volume)
        before = self._trades.get(told.symbol)
        if before == now or (before is not None and told.time_ms < before[0]):
            return []
        self._trades[told.symbol] = now
        size: float | None = None
        if before is not None and before[2] is not None and told.day_volume is not None:
            grown = told.day_volume - before[2]
            if grown == 0 and told.price == before[1]:
                return []  # only the clock moved on
            size = float(grown) if grown > 0 else None  # a new day begins at nothing
        hours = _HOURS.get(told.market_hours)
        is_round_the_clock = told.quote_type in (14, 18, 41)
        conditions = "ticker" if hours is None or is_round_the_clock else f"ticker,{hours}"
        return [(*_head(told, frame), told.price, size, told.exchange, conditions)]

    def _quote(self, told: Pricing, frame: Frame) -> list[tuple[Any, ...]]:
        sides = (told.bid, told.bid_size, told.ask, told.ask_size)
        if not (told.bid or told.ask) or self._quotes.get(told.symbol) == sides:
            return []
        self._quotes[told.symbol] = sides
        return [(*_head(told, frame), *(side or None for side in sides))]


def _pricing(data: str | bytes) -> Pricing:
    """Version 2 wraps the message in JSON; version 1 sends it bare.

    Raises:
        ValueError: Neither.
    """
    message: str | bytes | None = data
    if data[:1] in ("{", b"{"):
        try:
            envelope = _DECODER.decode(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise ValueError("no JSON of this kind") from error
        if envelope.type != "pricing":
            raise ValueError(f"type {envelope.type[:40]!r}")
        message = envelope.message
    try:
        read = read_pricing(binascii.a2b_base64(message or "", strict_mode=True))
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ValueError("no base64 of a message") from error
    if not read.symbol:
        raise ValueError("no symbol")
    return read


def _head(told: Pricing, frame: Frame) -> tuple[Any, ...]:
    ns = (told.time_ms or 0) * 1_000_000
    kind = _TYPES.get(told.quote_type or 0)
    return frame.received_at, told.symbol, ns, told.currency or None, kind


_HEAD: Final = (
    ("received_at", pa.timestamp("us", "UTC")),
    ("symbol", pa.string()),
    ("ts_ns", pa.int64()),
    ("currency", pa.string()),
    ("instrument_type", pa.string()),
)
_TRADE: Final = (
    *_HEAD,
    ("price", pa.float32()),
    ("size", pa.float64()),
    ("venue", pa.string()),
    ("conditions", pa.string()),
)
_QUOTE: Final = (
    *_HEAD,
    ("bid", pa.float32()),
    ("bid_size", pa.float64()),
    ("ask", pa.float32()),
    ("ask_size", pa.float64()),
)


def _table(
    kind: Kind, rows: list[tuple[Any, ...]], columns: Sequence[tuple[str, pa.DataType]]
) -> pa.Table:
    arrays = {
        name: _exact(pa.array(values, type_))
        for (name, type_), values in zip(columns, zip(*rows, strict=True), strict=True)
    }
    return ticks(kind, "yahoo", arrays.pop("received_at"), **arrays)


def _exact(values: pa.Array) -> pa.Array:
    """A float32 as the shortest decimal that is it: 110429.42, not 110429.421875."""
    if not pa.types.is_float32(values.type):
        return values
    return values.cast(pa.string()).cast(pa.float64())

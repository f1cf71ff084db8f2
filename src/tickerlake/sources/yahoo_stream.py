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
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.records import Kind
from tickerlake.sources.frames import ticks
from tickerlake.sources.live import Frame, Heard
from tickerlake.sources.yahoo_moves import SIDES, LastQuotes, LastTrades
from tickerlake.sources.yahoo_protobuf import (
    Ints,
    Pricing,
    Pricings,
    Told,
    read_many,
    read_pricing,
)

__all__ = ["YahooTalk", "is_pricing"]

_FRAME_BYTES_MAX: Final = 10_000
_KEEP_ALIVE_SECONDS: Final = 15.0
#: `quote_type` of a frame; the heartbeat is no instrument.
_TYPES: Final = {
    8: "equity", 9: "index", 11: "fund", 12: "fund", 13: "option", 14: "currency", 18: "future",
    20: "etf", 41: "crypto",
}  # fmt: skip
_HEARTBEAT: Final = 7
_INSTRUMENTS: Final = tuple(_TYPES.get(number) for number in range(64))
_ROUND_THE_CLOCK: Final = (14, 18, 41)
#: By `market_hours`.
_CONDITIONS: Final = (
    "ticker,pre", "ticker", "ticker,post", "ticker,extended", "ticker,overnight",
)  # fmt: skip
_IN_SESSION: Final = 1
#: 1900 to 2200: nothing else is a time of a market.
_TIMES_MS: Final = range(-2_208_988_800_000, 7_258_118_400_000)


class _Envelope(msgspec.Struct, gc=False):
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
        self._trades = LastTrades()
        self._quotes = LastQuotes()

    def hello(self) -> Sequence[str | bytes]:
        """The subscription, all symbols at once."""
        return [json.dumps({"subscribe": self._symbols})]

    def keep_alive(self) -> Sequence[str | bytes]:
        """The subscription again: without it Yahoo stops sending."""
        return self.hello()

    def read(self, frames: Sequence[Frame]) -> Heard:
        """What moved: a repeated price with an unmoved volume is no trade."""
        incoming = [frame for frame in frames if frame.direction == "in"]
        notes: dict[str, None] = {}
        told = read_many(_messages(incoming))
        numbers = told.numbers
        times = numbers["time_ms"]
        in_time = times.told & (times.values >= _TIMES_MS.start) & (times.values < _TIMES_MS.stop)
        good = ~told.odd & in_time
        alone: dict[int, Pricing] = {}
        ready = bool(good.any())
        for row in np.flatnonzero(~good).tolist():
            try:
                one = _pricing(incoming[row].data)
            except ValueError as error:
                notes[f"a frame that is no pricing message ({error})"] = None
                continue
            ready = True
            if one.quote_type == _HEARTBEAT:
                continue
            if one.time_ms is None or one.time_ms not in _TIMES_MS:
                notes[f"{one.symbol}: a frame without a time was left out"] = None
                continue
            alone[row] = one
        told.put(list(alone), list(alone.values()))
        good[list(alone)] = True
        good &= numbers["quote_type"].values != _HEARTBEAT
        tables: dict[Kind, pa.Table] = {}
        if "trade" in self._kinds:
            rows, size = self._trades.moved(told, np.flatnonzero(good & numbers["price"].told))
            if len(rows):
                tables["trade"] = _trades(incoming, told, rows, size)
        if "quote" in self._kinds:
            bid, ask = numbers["bid"], numbers["ask"]
            sided = (bid.told & (bid.values != 0)) | (ask.told & (ask.values != 0))
            rows = self._quotes.moved(told, np.flatnonzero(good & sided))
            if len(rows):
                tables["quote"] = _quotes(incoming, told, rows)
        return Heard(tables=tables, ready=ready, notes=tuple(notes))


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


def _messages(frames: Sequence[Frame]) -> list[bytes]:
    """The message in each frame of version 2; empty where it has to be looked for."""
    try:
        lines = "\n".join([frame.data for frame in frames])  # type: ignore[misc]  # or TypeError
        envelopes = _DECODER.decode_lines(lines)
    except (TypeError, msgspec.DecodeError, UnicodeError, RecursionError):
        return [b""] * len(frames)
    if not len(envelopes) == len(frames) == lines.count("\n") + bool(frames):
        return [b""] * len(frames)  # not one a line
    return [_message(envelope) for envelope in envelopes]


def _message(envelope: _Envelope) -> bytes:
    try:
        if envelope.type == "pricing":
            return binascii.a2b_base64(envelope.message or "", strict_mode=True)
    except (binascii.Error, ValueError):
        pass
    return b""


def _trades(frames: Sequence[Frame], told: Pricings, rows: Ints, size: pa.Array) -> pa.Table:
    hours = told.numbers["market_hours"].values[rows]
    is_session = np.isin(told.numbers["quote_type"].values[rows], _ROUND_THE_CLOCK, invert=True)
    hours = np.where(is_session & (hours >= 0) & (hours < len(_CONDITIONS)), hours, _IN_SESSION)
    return _table(
        "trade", frames, told, rows,
        price=_exact(told.numbers["price"].of(rows)),
        size=size,
        venue=told.texts["exchange"].take(pa.array(rows)),
        conditions=pa.array(_CONDITIONS).take(pa.array(hours)),
    )  # fmt: skip


def _quotes(frames: Sequence[Frame], told: Pricings, rows: Ints) -> pa.Table:
    sides = {name: told.numbers[name].of(rows) for name in SIDES}
    shown = {
        name: Told(side.values, side.told & (side.values != 0)) for name, side in sides.items()
    }
    return _table(
        "quote", frames, told, rows, **{name: _exact(side) for name, side in shown.items()}
    )


def _table(
    kind: Kind, frames: Sequence[Frame], told: Pricings, rows: Ints, **columns: pa.Array
) -> pa.Table:
    types = told.numbers["quote_type"].values[rows]
    types = np.where((types >= 0) & (types < len(_INSTRUMENTS)), types, 0)
    currency = told.texts["currency"].take(pa.array(rows))
    received = [frames[row].received_at for row in rows.tolist()]
    return ticks(
        kind,
        "yahoo",
        pa.array(received, pa.timestamp("us", "UTC")),
        symbol=told.texts["symbol"].take(pa.array(rows)),
        ts_ns=pa.array(told.numbers["time_ms"].values[rows] * 1_000_000),
        currency=pc.if_else(pc.equal(currency, ""), None, currency),
        instrument_type=pa.array(_INSTRUMENTS, pa.string()).take(pa.array(types)),
        **columns,
    )


def _exact(column: Told) -> pa.Array:
    """As float64: a float32 as the shortest decimal that is it: 110429.42, not 110429.421875."""
    values = pa.array(column.values, mask=~column.told)
    if not pa.types.is_float32(values.type):
        return pa.array(column.values.astype(np.float64), mask=~column.told)
    return values.cast(pa.string()).cast(pa.float64())

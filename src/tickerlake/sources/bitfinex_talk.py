"""Bitfinex's socket: trades, tickers and candles on numbered channels, with sequence numbers.

Arrays of channel, payload, and at the end what the flags of the connection ask for: a sequence
number over all frames (SEQ_ALL), and a time in ms (TIMESTAMP).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import compress
from typing import Any, Final, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.errors import RangeError, RateLimitedError, UnreachableError
from tickerlake.records import Kind
from tickerlake.sources import crypto_talk as talk
from tickerlake.sources.bitfinex_answers import quote_of
from tickerlake.sources.crypto import INTERVAL_SECONDS
from tickerlake.sources.crypto_shape import floats
from tickerlake.sources.live import Frame, Heard, Suspicion

__all__ = ["CHANNELS_MAX", "BitfinexTalk"]

#: Channels of one connection: 25 now, 50 in 2018 (doc).
CHANNELS_MAX: Final = 25
_SEQUENCE: Final = 65_536
_CHANNELS: Final[Mapping[Kind, str]] = {"trade": "trades", "quote": "ticker"}
_FRAMES: Final = {
    "1m": "1m", "5m": "5m", "15m": "15m", "30m": "30m", "1h": "1h", "1D": "1d", "1W": "1wk",
    "7D": "1wk",
}  # fmt: skip
#: Trades told at once (te) come again settled (tu): so many ids are remembered a channel.
_IDS_MAX: Final = 2000
#: Times in ms, 1973 to 2200: a sequence is no time, nor a time a sequence.
_MS_MIN: Final = 10**11
_MS_MAX: Final = 7_258_118_400_000
#: What every column can hold.
_SIZE_MAX: Final = 1e18
_NUMBERS: Final = (int, float)
#: A trade at once, and settled.
_TRADED: Final = ("te", "tu")
#: Frames tell when they came: what they held happened up to so long before.
_LAG: Final = timedelta(seconds=5)
_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class _Channel:
    kind: Kind | None
    symbol: str
    interval: str = ""
    ids: set[int] = field(default_factory=set)
    older_ids: set[int] = field(default_factory=set)


class _Trade(msgspec.Struct, array_like=True, gc=False):
    """A trade's row, of which more items may follow."""

    number: int
    time: int
    amount: float
    price: float


class _Traded(msgspec.Struct, array_like=True, gc=False, forbid_unknown_fields=True):
    """A whole frame of one trade, as most of them are; behind it what the flags asked for."""

    channel: int
    word: Literal["te", "tu"]
    trade: _Trade
    extra: int | None = None
    more: int | None = None


_TRADED_LINES: Final = msgspec.json.Decoder(_Traded)


class BitfinexTalk:
    """One connection, whose channels have other numbers than those of the one before."""

    #: A heartbeat comes every 15 s on each channel (doc).
    silence_seconds: float
    keep_alive_seconds: float | None = None

    def __init__(
        self,
        provider: str,
        title: str,
        url: str,
        symbols: Sequence[str],
        kinds: Sequence[Kind],
        *,
        silence_seconds: float,
    ) -> None:
        asked = [(_CHANNELS[kind], symbol) for symbol in symbols for kind in kinds]
        if len(asked) > CHANNELS_MAX:
            raise RangeError(
                f"{title} takes no more channels on one connection.",
                expected=f"at most {CHANNELS_MAX}: symbols times kinds",
                found=str(len(asked)),
                todo="ask for fewer symbols or kinds",
            )
        self.url = url
        self.headers: Mapping[str, str] = {}
        self.silence_seconds = silence_seconds
        self._provider, self._title = provider, title
        self._asked = asked
        self._channels: dict[int, _Channel] = {}
        #: The last sequence number, and when it came.
        self._number: int | None = None
        self._numbered_at = _NEVER

    def hello(self) -> Sequence[str | bytes]:
        """The flags first: they count for what is subscribed after them."""
        asks = [
            {"event": "subscribe", "channel": channel, "symbol": symbol}
            for channel, symbol in self._asked
        ]
        return [json.dumps(ask) for ask in [{"event": "conf", "flags": _SEQUENCE}, *asks]]

    def keep_alive(self) -> Sequence[str | bytes]:
        """Nothing."""
        return ()

    def read(self, frames: Sequence[Frame]) -> Heard:
        """One by one, for a number means nothing without what its channel was; then as columns."""
        said = talk.Said()
        trades, quotes, bars = talk.Rows(), talk.Rows(), talk.Rows()
        rows = {"trade": trades, "quote": quotes, "bar": bars}
        incoming = talk.incoming(frames)
        for frame, document in zip(incoming, _documents(incoming), strict=True):
            read: Callable[..., None] = self._read_data
            if type(document) is _Traded:
                read = self._read_traded
            elif isinstance(document, Mapping):
                self._read_event(document, said)
                continue
            elif type(document) is not list or len(document) < 2:
                said.odd(frame.data)
                continue
            try:
                read(frame, document, rows, said)
            except (TypeError, ValueError, IndexError):
                said.odd(frame.data)
        self._add_trades(trades, said)
        self._add_quotes(quotes, said)
        self._add_bars(bars, said)
        return said.heard()

    def _read_event(self, document: Mapping[str, Any], said: talk.Said) -> None:
        event, code = document.get("event"), document.get("code")
        platform = document.get("platform")
        if event == "subscribed":
            self._subscribe(document, said)
        elif event == "info" and isinstance(platform, Mapping) and platform.get("status") == 0:
            said.error = self._ends("it is under maintenance", document)
        elif event == "info" and code in (20051, 20060, 20061):
            why = {20051: "it restarts", 20060: "maintenance begins", 20061: "maintenance is over"}
            said.error = self._ends(why[code], document)
        elif event == "error" and code == 10301:
            said.note(f"{self._title} says: {str(document.get('msg'))[:120]}")
        elif event == "error" and (code == 11010 or "ratelimit" in str(document.get("msg"))):
            said.error = RateLimitedError(
                f"{self._title} says: later.", expected="records", found=str(dict(document))[:160],
                todo="wait a minute",
            )  # fmt: skip
        elif event == "error":
            found = f"{document.get('msg')} ({code}) {document.get('symbol', '')}"
            said.error = talk.refused_subscription(self._title, found)
        elif event not in ("info", "conf", "pong", "unsubscribed"):
            said.note(f"a frame that we do not know: {str(dict(document))[:120]}")

    def _subscribe(self, document: Mapping[str, Any], said: talk.Said) -> None:
        number, channel = document.get("chanId"), document.get("channel")
        symbol, key = document.get("symbol"), document.get("key")
        if not isinstance(number, int):
            said.note(f"a subscription without a channel's number: {str(dict(document))[:120]}")
            return
        said.ready = True
        kinds: dict[object, Kind] = {"trades": "trade", "ticker": "quote", "candles": "bar"}
        kind, interval = (kinds.get(channel), "") if isinstance(channel, str) else (None, "")
        if kind == "bar" and isinstance(key, str) and key.count(":") >= 2:
            _, frame, symbol = key.split(":", 2)
            interval = _FRAMES.get(frame, "")
        if not isinstance(symbol, str) or not symbol.startswith("t"):
            kind = None  # funding is another market
        if kind is None or (kind == "bar" and not interval):
            said.note(f"the channel {channel!r}, which holds no records of ours, was passed over")
            kind = None
        self._channels[number] = _Channel(kind, str(symbol), interval)

    def _ends(self, why: str, document: Mapping[str, Any]) -> UnreachableError:
        return UnreachableError(
            f"{self._title} ends this connection: {why}.", expected="records",
            found=str(dict(document))[:160], todo="nothing: a new connection follows",
        )  # fmt: skip

    def _read_traded(
        self, frame: Frame, told: _Traded, rows: Mapping[str, talk.Rows], said: talk.Said
    ) -> None:
        """A frame of one trade: the short way of `_read_data`."""
        channel = self._channels.get(told.channel)
        if channel is None or channel.kind != "trade":
            self._read_data(frame, talk.decoded_frame(talk.text_of(frame)), rows, said)
            return
        number = told.extra
        if number is not None and number - 1 == self._number and number < _MS_MIN:
            self._number, self._numbered_at = number, frame.received_at
        else:
            self._count(frame, (number, told.more), said)
        self._add_trade(frame, channel, told.trade, rows["trade"])

    def _read_data(
        self, frame: Frame, document: list[Any], rows: Mapping[str, talk.Rows], said: talk.Said
    ) -> None:
        word = document[1]
        payload_at = 2 if word in _TRADED else 1
        self._count(frame, document[payload_at + 1 :], said)
        channel = self._channels.get(document[0]) if type(document[0]) is int else None
        if channel is None:
            if word != "hb" and type(document[0]) is int:
                said.note("frames of channels whose subscription is not among these were left out")
            elif word != "hb":
                said.odd(frame.data)
            return
        if channel.kind is None or word == "hb" or word == "cs":  # noqa: PLR1714
            return
        payload = document[payload_at]
        if not isinstance(payload, list):
            raise TypeError(payload)
        told = payload if payload and isinstance(payload[0], list) else [payload]
        if channel.kind == "trade":
            # A snapshot stands newest first.
            for row in reversed(told):
                if row != []:  # a snapshot of a market without trades
                    self._add_trade(frame, channel, _trade(row), rows["trade"])
        elif payload:
            for row in told:
                if channel.kind == "quote":
                    _require_numbers(row, 4)
                    values = row[:4]
                else:
                    _require_numbers(row, 6, time_at=0)
                    values = [*row[:6], channel.interval]
                rows[channel.kind].add(frame.received_at, channel.symbol, values)

    def _add_trade(self, frame: Frame, channel: _Channel, row: _Trade, rows: talk.Rows) -> None:
        number = row.number
        if not (-_SIZE_MAX < number < _SIZE_MAX and _MS_MIN <= row.time < _MS_MAX):
            raise ValueError(row)
        if not (-_SIZE_MAX < row.amount < _SIZE_MAX and -_SIZE_MAX < row.price < _SIZE_MAX):
            raise ValueError(row)
        if number in channel.ids or number in channel.older_ids:
            return  # told at once before, and now settled
        rows.add(frame.received_at, channel.symbol, row)
        channel.ids.add(number)
        if len(channel.ids) > _IDS_MAX:
            channel.ids, channel.older_ids = set(), channel.ids

    def _count(self, frame: Frame, extra: Sequence[Any], said: talk.Said) -> None:
        """The sequence rises by one over all frames of the connection, heartbeats included."""
        for number in extra:
            if type(number) is int and 0 <= number < _MS_MIN:
                break
        else:
            return
        before, at = self._number, self._numbered_at
        if before is None or number > before:
            self._number, self._numbered_at = number, frame.received_at
        if before is not None and number > before + 1:
            why = f"frames {before + 1} to {number - 1} of the connection did not come"
            said.suspicions += [
                Suspicion(channel.symbol, channel.kind, at - _LAG, frame.received_at, why)
                for channel in self._channels.values()
                if channel.kind is not None
            ]

    def _add_trades(self, rows: talk.Rows, said: talk.Said) -> None:
        told: list[_Trade] = rows.values
        if not told:
            return
        times = np.array([row.time for row in told], np.int64)
        amount = np.array([row.amount for row in told], np.float64)
        price = np.array([row.price for row in told], np.float64)
        ids = pa.array([row.number for row in told], pa.int64())
        said.add(
            "trade",
            talk.trades(
                self._provider, rows.received_at, currency=quote_of, symbol=rows.symbol,
                ts_ns=pa.array(times * 1_000_000), price=pa.array(price),
                size=pa.array(np.abs(amount)), trade_id=ids.cast(pa.string()),
                conditions=pc.if_else(pa.array(amount < 0), "sell", "buy"),
            ),
        )  # fmt: skip

    def _add_quotes(self, rows: talk.Rows, said: talk.Said) -> None:
        if rows.values:
            names = ("bid", "bid_size", "ask", "ask_size")
            told = {
                name: floats(column, self._title, "a quote")
                for name, column in zip(names, rows.columns(), strict=True)
            }
            table = talk.quotes(
                self._provider, rows.received_at, currency=quote_of, symbol=rows.symbol, **told
            )
            said.add("quote", table)

    def _add_bars(self, rows: talk.Rows, said: talk.Said) -> None:
        """A row may also mend the bar before the running one."""
        if not rows.values:
            return
        times, opened, close, high, low, volume, intervals = rows.columns()
        prices = {"open": opened, "high": high, "low": low, "close": close, "volume": volume}
        starts = np.array(times, np.int64) * 1000
        received = rows.received_at
        lengths = [INTERVAL_SECONDS[interval] * 1_000_000 for interval in intervals]
        closed = starts + lengths <= received.cast(pa.int64()).to_numpy()
        said.add(
            "bar",
            talk.bars(
                self._provider, received, currency=quote_of, symbol=rows.symbol,
                starts=pa.array(starts).cast(received.type), closed=pa.array(closed),
                interval=pa.array(intervals, pa.string()),
                **{name: floats(column, self._title, "a bar") for name, column in prices.items()},
            ),
        )  # fmt: skip


def _documents(frames: Sequence[Frame]) -> list[Any]:
    """The document of each frame, None where it is none; frames of one trade as `_Traded`.

    Those are read together, and without a list each, which the garbage collector would count.
    """
    is_trade = [
        type(frame.data) is str and ('"te",[' in frame.data or '"tu",[' in frame.data)
        for frame in frames
    ]
    texts = [talk.text_of(frame) for frame in compress(frames, is_trade)]
    lines = "\n".join(texts)
    try:
        told = _TRADED_LINES.decode_lines(lines)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return talk.documents(frames)  # one of them is odd
    if not len(told) == len(texts) == lines.count("\n") + bool(texts):
        return talk.documents(frames)  # not one a line
    if len(told) == len(frames):
        return told
    others = talk.documents([frame for frame, one in zip(frames, is_trade, strict=True) if not one])
    trades, rest = iter(told), iter(others)
    return [next(trades) if one else next(rest) for one in is_trade]


def _trade(row: Any) -> _Trade:  # noqa: ANN401 - whatever a frame says
    """A row of the right types; anything else is an odd frame."""
    number, time, amount, price = row[:4]
    whole = type(number) is int and type(time) is int
    if not (whole and type(amount) in _NUMBERS and type(price) in _NUMBERS):
        raise ValueError(row)
    return _Trade(number, time, amount, price)


def _require_numbers(row: Any, count: int, *, time_at: int | None = None) -> None:  # noqa: ANN401
    """What columns can hold, and a time in ms where one is; anything else is an odd frame."""
    if len(row) < count:
        raise ValueError(row)
    for value in row[:count]:
        if type(value) not in _NUMBERS or not -_SIZE_MAX < value < _SIZE_MAX:
            raise ValueError(row)
    if time_at is not None and not (
        type(row[time_at]) is int and _MS_MIN <= row[time_at] < _MS_MAX
    ):
        raise ValueError(row)

"""The first version of Kraken's socket, as old recordings have it.

Arrays of channel id, payload, channel and pair: trades without ids, the ticker, and `ohlc`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.sources import crypto_talk as talk
from tickerlake.sources.crypto import INTERVAL_SECONDS
from tickerlake.sources.crypto_shape import floats
from tickerlake.sources.kraken_answers import quote_of, seconds_ns
from tickerlake.sources.live import Frame

__all__ = ["FirstVersion"]

_MINUTES: Final = {seconds // 60: name for name, seconds in INTERVAL_SECONDS.items()}
_MINUTE_NS: Final = 60 * 10**9
#: 1973 to 2200, in seconds.
_FIRST, _LAST = 1e8, 7_258_118_400.0


class FirstVersion:
    """One connection's arrays."""

    def __init__(self, provider: str, title: str) -> None:
        self._provider, self._title = provider, title
        #: The newest time of each pair's trades, and how many of them shared it before.
        self._places: dict[str, tuple[str, int]] = {}

    def read(self, frames: Sequence[Frame], said: talk.Said) -> None:
        """Frame by frame, then as columns."""
        trades, quotes, bars = talk.Rows(), talk.Rows(), talk.Rows()
        for frame in frames:
            document = talk.decoded_frame(talk.text_of(frame))
            try:
                _, payload, *_, channel, pair = document
                if channel == "trade":
                    self._add_trades(frame, payload, _text(pair), trades)
                elif channel == "ticker":
                    _add_quote(frame, payload, _text(pair), quotes)
                elif _text(channel).startswith("ohlc"):
                    minutes = int(channel.partition("-")[2] or 1)
                    if minutes in _MINUTES:
                        _add_bar(frame, payload, minutes, _text(pair), bars)
                    else:
                        said.note(f"bars of {channel}, which we have no name for, were left out")
                else:
                    said.note(f"frames of {channel}, which hold no records of ours, were left out")
            except (KeyError, TypeError, ValueError, IndexError):
                said.odd(frame.data)
        if trades.values:
            said.add("trade", self._trades(trades))
        if quotes.values:
            said.add("quote", self._quotes(quotes))
        if bars.values:
            said.add("bar", self._bars(bars))

    def _add_trades(self, frame: Frame, payload: list[Any], pair: str, rows: talk.Rows) -> None:
        """`trade_id` counts the trades of one pair and time, for none has an id."""
        told = [(row[0], row[1], row[2], row[3]) for row in payload]
        for price, size, time, _ in told:
            _require_numbers((price, size), time)
        for price, size, time, side in told:
            before, count = self._places.get(pair, ("", -1))
            count = count + 1 if time == before else 0
            self._places[pair] = (time, count)
            rows.add(frame.received_at, pair, (price, size, time, side, str(count)))

    def _trades(self, rows: talk.Rows) -> pa.Table:
        prices, sizes, times, sides, places = rows.columns()
        sold = pa.array([side == "s" for side in sides])
        return talk.trades(
            self._provider, rows.received_at, currency=quote_of, symbol=rows.symbol,
            ts_ns=pa.array(seconds_ns(times, self._title)),
            price=floats(prices, self._title, "a trade"),
            size=floats(sizes, self._title, "a trade"), trade_id=pa.array(places, pa.string()),
            conditions=pc.if_else(sold, "sell", "buy"),
        )  # fmt: skip

    def _quotes(self, rows: talk.Rows) -> pa.Table:
        names = ("bid", "bid_size", "ask", "ask_size")
        told = zip(names, rows.columns(), strict=True)
        columns = {name: floats(column, self._title, "a quote") for name, column in told}
        return talk.quotes(
            self._provider, rows.received_at, currency=quote_of, symbol=rows.symbol, **columns
        )

    def _bars(self, rows: talk.Rows) -> pa.Table:
        """The clock says whether a bar is over: no frame does."""
        ends, minutes, *prices = rows.columns()
        names = ("open", "high", "low", "close", "volume")
        told = zip(names, prices, strict=True)
        # Bars end at whole minutes; the documentation's sample has a fraction of a second more.
        ends_us = pa.array(seconds_ns(ends, self._title) // _MINUTE_NS * (_MINUTE_NS // 1000))
        lengths = pa.array([count * 60_000_000 for count in minutes])
        received = rows.received_at
        return talk.bars(
            self._provider, received, currency=quote_of, symbol=rows.symbol,
            starts=pc.subtract(ends_us, lengths).cast(received.type),
            closed=pc.less_equal(ends_us, received.cast(pa.int64())),
            interval=pa.array([_MINUTES[count] for count in minutes], pa.string()),
            **{name: floats(column, self._title, "a bar") for name, column in told},
        )  # fmt: skip


def _add_quote(frame: Frame, payload: Mapping[str, Any], pair: str, rows: talk.Rows) -> None:
    """Without a time of its own; b and a are price, whole lots, lots."""
    told = (payload["b"][0], payload["b"][2], payload["a"][0], payload["a"][2])
    _require_numbers(told)
    rows.add(frame.received_at, pair, told)


def _add_bar(frame: Frame, payload: list[Any], minutes: int, pair: str, rows: talk.Rows) -> None:
    """Time of the update, END of the bar, open, high, low, close, vwap, volume, count."""
    prices = [payload[at] for at in (2, 3, 4, 5, 7)]
    _require_numbers(prices, payload[1])
    rows.add(frame.received_at, pair, (payload[1], minutes, *prices))


def _require_numbers(values: Sequence[Any], time: str | None = None) -> None:
    """Texts of numbers, and of seconds where there is a time: anything else is an odd frame."""
    for value in values:
        if type(value) is not str or "_" in value:
            raise ValueError(value)
        float(value)
    if time is not None and not (type(time) is str and _FIRST < float(time) < _LAST):
        raise ValueError(time)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value

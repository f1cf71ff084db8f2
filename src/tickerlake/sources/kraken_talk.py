"""Kraken's socket, second version: objects with a `channel` and rows in `data`.

The first version, which is not spoken any more, is read for old recordings: see `kraken_first`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.records import Kind
from tickerlake.sources import crypto_talk as talk
from tickerlake.sources.crypto import INTERVAL_SECONDS
from tickerlake.sources.frames import FrameColumns, instants, text_ns
from tickerlake.sources.kraken_answers import modern, quote_of
from tickerlake.sources.kraken_first import FirstVersion
from tickerlake.sources.live import Frame, Heard

__all__ = ["KrakenTalk"]

_TEXT: Final = pa.string()
_NUMBER: Final = pa.float64()
_TRADE: Final = pa.struct(
    [("symbol", _TEXT), ("side", _TEXT), ("price", _NUMBER), ("qty", _NUMBER),
     ("trade_id", pa.int64()), ("timestamp", _TEXT)]
)  # fmt: skip
_QUOTE: Final = pa.struct(
    [("symbol", _TEXT), ("bid", _NUMBER), ("bid_qty", _NUMBER), ("ask", _NUMBER),
     ("ask_qty", _NUMBER), ("timestamp", _TEXT)]
)  # fmt: skip
_BAR: Final = pa.struct(
    [("symbol", _TEXT), ("open", _NUMBER), ("high", _NUMBER), ("low", _NUMBER),
     ("close", _NUMBER), ("volume", _NUMBER), ("interval_begin", _TEXT), ("interval", pa.int64())]
)  # fmt: skip
_CHANNELS: Final[Mapping[Kind, str]] = {"trade": "trade", "quote": "ticker"}
_MINUTES: Final = {seconds // 60: name for name, seconds in INTERVAL_SECONDS.items()}
#: Words of frames without records.
_KNOWN: Final = ("heartbeat", "status", "pong", "systemStatus", "unsubscribe", "instrument")


class KrakenTalk:
    """One connection. Trade ids of the second version rise by one a pair: holes are told."""

    silence_seconds: float
    #: It may be silent where nothing is subscribed; a ping is answered.
    keep_alive_seconds: float | None = 20.0

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
        self.url = url
        self.headers: Mapping[str, str] = {}
        self.silence_seconds = silence_seconds
        self._provider, self._title = provider, title
        #: What was asked for, by the name of the second version.
        self._asked = {modern(symbol): symbol for symbol in symbols}
        self._channels = [_CHANNELS[kind] for kind in kinds]
        self._trades, self._quotes, self._bars = (
            FrameColumns(pa.schema([("data", pa.list_(row))])) for row in (_TRADE, _QUOTE, _BAR)
        )
        self._holes = talk.Holes()
        self._first = FirstVersion(provider, title)

    def hello(self) -> Sequence[str | bytes]:
        """The newest fifty trades come as a snapshot: they reach over a short absence."""
        asks = []
        for number, channel in enumerate(self._channels, 1):
            params: dict[str, object] = {"channel": channel, "symbol": list(self._asked)}
            if channel == "trade":
                params["snapshot"] = True
            asks.append(json.dumps({"method": "subscribe", "params": params, "req_id": number}))
        return asks

    def keep_alive(self) -> Sequence[str | bytes]:
        """A ping, which is answered with a pong."""
        return ['{"method":"ping"}']

    def read(self, frames: Sequence[Frame]) -> Heard:
        """Sorted by what they are; rows of the second version become columns at once."""
        said = talk.Said()
        sorts: dict[str, list[Frame]] = {}
        for frame in talk.incoming(frames):
            sorts.setdefault(_sort(talk.text_of(frame)), []).append(frame)
        self._read_trades(sorts.get("trade", []), said)
        self._read_quotes(sorts.get("ticker", []), said)
        self._read_bars(sorts.get("ohlc", []), said)
        for _, document in talk.objects(sorts.get("", []), said):
            self._read_other(document, said)
        self._first.read(sorts.get("first", []), said)
        return said.heard()

    def _name(self, symbol: str) -> str:
        return self._asked.get(symbol, symbol)

    def _rows(self, reader: FrameColumns, frames: list[Frame], said: talk.Said) -> pa.Table:
        told = reader.read(frames)
        for note in told.notes:
            said.note(note)
        rows = told.explode("data")
        known = rows.filter(pc.is_valid(rows["symbol"]))
        if known.num_rows < rows.num_rows:
            said.note("rows without a symbol were left out")
        at = known.schema.get_field_index("symbol")
        return known.set_column(at, "symbol", talk.mapped(known["symbol"], self._name))

    def _read_trades(self, frames: list[Frame], said: talk.Said) -> None:
        rows = self._rows(self._trades, frames, said)
        rows = rows.append_column("ts_ns", text_ns(rows["timestamp"]))
        kept = rows.filter(pc.and_(pc.is_valid(rows["ts_ns"]), pc.is_valid(rows["trade_id"])))
        if kept.num_rows < rows.num_rows:
            said.note("trades without id or time were left out")
        if not kept.num_rows:
            return
        table = talk.trades(
            self._provider, kept["received_at"], currency=quote_of, symbol=kept["symbol"],
            ts_ns=kept["ts_ns"], price=kept["price"], size=kept["qty"],
            trade_id=kept["trade_id"].cast(_TEXT), conditions=kept["side"],
        )  # fmt: skip
        stamps = kept["ts_ns"].to_numpy() // 1000
        ids = kept["trade_id"].to_numpy()
        said.suspicions += self._holes.found(kept["symbol"], ids, stamps)
        said.add("trade", table)

    def _read_quotes(self, frames: list[Frame], said: talk.Said) -> None:
        rows = self._rows(self._quotes, frames, said)
        if rows.num_rows:
            table = talk.quotes(
                self._provider, rows["received_at"], currency=quote_of,
                ts_ns=text_ns(rows["timestamp"]), symbol=rows["symbol"], bid=rows["bid"],
                bid_size=rows["bid_qty"], ask=rows["ask"], ask_size=rows["ask_qty"],
            )  # fmt: skip
            said.add("quote", table)

    def _read_bars(self, frames: list[Frame], said: talk.Said) -> None:
        rows = self._rows(self._bars, frames, said)
        starts = text_ns(rows["interval_begin"])
        minutes = rows["interval"].cast(_TEXT)
        rows = rows.append_column("starts", starts)
        rows = rows.append_column("named", talk.mapped(minutes, lambda n: _MINUTES.get(int(n))))
        kept = rows.filter(pc.and_(pc.is_valid(rows["starts"]), pc.is_valid(rows["named"])))
        if kept.num_rows < rows.num_rows:
            said.note("bars without a time, or of an interval without a name, were left out")
        if kept.num_rows:
            length_us = pc.multiply(kept["interval"], 60_000_000)
            ends_us = pc.add(pc.divide(kept["starts"], 1000), length_us)
            table = talk.bars(
                self._provider, kept["received_at"], currency=quote_of,
                starts=instants(kept["starts"]),
                closed=pc.less_equal(ends_us, kept["received_at"].cast(pa.int64())),
                symbol=kept["symbol"], interval=kept["named"],
                **{name: kept[name] for name in ("open", "high", "low", "close", "volume")},
            )  # fmt: skip
            said.add("bar", table)

    def _read_other(self, document: Mapping[str, Any], said: talk.Said) -> None:
        """Acknowledgements, errors and the state of the line, of both versions."""
        event = document.get("event")
        method = document.get("method")
        subscribed = method == "subscribe" or event == "subscriptionStatus"
        refused = document.get("success") is False or document.get("status") == "error"
        if subscribed and refused:
            found = document.get("error") or document.get("errorMessage") or dict(document)
            if "already" in str(found).lower():
                said.note(f"{self._title} says: {found}")
            else:
                todo = "write pairs with a slash, such as BTC/USD; `tickerlake search` finds them"
                said.error = talk.refused_subscription(self._title, found, todo)
        elif subscribed:
            said.ready = True
        elif document.get("error") is not None:
            said.note(f"{self._title} says: {str(document['error'])[:120]}")
        elif document.get("channel") not in _KNOWN and "data" in document:
            said.note(
                f"frames of {document.get('channel')}, which hold no records of ours, were left out"
            )
        elif not any(word in _KNOWN for word in (document.get("channel"), event, method)):
            said.note(f"a frame that we do not know: {str(dict(document))[:120]}")


def _sort(text: str) -> str:
    """What a frame holds, by its words: reading all of it here would be dear."""
    if text.lstrip()[:1] == "[":
        return "first"
    if '"data"' in text and '"method"' not in text:
        for channel in ("trade", "ticker", "ohlc"):
            if f'"{channel}"' in text:
                return channel
    return ""

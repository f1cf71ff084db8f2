"""Coinbase's feed: matches, the ticker, and heartbeats that tell silence from a dead line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.errors import RateLimitedError, UnreachableError
from tickerlake.records import Kind
from tickerlake.sources import crypto_talk as talk
from tickerlake.sources.coinbase_answers import quote_of
from tickerlake.sources.frames import FrameColumns, numbers, text_ns
from tickerlake.sources.live import Frame, Heard

__all__ = ["CoinbaseTalk"]

_CHANNELS: Final[Mapping[Kind, str]] = {"trade": "matches", "quote": "ticker"}
_TEXT: Final = pa.string()
_FRAME: Final = pa.schema(
    [
        ("type", _TEXT), ("product_id", _TEXT), ("price", _TEXT), ("size", _TEXT), ("side", _TEXT),
        ("time", _TEXT), ("trade_id", pa.int64()), ("best_bid", _TEXT), ("best_bid_size", _TEXT),
        ("best_ask", _TEXT), ("best_ask_size", _TEXT), ("message", _TEXT), ("reason", _TEXT),
    ]
)  # fmt: skip
#: Of channels that we never ask for, or without records.
_PASSED: Final = pa.array(
    ["heartbeat", "snapshot", "l2update", "received", "open", "done", "change", "activate",
     "status", "auction", "ticker_batch", "rfq_match"]
)  # fmt: skip


class CoinbaseTalk:
    """One connection. Trade ids rise by one a product (seen): what is left out is told.

    `sequence` counts every event of the order book, so with matches alone it jumps and proves
    nothing.
    """

    #: A heartbeat comes each second for each product.
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
        self.url = url
        self.headers: Mapping[str, str] = {}
        self.silence_seconds = silence_seconds
        self._provider, self._title = provider, title
        self._symbols = list(symbols)
        self._channels = [*(_CHANNELS[kind] for kind in kinds), "heartbeat"]
        self._frames = FrameColumns(_FRAME)
        self._holes = talk.Holes()

    def hello(self) -> Sequence[str | bytes]:
        """Within five seconds, or the server hangs up (doc)."""
        ask = {"type": "subscribe", "product_ids": self._symbols, "channels": self._channels}
        return [json.dumps(ask)]

    def keep_alive(self) -> Sequence[str | bytes]:
        """Nothing."""
        return ()

    def read(self, frames: Sequence[Frame]) -> Heard:
        """All frames are objects with a `type`; unknown types are to be passed over (doc)."""
        said = talk.Said()
        told = self._frames.read(frames)
        for note in told.notes:
            said.note(note)
        rows = told.table.append_column("received_at", told.received_at)
        types = rows["type"]
        self._read_trades(rows.filter(_is(types, "match", "last_match")), said)
        self._read_quotes(rows.filter(_is(types, "ticker")), said)
        if pc.any(_is(types, "subscriptions")).as_py():
            said.ready = True
        for row in rows.filter(_is(types, "error")).select(["message", "reason"]).to_pylist():
            self._read_error(f"{row['message']}: {row['reason'] or 'no reason'}", said)
        handled = _is(types, "match", "last_match", "ticker", "subscriptions", "error")
        others = types.filter(pc.invert(pc.or_(handled, pc.is_in(types, _PASSED))))
        for other in pc.unique(others).to_pylist():
            said.note(f"a frame of the type {other!r}, which we do not know, was passed over")
        return said.heard()

    def _read_trades(self, rows: pa.Table, said: talk.Said) -> None:
        """`last_match` is the newest trade of before: the next id follows on it."""
        rows = rows.append_column("ts_ns", text_ns(rows["time"]))
        whole = pc.and_(pc.is_valid(rows["ts_ns"]), pc.is_valid(rows["trade_id"]))
        kept = rows.filter(pc.and_(whole, pc.is_valid(rows["product_id"])))
        if kept.num_rows < rows.num_rows:
            said.note("trades without product, id or time were left out")
        if not kept.num_rows:
            return
        table = talk.trades(
            self._provider,
            kept["received_at"],
            currency=quote_of,
            symbol=kept["product_id"],
            ts_ns=kept["ts_ns"],
            price=numbers(kept["price"]),
            size=numbers(kept["size"]),
            trade_id=kept["trade_id"].cast(_TEXT),
            # The side is the maker's: a maker that sold was bought from.
            conditions=pc.if_else(pc.equal(kept["side"], "sell"), "buy", "sell"),
        )
        stamps = kept["ts_ns"].to_numpy() // 1000
        ids = kept["trade_id"].to_numpy()
        said.suspicions += self._holes.found(kept["product_id"], ids, stamps)
        said.add("trade", table)

    def _read_quotes(self, rows: pa.Table, said: talk.Said) -> None:
        """The ticker batches what happens at once: quotes are taken from it, never trades."""
        whole = pc.and_(pc.is_valid(rows["product_id"]), pc.is_valid(rows["best_bid"]))
        kept = rows.filter(whole)
        if kept.num_rows < rows.num_rows:
            said.note("tickers without product or bid were left out")
        if kept.num_rows:
            columns = {
                "bid": "best_bid", "bid_size": "best_bid_size", "ask": "best_ask",
                "ask_size": "best_ask_size",
            }  # fmt: skip
            told = {name: numbers(kept[theirs]) for name, theirs in columns.items()}
            table = talk.quotes(
                self._provider, kept["received_at"], currency=quote_of, ts_ns=text_ns(kept["time"]),
                symbol=kept["product_id"], **told,
            )  # fmt: skip
            said.add("quote", table)

    def _read_error(self, text: str, said: talk.Said) -> None:
        words = text.lower()
        if "slow" in words or "rate" in words or "too many" in words:
            kind = UnreachableError if "slow" in words else RateLimitedError
            said.error = kind(
                f"{self._title} ends this connection.", expected="records", found=text[:160],
                todo="nothing: a new connection follows, and the hole is filled",
            )  # fmt: skip
        else:
            said.error = talk.refused_subscription(self._title, text)


def _is(types: pa.ChunkedArray, *names: str) -> pa.ChunkedArray:
    return pc.is_in(types, pa.array(names))

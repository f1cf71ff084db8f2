"""Binance's streams: aggregate trades, best bid and ask, klines; wrapped or raw."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.errors import RangeError, UnreachableError
from tickerlake.records import Kind
from tickerlake.sources import crypto_talk as talk
from tickerlake.sources.frames import FrameColumns, epoch_ns, instants, numbers
from tickerlake.sources.live import Frame, Heard

__all__ = ["STREAMS_MAX", "BinanceTalk"]

#: Streams of one connection (doc).
STREAMS_MAX: Final = 1024
_PARAMS: Final = 200
_STREAMS: Final[Mapping[Kind, str]] = {
    "trade": "aggTrade",
    "quote": "bookTicker",
    "bar": "kline_1m",
}
#: Their intervals, told apart by the letter's case, by ours.
_INTERVALS: Final = {
    "1m": "1m", "5m": "5m", "15m": "15m", "30m": "30m", "1h": "1h", "4h": "4h",
    "1d": "1d", "1w": "1wk", "1M": "1mo",
}  # fmt: skip
_TEXT: Final = pa.string()
_TRADE: Final = [
    ("s", _TEXT), ("a", pa.int64()), ("t", pa.int64()), ("p", _TEXT), ("q", _TEXT),
    ("T", pa.int64()), ("m", pa.bool_()),
]  # fmt: skip
_QUOTE: Final = [("s", _TEXT), ("b", _TEXT), ("B", _TEXT), ("a", _TEXT), ("A", _TEXT)]
_KLINE: Final = [
    ("t", pa.int64()), ("s", _TEXT), ("i", _TEXT), ("o", _TEXT), ("h", _TEXT), ("l", _TEXT),
    ("c", _TEXT), ("v", _TEXT), ("x", pa.bool_()),
]  # fmt: skip


class _Reader:
    """Frames of one stream: wrapped (`stream`, `data`), as ours come, or raw, or both."""

    def __init__(self, fields: list[tuple[str, pa.DataType]]) -> None:
        inner = ("data", pa.struct(fields))
        self._names = [name for name, _ in fields]
        self._wrapped = FrameColumns(pa.schema([inner]))
        self._any = FrameColumns(pa.schema([inner, *fields]))

    def read(self, frames: list[Frame], said: talk.Said, *, wrapped: bool) -> pa.Table:
        """The fields, and when each frame came."""
        told = (self._wrapped if wrapped else self._any).read(frames)
        for note in told.notes:
            said.note(note)
        inner = told.table["data"].combine_chunks()
        columns = {name: pc.struct_field(inner, name) for name in self._names}
        if not wrapped:
            columns = {
                name: pc.coalesce(column, told.table[name]) for name, column in columns.items()
            }
        return pa.table({**columns, "received_at": told.received_at})


class BinanceTalk:
    """One connection. Aggregate trades are numbered without holes: what is left out is told."""

    silence_seconds: float
    #: A market without trades sends nothing: an answer to a question proves that the line lives.
    keep_alive_seconds: float | None = 20.0

    def __init__(
        self,
        provider: str,
        title: str,
        url: str,
        symbols: Sequence[str],
        kinds: Sequence[Kind],
        *,
        currency: Callable[[str], str | None],
        silence_seconds: float,
    ) -> None:
        streams = [f"{symbol.lower()}@{_STREAMS[kind]}" for symbol in symbols for kind in kinds]
        if len(streams) > STREAMS_MAX:
            raise RangeError(
                f"{title} takes no more streams on one connection.",
                expected=f"at most {STREAMS_MAX:,}: symbols times kinds",
                found=f"{len(streams):,}",
                todo="ask for fewer symbols or kinds",
            )
        self.url = f"{url}/stream"
        self.headers: Mapping[str, str] = {}
        self.silence_seconds = silence_seconds
        self._provider, self._title, self._currency = provider, title, currency
        self._streams = streams
        self._trades = _Reader(_TRADE)
        self._quotes = _Reader(_QUOTE)
        self._klines = FrameColumns(
            pa.schema([("data", pa.struct([("k", pa.struct(_KLINE))])), ("k", pa.struct(_KLINE))])
        )
        self._minutes = talk.Holes("bar")
        self._holes = {"aggTrade": talk.Holes(), "trade": talk.Holes()}

    def hello(self) -> Sequence[str | bytes]:
        """Few messages with many streams: five a second are allowed (doc)."""
        parts = [self._streams[at : at + _PARAMS] for at in range(0, len(self._streams), _PARAMS)]
        return [
            json.dumps({"method": "SUBSCRIBE", "params": part, "id": number})
            for number, part in enumerate(parts, 1)
        ]

    def keep_alive(self) -> Sequence[str | bytes]:
        """What is subscribed, asked for the sake of the answer."""
        return ['{"method":"LIST_SUBSCRIPTIONS","id":0}']

    def read(self, frames: Sequence[Frame]) -> Heard:
        """Sorted by what they are, then each sort as columns."""
        said = talk.Said()
        incoming = talk.incoming(frames)
        sorts: dict[str, list[Frame]] = {}
        for frame in incoming:
            sorts.setdefault(_sort(talk.text_of(frame)), []).append(frame)
        for event in ("aggTrade", "trade"):
            self._read_trades(event, *_of(sorts, event, incoming), said)
        self._read_quotes(*_of(sorts, "bookTicker", incoming), said)
        self._read_klines(sorts.get("kline", []), said)
        for _, document in talk.objects(sorts.get("", []), said):
            self._read_other(document, said)
        return said.heard()

    def _read_trades(self, event: str, frames: list[Frame], wrapped: bool, said: talk.Said) -> None:
        rows = self._trades.read(frames, said, wrapped=wrapped)
        rows = rows.append_column("id", rows["a"] if event == "aggTrade" else rows["t"])
        whole = pc.and_(pc.and_(pc.is_valid(rows["s"]), pc.is_valid(rows["id"])), _timed(rows["T"]))
        rows = _kept(rows, pc.and_(whole, pc.is_valid(rows["m"])), said)
        if not rows.num_rows:
            return
        ns = epoch_ns(rows["T"])
        table = talk.trades(
            self._provider,
            rows["received_at"],
            currency=self._currency,
            symbol=rows["s"],
            ts_ns=ns,
            price=numbers(rows["p"]),
            size=numbers(rows["q"]),
            trade_id=rows["id"].cast(_TEXT),
            # m: the buyer was the maker, so the taker sold.
            conditions=pc.if_else(rows["m"], "sell", "buy"),
        )
        stamps = ns.to_numpy() // 1000
        said.suspicions += self._holes[event].found(rows["s"], rows["id"].to_numpy(), stamps)
        said.add("trade", table)

    def _read_quotes(self, frames: list[Frame], wrapped: bool, said: talk.Said) -> None:
        rows = self._quotes.read(frames, said, wrapped=wrapped)
        rows = _kept(rows, pc.and_(pc.is_valid(rows["s"]), pc.is_valid(rows["b"])), said)
        if rows.num_rows:
            columns = {"bid": "b", "bid_size": "B", "ask": "a", "ask_size": "A"}
            told = {name: numbers(rows[theirs]) for name, theirs in columns.items()}
            table = talk.quotes(
                self._provider, rows["received_at"], currency=self._currency, symbol=rows["s"],
                **told,
            )  # fmt: skip
            said.add("quote", table)

    def _read_klines(self, frames: list[Frame], said: talk.Said) -> None:
        told = self._klines.read(frames)
        for note in told.notes:
            said.note(note)
        inner = pc.struct_field(told.table["data"], "k")
        klines = pc.if_else(pc.is_valid(inner), inner, told.table["k"])
        names = [name for name, _ in _KLINE]
        rows = pa.table({name: pc.struct_field(klines, name) for name in names})
        rows = rows.append_column("received_at", told.received_at)
        intervals = talk.mapped(rows["i"], _INTERVALS.get)
        rows = rows.append_column("interval", intervals)
        for told_as in pc.value_counts(rows["i"].filter(pc.is_null(intervals))).to_pylist():
            theirs = told_as["values"]
            said.note(f"bars of {theirs}, which we have no name for, were left out")
            said.left_out[f"bars of {theirs}"] += told_as["counts"]
        whole = pc.and_(_timed(rows["t"]), pc.and_(pc.is_valid(rows["s"]), pc.is_valid(rows["x"])))
        rows = rows.filter(pc.and_(whole, pc.is_valid(rows["interval"])))
        if rows.num_rows:
            columns = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}
            table = talk.bars(
                self._provider,
                rows["received_at"],
                currency=self._currency,
                starts=instants(epoch_ns(rows["t"])),
                closed=rows["x"],
                symbol=rows["s"],
                interval=rows["interval"],
                **{name: numbers(rows[theirs]) for name, theirs in columns.items()},
            )
            said.add("bar", table)
            self._suspect_bars(rows, said)

    def _suspect_bars(self, rows: pa.Table, said: talk.Said) -> None:
        """Each minute has a bar, also one without trades: one that did not come is a hole."""
        minutes = rows.filter(pc.equal(rows["interval"], "1m"))
        starts = epoch_ns(minutes["t"]).to_numpy() // 1000
        for hole in self._minutes.found(minutes["s"], starts // 60_000_000, starts):
            count = int((hole.before - hole.after).total_seconds()) // 60 - 1
            why = f"{count} minutes between two bars did not come"
            said.suspicions.append(dataclasses.replace(hole, why=why))

    def _read_other(self, document: Mapping[str, Any], said: talk.Said) -> None:
        inner = document.get("data")
        event = inner.get("e") if isinstance(inner, Mapping) else document.get("e")
        refused = document.get("error") or (document if "code" in document else None)
        if event == "serverShutdown":
            said.error = UnreachableError(
                f"{self._title} closes this connection for maintenance.",
                expected="a connection that lasts a day", found="serverShutdown",
                todo="nothing: a new connection follows",
            )  # fmt: skip
        elif refused is not None:
            said.error = talk.refused_subscription(self._title, refused)
        elif "result" in document and "id" in document:
            said.ready = True
        else:
            stream = document.get("stream")
            what = event or stream or sorted(map(str, document))[:6]
            said.note(f"frames of {what}, which hold no records of ours, were passed over")


def _sort(text: str) -> str:
    """What a frame holds, by its words; `@` before it where it is surely wrapped."""
    at = text.find("@", 0, 64)
    if at > 0 and text.startswith('{"stream"'):
        stream = text[at : text.find('"', at)]
        if stream in ("@aggTrade", "@bookTicker", "@trade"):
            return stream
        return "kline" if stream.startswith("@kline") else ""
    for event in ("aggTrade", "kline", "trade"):
        if f'"{event}"' in text:
            return event
    if "@bookTicker" in text or ('"B"' in text and '"A"' in text and '"e"' not in text):
        return "bookTicker"
    return ""


def _of(
    sorts: Mapping[str, list[Frame]], event: str, incoming: list[Frame]
) -> tuple[list[Frame], bool]:
    """The frames of an event in their order, and whether all of them are wrapped."""
    wrapped, others = sorts.get(f"@{event}", []), sorts.get(event, [])
    if not others:
        return wrapped, True
    if not wrapped:
        return others, False
    wanted = {id(frame) for frame in (*wrapped, *others)}
    return [frame for frame in incoming if id(frame) in wanted], False


def _timed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times that nanoseconds can tell."""
    inside = pc.and_(pc.greater(column, 0), pc.less(column, 7 * 10**18))
    return pc.fill_null(inside, False)


def _kept(rows: pa.Table, whole: pa.ChunkedArray, said: talk.Said) -> pa.Table:
    kept = rows.filter(whole)
    if kept.num_rows < rows.num_rows:
        said.note("frames without symbol, number, price or time were left out")
    return kept

"""What Tiingo says on its IEX socket: reference prices, or the book's top, trades and breaks.

Two layouts of `data`, told apart by their first item and length: `[date, ticker, price]` at level
6, which is all that accounts without an agreement with IEX get (since 2025-02-01, reported), and
sixteen items at levels 0 and 5 (documented; OpenBB):

    type Q|T|B, date, nanoseconds, ticker, bidSize, bidPrice, mid, askPrice, askSize, last,
    lastSize, halted, afterHours, sweep, oddLot, nmsRule611
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import compress
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.errors import ConfigError, TickerlakeError, UnreachableError
from tickerlake.records import SCHEMAS, Kind
from tickerlake.sources.columns import LaxDecoder
from tickerlake.sources.frames import text_ns, ticks
from tickerlake.sources.live import Frame, Heard

__all__ = ["TiingoTalk"]

_NAME: Final = "tiingo"
_INSTANT: Final = SCHEMAS["trade"].field("fetched_at").type
#: Conditions of a trade, by position from item 11 on; a break goes before them.
_FLAGS: Final = ("break", "halted", "after_hours", "sweep", "odd_lot", "not_rule_611")
_WORDS: Final = np.array(
    [",".join(compress(_FLAGS, map(int, f"{code:06b}"))) or None for code in range(64)],
    dtype=object,
)


class _Told(msgspec.Struct):
    messageType: str | None = None  # noqa: N815 - Tiingo's name
    service: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")
    response: Any = None


# Decoding checks every item and the length, so that what fits is sound as it is.
_Stamp: TypeAlias = Annotated[int, msgspec.Meta(gt=0, le=2**63 - 1)] | None
_Number: TypeAlias = float | None
_Flag: TypeAlias = bool | int | None
_Full: TypeAlias = tuple[
    Literal["T", "Q", "B"], str, _Stamp, str,
    _Number, _Number, _Number, _Number, _Number, _Number, _Number,
    _Flag, _Flag, _Flag, _Flag, _Flag,
]  # fmt: skip
_Reference: TypeAlias = tuple[str, str, float]
_ONE: Final = msgspec.json.Decoder(_Told)
_MANY: Final = msgspec.json.Decoder(list[_Told])
#: One by one, which also takes numbers that stand as texts, and all in one go.
_LAYOUTS: Final[Mapping[str, tuple[LaxDecoder, msgspec.json.Decoder[Any]]]] = {
    "full": (LaxDecoder(_Full), msgspec.json.Decoder(list[_Full])),
    "reference": (LaxDecoder(_Reference), msgspec.json.Decoder(list[_Reference])),
}
_Data: TypeAlias = list[tuple[bytes, datetime]]


class TiingoTalk:
    """One connection: a heartbeat every 30 s, no sequence, no ids.

    A reference price is no trade: it becomes a quote whose bid and ask are both that price. A break
    becomes a trade of the condition `break` without a size, so that no sum counts it.
    """

    keep_alive_seconds: float | None = None

    def __init__(
        self,
        socket_url: str,
        api_key: str,
        symbols: Sequence[str],
        kinds: Sequence[Kind],
        *,
        threshold_level: int,
        silence_seconds: float,
    ) -> None:
        self.url = socket_url.rstrip("/") + "/iex"
        self.headers: Mapping[str, str] = {}
        self.silence_seconds = silence_seconds
        self._key = api_key
        self._symbols = list(symbols)
        #: As the user writes them: Tiingo's frames have tickers in lower case.
        self._names = {symbol.lower(): symbol for symbol in symbols}
        self._kinds = frozenset(kinds)
        self._level = threshold_level

    def hello(self) -> Sequence[str | bytes]:
        """One subscription for all symbols."""
        told = {"thresholdLevel": self._level, "tickers": [s.lower() for s in self._symbols]}
        ask = {"eventName": "subscribe", "authorization": self._key, "eventData": told}
        return [msgspec.json.encode(ask).decode()]

    def keep_alive(self) -> Sequence[str | bytes]:
        """Nothing: Tiingo's heartbeat shows that the line is alive."""
        return ()

    def read(self, frames: Sequence[Frame]) -> Heard:
        """Trades and quotes, in the order in which they came."""
        notes: list[str] = []
        data: dict[str, _Data] = {"full": [], "reference": []}
        error: TickerlakeError | None = None
        ready = False
        incoming = [frame for frame in frames if frame.direction == "in"]
        for frame, told in zip(incoming, _decoded(incoming), strict=True):
            if told is None:
                notes.append(f"a frame that we cannot read: {frame.data[:120]!r}")
            elif told.service not in (None, "iex"):
                notes.append(
                    f"messages of the service {told.service[:20]!r} hold no records of ours"
                )
            elif told.messageType == "D":
                notes.append("deletions were left out: we have no such record")
            elif told.messageType in ("A", "U"):
                # Both begin with a text: of a type, or of the time.
                text = bytes(told.data)
                layout = "full" if text[:80].lstrip(b'[ \t\r\n"')[:1] in _TYPES else "reference"
                data[layout].append((text, frame.received_at))
            elif told.messageType == "I":
                ready = True
            elif told.messageType == "E":
                error = _refused(told.response)
            elif told.messageType != "H":
                notes.append(f"a frame that we do not know: {frame.data[:120]!r}")
        tables = self._tables(data, notes)
        return Heard(
            tables={kind: table for kind, table in tables.items() if kind in self._kinds},
            error=error,
            ready=ready or bool(tables),
            notes=tuple(dict.fromkeys(notes)),
        )

    def _tables(self, data: Mapping[str, _Data], notes: list[str]) -> dict[Kind, pa.Table]:
        tables: dict[Kind, list[pa.Table]] = {"trade": [], "quote": []}
        if data["full"]:
            rows = _Rows(_sound("full", data["full"], notes), self._names)
            tables = {"trade": [rows.trades()], "quote": [rows.quotes()]}
        if data["reference"]:
            sound = _sound("reference", data["reference"], notes)
            tables["quote"].append(_references(sound, self._names))
        joined = {k: _placed(pa.concat_tables(t), k, notes) for k, t in tables.items() if t}
        return {kind: table for kind, table in joined.items() if table.num_rows}


_TYPES: Final = (b"T", b"Q", b"B")


def _decoded(frames: Sequence[Frame]) -> list[_Told | None]:
    """Each frame, or None: all in one go, or one by one where one of them is odd."""
    texts = [
        frame.data.encode(errors="replace") if isinstance(frame.data, str) else frame.data
        for frame in frames
    ]
    try:
        many = _MANY.decode(b"[" + b",".join(texts) + b"]")
        if len(many) == len(texts):  # else a frame held several documents
            return list(many)
    except (ValueError, RecursionError):
        pass
    return [_one(_ONE, text) for text in texts]


def _one(decoder: LaxDecoder | msgspec.json.Decoder[Any], text: bytes) -> Any:  # noqa: ANN401 - what it decodes
    try:
        return decoder.decode(text)
    except (ValueError, RecursionError):
        return None


def _sound(layout: str, data: _Data, notes: list[str]) -> list[tuple[Any, datetime]]:
    """Rows of the layout and when they came; others are noted."""
    one, many = _LAYOUTS[layout]
    texts = [text for text, _ in data]
    try:
        rows = many.decode(b"[" + b",".join(texts) + b"]")
    except (ValueError, RecursionError):
        rows = [_one(one, text) for text in texts]
    found = []
    for row, (text, at) in zip(rows, data, strict=True):
        if row is None:
            notes.append(f"data of a form that we do not know: {text[:120]!r}")
        else:
            found.append((row, at))
    return found


def _placed(table: pa.Table, kind: Kind, notes: list[str]) -> pa.Table:
    """Rows that have a time, and a price where they must."""
    whole = pc.is_valid(table["ts_ns"])
    if kind == "trade":
        whole = pc.and_(whole, pc.is_valid(table["price"]))
    if pc.all(whole).as_py() is not False:
        return table
    notes.append(f"a {kind} without its time or price was left out")
    return table.filter(whole)


class _Rows:
    """Rows of sixteen, as columns."""

    def __init__(self, rows: list[tuple[Any, datetime]], names: Mapping[str, str]) -> None:
        self._told = list(zip(*(row for row, _ in rows), strict=True)) or [()] * 16
        self._received = pa.array([at for _, at in rows], _INSTANT)
        self._symbols = _symbols(self._told[3], names)
        # The text's nanoseconds are exact; the number may have been through a double.
        numbers = pa.array(self._told[2], pa.int64())
        self._ns = pc.coalesce(text_ns(pa.array(self._told[1], pa.string())), numbers)
        self._types = np.array(self._told[0], dtype="U1")

    def trades(self) -> pa.Table:
        """T and B."""
        rows = np.flatnonzero(self._types != "Q")
        breaks = self._types[rows] == "B"
        flags = [breaks]
        flags += [np.array(self._told[11 + at], dtype=object)[rows].astype(bool) for at in range(5)]
        codes = sum(flag.astype(np.int64) << (5 - at) for at, flag in enumerate(flags))
        words = _WORDS[codes] if len(rows) else np.array([], dtype=object)
        sizes = self._numbers(10, rows)
        return self._ticks(
            "trade",
            rows,
            price=self._numbers(9, rows),
            size=pc.if_else(pa.array(breaks), None, sizes),
            venue="IEXG",
            conditions=pa.array(words, pa.string()),
        )

    def quotes(self) -> pa.Table:
        """Q."""
        rows = np.flatnonzero(self._types == "Q")
        items = {"bid_size": 4, "bid": 5, "ask": 7, "ask_size": 8}
        columns = {name: self._numbers(item, rows) for name, item in items.items()}
        return self._ticks("quote", rows, **columns)

    def _numbers(self, item: int, rows: npt.NDArray[np.int64]) -> pa.Array:
        return pa.array(self._told[item], pa.float64()).take(pa.array(rows))

    def _ticks(
        self, kind: Kind, rows: npt.NDArray[np.int64], **columns: pa.Array | str
    ) -> pa.Table:
        at = pa.array(rows)
        return ticks(
            kind,
            _NAME,
            self._received.take(at),
            symbol=self._symbols.take(at),
            ts_ns=self._ns.take(at),
            currency="USD",
            **columns,
        )


def _references(rows: list[tuple[Any, datetime]], names: Mapping[str, str]) -> pa.Table:
    stamps, tickers, told = list(zip(*(row for row, _ in rows), strict=True)) or [()] * 3
    prices = pa.array(told, pa.float64())
    return ticks(
        "quote",
        _NAME,
        pa.array([at for _, at in rows], _INSTANT),
        symbol=_symbols(tickers, names),
        ts_ns=text_ns(pa.array(stamps, pa.string())),
        bid=prices,
        ask=prices,
        currency="USD",
    )


def _symbols(tickers: Sequence[str], names: Mapping[str, str]) -> pa.Array:
    coded = pa.array(tickers, pa.string()).dictionary_encode()
    words = [names.get(ticker, ticker.upper()) for ticker in coded.dictionary.to_pylist()]
    return pa.array(words, pa.string()).take(coded.indices)


def _refused(response: Any) -> TickerlakeError:  # noqa: ANN401 - whatever a frame says
    told = response if isinstance(response, Mapping) else {}
    text, code = str(told.get("message") or "no reason")[:200], told.get("code")
    words = text.lower()
    final = code in (400, 401, 403) or any(
        word in words for word in ("auth", "token", "permission", "threshold", "entitle")
    )
    if final:
        return ConfigError(
            "Tiingo refuses the subscription.",
            expected="a key whose plan has this level",
            found=f"{code}: {text}",
            todo="check TICKERLAKE_SOURCES_TIINGO_API_KEY and threshold_level: 6 is what every"
            " account has, 0 and 5 need an agreement with IEX",
        )
    return UnreachableError(
        "Tiingo ended the subscription.",
        expected="data",
        found=f"{code}: {text}",
        todo="it is tried again by itself",
    )

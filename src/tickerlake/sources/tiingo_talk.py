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
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.errors import ConfigError, TickerlakeError, UnreachableError
from tickerlake.records import SCHEMAS, Kind
from tickerlake.sources.frames import text_ns, ticks
from tickerlake.sources.live import Frame, Heard

__all__ = ["TiingoTalk"]

_NAME: Final = "tiingo"
_WIDTH: Final = 16
_FLAGS: Final = ("halted", "after_hours", "sweep", "odd_lot", "not_rule_611")
_INSTANT: Final = SCHEMAS["trade"].field("fetched_at").type
_NUMBERS: Final = (int, float, type(None))


class _Told(msgspec.Struct):
    messageType: str | None = None  # noqa: N815 - Tiingo's name
    data: Any = None
    response: Any = None


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
        self._decoder = msgspec.json.Decoder(_Told)

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
        full: list[tuple[list[Any], datetime]] = []
        references: list[tuple[list[Any], datetime]] = []
        error: TickerlakeError | None = None
        ready = False
        for frame in frames:
            if frame.direction == "out":
                continue
            try:
                told = self._decoder.decode(frame.data)
            except (msgspec.MsgspecError, UnicodeError, RecursionError):
                notes.append(f"a frame that we cannot read: {frame.data[:120]!r}")
                continue
            if told.messageType in ("A", "U"):
                if _is_full(told.data):
                    full.append((told.data, frame.received_at))
                elif _is_reference(told.data):
                    references.append((told.data, frame.received_at))
                else:
                    notes.append(f"data of a form that we do not know: {told.data!r:.120}")
            elif told.messageType == "I":
                ready = True
            elif told.messageType == "E":
                error = _refused(told.response)
            elif told.messageType != "H":
                notes.append(f"a frame that we do not know: {frame.data[:120]!r}")
        tables = self._tables(full, references)
        return Heard(
            tables={kind: table for kind, table in tables.items() if table.num_rows},
            error=error,
            ready=ready or bool(full or references),
            notes=tuple(dict.fromkeys(notes)),
        )

    def _tables(
        self,
        full: list[tuple[list[Any], datetime]],
        references: list[tuple[list[Any], datetime]],
    ) -> dict[Kind, pa.Table]:
        quotes: list[pa.Table] = []
        tables: dict[Kind, pa.Table] = {}
        if full:
            rows, received = zip(*full, strict=True)
            columns = _Columns(rows, received, self._names)
            if "trade" in self._kinds:
                tables["trade"] = columns.trades()
            quotes.append(columns.quotes())
        if references:
            rows, received = zip(*references, strict=True)
            quotes.append(_references(rows, received, self._names))
        if quotes and "quote" in self._kinds:
            tables["quote"] = pa.concat_tables(quotes)
        return tables


class _Columns:
    """Rows of sixteen, as columns."""

    def __init__(
        self, rows: Sequence[list[Any]], received: Sequence[datetime], names: Mapping[str, str]
    ) -> None:
        self._told = list(zip(*rows, strict=True))
        self._received = pa.array(received, _INSTANT)
        self._symbols = _symbols(self._told[3], names)
        # The text's nanoseconds are exact; the number may have been through a double.
        numbers = pa.array(self._told[2], pa.int64())
        self._ns = pc.coalesce(text_ns(pa.array(self._told[1], pa.string())), numbers)
        self._types = np.array(self._told[0])

    def trades(self) -> pa.Table:
        """T and B."""
        breaks = self._types == "B"
        rows = np.flatnonzero(breaks | (self._types == "T"))
        flags = zip(*(self._told[11 + at] for at in range(len(_FLAGS))), strict=True)
        words = [
            ",".join([name for name, on in zip(_FLAGS, told, strict=True) if on]) for told in flags
        ]
        marked = [
            ",".join(filter(None, ("break" if broken else "", word))) or None
            for broken, word in zip(breaks.tolist(), words, strict=True)
        ]
        sizes = pc.if_else(pa.array(breaks), None, self._numbers(10))
        return self._ticks(
            "trade",
            rows,
            price=self._numbers(9),
            size=sizes,
            venue=pa.repeat(pa.scalar("IEXG"), len(breaks)),
            conditions=pa.array(marked, pa.string()),
        )

    def quotes(self) -> pa.Table:
        """Q."""
        return self._ticks(
            "quote",
            np.flatnonzero(self._types == "Q"),
            bid_size=self._numbers(4),
            bid=self._numbers(5),
            ask=self._numbers(7),
            ask_size=self._numbers(8),
        )

    def _numbers(self, column: int) -> pa.Array:
        return pa.array(self._told[column], pa.float64())

    def _ticks(self, kind: Kind, rows: Any, **columns: pa.Array) -> pa.Table:  # noqa: ANN401
        at = pa.array(rows, pa.int64())
        return ticks(
            kind,
            _NAME,
            self._received.take(at),
            symbol=self._symbols.take(at),
            ts_ns=self._ns.take(at),
            currency="USD",
            **{name: column.take(at) for name, column in columns.items()},
        )


def _references(
    rows: Sequence[list[Any]], received: Sequence[datetime], names: Mapping[str, str]
) -> pa.Table:
    stamps, tickers, told = zip(*rows, strict=True)
    prices = pa.array(told, pa.float64())
    return ticks(
        "quote",
        _NAME,
        pa.array(received, _INSTANT),
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


def _is_full(data: Any) -> bool:  # noqa: ANN401 - whatever a frame says
    """Sixteen items, each of which may be null where its type has none."""
    return (
        type(data) is list
        and len(data) == _WIDTH
        and data[0] in ("T", "Q", "B")
        and type(data[1]) is str
        and type(data[3]) is str
        and all(type(data[at]) in _NUMBERS for at in range(4, 11))
        and _has_a_time(data)
        and (data[0] == "Q" or data[9] is not None)
    )


def _has_a_time(data: list[Any]) -> bool:
    number = data[2]
    return (type(number) is int and 0 < number < 2**63) or (number is None and _is_time(data[1]))


def _is_reference(data: Any) -> bool:  # noqa: ANN401 - whatever a frame says
    return (
        type(data) is list
        and len(data) == 3
        and type(data[1]) is str
        and type(data[2]) in (int, float)
        and _is_time(data[0])
    )


def _is_time(text: object) -> bool:
    """ISO 8601 with a zone and up to nine digits of a second."""
    if type(text) is not str:
        return False
    try:
        return datetime.fromisoformat(_cut(text)).tzinfo is not None
    except ValueError:
        return False


def _cut(text: str) -> str:
    whole, dot, rest = text.partition(".")
    digits = len(rest) - len(rest.lstrip("0123456789"))
    return whole + rest[digits:] if dot else whole


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

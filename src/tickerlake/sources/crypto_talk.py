"""What the sockets of crypto exchanges have in common: numbered trades, quote assets, bars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.errors import RangeError, TickerlakeError
from tickerlake.records import Kind
from tickerlake.sources.crypto_shape import Int64s
from tickerlake.sources.frames import ticks
from tickerlake.sources.live import Frame, Heard, Suspicion

__all__ = [
    "Holes",
    "Rows",
    "Said",
    "bars",
    "decoded_frame",
    "documents",
    "incoming",
    "mapped",
    "objects",
    "quotes",
    "refused_subscription",
    "text_of",
    "trades",
]

_NOTED_CHARS: Final = 120
_INSTANT: Final = pa.timestamp("us", tz="UTC")


@dataclass(slots=True)
class Said:
    """What a batch of frames said, gathered while it is read."""

    tables: dict[Kind, list[pa.Table]] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    suspicions: list[Suspicion] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    error: TickerlakeError | None = None
    ready: bool = False

    def add(self, kind: Kind, table: pa.Table) -> None:
        """Records, of which there may be none."""
        if table.num_rows:
            self.tables.setdefault(kind, []).append(table)
            self.ready = True

    def note(self, text: str) -> None:
        """A sentence, once."""
        self.notes[text] = None

    def odd(self, data: str | bytes) -> None:
        """A frame that no version of the provider sends."""
        self.note(f"a frame that we cannot read: {data[:_NOTED_CHARS]!r}")

    def heard(self) -> Heard:
        """As the contract has it."""
        return Heard(
            tables={kind: pa.concat_tables(parts) for kind, parts in self.tables.items()},
            error=self.error,
            ready=self.ready,
            suspicions=tuple(self.suspicions),
            notes=tuple(self.notes),
            left_out=self.left_out,
        )


@dataclass(slots=True)
class Rows:
    """Records of frames that are read one by one, as columns that grow."""

    received: list[datetime] = field(default_factory=list)
    symbols: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def add(self, received: datetime, symbol: str, values: Any) -> None:  # noqa: ANN401
        """One record; `values` are as many for each."""
        self.received.append(received)
        self.symbols.append(symbol)
        self.values.append(values)

    def columns(self) -> list[list[Any]]:
        """The values, a column each."""
        return [list(column) for column in zip(*self.values, strict=True)]

    @property
    def received_at(self) -> pa.Array:
        """When each record's frame came."""
        return pa.array(self.received, _INSTANT)

    @property
    def symbol(self) -> pa.ChunkedArray:
        """Whose record each is."""
        return pa.chunked_array([pa.array(self.symbols, pa.string())])


class Holes:
    """Numbers that rise by one a symbol: where one is left out, records are missing.

    A number that comes late or again is no hole. The first one of a symbol proves nothing.
    """

    def __init__(self, kind: Kind = "trade") -> None:
        self._kind: Kind = kind
        #: The highest number of each symbol, and the time of its record in µs.
        self._last: dict[str, tuple[int, int]] = {}

    def found(self, symbols: pa.ChunkedArray, numbers: Int64s, stamps: Int64s) -> list[Suspicion]:
        """The holes of a batch, in the order in which they showed. Stamps are µs since 1970."""
        if not len(numbers):
            return []
        encoded = pc.dictionary_encode(symbols.combine_chunks())
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        holes: list[tuple[int, Suspicion]] = []
        for code, symbol in enumerate(encoded.dictionary.to_pylist()):
            rows = np.flatnonzero(codes == code)
            holes += self._of(symbol, rows, numbers[rows], stamps[rows])
        return [hole for _, hole in sorted(holes, key=lambda found: found[0])]

    def _of(
        self, symbol: str, rows: Int64s, numbers: Int64s, stamps: Int64s
    ) -> list[tuple[int, Suspicion]]:
        before, at = self._last.get(symbol, (int(numbers[0]) - 1, int(stamps[0])))
        highest = np.maximum.accumulate(np.concatenate([[before], numbers]))
        # The record that each highest number stands on: its time is the hole's beginning.
        is_new = np.concatenate([[True], numbers > highest[:-1]])
        holder = np.maximum.accumulate(np.where(is_new, np.arange(len(is_new)), 0))
        times = np.concatenate([[at], stamps])
        self._last[symbol] = int(highest[-1]), int(times[holder[-1]])
        found = []
        for place in np.flatnonzero(numbers > highest[:-1] + 1).tolist():
            first, last = int(highest[place]) + 1, int(numbers[place]) - 1
            found.append(
                (
                    int(rows[place]),
                    Suspicion(
                        symbol=symbol,
                        kind=self._kind,
                        after=_instant(int(times[holder[place]])),
                        before=_instant(int(stamps[place])),
                        why=f"numbers {first} to {last} did not come",
                    ),
                )
            )
        return found


def _instant(micros: int) -> datetime:
    instant: datetime = pa.scalar(micros, _INSTANT).as_py()
    return instant


def incoming(frames: Sequence[Frame]) -> list[Frame]:
    """Those that the provider sent."""
    return [frame for frame in frames if frame.direction == "in"]


def text_of(frame: Frame) -> str:
    """A frame's text, whatever it is."""
    return frame.data if isinstance(frame.data, str) else frame.data.decode(errors="replace")


def mapped(texts: pa.ChunkedArray, of: Callable[[str], str | None]) -> pa.Array:
    """A text for each, worked out once for each that differs; null where there is none."""
    encoded = pc.dictionary_encode(texts.combine_chunks())
    told = pa.array(
        [None if text is None else of(text) for text in encoded.dictionary.to_pylist()],
        pa.string(),
    )
    return told.take(encoded.indices)


def trades(
    provider: str,
    received_at: pa.Array | pa.ChunkedArray,
    *,
    currency: Callable[[str], str | None],
    **columns: pa.Array | pa.ChunkedArray,
) -> pa.Table:
    """Trades as over REST; `columns` are symbol, ts_ns, price, size, trade_id, conditions."""
    return ticks(
        "trade",
        provider,
        received_at,
        venue=provider.upper(),
        instrument_type="crypto",
        currency=mapped(columns["symbol"], currency),
        **columns,
    )


def quotes(
    provider: str,
    received_at: pa.Array | pa.ChunkedArray,
    *,
    currency: Callable[[str], str | None],
    ts_ns: pa.Array | pa.ChunkedArray | None = None,
    **columns: pa.Array | pa.ChunkedArray,
) -> pa.Table:
    """Quotes; those that have no time of their own have that of their frame."""
    received_ns = pc.multiply(received_at.cast(pa.int64()), 1000)
    return ticks(
        "quote",
        provider,
        received_at,
        instrument_type="crypto",
        currency=mapped(columns["symbol"], currency),
        ts_ns=received_ns if ts_ns is None else pc.coalesce(ts_ns, received_ns),
        **columns,
    )


def bars(
    provider: str,
    received_at: pa.Array | pa.ChunkedArray,
    *,
    currency: Callable[[str], str | None],
    starts: pa.Array | pa.ChunkedArray,
    closed: pa.Array | pa.ChunkedArray,
    **columns: pa.Array | pa.ChunkedArray,
) -> pa.Table:
    """Bars by their starts (timestamp[us, UTC]): provisional where closed, else forming."""
    days = starts.cast(pa.int64())
    days = pc.floor(pc.divide(days.cast(pa.float64()), 86_400e6)).cast(pa.int32()).cast(pa.date32())
    return ticks(
        "bar",
        provider,
        received_at,
        instrument_type="crypto",
        session="regular",
        currency=mapped(columns["symbol"], currency),
        ts=starts,
        session_date=days,
        split_basis=days,
        state=pc.if_else(closed, "provisional", "forming"),
        **columns,
    )


def refused_subscription(title: str, found: object, todo: str = "") -> RangeError:
    """The provider does not take what we asked for: asking again would not help."""
    return RangeError(
        f"{title} refuses the subscription.",
        expected="symbols and kinds that it has",
        found=str(found)[:160],
        todo=todo or "check the spelling of the symbols; `tickerlake search` finds them",
    )


def decoded_frame(text: str) -> Any:  # noqa: ANN401 - whatever a frame says
    """The document of a frame; None where it is none."""
    try:
        return _DECODER.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None


_DECODER: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder()


def documents(frames: Sequence[Frame]) -> list[Any]:
    """The document of each frame; None where it is none. All at once where none is odd."""
    texts = [frame.data if type(frame.data) is str else text_of(frame) for frame in frames]
    together = decoded_frame(f"[{','.join(texts)}]") if texts else []
    if together is not None and len(together) == len(texts):
        return list(together)
    return [decoded_frame(text) for text in texts]


def objects(frames: Sequence[Frame], said: Said) -> list[tuple[Frame, Mapping[str, Any]]]:
    """The frames that are one object each; others are told as odd."""
    found: list[tuple[Frame, Mapping[str, Any]]] = []
    for frame in frames:
        document = decoded_frame(text_of(frame))
        if isinstance(document, Mapping):
            found.append((frame, document))
        else:
            said.odd(frame.data)
    return found

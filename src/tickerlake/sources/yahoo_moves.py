"""Which of a ticker's frames tell something new: compared with the symbol's frame before.

A batch is columns; what each symbol's last frame told stands in front of its rows, and goes on into
the next batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.sources.yahoo_protobuf import Bools, Ints, Pricings, Told

__all__ = ["SIDES", "LastQuotes", "LastTrades"]

SIDES: Final = ("bid", "bid_size", "ask", "ask_size")
_TRADED: Final = ("time_ms", "price", "day_volume")
#: Wider than all times of markets in ms, so that each symbol's times lie behind the one's before.
_SPAN_MS: Final = 10**13


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Rows of a batch by symbol, each beside the one before it, which may be of an older batch."""

    symbols: Sequence[str]
    #: The symbol of each row, as its place in `symbols`.
    group: Ints
    #: Of the batch; -1 for what an older one told.
    rows: Ints
    columns: Mapping[str, Told]
    #: Whether there is a row of the same symbol before.
    follows: Bools

    @classmethod
    def of(
        cls,
        told: Pricings,
        rows: Ints,
        names: Sequence[str],
        last: Mapping[str, tuple[Any, ...]],
    ) -> _Pairs:
        encoded = pc.dictionary_encode(told.texts["symbol"].take(pa.array(rows)))
        symbols = encoded.dictionary.to_pylist()
        known = [(code, last[symbol]) for code, symbol in enumerate(symbols) if symbol in last]
        codes = [code for code, _ in known]
        group = np.concatenate([np.array(codes, np.int64), encoded.indices.to_numpy()])
        order = np.argsort(group, kind="stable")
        columns = {}
        for at, name in enumerate(names):
            before = [values[at] for _, values in known]
            column = told.numbers[name].of(rows)
            filled = np.array([value or 0 for value in before], column.values.dtype)
            values = np.concatenate([filled, column.values])
            is_told = np.concatenate([[value is not None for value in before], column.told])
            columns[name] = Told(values[order], is_told.astype(bool)[order])
        origin = np.concatenate([np.full(len(codes), -1), rows])[order]
        return cls(symbols, group[order], origin, columns, _follows(group[order]))

    def where(self, keep: Bools) -> _Pairs:
        """Without the other rows."""
        kept = np.flatnonzero(keep)
        columns = {name: column.of(kept) for name, column in self.columns.items()}
        group = self.group[kept]
        return _Pairs(self.symbols, group, self.rows[kept], columns, _follows(group))

    def repeats(self, name: str) -> Bools:
        """Whether a field is as in the row before: both tell the same, or neither tells it."""
        column = self.columns[name]
        values, is_told = column.values, column.told
        same = (is_told[1:] == is_told[:-1]) & ((values[1:] == values[:-1]) | ~is_told[1:])
        return self.follows & np.concatenate([[False], same])[: len(values)]

    def remember(self, last: dict[str, tuple[Any, ...]]) -> None:
        """Each symbol's last row."""
        ends = np.flatnonzero(np.append(~self.follows[1:], True)[: len(self.group)])
        told = [
            [value if known else None for value, known in zip(
                column.values[ends].tolist(), column.told[ends].tolist(), strict=True
            )]
            for column in self.columns.values()
        ]  # fmt: skip
        names = [self.symbols[code] for code in self.group[ends].tolist()]
        last.update(zip(names, zip(*told, strict=True), strict=True))


class LastTrades:
    """Time, price and the day's volume of each symbol's last frame."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[Any, ...]] = {}

    def moved(self, told: Pricings, rows: Ints) -> tuple[Ints, pa.Array]:
        """The rows that are trades, and their sizes: by how much the day's volume grew.

        Late frames are none, nor are those in which only the clock moved on.
        """
        pairs = _Pairs.of(told, rows, _TRADED, self._last)
        times = pairs.columns["time_ms"].values + pairs.group * _SPAN_MS
        pairs = pairs.where(times == np.maximum.accumulate(times))
        pairs.remember(self._last)
        volume = pairs.columns["day_volume"]
        unmoved = pairs.repeats("price") & pairs.repeats("day_volume")
        unmoved &= volume.told | pairs.repeats("time_ms")
        before = Told(np.roll(volume.values, 1), np.roll(volume.told, 1))
        # A new day begins at nothing. Differences beyond int64 are right without a sign.
        grown = pairs.follows & volume.told & before.told & (volume.values > before.values)
        size = (volume.values.view(np.uint64) - before.values.view(np.uint64)).astype(np.float64)
        is_new = np.flatnonzero((pairs.rows >= 0) & ~unmoved)
        is_new = is_new[np.argsort(pairs.rows[is_new])]
        return pairs.rows[is_new], pa.array(size[is_new], mask=~grown[is_new])


class LastQuotes:
    """Bid and ask with their sizes, as each symbol's last frame with one of them told them."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[Any, ...]] = {}

    def moved(self, told: Pricings, rows: Ints) -> Ints:
        """The rows whose sides are others than before."""
        pairs = _Pairs.of(told, rows, SIDES, self._last)
        pairs.remember(self._last)
        repeated = np.logical_and.reduce([pairs.repeats(name) for name in SIDES])
        found: Ints = np.sort(pairs.rows[(pairs.rows >= 0) & ~repeated])
        return found


def _follows(group: Ints) -> Bools:
    return np.concatenate([[False], group[1:] == group[:-1]])[: len(group)]

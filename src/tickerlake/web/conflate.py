"""From many records to the few that a page must see, on whole Arrow batches."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.records import INTERVALS, STATE_RANK

__all__ = ["BARS_PER_FRAME_MAX", "INTERVAL_SPANS", "Bar", "conflate"]

#: How long one bar of each interval lasts at most.
INTERVAL_SPANS: Final[dict[str, timedelta]] = {
    "1s": timedelta(seconds=1),
    "1m": timedelta(minutes=1),
    "2m": timedelta(minutes=2),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "30m": timedelta(minutes=30),
    "1h": timedelta(hours=1),
    "90m": timedelta(minutes=90),
    "4h": timedelta(hours=4),
    "1d": timedelta(days=1),
    "5d": timedelta(days=7),
    "1wk": timedelta(days=7),
    "1mo": timedelta(days=31),
    "3mo": timedelta(days=92),
}
if set(INTERVAL_SPANS) != set(INTERVALS):  # a new interval must say how long it lasts
    raise RuntimeError(f"spans are not known for {set(INTERVALS) ^ set(INTERVAL_SPANS)}")

#: Newest bars of one series that one frame carries; a page reloads its chart to see the others.
#: Three, so that the final bar of a session is not lost when the next one opens in the same frame.
BARS_PER_FRAME_MAX: Final = 3

_SERIES: Final = ("provider", "symbol", "interval")
_VALUES: Final = ("ts", "open", "high", "low", "close", "volume", "state", "fetched_at", "event_id")
_STATES: Final = pa.array(list(STATE_RANK))
_RANKS: Final = np.array([*STATE_RANK.values(), -1])


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar as the page gets it."""

    series: tuple[str, str, str]
    #: The newest by this order wins: (ts, rank of state, fetched_at, event_id); times in µs.
    order: tuple[int, int, int, int]
    #: A JSON object, encoded once for every page.
    fragment: bytes
    #: Older bars of the series that came in the same frame were left out.
    more: bool


def conflate(batches: Sequence[pa.Table]) -> list[Bar]:
    """The newest record of each bar key; of each series at most `BARS_PER_FRAME_MAX` bars.

    Args:
        batches: Tables of `lake_schema("bar")`; dead letters in them are left out.

    Returns:
        By series, then by ts.
    """
    table = pa.concat_tables(
        [batch.select([*_SERIES, *_VALUES, "dead_reason"]) for batch in batches]
    )
    table = table.filter(pc.is_null(table.column("dead_reason"))).combine_chunks()
    if not table.num_rows:
        return []
    series = _codes(table)
    ts = _micros(table, "ts")
    fetched = _micros(table, "fetched_at")
    rank = _RANKS[pc.fill_null(pc.index_in(table.column("state"), _STATES), -1).to_numpy()]
    event = pc.fill_null(table.column("event_id"), 0).to_numpy()
    order = np.lexsort((event, fetched, rank, ts, series))
    series, ts = series[order], ts[order]
    # The last record of each (series, ts) is the newest one of that bar.
    bar_ends = np.flatnonzero(np.append((np.diff(series) != 0) | (np.diff(ts) != 0), True))
    series_ends = np.flatnonzero(np.append(np.diff(series[bar_ends]) != 0, True))
    sizes = np.diff(series_ends, prepend=-1)
    from_end = np.repeat(series_ends, sizes) - np.arange(len(bar_ends))
    kept = from_end < BARS_PER_FRAME_MAX
    more = np.repeat(sizes > BARS_PER_FRAME_MAX, sizes)[kept]
    rows = order[bar_ends[kept]]
    orders = zip(
        *(a[rows].tolist() for a in (_micros(table, "ts"), rank, fetched, event)), strict=True
    )
    return list(_bars(table.take(pa.array(rows)), orders, more.tolist()))


def _codes(table: pa.Table) -> npt.NDArray[np.int64]:
    codes = np.zeros(table.num_rows, dtype=np.int64)
    for name in _SERIES:
        encoded = pc.dictionary_encode(table.column(name).combine_chunks(), null_encoding="encode")
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.combine_chunks()
        codes = codes * (len(encoded.dictionary) + 1) + encoded.indices.to_numpy()
    return codes


def _micros(table: pa.Table, name: str) -> npt.NDArray[np.int64]:
    return pc.fill_null(table.column(name).cast(pa.int64()), 0).to_numpy()


def _bars(
    table: pa.Table, orders: Iterator[tuple[int, int, int, int]], more: list[bool]
) -> Iterator[Bar]:
    names = (*_SERIES, "open", "high", "low", "close", "volume", "state")
    columns = [table.column(name).to_pylist() for name in names]
    for row, order, cut in zip(zip(*columns, strict=True), orders, more, strict=True):
        provider, symbol, interval, *prices, state = row
        series = (provider or "", symbol, interval)
        o, h, low, c, v = map(_number, prices)
        fragment = (
            f'{{{_head(series)},"time":{order[0] // 1_000_000},"open":{o},"high":{h},"low":{low},'
            f'"close":{c},"volume":{v},"state":"{state}","fetched_at":{order[2] // 1000}}}'
        )
        yield Bar(series, order, fragment.encode(), cut)


@lru_cache(maxsize=65_536)
def _head(series: tuple[str, str, str]) -> str:
    return json.dumps(dict(zip(_SERIES, series, strict=True)), separators=(",", ":"))[1:-1]


def _number(value: float | None) -> str:
    return repr(value) if value is not None and math.isfinite(value) else "null"

"""Tables of rows as the store cuts and joins them; all of one series, in order of `ts`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from tickerlake.cache.axis import anchor, instant, micros
from tickerlake.errors import MalformedError
from tickerlake.records import KEYS, SCHEMAS, Kind

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["CHUNKS", "between", "chunked", "newest", "require_anchors", "stamps"]

_EVER: Final = (-(2**62), 2**62)
#: How many months one file holds. Days and longer, and corporate actions, are one file in all.
CHUNKS: Final = {
    "1s": 1, "1m": 1, "2m": 1, "5m": 3, "15m": 12, "30m": 12, "1h": 12, "90m": 12, "4h": 12,
}  # fmt: skip


def stamps(rows: pa.Table) -> npt.NDArray[np.int64]:
    """`ts` in microseconds."""
    return rows["ts"].cast(pa.int64()).to_numpy()


def between(rows: pa.Table, low: int, high: int) -> pa.Table:
    """The rows in `[low, high)`; nothing is copied."""
    first, last = np.searchsorted(stamps(rows), [low, high])
    return rows.slice(int(first), int(last - first))


def chunked(rows: pa.Table, months: int | None) -> Iterator[tuple[int, int, pa.Table]]:
    """Bounds and rows of each chunk that has any."""
    if not rows.num_rows:
        return
    if months is None:
        yield (*_EVER, rows)
        return
    at = stamps(rows)
    first = 0
    while first < len(at):
        low, high = chunk_of(int(at[first]), months)
        last = int(np.searchsorted(at, high))
        yield low, high, rows.slice(first, last - first)
        first = last


def chunk_of(at: int, months: int | None) -> tuple[int, int]:
    """The bounds of the chunk that holds a place."""
    if months is None:
        return _EVER
    start = instant(at)
    number = (start.year * 12 + start.month - 1) // months * months
    return _month(number), _month(number + months)


def _month(number: int) -> int:
    year, month = divmod(number, 12)
    return micros(instant(0).replace(year=year, month=month + 1))


def newest(rows: pa.Table, kind: Kind) -> pa.Table:
    """Of each key the last row, in order of time."""
    if not rows.num_rows:
        return SCHEMAS[kind].empty_table()
    numbered = rows.append_column("row", pa.array(np.arange(rows.num_rows)))
    last = numbered.group_by(list(KEYS[kind])).aggregate([("row", "max")])["row_max"]
    return rows.take(last.combine_chunks()).sort_by([("ts", "ascending")])


def require_anchors(bars: pa.Table, interval: str) -> None:
    """Weeks begin on Monday, months and quarters on their first day.

    But for the first row of an answer: it may be the day of the listing.

    Raises:
        MalformedError: A row lies elsewhere; under such a key it would stand beside the true one.
    """
    if interval not in ("1wk", "1mo", "3mo"):
        return
    for at in stamps(bars)[1:].tolist():
        if at != anchor(at, interval):
            raise MalformedError(
                f"A bar of {interval} is off its anchor.",
                expected=f"{instant(anchor(at, interval)):%F}",
                found=f"{instant(at):%F %R}Z",
                todo="ask for 1d",
            )

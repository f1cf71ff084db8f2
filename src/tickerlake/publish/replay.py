"""History as if it were live: each session's bar forming at its open, then final at its close."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.calendars import Session, sessions
from tickerlake.records import SCHEMAS

__all__ = ["Step", "replay"]

_FLOAT: Final = pa.float64()


@dataclass(frozen=True, slots=True)
class Step:
    """All symbols' bars at one instant of the story: an open or a close."""

    at: datetime
    bars: pa.Table


def replay(bars: pa.Table, *, calendar: str | None = None) -> Iterator[Step]:
    """The steps of these daily bars, in order of time.

    Nothing is invented: at the open, a bar has open = high = low = close = the open that the
    history gives, and no volume; between open and close there is nothing to tell.

    Args:
        bars: Daily bars of any symbols.
        calendar: Whose opens and closes; None, and days without a session: 00:00 and 24:00 UTC.
    """
    days = sorted(pc.unique(pc.drop_null(bars["session_date"])).to_pylist())
    hours = (
        {session.date: session for session in sessions(calendar, days[0], days[-1])} if days else {}
    )
    for day in days:
        session = hours.get(day) or _whole_day(day)
        of_day = bars.filter(pc.equal(bars["session_date"], pa.scalar(day, pa.date32())))
        yield Step(session.open, _forming(of_day))
        yield Step(session.close, _with(of_day, {"state": _constant("final", of_day)}))


def _whole_day(day: date) -> Session:
    return sessions(None, day, day)[0]


def _forming(bars: pa.Table) -> pa.Table:
    nothing = pa.nulls(bars.num_rows, _FLOAT)
    opens = dict.fromkeys(("high", "low", "close"), bars["open"])
    return _with(
        bars, opens | {"volume": nothing, "adj_close": nothing, "state": _constant("forming", bars)}
    )


def _constant(text: str, bars: pa.Table) -> pa.Array:
    return pa.repeat(pa.scalar(text), bars.num_rows)


def _with(bars: pa.Table, columns: dict[str, pa.Array | pa.ChunkedArray]) -> pa.Table:
    values = [columns.get(name, bars[name]) for name in bars.column_names]
    return pa.table(values, schema=SCHEMAS["bar"])

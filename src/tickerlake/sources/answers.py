"""What sources do alike with requests, with their answers, and with several answers at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Final

import numpy as np
import pyarrow as pa

from tickerlake import clock
from tickerlake.errors import NotFoundError
from tickerlake.records import KEYS, Kind
from tickerlake.sources.base import Answer, BarsRequest
from tickerlake.sources.http import Reply

__all__ = [
    "each_once",
    "first_day",
    "joined",
    "latest_of_key",
    "received_of",
    "require_symbol",
    "widened",
]

#: Clocks of a provider and ours within this count as the same.
_SKEW: Final = timedelta(seconds=60)


def require_symbol(symbol: str) -> None:
    """Refuse a request for nothing.

    Raises:
        NotFoundError: The symbol is empty, or blanks.
    """
    if not symbol.strip():
        raise NotFoundError(
            "A symbol is missing.", expected="a symbol", found="nothing", todo="name one"
        )


def widened(request: BarsRequest) -> BarsRequest:
    """Weeks, months and quarters are asked for from their first day on."""
    if request.start is None or request.interval not in ("1wk", "1mo", "3mo"):
        return request
    start = request.start.astimezone(UTC) if isinstance(request.start, datetime) else request.start
    day = start.date() if isinstance(start, datetime) else start
    return replace(request, start=first_day(day, request.interval))


def first_day(day: date, interval: str) -> date:
    """The first day of a week, month or quarter; days are their own."""
    if interval == "1wk":
        return day - timedelta(days=day.weekday())
    if interval == "1mo":
        return day.replace(day=1)
    if interval == "3mo":
        return day.replace(month=day.month - (day.month - 1) % 3, day=1)
    return day


def received_of(reply: Reply, provider: str) -> tuple[datetime, tuple[str, ...]]:
    """Our clock, unless it disagrees with the provider's; a clock that was set stays as it was."""
    now = clock.now()
    if reply.date is None or clock.pinned_now() or abs(now - reply.date) <= _SKEW:
        return now, ()
    seconds = round((now - reply.date).total_seconds())
    return reply.date, (f"our clock is {seconds:+d} s off {provider}'s, whose time was taken",)


def joined(answers: Sequence[Answer]) -> Answer:
    """Several answers as one: of a bar or an event that two hold, the later answer's counts."""
    if len(answers) == 1:
        return answers[0]
    bars = pa.concat_tables([answer.bars for answer in answers])
    actions = pa.concat_tables([answer.actions for answer in answers])
    kinds = dict.fromkeys(kind for answer in answers for kind in answer.ticks)
    return replace(
        answers[-1],
        bars=latest_of_key(bars, "bar").sort_by([("symbol", "ascending"), ("ts", "ascending")]),
        actions=latest_of_key(actions, "corporate_action"),
        ticks={
            kind: pa.concat_tables([a.ticks[kind] for a in answers if kind in a.ticks])
            for kind in kinds
        },
        notes=tuple(dict.fromkeys(note for answer in answers for note in answer.notes)),
        missing=tuple(dict.fromkeys(part for answer in answers for part in answer.missing)),
    )


def latest_of_key(table: pa.Table, kind: Kind) -> pa.Table:
    """Each key's last row, in the order of the rows: answers may overlap."""
    keys = list(KEYS[kind])
    if table.group_by(keys).aggregate([]).num_rows == table.num_rows:
        return table
    numbered = table.append_column("row", pa.array(np.arange(table.num_rows)))
    last = numbered.group_by(keys).aggregate([("row", "max")])["row_max"]
    return table.take(last.combine_chunks().sort())


def each_once(table: pa.Table) -> pa.Table:
    """Sorted by `ts`; of rows with the same, the last one counts."""
    stamps = table["ts"].cast(pa.int64()).to_numpy()
    _, first_from_behind = np.unique(stamps[::-1], return_index=True)
    return table.take(pa.array(len(stamps) - 1 - first_from_behind, pa.int64()))

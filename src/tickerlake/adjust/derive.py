"""All at once, for whoever holds bars, days and events in hand: repair, then adjust."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.adjust.apply import Adjust, adjust
from tickerlake.adjust.basis import Basis, basis_of
from tickerlake.adjust.events import Key, Span, steps
from tickerlake.adjust.repair import explained, repair
from tickerlake.records import KEYS
from tickerlake.sources.base import Answer, BarsRequest

__all__ = ["Derived", "daily_request", "derive", "known_of"]

_DAY: Final = timedelta(days=1)
_BEGINNING: Final = date(1900, 1, 1)


@dataclass(frozen=True, slots=True)
class Derived:
    """Bars as they were asked for, and each value that was mended on the way.

    With repair the bars have a further column, `repaired`: what was changed in a row, and why.
    """

    bars: pa.Table
    changes: pa.Table | None = None


def derive(
    bars: pa.Table,
    actions: pa.Table,
    daily: pa.Table,
    *,
    how: Adjust | None,
    mend: bool = False,
    known: Mapping[Key, Sequence[Span]] | None = None,
    bases: Callable[[str], Basis] = basis_of,
) -> Derived:
    """Bars, mended if wished, and adjusted if wished.

    Args:
        bars: As they were given.
        actions: Corporate actions of their symbols.
        daily: 1d bars of their symbols, as they were given; those of `bars` may be among them.
        how: What to adjust for; None: prices stay as they were given.
        mend: Repair known bad data first.
        known: Of symbols that stand there; see `steps`.
        bases: What a provider's numbers include, by its name.

    Raises:
        AdjustmentError: A price cannot be derived.
    """

    def adjusted(some: pa.Table, happened: pa.Table, days: pa.Table) -> pa.Table:
        if how is None:
            return some
        built = steps(happened, days, bases=bases, known=known)
        return adjust(some, built, how, bases=bases)

    if not mend:
        return Derived(adjusted(bars, actions, daily))
    # Days are judged in the longest series that is there, and are among what is mended once only.
    keys = list(KEYS["bar"])
    others = daily.join(bars.select(keys), keys, join_type="left anti").select(bars.column_names)
    mended = repair(pa.concat_tables([bars, others.cast(bars.schema)]), actions, bases=bases)
    own, rest = mended.bars.slice(0, bars.num_rows), mended.bars.slice(bars.num_rows)
    days = pa.concat_tables([own.filter(pc.equal(own["interval"], "1d")), rest])
    shown = adjusted(own, mended.actions, days)
    names = mended.changes.column_names
    of_own = mended.changes.join(bars.select(keys), keys, join_type="left semi").select(names)
    of_actions = mended.changes.filter(pc.is_null(mended.changes["interval"]))
    changes = pa.concat_tables([of_own, of_actions]).sort_by(
        [("symbol", "ascending"), ("ts", "ascending"), ("column", "ascending")]
    )
    return Derived(shown.append_column("repaired", explained(shown, changes)), changes)


def daily_request(request: BarsRequest) -> BarsRequest:
    """The days whose events and closes the bars of a request need: from its start up to now."""
    start = request.start
    if isinstance(start, datetime):
        start = start.date() - _DAY  # its zone is UTC's; an exchange's day may begin before
    return replace(request, interval="1d", start=start, end=None)


def known_of(days: Answer, request: BarsRequest) -> dict[Key, list[Span]] | None:
    """Where events are known after `daily_request` was answered whole; None if it was not.

    Providers leave days out, of halted shares for months: that is no hole in what is known.
    """
    if days.missing or not days.bars.num_rows:
        return None
    start = daily_request(request).start or _BEGINNING
    told = pc.max(days.bars["split_basis"]).as_py(), pc.max(days.bars["session_date"]).as_py()
    end = max(day for day in (start, *told) if day is not None)
    names = days.bars.group_by(["provider", "symbol"]).aggregate([])
    return {(row["provider"], row["symbol"]): [(start, end)] for row in names.to_pylist()}

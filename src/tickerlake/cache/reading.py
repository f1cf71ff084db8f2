"""Answers out of what is held, as if the provider had given them today."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.cache.axis import DAY, FOREVER, instant, is_intraday
from tickerlake.cache.basis import Splits, converted, days_of
from tickerlake.cache.index import Series
from tickerlake.cache.looks import Look
from tickerlake.cache.rows import stamps
from tickerlake.cache.verified import may_claim, verified
from tickerlake.errors import RangeError, StorageError
from tickerlake.records import SCHEMAS
from tickerlake.sources import About, Answer, BarsRequest, Limits, select

if TYPE_CHECKING:
    from tickerlake.cache.store import Store

__all__ = ["about_of", "answer_from", "nothing_there"]


def answer_from(store: Store, look: Look, limits: Limits, bars: pa.Table) -> Answer:
    """What is held of a look's range, with the doubts that lie on it.

    Args:
        store: Where corporate actions are.
        look: The request and its series.
        limits: Of the provider.
        bars: The rows that are held in the look's range.
    """
    notes: list[str] = []
    name = f"{look.request.symbol} {look.request.interval}"
    if limits.price_basis != "raw" and bars.num_rows:
        bars = _on_one_basis(store, look, bars)
        unknown = bars["split_basis"].null_count
        if unknown:
            notes.append(
                f"{name}: of {unknown} bars it is not proven up to which split they are adjusted"
            )
        ends = pc.min_max(bars["split_basis"]).as_py()
        if ends["min"] != ends["max"]:
            notes.append(
                f"{name}: some bars are adjusted for splits up to an earlier day than others"
                " (split_basis): fetch 1d up to now, and they are converted"
            )
    edge = look.rules.edge
    if edge is not None and bars.num_rows:
        bars, count = _unconfirmed(bars, edge)
        if count:
            notes.append(f"{name}: {count} final bars are unconfirmed: too old to be asked again")
    notes += [f"{name}: {text}" for text in _doubts(look)]
    exact = bars if _is_exact(look.request) else select(bars, look.request)
    return Answer(
        bars=exact,
        actions=_actions(store, look),
        notes=tuple(notes),
        about=about_of(look.series.about),
        missing=tuple(f"{name} {text}" for text in _set_apart(store, look, exact)),
    )


def nothing_there(look: Look) -> RangeError | None:
    """What the provider said when it was asked, if it was an error, and it is not due again."""
    told = look.series.about.get("nothing")
    empty = [
        recheck
        for recheck in look.series.held.rechecks
        if recheck.why == "empty" and recheck.overlaps(*look.wanted)
    ]
    if told is None or not empty:
        return None
    due = min(recheck.due for recheck in empty)
    then = "believed" if due == FOREVER else f"asked again after {instant(due):%F %R}Z"
    problem, expected, todo = json.loads(told)
    return RangeError(problem, expected=expected, found=f"said before; {then}", todo=todo)


def _doubts(look: Look) -> Iterator[str]:
    """What of the range is suspect, and where the provider said that there is nothing."""
    for recheck in look.series.held.rechecks:
        if not recheck.overlaps(*look.wanted):
            continue
        since, due = f"{instant(recheck.start):%F}", f"asked again at {instant(recheck.due):%F %R}Z"
        if recheck.why == "suspect":
            yield f"suspect: the provider's new prices from {since} on contradict these; {due}"
        if recheck.why == "empty" and recheck.tries:
            until = f"{instant(recheck.end - 1):%F}"
            then = "believed" if recheck.due == FOREVER else due
            yield f"nothing from {since} to {until}, empty {recheck.tries} times; {then}"


def _set_apart(store: Store, look: Look, bars: pa.Table) -> Iterator[str]:
    """Bars that came, contradict what is held, and are told in the place of none that is held."""
    suspect = [
        recheck
        for recheck in look.series.held.rechecks
        if recheck.why == "suspect" and recheck.overlaps(*look.wanted)
    ]
    if not suspect:
        return
    apart: list[pa.Table] = []
    with contextlib.suppress(StorageError):  # a damaged file: `cache verify` tells
        apart = [select(rows, look.request) for rows in store.set_apart(look.series)]
    at = np.unique(np.concatenate([stamps(rows) for rows in apart] or [stamps(bars)]))
    at = np.setdiff1d(at, stamps(bars))
    for recheck in suspect:
        lost = at[(at >= recheck.start) & (at < recheck.end)]
        if len(lost):
            first, last = instant(int(lost[0])), instant(int(lost[-1]))
            count = f"{len(lost)} bars" if len(lost) > 1 else "1 bar"
            part = f"from {first:%F %R}Z to {last:%F %R}Z"
            yield f"{part}: {count} set apart (suspect); `tickerlake cache status` says what to do"


def _is_exact(request: BarsRequest) -> bool:
    """Whether the wanted interval holds the rows of the request, and no others."""
    ends = [end for end in (request.start, request.end) if end is not None]
    if is_intraday(request.interval):
        return all(isinstance(end, datetime) for end in ends)
    return request.interval == "1d" and not any(isinstance(end, datetime) for end in ends)


def about_of(told: dict[str, str]) -> About:
    """What the provider last told of the instrument."""
    listed = told.get("listed")
    return About(
        name=told.get("name"),
        exchange=told.get("exchange"),
        instrument_type=told.get("instrument_type"),
        currency=told.get("currency"),
        isin=told.get("isin"),
        figi=told.get("figi"),
        listed=date.fromisoformat(listed) if listed else None,
        url=told.get("url"),
    )


def _on_one_basis(store: Store, look: Look, bars: pa.Table) -> pa.Table:
    target = look.series.about.get("split_basis")
    if target is None:
        return bars
    newest = date.fromisoformat(target)
    target_day = (newest - date(1970, 1, 1)).days
    series = _actions_of(store, look)
    split = None if series is None else series.about.get("split")
    in_doubt = series is not None and may_claim(bars, newest, split)
    ends = pc.min_max(bars["split_basis"]).as_py()
    if ends["min"] == ends["max"] == newest and not in_doubt:
        return bars
    actions = SCHEMAS["corporate_action"].empty_table() if series is None else store.rows(series)[0]
    if in_doubt:
        bars = verified(bars, actions, store, look.series)
    # Without gaps up to the newest basis: a split could hide in one.
    part = series.held.coverage.holding(target_day * DAY) if series else None
    known_since = target_day + 1 if part is None else part[0] // DAY
    return converted(bars, target_day, Splits.of(actions), known_since)


def _actions_of(store: Store, look: Look) -> Series | None:
    """The symbol's corporate actions; None: nobody ever asked for days."""
    if look.actions is not None:
        return look.actions
    key = replace(look.series.key, kind="corporate_action", interval="", session="regular")
    return store.index.current(key)


def _actions(store: Store, look: Look) -> pa.Table:
    """Those of the range, by their own date; with 1d alone."""
    if look.actions is None or look.actions.id is None:
        return SCHEMAS["corporate_action"].empty_table()
    rows, _ = store.rows(look.actions)
    if not rows.num_rows:
        return rows
    at = days_of(rows, "ex_date") * DAY
    low, high = look.wanted
    return rows.filter(pa.array((at >= low) & (at < high)))


def _unconfirmed(bars: pa.Table, edge: int) -> tuple[pa.Table, int]:
    """Bars that left the look-back before they were seen again are final, but unconfirmed."""
    old = pc.and_(
        pc.equal(bars["state"], "provisional"), pc.less(bars["ts"], pa.scalar(instant(edge)))
    )
    count = pc.sum(old).as_py() or 0
    if not count:
        return bars, 0
    at = bars.schema.get_field_index("state")
    states = pc.if_else(old, "final", bars["state"])
    return bars.set_column(at, bars.schema.field(at), states), count

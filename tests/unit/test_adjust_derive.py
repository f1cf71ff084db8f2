"""Repair and adjustment in one go, and which days are needed for them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest

from adjusting import YAHOO, Model, actions, bars, bases, weekdays
from tickerlake.adjust import daily_request, derive, known_of
from tickerlake.errors import AdjustmentError
from tickerlake.sources import Answer, BarsRequest, empty_answer

DAYS = weekdays(date(2024, 3, 4), 65)
MODEL = Model(
    {day: 400.0 + 3 * n if n < 30 else 101.0 + n / 2 for n, day in enumerate(DAYS)},
    splits={DAYS[30]: 4.0},
    dividends={DAYS[10]: 0.82, DAYS[45]: 0.205},
)
DAILY = bars(MODEL.closes(DAYS[-1]), split_basis=DAYS[-1])
EVENTS = actions(*MODEL.events(DAYS[-1]))


def test_days_are_asked_for_from_the_start_up_to_now() -> None:
    """Events after the range count too; a time's day may have begun before it in its zone."""
    asked = BarsRequest("AAA", "1m", date(2024, 5, 1), date(2024, 5, 2))
    assert daily_request(asked) == BarsRequest("AAA", "1d", date(2024, 5, 1))
    instant = replace(asked, start=datetime(2024, 5, 1, 1, tzinfo=UTC), end=None)
    assert daily_request(instant) == BarsRequest("AAA", "1d", date(2024, 4, 30))
    assert daily_request(BarsRequest("AAA")) == BarsRequest("AAA")


def test_a_whole_answer_knows_all_events_of_its_range() -> None:
    """Also of months without bars; an answer with parts missing knows them where it has days."""
    asked = BarsRequest("AAA", "1d", DAYS[0], DAYS[5])
    halted = DAILY.filter(pa.array([n < 6 or n > 60 for n in range(65)]))
    answer = replace(empty_answer(), bars=halted, actions=EVENTS)
    assert known_of(answer, asked) == {("acme", "AAA"): [(DAYS[0], DAYS[-1])]}
    partly = replace(answer, missing=("AAA 1d from 2024-04-01",))
    assert known_of(partly, asked) is None
    assert known_of(empty_answer(), asked) is None

    def traded(days: Answer) -> pa.Table:
        known = known_of(days, asked)
        own = halted.slice(0, 6)
        return derive(
            own, days.actions, days.bars, how="none", known=known, bases=bases(YAHOO)
        ).bars

    assert traded(answer)["close"].to_pylist() == pytest.approx([*MODEL.traded.values()][:6])
    with pytest.raises(AdjustmentError, match="not known"):
        traded(partly)


def test_what_is_mended_is_what_is_adjusted() -> None:
    """A day of the range in another unit: mended by the days around it, then adjusted."""
    closes = MODEL.closes(DAYS[-1])
    bad = bars(
        {d: (c or 0.0) / (100 if d == DAYS[12] else 1) for d, c in closes.items()},
        split_basis=DAYS[-1],
    )
    own = bad.slice(8, 8)
    found = derive(own, EVENTS, bad, how="all", mend=True, bases=bases(YAHOO))
    assert found.bars["close"].to_pylist() == pytest.approx(MODEL.adjusted(DAYS[-1])[8:16])
    told = found.bars["repaired"].to_pylist()
    assert [n for n, text in enumerate(told) if text is not None] == [4]
    assert found.changes is not None
    assert found.changes["column"].to_pylist() == ["close", "high", "low", "open"]


def test_without_a_wish_nothing_changes() -> None:
    """No adjustment, no repair: the same table."""
    found = derive(DAILY, EVENTS, DAILY, how=None, bases=bases(YAHOO))
    assert found.bars is DAILY
    assert found.changes is None
    mended = derive(DAILY, EVENTS, DAILY, how=None, mend=True, bases=bases(YAHOO))
    assert mended.bars.drop_columns("repaired").equals(DAILY)
    assert mended.bars["repaired"].null_count == DAILY.num_rows


def test_only_what_was_asked_for_is_told() -> None:
    """Mistakes on days that only helped to judge are not among the changes."""
    bad = bars(
        {d: (c or 0.0) * (100 if d == DAYS[50] else 1) for d, c in MODEL.closes(DAYS[-1]).items()},
        split_basis=DAYS[-1],
    )
    found = derive(bad.slice(0, 20), EVENTS, bad, how="all", mend=True, bases=bases(YAHOO))
    assert found.changes is not None
    assert found.changes.num_rows == 0
    assert found.bars["close"].to_pylist() == pytest.approx(MODEL.adjusted(DAYS[-1])[:20])

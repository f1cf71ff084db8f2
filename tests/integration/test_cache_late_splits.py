"""Bars that came before anybody told of a split: whether they have it, their prices show."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

import pytest

from pretended_time import Now
from tickerlake.cache import CachedSource
from tickerlake.cache.index import Key, Series
from tickerlake.cache.store import Store
from tickerlake.cache.verified import verified
from tickerlake.publish import Publisher
from tickerlake.query.known import known_actions, known_bars
from tickerlake.sources import Answer, BarsRequest
from tickerlake.testing.engine_suite import House
from tickerlake.testing.exchange import Exchange, ExchangeSource, Split

EX = date(2024, 3, 11)
HOURS = BarsRequest("AAA", "1h", date(2024, 3, 4), date(2024, 3, 8))
AT = datetime(2024, 3, 13, 12, 0, tzinfo=UTC)


class Apart(ExchangeSource):
    """Days come of one exchange and hours of another: one is re-adjusted late (seen at Yahoo)."""

    def __init__(self, *, days: Exchange, hours: Exchange) -> None:
        super().__init__(days)
        self._of = {"1d": days}
        self._hours = hours

    def bars(self, request: BarsRequest) -> Answer:
        """As `ExchangeSource`."""
        self._exchange = self._of.get(request.interval, self._hours)
        return super().bars(request)


def exchange(ratio: float, late_days: int) -> Exchange:
    split = Split("AAA", EX, ratio, late_days)
    return Exchange(first=date(2024, 1, 2), last=date(2024, 6, 28), splits=[split])


def closes(answer: Answer) -> list[float]:
    return [float(close) for close in answer.bars["close"].to_pylist()]


def bases(answer: Answer) -> set[date | None]:
    return set(answer.bars["split_basis"].to_pylist())


@pytest.mark.parametrize("ratio", [4.0, 1.5, 0.1])
@pytest.mark.parametrize("hours_late", [0, 9])
@pytest.mark.parametrize("days_late", [0, 9])
def test_days_show_whether_hours_have_a_split(
    now: Now, tmp_path: Path, ratio: float, hours_late: int, days_late: int
) -> None:
    """Whichever of the two lost it: hours are read as if they had it."""
    truth = exchange(ratio, 0).bars("AAA", "1h", AT)
    source = Apart(days=exchange(ratio, days_late), hours=exchange(ratio, hours_late))
    cached = CachedSource(source, tmp_path)
    now(AT.isoformat())
    before = cached.bars(HOURS)
    assert bases(before) == {date(2024, 3, 12)}  # what it claims: nobody told of anything
    cached.bars(BarsRequest("AAA", "1d", date(2024, 2, 1)))
    after = cached.bars(HOURS)
    told = [row["close"] for row in truth if date(2024, 3, 4) <= row["session_date"] < EX]
    assert closes(after)[: len(told)] == pytest.approx(told[: len(closes(after))], rel=2e-6)
    assert bases(after) == {date(2024, 3, 12)}
    assert len(source.asked) == 2


@pytest.mark.parametrize("late_days", [0, 9])
def test_the_step_shows_it_where_no_day_is_held(now: Now, tmp_path: Path, late_days: int) -> None:
    """Hours on both sides of the split, and of days but the ones since then."""
    truth = exchange(4.0, 0).bars("AAA", "1h", AT)
    cached = CachedSource(ExchangeSource(exchange(4.0, late_days)), tmp_path)
    request = BarsRequest("AAA", "1h", date(2024, 3, 4), date(2024, 3, 12))
    now(AT.isoformat())
    cached.bars(request)
    cached.bars(BarsRequest("AAA", "1d", date(2024, 3, 11)))
    told = [row["close"] for row in truth if row["session_date"] >= date(2024, 3, 4)]
    assert closes(cached.bars(request)) == pytest.approx(told, rel=2e-6)


@pytest.mark.parametrize("late_days", [0, 9])
@pytest.mark.parametrize("beside", [date(2024, 2, 26), date(2024, 3, 11)])
def test_neighbours_show_it(now: Now, tmp_path: Path, late_days: int, beside: date) -> None:
    """Days fetched while nobody told of the split, and then others before or after them."""
    market = exchange(4.0, late_days)
    cached = CachedSource(ExchangeSource(market), tmp_path)
    request = BarsRequest("AAA", "1d", date(2024, 3, 4), date(2024, 3, 8))
    if beside < EX:
        now("2024-03-04T12:00:00Z")  # those of before the split came before it
        cached.bars(BarsRequest("AAA", "1d", beside, date(2024, 3, 1)))
    now(AT.isoformat())
    cached.bars(request)
    cached.bars(BarsRequest("AAA", "1d", max(beside, EX)))  # tells of it
    found = cached.bars(request)
    told = [row for row in exchange(4.0, 0).bars("AAA", "1d", AT) if row["session_date"] < EX]
    assert bases(found) <= {date(2024, 3, 12), AT.date()}
    assert closes(found) == pytest.approx([row["close"] for row in told[-5:]], rel=2e-6)


@pytest.mark.parametrize("late_days", [0, 9])
def test_what_nothing_shows_is_not_proven(now: Now, tmp_path: Path, late_days: int) -> None:
    """Hours before the split alone, and days since: they are as they came, and marked."""
    cached = CachedSource(ExchangeSource(exchange(4.0, late_days)), tmp_path)
    now(AT.isoformat())
    before = cached.bars(HOURS)
    cached.bars(BarsRequest("AAA", "1d", date(2024, 3, 11)))
    after = cached.bars(HOURS)
    assert closes(after) == closes(before)
    assert bases(after) == {None}
    assert any("not proven up to which split" in note for note in after.notes)


def test_what_came_after_it_was_told_is_proven_then(now: Now, tmp_path: Path) -> None:
    """Telling it again later makes nothing of before doubtful."""
    cached = CachedSource(ExchangeSource(exchange(4.0, 0)), tmp_path)
    now(AT.isoformat())
    cached.bars(BarsRequest("AAA", "1d", date(2024, 2, 1)))
    request = BarsRequest("AAA", "1h", date(2024, 3, 4), date(2024, 3, 12))
    first = cached.bars(request)
    now("2024-03-20T12:00:00Z")
    cached.bars(BarsRequest("AAA", "1d", date(2024, 2, 1)))  # tells of it once more
    assert closes(cached.bars(request)) == pytest.approx(closes(first), rel=2e-6)
    assert None not in bases(cached.bars(request))


def test_prices_with_a_split_and_without_the_one_before_it_have_no_basis(
    now: Now, tmp_path: Path
) -> None:
    """No day says that: they are as they came, and marked; until the provider is well."""
    market = Exchange(first=date(2024, 1, 2), last=date(2024, 6, 28))
    source = ExchangeSource(market)
    cached = CachedSource(source, tmp_path)
    request = BarsRequest("AAA", "1d", date(2024, 3, 1), date(2024, 3, 4))
    now("2024-03-05T14:07:00Z")
    cached.bars(request)
    market.splits += [Split("AAA", date(2024, 3, 5), 0.5, late_days=2)]
    market.splits += [Split("AAA", date(2024, 3, 6), 4.0)]
    now("2024-03-06T15:08:00Z")
    found = cached.bars(request)
    assert bases(found) == {None}
    assert closes(found) == pytest.approx(closes(source.bars(request)), rel=2e-6)
    now("2024-03-12T22:00:00Z")
    cached.bars(BarsRequest("AAA", "1d", date(2024, 3, 1)))
    found = cached.bars(request)
    assert None not in bases(found)
    assert closes(found) == pytest.approx(closes(source.bars(request)), rel=2e-6)


def test_hours_that_nothing_shows_prove_nothing_of_later_ones(now: Now, tmp_path: Path) -> None:
    """A lost split, then one that undoes it: the same prices again, and not the same splits."""
    market = Exchange(first=date(2024, 1, 2), last=date(2024, 6, 28))
    source = ExchangeSource(market)
    cached = CachedSource(source, tmp_path)
    market.splits += [Split("AAA", date(2024, 3, 19), 0.5, late_days=2)]
    for moment in ("2024-03-18T23:07:00Z", "2024-03-19T23:07:00Z"):
        now(moment)
        cached.bars(BarsRequest("AAA", "1h", date(2024, 3, 12)))
    cached.bars(BarsRequest("AAA", "1d", date(2024, 2, 26)))
    market.splits += [Split("AAA", date(2024, 3, 20), 2.0, late_days=4)]
    now("2024-03-24T23:07:00Z")
    request = BarsRequest("AAA", "1h", date(2024, 3, 18), date(2024, 3, 22))
    found = cached.bars(request)
    truth = {row["ts"]: row["close"] for row in source.bars(request).bars.to_pylist()}
    for row in found.bars.to_pylist():
        if row["split_basis"] is not None:
            assert row["close"] == pytest.approx(truth[row["ts"]], rel=2e-6), row["ts"]
    assert found.bars["split_basis"].null_count < found.bars.num_rows


def test_rows_that_were_replaced_meanwhile_are_not_proven(now: Now, tmp_path: Path) -> None:
    """Another process replaced them between the look and the evidence: nothing shows anything."""
    cached = CachedSource(ExchangeSource(exchange(4.0, 0)), tmp_path)
    now(AT.isoformat())
    hours = cached.bars(HOURS).bars
    cached.bars(BarsRequest("AAA", "1d", date(2024, 2, 1)))
    store = Store(tmp_path)
    days = store.index.current(Key("exchange", "AAA", "bar", "1d", "regular"))
    events = store.index.current(Key("exchange", "AAA", "corporate_action", "", "regular"))
    assert days is not None
    assert events is not None
    gone = Series(replace(days.key, interval="1h"))  # of no rows
    rows = verified(hours, store.rows(events)[0], store, gone)
    assert rows["split_basis"].null_count == rows.num_rows == hours.num_rows
    store.close()


def test_the_lake_learns_of_it(now: Now, tmp_path: Path) -> None:
    """What was published at the provider's word is sent again as a revision, once."""
    source = Apart(days=exchange(4.0, 0), hours=exchange(4.0, 9))
    cached = CachedSource(source, tmp_path / "cache")
    house = House(tmp_path / "house")
    known = partial(known_bars, house.lake, house.stream)
    events = partial(known_actions, house.lake, house.stream)
    publisher = Publisher(cached, house.stream, known=known, known_actions=events)
    now(AT.isoformat())
    wrong = cached.bars(HOURS)
    sent = [publisher.publish_answer(wrong).sent]
    publisher.publish_answer(cached.bars(BarsRequest("AAA", "1d", date(2024, 2, 1))))
    house.deliver()
    sent += [publisher.publish_answer(cached.bars(HOURS)).sent for _ in range(2)]
    assert sent == [35, 35, 0]
    told = known("exchange", ["AAA"], "1h").sort_by("ts")
    assert set(told["state"].to_pylist()) == {"revised"}
    assert told["close"].to_pylist() == pytest.approx([close / 4 for close in closes(wrong)])
    house.close()

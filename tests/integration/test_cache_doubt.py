"""Answers that contradict what is held, or say less than it, and providers that fail."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from pretended_time import Now
from stock_double import Stock, values
from tickerlake import clock
from tickerlake.cache import CachedSource
from tickerlake.errors import (
    MalformedError,
    NotFoundError,
    RangeError,
    RateLimitedError,
    UnreachableError,
)
from tickerlake.sources import Answer, BarsRequest, Limits
from tickerlake.testing.exchange import Exchange, ExchangeSource, Split

DAYS = BarsRequest("ACME", "1d", date(2024, 1, 2))


def closes(answer: Answer) -> dict[date, float]:
    dates, prices = answer.bars["session_date"].to_pylist(), answer.bars["close"].to_pylist()
    return dict(zip(dates, prices, strict=True))


def test_a_split_is_read_by_everybody_and_fetches_nothing_again(now: Now, tmp_path: Path) -> None:
    """Old rows keep their values; reading converts them, as the provider now tells them."""
    stock = Stock(splits={date(2024, 3, 5): 4.0})
    cached = CachedSource(stock, tmp_path)
    now("2024-03-01T22:00:00Z")
    before = closes(cached.bars(DAYS))
    now("2024-03-06T22:00:00Z")
    answer = cached.bars(DAYS)
    assert len(stock.asked) == 2
    assert closes(answer)[date(2024, 1, 2)] == before[date(2024, 1, 2)] / 4
    assert values(answer.bars) == values(stock.bars(DAYS).bars)
    assert answer.actions["action"].to_pylist() == ["split"]
    part = BarsRequest("ACME", "1d", date(2024, 1, 2), date(2024, 1, 5))
    assert closes(cached.bars(part)) == closes(stock.bars(part))


def test_a_split_that_the_prices_do_not_show_yet(now: Now, tmp_path: Path) -> None:
    """A split told before prices were re-adjusted (seen) is proven by bars, not by the clock."""
    stock = Stock(
        splits={date(2024, 3, 5): 4.0}, splits_told_from={date(2024, 3, 5): date(2024, 3, 8)}
    )
    cached = CachedSource(stock, tmp_path)
    for day in ("2024-03-01", "2024-03-06", "2024-03-11"):
        now(f"{day}T22:00:00Z")
        truth = closes(cached.bars(DAYS))
        fresh = closes(CachedSource(stock, tmp_path / day).bars(DAYS))
        assert truth == pytest.approx(fresh, rel=2e-6), day
        assert (truth[date(2024, 1, 2)] < 30) == (day > "2024-03-05"), day


def test_a_split_that_was_lost_for_days(now: Now, tmp_path: Path) -> None:
    """Fetched while neither event nor prices told of it (seen): found out later, and read right."""
    stock = Stock(
        splits={date(2024, 3, 5): 4.0},
        splits_told_from={date(2024, 3, 5): date(2024, 3, 8)},
        splits_are_lost=True,
    )
    cached = CachedSource(stock, tmp_path)
    now("2024-03-06T22:00:00Z")
    lost = closes(cached.bars(DAYS))
    now("2024-03-11T22:00:00Z")
    found = closes(cached.bars(DAYS))
    assert found[date(2024, 1, 2)] == lost[date(2024, 1, 2)] / 4
    assert found == pytest.approx(closes(stock.bars(DAYS)), rel=2e-6)
    assert len(stock.asked) == 3


def test_a_gap_before_a_split_learns_of_it(now: Now, tmp_path: Path) -> None:
    """An older gap whose overlap was moved by a split after it: events are asked for as well."""
    stock = Stock(splits={date(2024, 3, 5): 4.0})
    cached = CachedSource(stock, tmp_path)
    now("2024-03-01T22:00:00Z")
    cached.bars(BarsRequest("ACME", "1d", date(2024, 1, 2), date(2024, 1, 31)))
    now("2024-03-11T22:00:00Z")
    request = BarsRequest("ACME", "1d", date(2023, 12, 1), date(2024, 1, 31))
    answer = cached.bars(request)
    assert closes(answer) == pytest.approx(closes(stock.bars(request)), rel=2e-6)
    assert not any("suspect" in note for note in answer.notes)


def test_prices_that_nothing_explains_are_set_apart(now: Now, tmp_path: Path) -> None:
    """Asked once more, then quarantined: the old rows are served, marked, and asked for later."""
    stock = Stock()
    cached = CachedSource(stock, tmp_path)
    now("2024-03-01T22:00:00Z")
    before = closes(cached.bars(DAYS))
    now("2024-03-06T22:00:00Z")
    stock.bent = {date(2024, 2, 27): {"close": 9000.0, "high": 9001.0}}
    answer = cached.bars(DAYS)
    assert len(stock.asked) == 3  # once more
    assert closes(answer) == before
    assert any("suspect" in note for note in answer.notes)
    assert list((tmp_path / "quarantine").glob("*.arrow"))
    cached.bars(DAYS)
    assert len(stock.asked) == 3
    now("2024-03-06T23:01:00Z")  # an hour later it insists
    cached.bars(DAYS)
    assert len(stock.asked) == 5
    now("2024-03-07T15:00:00Z")
    assert not any(request.start is None for request in stock.asked)
    stock.bent = {}
    now("2024-03-08T23:30:00Z")
    healed = cached.bars(DAYS)
    assert not any("suspect" in note for note in healed.notes)
    assert values(healed.bars) == values(stock.bars(DAYS).bars)


def test_a_volume_that_moves_is_revised_and_seen_once_more(now: Now, tmp_path: Path) -> None:
    """Volume proves nothing about prices: the bar is revised, and due once after ten days."""
    stock = Stock()
    cached = CachedSource(stock, tmp_path)
    now("2024-03-01T22:00:00Z")
    cached.bars(DAYS)
    stock.bent = {date(2024, 2, 28): {"volume": 5.0}}
    now("2024-03-04T22:00:00Z")
    rows = {row["session_date"]: row for row in cached.bars(DAYS).bars.to_pylist()}
    assert rows[date(2024, 2, 28)]["state"] == "revised"
    assert rows[date(2024, 2, 28)]["volume"] == 5.0
    near = BarsRequest("ACME", "1d", date(2024, 2, 26), date(2024, 2, 29))
    count = len(stock.asked)
    now("2024-03-13T22:00:00Z")
    cached.bars(near)
    assert len(stock.asked) == count
    now("2024-03-15T22:00:00Z")
    cached.bars(near)
    cached.bars(near)
    assert len(stock.asked) == count + 1


def test_dividends_that_vanish_are_kept(now: Now, tmp_path: Path) -> None:
    """An answer without the events that it told before is asked for again, and loses nothing."""
    stock = Stock(dividends={date(2024, 2, 27): 0.5})
    cached = CachedSource(stock, tmp_path)
    now("2024-03-01T22:00:00Z")
    assert cached.bars(DAYS).actions.num_rows == 1
    stock.dividends = {}
    now("2024-03-05T22:00:00Z")
    assert cached.bars(DAYS).actions["amount"].to_pylist() == [0.5]
    asked = len(stock.asked)
    assert cached.bars(DAYS).actions.num_rows == 1
    assert len(stock.asked) == asked
    now("2024-03-05T23:01:00Z")
    stock.dividends = {date(2024, 2, 27): 0.5}
    assert cached.bars(DAYS).actions.num_rows == 1
    assert len(stock.asked) == asked + 1
    now("2024-03-06T00:10:00Z")
    cached.bars(DAYS)
    assert len(stock.asked) == asked + 1


def test_a_missing_session_is_looked_for_twice(now: Now, tmp_path: Path) -> None:
    """A day that should have traded is seen again after the next session and after ten days."""
    stock = Stock(missing_days={date(2024, 3, 6)})
    cached = CachedSource(stock, tmp_path)
    request = BarsRequest("ACME", "1d", date(2024, 2, 1), date(2024, 3, 6))
    counts = []
    for day in ("03-07", "03-08", "03-11", "03-15", "03-17", "03-28"):
        now(f"2024-{day}T22:00:00Z")
        cached.bars(request)
        counts.append(len(stock.asked))
    assert counts == [1, 2, 2, 2, 3, 3]


def test_a_forming_bar_that_is_taken_back_is_gone(now: Now, tmp_path: Path) -> None:
    """A provider shows a live bar, and a minute later none: what never was is not kept."""
    stock = Stock()
    cached = CachedSource(stock, tmp_path)
    now("2024-03-06T16:00:00Z")
    assert date(2024, 3, 6) in closes(cached.bars(DAYS))
    stock.missing_days = {date(2024, 3, 6)}
    now("2024-03-06T16:02:00Z")
    found = closes(cached.bars(DAYS))
    assert date(2024, 3, 6) not in found
    assert date(2024, 3, 5) in found


def test_what_was_fetched_before_the_open_is_settled_by_that_day(now: Now, tmp_path: Path) -> None:
    """Thursday's bar, seen on Friday before the open, is looked at again after Friday's close."""
    exchange = Exchange(first=date(2024, 1, 2), last=date(2024, 6, 28))
    source = ExchangeSource(exchange)
    cached = CachedSource(source, tmp_path)
    thursday = BarsRequest("AAA", "1d", date(2024, 3, 7), date(2024, 3, 7))
    now("2024-03-08T14:07:00Z")
    assert cached.bars(thursday).bars["state"].to_pylist() == ["provisional"]
    now("2024-03-09T14:07:00Z")
    assert cached.bars(thursday).bars["state"].to_pylist() == ["final"]


def test_two_splits_of_one_ratio_are_told_apart(now: Now, tmp_path: Path) -> None:
    """The second explains the new prices: the first is not taken for one that was missing."""
    exchange = Exchange(first=date(2024, 1, 2), last=date(2024, 6, 28))
    cached = CachedSource(ExchangeSource(exchange), tmp_path)
    exchange.splits.append(Split("AAA", date(2024, 3, 6), 4.0))
    now("2024-03-18T07:29:00Z")
    cached.bars(BarsRequest("AAA", "1d", date(2024, 2, 22), date(2024, 3, 5)))
    exchange.splits.append(Split("AAA", date(2024, 3, 19), 4.0))
    now("2024-03-22T07:29:00Z")
    cached.bars(BarsRequest("AAA", "1h", date(2024, 3, 18)))  # tells of the second
    older = BarsRequest("AAA", "1d", date(2024, 2, 9), date(2024, 2, 28))
    found, truth = closes(cached.bars(older)), closes(ExchangeSource(exchange).bars(older))
    assert found.keys() == truth.keys()
    for day, price in truth.items():
        assert found[day] == pytest.approx(price, rel=2e-6), day


@pytest.mark.parametrize(("known", "unknown"), [(4.0, 4.0), (0.5, 2.0)])
def test_a_split_that_is_not_known_is_not_taken_for_one_that_is(
    now: Now, tmp_path: Path, known: float, unknown: float
) -> None:
    """Prices that moved as if one had a known split, or lost it: ask first what else there is."""
    exchange = Exchange(first=date(2024, 1, 2), last=date(2024, 6, 28))
    source = ExchangeSource(exchange)
    cached = CachedSource(source, tmp_path)
    older = BarsRequest("AAA", "1d", date(2024, 2, 12), date(2024, 3, 8))
    exchange.splits.append(Split("AAA", date(2024, 3, 8), known))
    now("2024-03-08T16:47:00Z")
    cached.bars(BarsRequest("AAA", "1d", date(2024, 2, 12)))  # tells of the first
    exchange.splits.append(Split("AAA", date(2024, 3, 11), unknown))
    now("2024-03-20T16:47:00Z")
    again = cached.bars(older)  # its newest bars: by themselves they tell nothing of the second
    cached.bars(BarsRequest("AAA", "1d", date(2024, 3, 1)))  # of both
    truth = closes(source.bars(older))
    assert closes(again) == pytest.approx(truth, rel=2e-6)
    assert closes(cached.bars(older)) == pytest.approx(truth, rel=2e-6)


def test_bars_of_an_unproven_basis_prove_nothing(now: Now, tmp_path: Path) -> None:
    """Of hours before a young split nobody knows whether it is in them: older ones learn nothing.

    They come with the same prices as those that are held, which is no sign that both lack it.
    """
    exchange = Exchange(first=date(2024, 1, 2), last=date(2024, 6, 28))
    exchange.splits.append(Split("AAA", date(2024, 3, 11), 4.0))
    cached = CachedSource(ExchangeSource(exchange), tmp_path)
    now("2024-03-23T19:47:00Z")
    cached.bars(BarsRequest("AAA", "1d", date(2024, 3, 4)))  # tells of the split
    cached.bars(BarsRequest("AAA", "1h", date(2024, 3, 4), date(2024, 3, 8)))
    more = BarsRequest("AAA", "1h", date(2024, 3, 1), date(2024, 3, 15))
    at = datetime(2024, 3, 23, 19, 47, tzinfo=UTC)
    truth = {row["ts"]: row["close"] for row in exchange.bars("AAA", "1h", at)}
    found = cached.bars(more).bars.select(["ts", "close"]).to_pylist()
    assert {row["ts"].date() for row in found} >= {date(2024, 3, 1), date(2024, 3, 15)}
    for row in found:
        assert row["close"] == pytest.approx(truth[row["ts"]], rel=2e-6), row


def test_bars_of_an_unproven_basis_contradict_nothing(now: Now, tmp_path: Path) -> None:
    """In one overlap: hours that lack a young split, and some of which nothing proves whether."""
    exchange = Exchange(first=date(2024, 1, 2), last=date(2024, 6, 28))
    source = ExchangeSource(exchange)
    cached = CachedSource(source, tmp_path)
    now("2024-03-05T20:07:00Z")
    cached.bars(BarsRequest("AAA", "1h", date(2024, 2, 26), date(2024, 3, 5)))
    exchange.splits.append(Split("AAA", date(2024, 3, 6), 2.0))
    now("2024-03-17T20:07:00Z")
    cached.bars(BarsRequest("AAA", "1d", date(2024, 3, 1)))  # tells of the split
    apart = cached.bars(BarsRequest("AAA", "1h", date(2024, 2, 15), date(2024, 2, 16)))
    assert apart.bars["split_basis"].null_count == apart.bars.num_rows
    first = date(2024, 2, 15)
    request = BarsRequest("AAA", "1h", first, date(2024, 3, 14))
    found = cached.bars(request)
    assert not any("suspect" in note for note in found.notes)
    at = datetime(2024, 3, 17, 20, 7, tzinfo=UTC)
    last = datetime(2024, 3, 15, tzinfo=UTC)
    bars = [row for row in exchange.bars("AAA", "1h", at) if row["session_date"] >= first]
    truth = {row["ts"]: row["close"] for row in bars if row["ts"] < last}
    told = {row["ts"]: row["close"] for row in found.bars.to_pylist()}
    assert told == pytest.approx(truth, rel=2e-6)
    assert found.bars["split_basis"].null_count < apart.bars.num_rows  # some are proven now


def test_another_instrument_under_the_same_symbol(now: Now, tmp_path: Path) -> None:
    """META was a fund, pence became pounds: old rows are kept apart, nothing is revised."""
    stock = Stock()
    cached = CachedSource(stock, tmp_path)
    now("2024-03-01T22:00:00Z")
    cached.bars(DAYS)
    stock.currency = "CAD"
    now("2024-03-04T22:00:00Z")
    answer = cached.bars(DAYS)
    assert any("another instrument (currency USD; now currency CAD)" in n for n in answer.notes)
    assert set(answer.bars["currency"].to_pylist()) == {"CAD"}
    assert answer.bars.num_rows == 43
    asked = len(stock.asked)
    assert asked == 3
    assert cached.bars(DAYS).bars.equals(answer.bars)
    assert len(stock.asked) == asked


@pytest.mark.parametrize(
    "error",
    [
        RateLimitedError("acme asks us to come back later.", todo="wait"),
        UnreachableError("acme cannot be reached.", todo="check the network"),
        MalformedError("acme sends a page for people.", todo="try again later"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_provider_that_fails_hides_nothing(
    now: Now, tmp_path: Path, error: UnreachableError | MalformedError
) -> None:
    """What is held is served, marked stale, with what is not there; nothing is believed of it."""
    stock = Stock()
    cached = CachedSource(stock, tmp_path)
    now("2024-03-01T22:00:00Z")
    stock.fails = [error]
    with pytest.raises(type(error)):
        cached.bars(DAYS)
    good = cached.bars(DAYS)
    now("2024-03-06T22:00:00Z")
    stock.fails = [error]
    answer = cached.bars(DAYS)
    assert answer.stale
    assert answer.bars.num_rows == good.bars.num_rows
    assert "2024-03-04" in answer.missing[-1]
    assert any(error.problem in note for note in answer.notes)
    healed = cached.bars(DAYS)
    assert not healed.stale
    assert healed.missing == ()
    assert values(healed.bars) == values(stock.bars(DAYS).bars)


def test_an_empty_answer_for_a_listed_symbol_is_not_believed(now: Now, tmp_path: Path) -> None:
    """A throttled provider answers 200 with nothing: what is held stays, and it is asked again."""
    stock = Stock()
    cached = CachedSource(stock, tmp_path)
    now("2024-03-01T22:00:00Z")
    good = cached.bars(DAYS)
    now("2024-03-06T22:00:00Z")
    stock.meddle = lambda answer: dataclasses.replace(answer, bars=answer.bars.slice(0, 0))
    answer = cached.bars(DAYS)
    assert answer.stale
    assert answer.bars.num_rows == good.bars.num_rows
    stock.meddle = lambda answer: answer
    assert values(cached.bars(DAYS).bars) == values(stock.bars(DAYS).bars)


#: When a range without data is wanted, and whether the provider is asked again.
EMPTY = (("01T10:00", True), ("01T10:30", False), ("01T11:01", True),
         ("01T13:00", False), ("02T11:02", True), ("29T11:00", False))  # fmt: skip


def test_nothing_there_is_believed_the_third_time(now: Now, tmp_path: Path) -> None:
    """A range without data is asked for again after an hour and after a day; then it is so.

    Of a symbol of which the provider tells bars. Whether it was asked or not, the error is one.
    """
    stock = Stock()
    cached = CachedSource(stock, tmp_path)
    now("2024-02-29T10:00:00Z")
    cached.bars(DAYS)
    request = BarsRequest("ACME", "1d", date(2020, 3, 2), date(2020, 3, 6))
    for moment, asks in EMPTY:
        now(f"2024-03-{moment}:00Z")
        stock.fails = [RangeError("acme has no bars of ACME then.", todo="another")]
        before = len(stock.asked)
        with pytest.raises(RangeError, match="no bars of ACME then") as said:
            cached.bars(request)
        assert len(stock.asked) - before == asks
        assert ("said before" in str(said.value.found)) == (not asks)
    assert said.value.found == "said before; believed"
    with pytest.raises(RangeError, match="no bars of ACME then"):
        cached.cached(request)
    stock.fails = []
    assert cached.bars(DAYS).bars.num_rows  # other ranges are none of its business


def test_an_empty_answer_for_a_range_is_believed_the_third_time(now: Now, tmp_path: Path) -> None:
    """The same of a provider that says so without an error: each answer tells how often."""
    stock = Stock(missing_days={date(2024, 1, 8) + timedelta(days) for days in range(5)})
    cached = CachedSource(stock, tmp_path)
    now("2024-02-29T10:00:00Z")
    cached.bars(BarsRequest("ACME", "1d", date(2024, 2, 1)))
    request = BarsRequest("ACME", "1d", date(2024, 1, 8), date(2024, 1, 12))
    for moment, asks in EMPTY:
        now(f"2024-03-{moment}:00Z")
        before = len(stock.asked)
        answer = cached.bars(request)
        assert answer.bars.num_rows == 0
        assert "nothing from 2024-01-08 to 2024-01-12, empty" in answer.notes[0]
        assert len(stock.asked) - before == asks
    assert answer.notes[0].endswith("empty 3 times; believed")


def test_nothing_of_the_last_two_days_is_not_believed(now: Now, tmp_path: Path) -> None:
    """An empty answer says nothing of sessions that may not be told yet: asked a minute later."""
    stock = Stock(missing_days={date(2024, 3, 7)})
    cached = CachedSource(stock, tmp_path)
    request = BarsRequest("ACME", "1d", date(2024, 3, 7), date(2024, 3, 7))
    now("2024-03-07T22:00:00Z")
    assert cached.bars(request).bars.num_rows == 0
    stock.missing_days = set()
    now("2024-03-07T22:02:00Z")
    assert cached.bars(request).bars.num_rows == 1


def test_bars_that_left_the_look_back_unseen_are_final_and_unconfirmed(
    now: Now, tmp_path: Path
) -> None:
    """A provisional minute that can no longer be asked for is final; a note says so."""
    stock = Stock(limits=Limits(intervals=("1m",), look_back_days={"1m": 7}, price_basis="splits"))
    cached = CachedSource(stock, tmp_path)
    request = BarsRequest("ACME", "1m", date(2024, 3, 6), date(2024, 3, 6))
    now("2024-03-06T23:00:00Z")
    assert set(cached.bars(request).bars["state"].to_pylist()) == {"provisional"}
    now("2024-03-20T23:00:00Z")
    answer = cached.bars(request)
    assert set(answer.bars["state"].to_pylist()) == {"final"}
    assert any("unconfirmed" in note for note in answer.notes)
    assert answer.missing == ()
    assert len(stock.asked) == 1


def test_rows_outlive_not_found(now: Now, tmp_path: Path) -> None:
    """A delisted symbol keeps its bars; it only stops being asked for."""
    stock = Stock()
    cached = CachedSource(stock, tmp_path)
    now("2024-03-01T22:00:00Z")
    cached.bars(DAYS)
    for day in ("05", "05", "07"):
        now(f"2024-03-{day}T22:00:00Z")
        stock.fails = [NotFoundError("acme does not know ACME.", todo="check")]
        answer = cached.bars(DAYS)
        assert answer.bars.num_rows == 42
        assert answer.stale
    assert len(stock.asked) == 3


def test_a_clock_that_is_behind_is_told(tmp_path: Path) -> None:
    """Our clock a minute and more behind the provider's: its time is taken, and a note says so."""
    stock = Stock()
    ahead = clock.now() + timedelta(minutes=10)
    stock.meddle = lambda answer: dataclasses.replace(
        answer, about=dataclasses.replace(answer.about, as_of=ahead)
    )
    last = clock.now().date() - timedelta(days=30)
    answer = CachedSource(stock, tmp_path).bars(BarsRequest("ACME", "1d", last))
    assert any("behind the provider's" in note for note in answer.notes)

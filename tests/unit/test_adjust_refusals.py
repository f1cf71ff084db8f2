"""What cannot be derived is refused, and the error says why and what to do."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest

from adjusting import NOON, RAW, YAHOO, actions, bars, bases, paid, split, weekdays
from tickerlake.adjust import Adjust, Basis, adjust, basis_of, steps
from tickerlake.errors import AdjustmentError, UsageError

DAYS = weekdays(date(2024, 4, 1), 40)
ALL = Basis("all", tells_events=True)


def refused(
    given_bars: pa.Table,
    events: pa.Table,
    how: str,
    basis: Basis,
    daily: pa.Table | None = None,
) -> str:
    days = given_bars if daily is None else daily
    built = steps(events, days, bases=bases(basis))
    with pytest.raises(AdjustmentError) as caught:
        adjust(given_bars, built, how, bases=bases(basis))  # type: ignore[arg-type]
    assert isinstance(caught.value, UsageError)
    assert caught.value.todo
    return f"{caught.value.problem} | {caught.value.found}"


def test_another_word() -> None:
    """An adjustment that there is not is named."""
    assert "no such adjustment" in refused(bars({DAYS[0]: 1.0}), actions(), "raw", YAHOO)


@pytest.mark.parametrize("how", ["none", "splits"])
def test_dividends_cannot_be_taken_out_of_prices(how: str) -> None:
    """From a provider whose prices hold dividends, only `all` can be had: as it was given."""
    given_bars = bars({DAYS[0]: 10.0})
    assert "cannot be taken out" in refused(given_bars, actions(), how, ALL)
    built = steps(actions(), given_bars, bases=bases(ALL))
    assert adjust(given_bars, built, "all", bases=bases(ALL))["close"].to_pylist() == [10.0]


@pytest.mark.parametrize("how", ["none", "splits", "all"])
def test_a_row_that_does_not_say_its_basis(how: str) -> None:
    """One row whose split basis is not proven is refused, though the others are sound."""
    given_bars = bars(dict.fromkeys(DAYS[:3], 10.0), split_basis=[DAYS[2], None, DAYS[2]])
    problem = refused(given_bars, actions(), how, YAHOO)
    assert "up to when splits are in the prices of AAA" in problem
    assert str(DAYS[1]) in problem


def test_splits_after_the_last_known_day_leave_traded_prices_unknown() -> None:
    """Prices as of June with events up to April: what was traded cannot be told; the rest can."""
    given_bars = bars(dict.fromkeys(DAYS[:5], 10.0), split_basis=NOON.date())
    problem = refused(given_bars, actions(), "none", YAHOO)
    assert f"events known up to {DAYS[4]}" in problem
    built = steps(actions(), given_bars, bases=bases(YAHOO))
    hows: tuple[Adjust, ...] = ("splits", "all")
    for how in hows:
        assert adjust(given_bars, built, how, bases=bases(YAHOO))["close"].to_pylist() == [10.0] * 5


def test_a_hole_in_the_days_hides_events() -> None:
    """Days of April and of June do not tell what happened in May."""
    later = [day + timedelta(days=60) for day in DAYS[:5]]
    given_bars = bars(dict.fromkeys((*DAYS[:5], *later), 10.0), split_basis=later[-1])
    assert "events not known from" in refused(given_bars, actions(), "all", YAHOO)
    raw = bars(dict.fromkeys((*DAYS[:5], *later), 10.0), split_basis=[*DAYS[:5], *later])
    assert "not known" in refused(raw, actions(), "splits", RAW)


def test_minutes_without_days() -> None:
    """Without any 1d bar of the symbol no event is known."""
    minutes = bars({DAYS[0]: 10.0}, interval="1m", split_basis=DAYS[0])
    days = bars({DAYS[0]: 10.0}, symbol="BBB")
    for how in ("splits", "all"):
        assert "no 1d bars are known" in refused(minutes, actions(), how, YAHOO, days)
    # What was traded on a day is what the bar says, whatever happened later.
    built = steps(actions(), days, bases=bases(YAHOO))
    assert adjust(minutes, built, "none", bases=bases(YAHOO))["close"].to_pylist() == [10.0]


def test_minutes_that_are_newer_than_the_days() -> None:
    """A dividend of today would not be known: today's minutes are refused until days came."""
    minutes = bars(dict.fromkeys(DAYS[:3], 10.0), interval="1m", split_basis=DAYS[2])
    days = bars(dict.fromkeys(DAYS[:2], 10.0), split_basis=DAYS[1])
    assert f"events known up to {DAYS[1]}" in refused(minutes, actions(), "all", YAHOO, days)


def test_a_provider_that_tells_no_events() -> None:
    """Where no splits are ever told, none being known proves nothing."""
    given_bars = bars(dict.fromkeys(DAYS[:3], 10.0), split_basis=DAYS[:3])
    for how in ("splits", "all"):
        assert "tells no splits and dividends" in refused(given_bars, actions(), how, Basis())


def test_a_dividend_without_a_price_before_it() -> None:
    """No close before the ex-date, or one below the dividend: no factor."""
    minutes = bars({DAYS[0]: 10.0}, interval="1m", split_basis=DAYS[2])
    days = bars(dict.fromkeys(DAYS[1:3], 10.0), split_basis=DAYS[2])
    events = actions(paid(DAYS[1], 1.0))
    assert "cannot be set against a price" in refused(minutes, events, "all", YAHOO, days)
    given_bars = bars(dict.fromkeys(DAYS[:3], 10.0), split_basis=DAYS[2])
    assert "cannot be set" in refused(given_bars, actions(paid(DAYS[2], 10.0)), "all", YAHOO)


def test_an_adjusted_close_that_steps_tells_of_a_lost_dividend() -> None:
    """Yahoo loses events at times: then its own adjusted close shows one that nobody knows."""
    closes = {day: 100.0 + n for n, day in enumerate(DAYS[:10])}
    stepping = [price * (0.98 if n < 6 else 1.0) for n, price in enumerate(closes.values())]
    given_bars = bars(closes, adj_close=stepping, split_basis=DAYS[9])  # type: ignore[arg-type]
    assert f"not known from {DAYS[6]} on" in refused(given_bars, actions(), "all", YAHOO)
    told = actions(paid(DAYS[6], 2.1))
    built = steps(told, given_bars, bases=bases(YAHOO))
    found = adjust(given_bars, built, "all", bases=bases(YAHOO))["close"].to_pylist()
    assert found == pytest.approx(stepping)


def test_adjusted_closes_of_different_answers_are_not_compared() -> None:
    """Older answers did not know later dividends: their adjusted close lies on another level."""
    closes = dict.fromkeys(DAYS[:6], 100.0)
    fetched = [datetime(2024, 4, 10 + (n > 2), tzinfo=UTC) for n in range(6)]
    levels = [97.0] * 3 + [100.0] * 3
    given_bars = bars(closes, adj_close=levels, fetched_at=fetched, split_basis=DAYS[5])  # type: ignore[arg-type]
    built = steps(actions(), given_bars, bases=bases(YAHOO))
    assert adjust(given_bars, built, "all", bases=bases(YAHOO))["close"].to_pylist() == [100.0] * 6


def test_splits_between_two_answers_must_be_known() -> None:
    """Bases after the last known day that differ: a split may lie between them."""
    given_bars = bars(
        dict.fromkeys(DAYS[:4], 10.0), split_basis=[DAYS[20], DAYS[20], DAYS[30], DAYS[30]]
    )
    events = actions(split(DAYS[1], 2.0))
    assert "not known" in refused(given_bars, events, "splits", YAHOO)


def test_what_we_know_of_a_provider_is_what_its_limits_say() -> None:
    """Yahoo's ground is its own; of a name that is no source nothing is taken for granted."""
    assert basis_of("yahoo") == YAHOO
    assert basis_of("sample") == Basis("raw", "raw", tells_events=False)
    assert basis_of("somebody") == basis_of("some_body") == Basis()
    assert basis_of("alpaca_iex") == basis_of("alpaca") == RAW

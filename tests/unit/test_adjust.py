"""Adjusted prices: what bars and corporate actions give, from any basis."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adjusting import NOON, RAW, YAHOO, Model, actions, bars, bases, paid, weekdays
from tickerlake.adjust import Adjust, Basis, adjust, steps
from tickerlake.errors import AdjustmentError

DAYS = weekdays(date(2024, 4, 1), 45)
TODAY = NOON.date()
MODEL = Model(
    {day: 400.0 + 3 * n if n < 20 else 101.0 + n / 2 for n, day in enumerate(DAYS)},
    splits={DAYS[20]: 4.0},
    dividends={DAYS[10]: 0.82, DAYS[20]: 0.3, DAYS[35]: 0.205},
)


def adjusted(
    given_bars: pa.Table,
    events: pa.Table,
    how: Adjust,
    basis: Basis,
    daily: pa.Table | None = None,
    **known: Any,
) -> pa.Table:
    days = given_bars if daily is None else daily
    built = steps(events, days, bases=bases(basis), **known)
    return adjust(given_bars, built, how, bases=bases(basis))


def closes(table: pa.Table) -> list[float]:
    found: list[float] = table["close"].to_pylist()
    return found


def assert_alike(found: list[float], wanted: list[float], *, up_to_constant: bool = False) -> None:
    """Within 2e-6, the spread of what a provider's 32-bit floats do."""
    ratios = np.array(found) / np.array(wanted)
    assert ratios.max() / ratios.min() - 1 <= 2e-6
    assert up_to_constant or abs(ratios[0] - 1) <= 2e-6


def yahoo_like(basis: date = TODAY) -> pa.Table:
    """Split-adjusted prices in 32-bit floats, as that provider gives them."""
    told = {day: float(np.float32(price)) for day, price in MODEL.closes(basis).items()}
    return bars(told, split_basis=basis)


def test_split_adjusted_prices_with_split_adjusted_dividends() -> None:
    """A provider like Yahoo: `all` is its adjusted close, `splits` what it gave, `none` traded."""
    given_bars, events = yahoo_like(), actions(*MODEL.events(TODAY))
    assert_alike(closes(adjusted(given_bars, events, "all", YAHOO)), MODEL.adjusted(TODAY))
    assert closes(adjusted(given_bars, events, "splits", YAHOO)) == closes(given_bars)
    assert_alike(closes(adjusted(given_bars, events, "none", YAHOO)), [*MODEL.traded.values()])


def test_raw_prices_with_amounts_as_paid() -> None:
    """A provider like Tiingo: a dividend on the day of a split is paid for the new shares."""
    given_bars = bars(MODEL.closes(), split_basis=list(MODEL.traded))
    events = actions(*MODEL.events())
    assert_alike(closes(adjusted(given_bars, events, "all", RAW)), MODEL.adjusted(TODAY))
    wanted = [*MODEL.closes(TODAY).values()]
    assert_alike(closes(adjusted(given_bars, events, "splits", RAW)), wanted)
    assert closes(adjusted(given_bars, events, "none", RAW)) == closes(given_bars)


def test_a_provider_that_divides_by_the_close_of_the_ex_date() -> None:
    """A provider like Alpha Vantage: all before a dividend is multiplied by C / (C + D)."""
    days = DAYS[:3]
    given_bars = bars({days[0]: 192.14, days[1]: 193.26, days[2]: 191.45}, split_basis=days)
    events = actions(paid(days[2], 1.67))
    rule = Basis("raw", "raw", "ex_close", tells_events=True)
    found = closes(adjusted(given_bars, events, "all", rule))
    assert_alike(found, [190.4785, 191.5888, 191.45])


def test_every_price_and_the_volume_follow() -> None:
    """Open, high and low like the close; the volume by splits alone; `adj_close` is gone."""
    given_bars = bars(MODEL.closes(), split_basis=list(MODEL.traded), adj_close=[1.0] * len(DAYS))
    found = adjusted(given_bars, actions(*MODEL.events()), "all", RAW)
    for name, share in (("open", 0.99), ("high", 1.02), ("low", 0.98)):
        assert_alike(found[name].to_pylist(), [price * share for price in closes(found)])
    assert set(found["volume"].to_pylist()[:20]) == {400.0}
    assert set(found["volume"].to_pylist()[20:]) == {100.0}
    assert found["adj_close"].null_count == found.num_rows
    # What is in the prices now is said by each row.
    assert set(found["split_basis"].to_pylist()) == {DAYS[-1]}
    assert found.schema == given_bars.schema


def test_rows_of_one_series_may_have_several_bases() -> None:
    """Bars that were fetched before and after a split are told on one basis."""
    before, after = DAYS[15], TODAY
    old = bars(MODEL.closes(before, DAYS[:16]), split_basis=before)
    new = bars(MODEL.closes(after, DAYS[16:]), split_basis=after)
    both = pa.concat_tables([old, new])
    events = actions(*MODEL.events(TODAY))
    known = {("acme", "AAA"): [(DAYS[0], TODAY)]}
    wanted = [*MODEL.closes(TODAY).values()]
    assert_alike(closes(adjusted(both, events, "splits", YAHOO, known=known)), wanted)
    assert_alike(
        closes(adjusted(both, events, "none", YAHOO, known=known)), [*MODEL.traded.values()]
    )
    assert_alike(closes(adjusted(both, events, "all", YAHOO, known=known)), MODEL.adjusted(TODAY))


def test_an_amount_is_as_split_adjusted_as_the_prices_of_its_answer() -> None:
    """A dividend that was told before a split counts for the old shares, told after for the new."""
    early = datetime(2024, 4, 22, 21, tzinfo=UTC)
    old = bars(MODEL.closes(DAYS[15], DAYS[:16]), split_basis=DAYS[15], fetched_at=early)
    new = bars(MODEL.closes(TODAY, DAYS[16:]), split_basis=TODAY)
    told_early = paid(DAYS[10], 0.82, fetched_at=early)
    told_late = [event for event in MODEL.events(TODAY) if event["ex_date"] != DAYS[10]]
    both = pa.concat_tables([old, new])
    found = adjusted(both, actions(told_early, *told_late), "all", YAHOO)
    assert_alike(closes(found), MODEL.adjusted(TODAY))


def test_prices_that_a_cache_brought_to_one_basis() -> None:
    """A cache converts prices of old answers, not amounts: these are as of their own answer."""
    early = datetime(2024, 4, 22, 21, tzinfo=UTC)
    fetched = [early] * 16 + [NOON] * (len(DAYS) - 16)
    converted = bars(MODEL.closes(TODAY), split_basis=TODAY, fetched_at=fetched)
    told_late = [event for event in MODEL.events(TODAY) if event["ex_date"] != DAYS[10]]
    events = actions(paid(DAYS[10], 0.82, fetched_at=early), *told_late)
    assert_alike(closes(adjusted(converted, events, "all", YAHOO)), MODEL.adjusted(TODAY))


def test_minutes_take_their_dividends_from_days() -> None:
    """Bars of a minute are adjusted by the closes of the days; theirs own need not be there."""
    minutes = bars(
        MODEL.closes(TODAY, DAYS[8:12]),
        interval="1m",
        ts=[datetime(day.year, day.month, day.day, 15, tzinfo=UTC) for day in DAYS[8:12]],
    )
    found = adjusted(minutes, actions(*MODEL.events(TODAY)), "all", YAHOO, yahoo_like())
    assert_alike(closes(found), MODEL.adjusted(TODAY)[8:12])


def test_payments_of_one_day_are_shares_of_one_close() -> None:
    """A dividend and a capital gain with one ex-date add up."""
    given_bars = bars({DAYS[0]: 100.0, DAYS[1]: 96.0}, split_basis=DAYS[1])
    gain = paid(DAYS[1], 3.0) | {"action": "capital_gain"}
    found = adjusted(given_bars, actions(paid(DAYS[1], 1.0), gain), "all", YAHOO)
    assert_alike(closes(found), [96.0, 96.0])


def test_pence_and_pounds_are_one_currency() -> None:
    """A dividend in pounds is set against prices in pence; nothing else is converted."""
    given_bars = bars({DAYS[0]: 200.0, DAYS[1]: 190.0}, currency="GBp", split_basis=DAYS[1])
    pounds, pence = (paid(DAYS[1], a, currency=c) for a, c in ((0.1, "GBP"), (10.0, "GBp")))
    for event in (pounds, pence):
        assert_alike(closes(adjusted(given_bars, actions(event), "all", YAHOO)), [190.0, 190.0])
    dollars = actions(paid(DAYS[1], 0.1, currency="USD"))
    with pytest.raises(AdjustmentError, match="dividend of AAA"):
        adjusted(given_bars, dollars, "all", YAHOO)


def test_a_day_without_a_price_has_no_close_to_pay_from() -> None:
    """A null before an ex-date is passed over for the last close that there is, and stays null."""
    given_bars = bars({DAYS[0]: 100.0, DAYS[1]: None, DAYS[2]: 99.0}, split_basis=DAYS[2])
    found = adjusted(given_bars, actions(paid(DAYS[2], 1.0)), "all", YAHOO)
    assert closes(found) == [99.0, None, 99.0]


def test_symbols_and_providers_do_not_mix() -> None:
    """Each has events of its own, and the rows keep their order."""
    one = bars({DAYS[0]: 100.0, DAYS[1]: 99.0}, split_basis=DAYS[1])
    other = bars({DAYS[0]: 50.0, DAYS[1]: 50.0}, symbol="BBB", split_basis=DAYS[1])
    third = bars({DAYS[0]: 10.0, DAYS[1]: 10.0}, provider="bmce", split_basis=DAYS[1])
    events = actions(paid(DAYS[1], 1.0), paid(DAYS[1], 10.0, symbol="BBB"))
    table = pa.concat_tables([one, other, third]).take([5, 0, 3, 1, 2, 4])
    found = adjusted(table, events, "all", YAHOO)
    assert found["symbol"].to_pylist() == table["symbol"].to_pylist()
    assert closes(found) == [10.0, 99.0, 50.0, 99.0, 40.0, 10.0]


@pytest.mark.parametrize("kind", ["currency", "crypto", "future", "index", "option"])
def test_what_has_no_corporate_actions_passes_as_it_is(kind: str) -> None:
    """Instruments without splits and dividends need neither events nor a basis."""
    given_bars = bars({DAYS[0]: 100.0}, instrument_type=kind, split_basis=None)
    for how in ("none", "splits", "all"):
        assert closes(adjusted(given_bars, actions(), how, Basis())) == [100.0]  # type: ignore[arg-type]


def test_nothing_stays_nothing() -> None:
    """A table without rows is adjusted to itself."""
    assert adjusted(bars({}), actions(), "all", YAHOO).num_rows == 0


@settings(deadline=None, max_examples=60)
@given(
    prices=st.lists(st.floats(5, 500), min_size=40, max_size=40),
    splits=st.dictionaries(st.integers(1, 39), st.sampled_from([0.1, 1.5, 2.0, 7.0]), max_size=4),
    dividends=st.dictionaries(st.integers(1, 39), st.floats(0.001, 0.7), max_size=4),
    fetched=st.lists(st.integers(0, 39), min_size=40, max_size=40),
)
def test_any_history_from_any_bases(
    prices: list[float], splits: dict[int, float], dividends: dict[int, float], fetched: list[int]
) -> None:
    """Whatever was traded, split, paid and fetched when: the model's prices."""
    days = DAYS[:40]
    model = Model(
        dict(zip(days, prices, strict=True)),
        {days[at]: ratio for at, ratio in splits.items()},
        {days[at]: amount for at, amount in dividends.items()},
    )
    told = [days[max(at, when)] for at, when in enumerate(fetched)]
    values = {
        day: model.at_basis(price, day, basis)
        for (day, price), basis in zip(model.traded.items(), told, strict=True)
    }
    given_bars = bars(
        values,  # type: ignore[arg-type]
        split_basis=told,
        fetched_at=[NOON - timedelta(days=60) + (day - days[0]) for day in told],
    )
    events = actions(*model.events())
    basis = Basis("splits", "raw", tells_events=True)
    assert_alike(closes(adjusted(given_bars, events, "none", basis)), prices)
    at_end = [*model.closes(days[-1]).values()]
    assert_alike(closes(adjusted(given_bars, events, "splits", basis)), at_end)
    assert_alike(closes(adjusted(given_bars, events, "all", basis)), model.adjusted(days[-1]))

"""Repair of bad data: what is certainly wrong is mended and told, all else stays as it was."""

from __future__ import annotations

from datetime import date
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adjusting import NOON, RAW, YAHOO, actions, bars, bases, paid, split, weekdays
from tickerlake.adjust import Basis, Repaired, adjust, explained, repair, steps

DAYS = weekdays(date(2024, 3, 4), 60)
CLOSES = {day: 100.0 + (n % 7) - (n % 3) for n, day in enumerate(DAYS)}


def repaired(table: pa.Table, *events: Any, basis: Basis = YAHOO) -> Repaired:
    found = repair(table, actions(*events), bases=bases(basis))
    assert found.bars.schema == table.schema
    assert found.bars["ts"].to_pylist() == table["ts"].to_pylist()
    return found


def off(rows: dict[int, float], **common: Any) -> pa.Table:
    """Sound bars, but that some rows' four prices are multiplied."""
    return bars(
        {day: close * rows.get(n, 1.0) for n, (day, close) in enumerate(CLOSES.items())}, **common
    )


def close_to(table: pa.Table, wanted: pa.Table) -> bool:
    names = ("open", "high", "low", "close", "adj_close", "volume")
    return all(table[n].to_pylist() == pytest.approx(wanted[n].to_pylist()) for n in names)


def rules(found: Repaired) -> dict[str, int]:
    counted = found.changes.group_by("rule").aggregate([("rule", "count")])
    return dict(zip(counted["rule"].to_pylist(), counted["rule_count"].to_pylist(), strict=True))


def test_a_split_that_was_left_out() -> None:
    """All days before a split, but for the last of them, are on the old level."""
    sound = bars(CLOSES, adj_close=[*CLOSES.values()])
    closes = {day: close * (5 if n < 29 else 1) for n, (day, close) in enumerate(CLOSES.items())}
    volume = [20.0 if n < 29 else 100.0 for n in range(60)]
    bad = bars(closes, adj_close=[*closes.values()], volume=volume)
    found = repaired(bad, split(DAYS[30], 5.0))
    assert close_to(found.bars, sound)
    assert rules(found) == {"split": 29 * 6}
    assert set(found.changes["why"].to_pylist()) == {
        f"the split 5:1 of {DAYS[30]} was left out, or done twice"
    }


@pytest.mark.parametrize(("new", "old", "told"), [(10.0, 1.0, 0.1), (1.0, 8.0, 8.0)])
def test_a_split_that_was_done_twice(new: float, old: float, told: float) -> None:
    """A block of days was divided once too often, or by a reverse split multiplied."""
    bad = off(dict.fromkeys(range(12, 30), told))
    found = repaired(bad, split(DAYS[30], new, old))
    assert found.bars["close"].to_pylist() == pytest.approx([*CLOSES.values()])


def test_prices_that_jump_at_a_split_by_right_stay() -> None:
    """Traded prices, rows told before the split, and a fall without a split are no mistakes."""
    jump = dict.fromkeys(range(30), 5.0)
    event = split(DAYS[30], 5.0)
    for table, basis, events in (
        (off(jump, split_basis=DAYS), RAW, [event]),
        (off(jump, split_basis=[DAYS[29]] * 30 + [NOON.date()] * 30), YAHOO, [event]),
        (off(jump), YAHOO, []),
        # Two months before the split: it was something else.
        (off(dict.fromkeys(range(4), 5.0)), YAHOO, [event]),
    ):
        found = repaired(table, *events, basis=basis)
        assert found.bars.equals(table)
        assert found.changes.num_rows == 0


def test_single_days_in_another_unit() -> None:
    """Some days are told in pounds and some a hundred times too large: the others say what is."""
    found = repaired(off({3: 0.01, 4: 0.01, 20: 100.0, 59: 0.01}, currency="GBp"))
    assert found.bars["close"].to_pylist() == pytest.approx([*CLOSES.values()])
    assert rules(found) == {"unit": 4 * 4}
    assert "in another unit than GBp" in found.changes["why"][0].as_py()


def test_half_of_the_days_in_another_unit() -> None:
    """Where most days are wrong, the traded ones are right; without trades, pence are pence."""
    wrong = dict.fromkeys(range(40), 0.01)
    traded = off(wrong, volume=[0.0] * 40 + [100.0] * 20, currency="USD")
    quiet = off(wrong, volume=0.0, currency="GBp")
    for table in (traded, quiet):
        assert repaired(table).bars["close"].to_pylist() == pytest.approx([*CLOSES.values()])
    unproven = off(wrong, volume=0.0, currency="USD")
    assert repaired(unproven).bars.equals(unproven)


def test_a_single_price_in_another_unit() -> None:
    """One high is a hundred times too large, and one adjusted close too small."""
    highs = [close * 1.02 for close in CLOSES.values()]
    adjusted = [close * 0.9 for close in CLOSES.values()]
    sound = bars(CLOSES, high=highs, adj_close=adjusted)
    bad = bars(
        CLOSES,
        high=[high * (100 if n == 9 else 1) for n, high in enumerate(highs)],
        adj_close=[price / (100 if n == 11 else 1) for n, price in enumerate(adjusted)],
    )
    found = repaired(bad)
    assert close_to(found.bars, sound)
    assert found.changes["column"].to_pylist() == ["high", "adj_close"]


def test_a_price_of_nothing_is_none() -> None:
    """A stray 0 becomes null, not a guess; a future may trade at 0 and below."""
    lows = [0.0 if n == 5 else close for n, close in enumerate(CLOSES.values())]
    found = repaired(bars(CLOSES, low=lows)).bars
    assert found["low"].to_pylist()[4:7] == [lows[4], None, lows[6]]
    oil = bars({DAYS[0]: 10.0, DAYS[1]: 0.0, DAYS[2]: -37.6}, instrument_type="future")
    assert repaired(oil).bars.equals(oil)


def test_a_dividend_that_the_adjusted_close_left_out() -> None:
    """The same answer tells a dividend and does not adjust for it: its adjusted close is mended."""
    closes = {DAYS[0]: 19.35, DAYS[1]: 18.79, DAYS[2]: 18.9, DAYS[3]: 19.0}
    bad = bars(closes, adj_close=[*closes.values()])
    found = repaired(bad, paid(DAYS[2], 0.7))
    wanted = [19.35 * (1 - 0.7 / 18.79), 18.09, 18.9, 19.0]
    assert found.bars["adj_close"].to_pylist() == pytest.approx(wanted)
    assert found.bars.drop_columns("adj_close").equals(bad.drop_columns("adj_close"))
    assert rules(found) == {"dividend": 2}
    sound = bars(closes, adj_close=wanted)
    assert repaired(sound, paid(DAYS[2], 0.7)).bars.equals(sound)


@pytest.mark.parametrize(("told", "meant"), [(70.0, 0.7), (0.007, 0.7)])
def test_a_dividend_in_another_unit(told: float, meant: float) -> None:
    """The adjusted close proves by its step that the amount is a hundred times off."""
    closes = {DAYS[0]: 19.35, DAYS[1]: 18.79, DAYS[2]: 18.9, DAYS[3]: 19.0}
    factor = 1 - meant / 18.79
    adjusted = [19.35 * factor, 18.79 * factor, 18.9, 19.0]
    table = bars(closes, adj_close=adjusted, currency="GBp")
    found = repaired(table, paid(DAYS[2], told, currency=None))
    assert found.bars.equals(table)
    assert found.actions["amount"].to_pylist() == pytest.approx([meant])
    (change,) = found.changes.to_pylist()
    assert (change["rule"], change["column"], change["given"]) == ("amount", "dividend", told)
    # What is mended can be derived from.
    built = steps(found.actions, found.bars, bases=bases(YAHOO))
    derived = adjust(found.bars, built, "all", bases=bases(YAHOO))
    assert derived["close"].to_pylist() == pytest.approx(adjusted)


def test_a_volume_that_cannot_be() -> None:
    """A negative one, and none on a day whose price moved, are not known; a quiet day is quiet."""
    volume = [-1.0 if n == 3 else 0.0 if n in (8, 9) else 100.0 for n in range(60)]
    highs = [close * (1.0 if n == 9 else 1.02) for n, close in enumerate(CLOSES.values())]
    lows = [close * (1.0 if n == 9 else 0.98) for n, close in enumerate(CLOSES.values())]
    found = repaired(bars(CLOSES, volume=volume, high=highs, low=lows))
    assert [n for n, v in enumerate(found.bars["volume"].to_pylist()) if v is None] == [3, 8]
    assert found.bars["volume"].to_pylist()[9] == 0.0
    untold = bars(CLOSES, volume=0.0, instrument_type="index")
    assert repaired(untold).bars.equals(untold)


def test_each_changed_row_is_explained() -> None:
    """What was there and why it is not any more, in words, and nothing beside sound rows."""
    bad = off({3: 0.01}, currency="GBp", volume=[-5.0] + [100.0] * 59)
    found = repaired(bad)
    told = explained(found.bars, found.changes).to_pylist()
    assert [n for n, text in enumerate(told) if text] == [0, 3]
    assert told[0] == "a volume cannot be negative: volume was -5"
    assert told[3].startswith("told in another unit than GBp: open was ")
    assert "close was 1.03" in told[3]
    assert explained(bars(CLOSES), repaired(bars(CLOSES)).changes).null_count == 60


def test_series_do_not_judge_each_other() -> None:
    """Pounds of one symbol beside pence of another, days beside minutes: each by its own."""
    pounds = bars({day: close / 100 for day, close in CLOSES.items()}, symbol="BBB")
    minutes = bars({day: close * 5 for day, close in CLOSES.items()}, interval="1m")
    table = pa.concat_tables([bars(CLOSES), pounds, minutes])
    assert repaired(table).bars.equals(table)
    assert repaired(bars({})).bars.num_rows == 0


@settings(deadline=None, max_examples=50)
@given(
    moves=st.lists(st.floats(-0.25, 0.25), min_size=30, max_size=30),
    splits=st.dictionaries(st.integers(1, 29), st.sampled_from([2.0, 0.1, 1.05]), max_size=2),
    dividends=st.dictionaries(st.integers(1, 29), st.floats(0.001, 0.4), max_size=2),
)
def test_sound_prices_stay(
    moves: list[float], splits: dict[int, float], dividends: dict[int, float]
) -> None:
    """However prices move from day to day, splits and dividends among them, nothing is mended."""
    price, closes = 100.0, []
    for move in moves:
        price *= 1 + move
        closes.append(price)
    table = bars(dict(zip(DAYS, closes, strict=False)))
    events = [split(DAYS[n], ratio) for n, ratio in splits.items()]
    events += [paid(DAYS[n], closes[n - 1] * share) for n, share in dividends.items()]
    assert repaired(table, *events).changes.num_rows == 0

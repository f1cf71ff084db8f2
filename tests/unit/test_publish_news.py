"""What is new against what is known, and in which state it is sent."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from tickerlake.publish import News, new_actions, new_bars, replay
from tickerlake.records import SCHEMAS, STATE_RANK

NOON = datetime(2024, 3, 8, 12, tzinfo=UTC)
NO_BARS = SCHEMAS["bar"].empty_table()
NO_ACTIONS = SCHEMAS["corporate_action"].empty_table()


def bars(*rows: dict[str, Any]) -> pa.Table:
    """Bars of one key, unless a row says otherwise."""
    base: dict[str, Any] = {
        "kind": "bar", "provider": "yahoo", "symbol": "ACME", "interval": "1d",
        "session": "regular", "session_date": date(2024, 3, 7),
        "ts": datetime(2024, 3, 7, tzinfo=UTC),
        "open": 10.0, "high": 12.0, "low": 8.0, "close": 11.0, "volume": 100.0, "adj_close": 11.0,
        "currency": "USD", "state": "final", "fetched_at": NOON,
    }  # fmt: skip
    return pa.Table.from_pylist([base | row for row in rows], schema=SCHEMAS["bar"])


def action(day: int = 7, **values: Any) -> dict[str, Any]:
    base = {
        "kind": "corporate_action", "provider": "yahoo", "symbol": "ACME", "action": "split",
        "ex_date": date(2024, 3, day), "ts": datetime(2024, 3, day, tzinfo=UTC),
        "fetched_at": NOON,
    }  # fmt: skip
    return base | values


def actions(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=SCHEMAS["corporate_action"])


def minutes_later(minutes: float) -> dict[str, Any]:
    return {"fetched_at": NOON + timedelta(minutes=minutes)}


def states(news: News) -> list[str]:
    return news.table["state"].to_pylist()


def told(known: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """The states in which a row is sent (one or none) when another is known."""
    return states(new_bars(bars(new), bars(known), NO_ACTIONS))


def test_what_nobody_knows_is_new() -> None:
    """Everything is news to an empty lake, in its own state and with an event id."""
    news = new_bars(bars({"state": "forming"}), NO_BARS, NO_ACTIONS)
    assert states(news) == ["forming"]
    assert news.table["event_id"].null_count == 0
    assert (news.unchanged, news.repeated) == (0, 0)


@pytest.mark.parametrize("known", STATE_RANK)
@pytest.mark.parametrize("new", STATE_RANK)
def test_the_same_values_are_sent_only_to_rise(known: str, new: str) -> None:
    """Equal values are news only in a higher state, however much later they were fetched."""
    sent = [new] if STATE_RANK[new] > STATE_RANK[known] else []
    assert told({"state": known}, {"state": new, **minutes_later(500)}) == sent


@pytest.mark.parametrize(
    ("known", "new", "sent"),
    [
        ("forming", "forming", ["forming"]),
        ("forming", "provisional", ["provisional"]),
        ("provisional", "forming", []),
        ("provisional", "provisional", ["provisional"]),
        ("provisional", "final", ["final"]),
        ("final", "forming", []),
        ("final", "provisional", ["revised"]),
        ("final", "final", ["revised"]),
        ("revised", "final", ["revised"]),
        ("revised", "forming", []),
    ],
)
def test_other_values(known: str, new: str, sent: list[str]) -> None:
    """Over final, other values are a revision; a session that is over does not form again."""
    assert told({"state": known}, {"state": new, "close": 9.0, **minutes_later(500)}) == sent


@pytest.mark.parametrize(
    ("known", "new", "is_news"),
    [
        ({"adj_close": 11.0}, {"adj_close": 10.5}, False),
        ({"volume": None}, {"volume": 0.0}, False),
        ({"volume": 0.0}, {"volume": None}, False),
        ({"volume": None}, {"volume": 5.0}, True),
        ({"high": None}, {"high": None}, False),
        ({"high": None}, {"high": 12.0}, True),
        ({"open": 10.0}, {"open": 10.000001}, True),
        ({"currency": None}, {"currency": "USD"}, False),
        ({"currency": "GBp"}, {"currency": "GBP"}, True),
        ({"split_basis": None}, {"split_basis": date(2024, 3, 8)}, False),
    ],
)
def test_what_counts_as_another_value(
    known: dict[str, Any], new: dict[str, Any], is_news: bool
) -> None:
    """Prices, volume and currency do; adj_close, null for no volume, and hints do not."""
    assert told(known, new | minutes_later(500)) == (["revised"] if is_news else [])


def test_another_key_is_another_bar() -> None:
    """Provider, symbol, interval, session and start make the key; each is known for itself."""
    others = [
        {"provider": "files"},
        {"symbol": "OTHER"},
        {"interval": "1wk"},
        {"session": "extended"},
        {"ts": datetime(2024, 3, 6, tzinfo=UTC)},
    ]
    news = new_bars(bars({}, *others), bars({}), NO_ACTIONS)
    assert news.table.num_rows == len(others)
    assert news.unchanged == 1


def test_older_knowledge_is_not_sent() -> None:
    """Values that were learned before what is known could not win in `bars`: not sent."""
    assert told({}, {"close": 9.0, **minutes_later(-5)}) == []
    assert told({"state": "provisional"}, {"state": "final", **minutes_later(-5)}) == ["final"]


@pytest.mark.parametrize("seconds", [-59, 0])
def test_within_a_minute_the_later_publisher_learned_later(seconds: int) -> None:
    """Clocks differ a little: a change is stamped just after what it changes, so that it wins."""
    new = {"close": 9.0, "fetched_at": NOON + timedelta(seconds=seconds)}
    news = new_bars(bars(new), bars({}), NO_ACTIONS)
    assert news.table["fetched_at"].to_pylist() == [NOON + timedelta(microseconds=1)]


def test_publishing_again_converges() -> None:
    """What was sent becomes known, and then nothing is news any more."""
    given = bars({"state": "provisional", "close": 9.0}, {"symbol": "B"}, {"symbol": "C"})
    known = bars({"state": "final"}, {"symbol": "B", "state": "forming"})
    news = new_bars(given, known, NO_ACTIONS)
    assert states(news) == ["revised", "final", "final"]
    assert new_bars(given, news.table, NO_ACTIONS).table.num_rows == 0


def test_a_key_told_twice_is_sent_once() -> None:
    """Of two rows of one key the last is taken: both could never be known at once."""
    given = bars({"close": 9.0}, {"close": 9.5}, {"symbol": "B"})
    news = new_bars(given, NO_BARS, NO_ACTIONS)
    assert news.table["close"].to_pylist() == [9.5, 11.0]
    assert news.repeated == 1
    assert new_bars(given, news.table, NO_ACTIONS).table.num_rows == 0


# -- splits ----------------------------------------------------------------------------------------

SPLIT = {"numerator": 4.0, "denominator": 1.0}
QUARTER = {"open": 2.5, "high": 3.0, "low": 2.0, "close": 2.75, "volume": 400.0}


@pytest.mark.parametrize(
    ("split_day", "values", "is_news"),
    [
        (8, QUARTER, False),
        (8, QUARTER | {"close": 2.75000001}, False),
        (8, QUARTER | {"close": 2.8}, True),
        (7, QUARTER, True),  # the split was in the prices of its own day already
        (6, QUARTER, True),
    ],
)
def test_a_known_split_explains_old_prices(
    split_day: int, values: dict[str, Any], is_news: bool
) -> None:
    """Prices divided by a later split are the same prices; anything else is a revision."""
    new = bars(values | minutes_later(500))
    news = new_bars(new, bars({}), actions(action(split_day, **SPLIT)))
    assert states(news) == (["revised"] if is_news else [])


def test_splits_explain_together_and_backwards() -> None:
    """Two splits since then explain their product; a provider that loses one is explained too."""
    splits = actions(action(8, **SPLIT), action(11, numerator=1.0, denominator=2.0))
    halved = {"open": 5.0, "high": 6.0, "low": 4.0, "close": 5.5}
    assert not new_bars(bars(halved | minutes_later(9)), bars({}), splits).table.num_rows
    assert not new_bars(bars(minutes_later(9)), bars(halved), splits).table.num_rows
    elsewhere = actions(action(8, symbol="OTHER", **SPLIT))
    assert new_bars(bars(QUARTER | minutes_later(9)), bars({}), elsewhere).table.num_rows == 1


def test_an_explained_bar_still_rises() -> None:
    """A provisional bar that a split re-adjusted becomes final with its new prices."""
    new = bars(QUARTER | minutes_later(500))
    news = new_bars(new, bars({"state": "provisional"}), actions(action(8, **SPLIT)))
    assert states(news) == ["final"]


# -- corporate actions -------------------------------------------------------------------------


def test_corporate_actions_are_sent_once_and_when_they_change() -> None:
    """An action that is known unchanged is not news; another amount is, if learned later."""
    dividend = action(7, action="dividend", amount=0.82, currency="USD")
    known = actions(dividend, action(7, **SPLIT))
    later = dividend | minutes_later(500)
    assert not new_actions(actions(later, action(7, **SPLIT)), known).table.num_rows
    news = new_actions(actions(later | {"amount": 0.85}, action(8, **SPLIT)), known)
    assert news.table["ex_date"].to_pylist() == [date(2024, 3, 7), date(2024, 3, 8)]
    assert not new_actions(
        actions(dividend | {"amount": 0.85} | minutes_later(-9)), known
    ).table.num_rows


@pytest.mark.parametrize(
    ("basis", "values", "is_news"),
    [
        (10, QUARTER, False),  # adjusted since
        (10, {}, True),  # it says so, and is not: one of the two is wrong
        (7, {}, False),
        (7, QUARTER, True),  # the known one was told with a basis that it did not have
        (None, {}, False),
        (None, QUARTER, False),
    ],
)
def test_what_a_split_explains_lies_between_two_bases(
    basis: int | None, values: dict[str, Any], is_news: bool
) -> None:
    """Known up to the 7th; a split of the 8th."""
    one = {"split_basis": date(2024, 3, 7)}
    other = values | {"split_basis": basis and date(2024, 3, basis)}
    splits = actions(action(8, **SPLIT))
    for new, known in ((other, one), (one, other)):
        news = new_bars(bars(new | minutes_later(9)), bars(known), splits)
        assert states(news) == (["revised"] if is_news else [])


def test_a_later_split_explains_a_dividend() -> None:
    """After a 4:1 split a provider tells a quarter of the old dividend: nothing new."""
    known = actions(action(7, action="dividend", amount=0.82))
    quarter = action(7, action="dividend", amount=0.205, **minutes_later(500))
    assert new_actions(actions(quarter), known).table.num_rows == 1
    news = new_actions(actions(quarter, action(8, **SPLIT)), known)
    assert news.table["action"].to_pylist() == ["split"]


def test_nothing_is_no_news() -> None:
    """Empty answers against anything are empty news."""
    assert new_bars(NO_BARS, bars({}), NO_ACTIONS).table.num_rows == 0
    assert new_actions(NO_ACTIONS, actions(action())).table.num_rows == 0


# -- replay ----------------------------------------------------------------------------------------


def test_a_replay_opens_and_closes_each_session() -> None:
    """Forming at the open with that price alone, final at the close; all symbols together."""
    days = [datetime(2024, 3, day, tzinfo=UTC) for day in (8, 7)]
    given = bars(*({"ts": day, "session_date": day.date()} for day in days), {"symbol": "B"})
    steps = list(replay(given, calendar="XNYS"))
    assert [step.at.isoformat() for step in steps] == [
        "2024-03-07T14:30:00+00:00", "2024-03-07T21:00:00+00:00",
        "2024-03-08T14:30:00+00:00", "2024-03-08T21:00:00+00:00",
    ]  # fmt: skip
    opening, closing = steps[0].bars.to_pylist(), steps[1].bars.to_pylist()
    assert [row["symbol"] for row in opening] == ["ACME", "B"]
    assert {row["state"] for row in opening} == {"forming"}
    for name in ("open", "high", "low", "close"):
        assert opening[0][name] == 10.0
    assert (opening[0]["volume"], opening[0]["adj_close"]) == (None, None)
    assert (closing[0]["close"], closing[0]["volume"], closing[0]["state"]) == (
        11.0,
        100.0,
        "final",
    )


def test_a_replay_of_days_that_no_calendar_knows() -> None:
    """Without a calendar, and on days that it has not, a session is the whole day."""
    sunday = {"ts": datetime(2024, 3, 10, tzinfo=UTC), "session_date": date(2024, 3, 10)}
    for calendar in (None, "XNYS"):
        opening, closing = replay(bars(sunday), calendar=calendar)
        assert closing.at - opening.at == timedelta(days=1)
    assert list(replay(NO_BARS)) == []

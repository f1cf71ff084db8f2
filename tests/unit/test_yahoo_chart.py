"""What one answer of Yahoo's becomes: every oddity that its recordings show, in small."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest

from tickerlake.errors import (
    MalformedError,
    NotFoundError,
    RangeError,
    RateLimitedError,
    TickerlakeError,
    UnreachableError,
)
from tickerlake.sources import Answer
from tickerlake.sources.yahoo import YahooSource
from yahoo_double import Row, at, chart, encoded, error

FLAT: Row = (10.0, 10.0, 10.0, 10.0, 0.0)
GOOD: Row = (10.0, 11.0, 9.0, 10.5, 100.0)
NONE: Row = (None, None, None, None, None)
FRIDAY = {"regular": ("2024-03-01T14:30", "2024-03-01T21:00")}


def parse(body: object, received: str | None = "2024-03-08T12:00", **told: Any) -> Answer:
    when = datetime.fromisoformat(received).replace(tzinfo=UTC) if received else None
    return YahooSource().parse(encoded(body), received_at=when, **told)


def wrapped(body: object, url: str = "", **response: Any) -> dict[str, Any]:
    told = {"status": 200, "headers": {"date": "Fri, 08 Mar 2024 12:00:00 GMT"}} | response
    return {
        "request": {"url": url},
        "response": told | {"body" if isinstance(body, str) else "bodyJson": body},
    }


def column(answer: Answer, name: str) -> list[Any]:
    return answer.bars[name].to_pylist()


def test_bare_and_wrapped_answers_are_the_same() -> None:
    """A body may be bare, under bodyJson, or a text under body; the Date header is its arrival."""
    body = chart({"2024-02-28T14:30": GOOD, "2024-02-29T14:30": GOOD})
    bare = parse(body)
    assert bare.bars.num_rows == 2
    listed = {"headers": {"Date": ["Fri, 08 Mar 2024 12:00:00 GMT"]}}
    for other in (wrapped(body), wrapped(json.dumps(body)), wrapped(body, **listed)):
        assert parse(other, None).bars.equals(bare.bars)


def test_a_day_is_keyed_by_the_exchanges_date() -> None:
    """Sydney opens on the evening before in UTC; `ts` is midnight UTC of the local date."""
    body = chart({"2024-02-28T23:00": GOOD}, exchangeTimezoneName="Australia/Sydney")
    answer = parse(body)
    assert column(answer, "session_date") == [date(2024, 2, 29)]
    assert column(answer, "ts") == [datetime(2024, 2, 29, tzinfo=UTC)]


def test_daylight_saving_moves_stamps_but_no_dates() -> None:
    """An open at 14:30 and one at 13:30 UTC are both 9:30 in New York, and both settled."""
    answer = parse(chart({"2024-03-08T14:30": GOOD, "2024-03-11T13:30": GOOD}), "2024-04-01T12:00")
    assert column(answer, "session_date") == [date(2024, 3, 8), date(2024, 3, 11)]
    assert column(answer, "state") == ["final", "final"]


def test_values_and_units_stay_as_given() -> None:
    """Pence stay pence, a missing currency stays null, a half-empty row stays half empty."""
    rows = {"2024-02-29T08:00": (10.0, None, 9.0, 10.5, None)}
    (bar,) = parse(
        chart(rows, currency="GBp", exchangeTimezoneName="Europe/London")
    ).bars.to_pylist()
    assert (bar["currency"], bar["open"], bar["high"], bar["volume"]) == ("GBp", 10.0, None, None)
    (bar,) = parse(chart({"2024-02-29T14:30": GOOD}, currency=None)).bars.to_pylist()
    assert bar["currency"] is None
    assert (bar["adj_close"], bar["instrument_type"], bar["provider"]) == (10.5, "equity", "yahoo")


@pytest.mark.parametrize("missing", ["key", "list", "quote"])
def test_no_bars_is_an_empty_answer(missing: str) -> None:
    """No `timestamp`, an empty one, or `quote` = [{}] are no bars, and a note says so."""
    body = chart({})
    result = body["chart"]["result"][0]
    if missing == "list":
        result["timestamp"] = []
    if missing == "quote":
        result["indicators"] = {"quote": [{}]}
    answer = parse(body)
    assert answer.bars.num_rows == 0
    assert answer.notes == ("ACME 1d: Yahoo answered without bars",)


def test_a_row_without_prices_is_dropped_with_a_note() -> None:
    """An all-null row is no bar."""
    answer = parse(chart({"2024-02-28T14:30": GOOD, "2024-02-29T14:30": NONE}))
    assert answer.bars.num_rows == 1
    assert answer.notes == ("ACME 1d: 1 row dropped: no prices",)


# -- the live row and states ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last_trade", "received", "states"),
    [
        ("2024-03-01T17:35", "2024-03-01T17:36", ["final", "provisional", "forming"]),
        ("2024-03-01T17:35", "2024-03-09T12:00", ["final", "provisional", "forming"]),
        ("2024-03-01T21:00", "2024-03-01T21:01", ["final", "final", "provisional"]),
        ("2024-03-01T21:00", "2024-03-20T12:00", ["final", "final", "provisional"]),
        ("2024-03-01T17:35", None, ["final", "provisional", "forming"]),
    ],
)
def test_a_live_stamp_is_never_final(
    last_trade: str, received: str | None, states: list[str]
) -> None:
    """Before the close it is forming, after it provisional, whatever our clock says."""
    rows = {"2024-02-28T14:30": GOOD, "2024-02-29T14:30": GOOD, last_trade: GOOD}
    answer = parse(chart(rows, last_trade=last_trade, **FRIDAY), received)
    assert column(answer, "state") == states
    assert column(answer, "session_date")[-1] == date(2024, 3, 1)


@pytest.mark.parametrize(
    ("received", "state"),
    [
        ("2024-03-01T20:00", "forming"),
        ("2024-03-02T12:00", "provisional"),
        ("2024-03-04T20:59", "provisional"),
        ("2024-03-04T21:00", "final"),
    ],
)
def test_a_settled_bar_is_final_after_the_next_session(received: str, state: str) -> None:
    """Friday's settled bar becomes final at Monday's close, which the calendar knows."""
    rows = {"2024-02-29T14:30": GOOD, "2024-03-01T14:30": GOOD}
    answer = parse(chart(rows, last_trade="2024-03-01T21:00", **FRIDAY), received)
    assert column(answer, "state")[-1] == state


def test_without_a_calendar_the_answer_itself_must_prove_it() -> None:
    """Of an unknown exchange, a day is final once a later day of the answer is over."""
    rows = {"2024-02-29T14:30": GOOD, "2024-03-01T14:30": GOOD}
    body = chart(rows, exchangeName="MARS", last_trade="2024-03-01T21:00", **FRIDAY)
    assert column(parse(body, "2024-03-05T12:00"), "state") == ["final", "provisional"]
    assert column(parse(body, "2024-03-20T12:00"), "state") == ["final", "final"]


def test_a_fund_whose_last_trade_stands_still() -> None:
    """Funds tell a last trade of months ago: a bare answer then speaks as of its last bar."""
    rows = {"2024-02-28T14:30": FLAT, "2024-02-29T14:30": FLAT}
    told = {
        "instrumentType": "MUTUALFUND",
        "exchangeName": "MARS",
        "last_trade": "2023-07-19T20:00",
    }
    answer = parse(chart(rows, **told), None)
    assert column(answer, "state") == ["provisional", "provisional"]
    assert column(answer, "split_basis") == [date(2024, 2, 29)] * 2


def test_a_running_day_with_the_stamp_of_its_open_is_forming() -> None:
    """Newer answers stamp the running day with its open: the session still runs."""
    rows = {"2024-02-29T14:30": GOOD, "2024-03-01T14:30": GOOD}
    body = chart(rows, last_trade="2024-03-01T15:00", **FRIDAY)
    for received in (None, "2024-03-01T15:01"):
        assert column(parse(body, received), "state") == ["provisional", "forming"]


def test_two_rows_of_the_last_day_keep_the_later() -> None:
    """A settled and a live row of one day are one bar, the later's, and it is not settled."""
    later: Row = (10.0, 12.0, 9.0, 11.0, 170.0)
    rows = {"2024-03-01T14:30": GOOD, "2024-03-01T20:15": later}
    answer = parse(chart(rows, last_trade="2024-03-01T20:15", **FRIDAY), "2024-03-01T20:16")
    assert column(answer, "volume") == [170.0]
    assert column(answer, "state") == ["forming"]
    assert answer.notes == ("ACME 1d: 1 row of a bar told twice",)


@pytest.mark.parametrize(
    ("kind", "zone", "stamp", "hours", "day"),
    [
        # A currency's last trade on Saturday morning is Friday's.
        ("CURRENCY", "Europe/London", "02T03:30", ("01T00:00", "01T23:59"), 1),
        # A currency traded on Sunday evening is Monday's, if Yahoo's current day is Sunday.
        ("CURRENCY", "Europe/London", "03T22:30", ("03T00:00", "03T23:59"), 4),
        # A future traded on Sunday evening in New York is Monday's.
        ("FUTURE", "America/New_York", "03T23:30", ("04T05:00", "05T04:59"), 4),
        # A coin's Saturday is its own day.
        ("CRYPTOCURRENCY", "UTC", "02T03:30", ("02T00:00", "02T23:59"), 2),
        # A share's last trade belongs to the session that ended last when the next is to come.
        ("EQUITY", "America/New_York", "01T21:00", ("04T14:30", "04T21:00"), 1),
    ],
)  # fmt: skip
def test_a_live_row_belongs_to_its_session(
    kind: str, zone: str, stamp: str, hours: tuple[str, str], day: int
) -> None:
    """The live stamp's own date may be a Saturday; the bar is of the session that it ends."""
    told = {"instrumentType": kind, "exchangeTimezoneName": zone, "exchangeName": "MARS"}
    stamp, opened, closed = (f"2024-03-{text}" for text in (stamp, *hours))
    body = chart({stamp: GOOD}, last_trade=stamp, regular=(opened, closed), **told)
    answer = parse(body, "2024-03-03T23:59")
    assert column(answer, "session_date") == [date(2024, 3, day)]


# -- rows that are no bars -------------------------------------------------------------------------


def test_rows_outside_the_range_are_dropped() -> None:
    """Yahoo adds today's live row to a range of the past; the recorded request says the range."""
    rows = {"2024-02-28T14:30": GOOD, "2024-03-01T20:15": GOOD}
    body = chart(rows, last_trade="2024-03-01T20:15", **FRIDAY)
    url = f"https://x/v8/finance/chart/ACME?period1={at('2024-02-28T00:00')}&period2="
    past = parse(wrapped(body, url + str(at("2024-03-01T00:00"))))
    assert column(past, "session_date") == [date(2024, 2, 28)]
    assert past.notes == ("ACME 1d: 1 row dropped: outside the range that was asked for",)
    # A range that ends while the session runs holds its row, though the stamp lies past it.
    now = parse(wrapped(body, url + str(at("2024-03-01T20:00"))))
    assert column(now, "session_date") == [date(2024, 2, 28), date(2024, 3, 1)]


def test_a_day_that_starts_at_the_end_of_the_range_was_asked_for() -> None:
    """Currencies and coins start at midnight: Yahoo gives the day at which the range ends."""
    url = f"https://x/v8/finance/chart/X?period1={at('2024-02-28T00:00')}&period2="
    rows = {"2024-02-28T00:00": GOOD, "2024-02-29T00:00": GOOD}
    days = chart(rows, instrumentType="CRYPTOCURRENCY", exchangeTimezoneName="UTC")
    assert parse(wrapped(days, url + str(at("2024-02-29T00:00")))).bars.num_rows == 2
    hours = days["chart"]["result"][0]["meta"] | {"dataGranularity": "1h"}
    days["chart"]["result"][0]["meta"] = hours
    assert parse(wrapped(days, url + str(at("2024-02-29T00:00")))).bars.num_rows == 1


def test_rows_of_the_future_are_dropped() -> None:
    """What is stamped after the answer arrived has not happened."""
    answer = parse(chart({"2024-02-28T14:30": GOOD, "2024-02-29T14:30": GOOD}), "2024-02-29T00:00")
    assert column(answer, "session_date") == [date(2024, 2, 28)]


def test_placeholders_of_closed_days_are_dropped() -> None:
    """A flat row at the previous close on a holiday is no bar; on an open day it is one."""
    holiday = {"2024-02-16T14:30": FLAT, "2024-02-19T14:30": FLAT, "2024-02-20T14:30": FLAT}
    answer = parse(chart(holiday))
    assert [day.day for day in column(answer, "session_date")] == [16, 20]
    assert answer.notes == ("ACME 1d: 1 row dropped: a placeholder for a day without session",)
    assert parse(chart(holiday, exchangeName="MARS")).bars.num_rows == 3
    traded = holiday | {"2024-02-19T14:30": (10.0, 10.0, 10.0, 10.0, 5.0)}
    assert parse(chart(traded)).bars.num_rows == 3


# -- intraday ------------------------------------------------------------------------------------


def minutes(rows: dict[str, Row], **meta: Any) -> dict[str, Any]:
    told = {"dataGranularity": "1m", "adjclose": False, **FRIDAY} | meta
    if "tradingPeriods" not in told:
        told["tradingPeriods"] = [[period("2024-03-01T14:30", "2024-03-01T21:00")]]
    return chart(rows, **told)


def period(start: str, end: str) -> dict[str, int]:
    return {"start": at(start), "end": at(end)}


def test_intraday_bars_start_at_their_stamp() -> None:
    """`ts` is the bar's start; the session's date is the exchange's; 60m is 1h."""
    answer = parse(minutes({"2024-03-01T14:30": GOOD}, dataGranularity="60m"), interval="1h")
    (bar,) = answer.bars.to_pylist()
    assert (bar["interval"], bar["session"]) == ("1h", "regular")
    assert (bar["ts"], bar["session_date"]) == (
        datetime(2024, 3, 1, 14, 30, tzinfo=UTC), date(2024, 3, 1),
    )  # fmt: skip
    assert bar["adj_close"] is None


def test_the_closing_print_is_no_bar() -> None:
    """A row without volume at the close is dropped; the last minute is kept."""
    rows = {"2024-03-01T20:59": GOOD, "2024-03-01T21:00": FLAT}
    answer = parse(minutes(rows))
    assert [ts.minute for ts in column(answer, "ts")] == [59]
    assert answer.notes == ("ACME 1m: 1 row dropped: the closing print",)


def test_currencies_have_no_closing_print() -> None:
    """A currency's day has no volume and ends at 23:59, which is a minute like any other."""
    day = [[period("2024-03-01T00:00", "2024-03-01T23:59")]]
    told = {"instrumentType": "CURRENCY", "exchangeTimezoneName": "UTC", "tradingPeriods": day}
    answer = parse(minutes({"2024-03-01T23:58": FLAT, "2024-03-01T23:59": FLAT}, **told))
    assert answer.bars.num_rows == 2


def test_bars_before_and_after_hours_are_marked() -> None:
    """With pre and post market, rows outside the regular hours are `extended` and kept."""
    told = {
        "pre": [[period("2024-03-01T09:00", "2024-03-01T14:30")]],
        "regular": [[period("2024-03-01T14:30", "2024-03-01T21:00")]],
        "post": [[period("2024-03-01T21:00", "2024-03-02T01:00")]],
    }
    rows = dict.fromkeys(("2024-03-01T14:00", "2024-03-01T14:30", "2024-03-01T21:00"), FLAT)
    answer = parse(minutes(rows, tradingPeriods=told, dataGranularity="30m"))
    assert column(answer, "session") == ["extended", "regular", "extended"]


def test_states_of_minutes_while_the_session_runs() -> None:
    """A minute that is over is provisional, the live one forming; floored to its own start."""
    live: Row = (11.5, 11.5, 11.5, 11.5, 0.0)
    rows = {"2024-03-01T15:00": GOOD, "2024-03-01T15:01": GOOD, "2024-03-01T15:01:40": live}
    answer = parse(minutes(rows, last_trade="2024-03-01T15:01:40"), "2024-03-01T15:01:45")
    assert [ts.minute for ts in column(answer, "ts")] == [0, 1]
    assert column(answer, "state") == ["provisional", "forming"]
    assert column(answer, "high") == [11.0, 11.5]
    assert column(answer, "close") == [10.5, 11.5]
    assert column(answer, "volume") == [100.0, 100.0]


def test_states_of_minutes_afterwards() -> None:
    """After the close minutes are provisional, after the next session's close final."""
    body = minutes({"2024-03-01T15:00": GOOD})
    assert column(parse(body, "2024-03-01T21:30"), "state") == ["provisional"]
    assert column(parse(body, "2024-03-04T21:30"), "state") == ["final"]


def test_minutes_of_a_futures_evening_are_the_next_days() -> None:
    """The trade date starts at 18:00 in New York."""
    told = {"instrumentType": "FUTURE", "exchangeName": "CMX", "tradingPeriods": []}
    rows = {"2024-02-29T22:59": GOOD, "2024-02-29T23:00": GOOD}
    answer = parse(minutes(rows, **told))
    assert [day.day for day in column(answer, "session_date")] == [29, 1]


# -- weeks and longer ------------------------------------------------------------------------------


def test_the_live_row_of_a_week_is_folded_into_it() -> None:
    """Yahoo tells the running week as its Monday and a live row: one bar, still forming."""
    rows = {
        "2024-02-19T05:00": GOOD,
        "2024-02-26T05:00": (10.0, 11.0, 9.0, 10.5, 100.0),
        "2024-03-01T17:35": (10.4, 12.0, 10.0, 11.5, 30.0),
    }
    body = chart(rows, dataGranularity="1wk", last_trade="2024-03-01T17:35", **FRIDAY)
    answer = parse(body, "2024-03-01T17:36")
    (_, week) = answer.bars.to_pylist()
    assert week["session_date"] == date(2024, 2, 26)
    prices = [week[name] for name in ("open", "high", "low", "close", "volume")]
    assert prices == [10.0, 12.0, 9.0, 11.5, 130.0]
    assert column(answer, "state") == ["final", "forming"]


def test_a_week_that_holds_its_live_row_is_not_counted_twice() -> None:
    """If the week has the live row's close and range already, its volume is in there too."""
    rows = {
        "2024-02-26T05:00": (10.0, 12.5, 9.0, 11.5, 130.0),
        "2024-03-01T17:35": (10.4, 12.0, 10.0, 11.5, 30.0),
    }
    body = chart(rows, dataGranularity="1wk", last_trade="2024-03-01T17:35", **FRIDAY)
    answer = parse(body, "2024-03-01T17:36")
    assert column(answer, "volume") == [130.0]
    assert column(answer, "state") == ["forming"]


def test_a_live_row_joins_a_week_of_any_weekday() -> None:
    """Yahoo may start weeks on the weekday that it was asked from; the live row joins the last."""
    rows = {"2024-02-21T05:00": GOOD, "2024-02-28T05:00": GOOD, "2024-03-01T17:35": FLAT}
    body = chart(rows, dataGranularity="1wk", last_trade="2024-03-01T17:35", **FRIDAY)
    days = column(parse(body, "2024-03-01T17:36"), "session_date")
    assert days == [date(2024, 2, 21), date(2024, 2, 28)]


@pytest.mark.parametrize(
    ("interval", "first", "received", "state"),
    [
        ("1mo", "2024-02-01T05:00", "2024-02-29T12:00", "forming"),
        ("1mo", "2024-02-01T05:00", "2024-03-01T12:00", "provisional"),
        ("1mo", "2024-02-01T05:00", "2024-03-01T21:00", "final"),
        ("3mo", "2024-01-01T05:00", "2024-03-31T12:00", "forming"),
        ("3mo", "2024-01-01T05:00", "2024-04-02T12:00", "final"),
        ("1wk", "2024-02-26T05:00", "2024-03-04T21:00", "final"),
    ],
)
def test_states_of_longer_bars(interval: str, first: str, received: str, state: str) -> None:
    """They form until their last day is over, and are final after the next session's close."""
    body = chart({first: GOOD}, dataGranularity=interval, last_trade="2024-02-01T15:00")
    assert column(parse(body, received), "state") == [state]


# -- corporate actions ---------------------------------------------------------------------------

EVENTS = {
    "dividends": {"1": {"amount": 0.25, "date": at("2024-02-28T14:30")}},
    "capitalGains": {"2": {"amount": 1.5, "date": at("2024-02-28T14:30"), "currency": "EUR"}},
    "splits": {
        "3": {"date": at("2024-02-29T14:30"), "numerator": 4, "denominator": 1},
        "4": {"date": at("2024-02-27T14:30"), "splitRatio": "3:2"},
    },
    "earnings": {"5": {}},
}


def test_events_are_dated_by_themselves() -> None:
    """Dividends, capital gains and splits have the date inside, whatever their key says."""
    actions = parse(chart({"2024-02-28T14:30": GOOD}, events=EVENTS)).actions.to_pylist()
    assert [(a["ex_date"].day, a["action"], a["amount"], a["numerator"], a["denominator"],
             a["currency"]) for a in actions] == [
        (27, "split", None, 3.0, 2.0, "USD"),
        (28, "capital_gain", 1.5, None, None, "EUR"),
        (28, "dividend", 0.25, None, None, "USD"),
        (29, "split", None, 4.0, 1.0, "USD"),
    ]  # fmt: skip
    assert actions[0]["ts"] == datetime(2024, 2, 27, tzinfo=UTC)
    assert {(a["kind"], a["provider"], a["symbol"]) for a in actions} == {
        ("corporate_action", "yahoo", "ACME")
    }


def test_coarse_answers_tell_no_events() -> None:
    """Weeks and longer lay dividends under the wrong bars: only 1d is believed."""
    body = chart({"2024-01-01T05:00": GOOD}, dataGranularity="3mo", events=EVENTS)
    assert parse(body).actions.num_rows == 0


# -- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (error("Not Found", "No data found, symbol may be delisted"), 404, NotFoundError),
        (error("Bad Request", "Data doesn't exist for startDate = 1"), 400, RangeError),
        (error("Unprocessable Entity", "1m data not available for startTime=1"), 422, RangeError),
        (error("Bad Request", "Invalid input - interval=7m is not supported."), 400, RangeError),
        (error("Unauthorized", "Invalid Crumb"), 401, UnreachableError),
        (error("internal-error", "Internal Server Error"), 500, UnreachableError),
        (error("Bad Request", "Something else"), 400, MalformedError),
        ({"finance": {"result": None, "error": {"code": "Not Found"}}}, 404, NotFoundError),
        ("Too Many Requests\r\n", 429, RateLimitedError),
        ("Edge: Too Many Requests", 200, RateLimitedError),
        ("<html>We will be right back</html>", 200, UnreachableError),
        ("<html><form action='https://consent.yahoo.com/v2'></form></html>", 200, UnreachableError),
        ("<html><p>Hello</p></html>", 200, MalformedError),
        ('{"chart": {"result": [{"meta": {"sym', 200, MalformedError),
        (chart({}) | {"chart": {"result": [], "error": None}}, 200, MalformedError),
        ({"chart": {"result": [{"timestamp": [1]}], "error": None}}, 200, MalformedError),
        ({"quoteResponse": {"result": 7, "error": None}}, 200, MalformedError),
        ({"count": 0, "quotes": {}}, 200, MalformedError),
        ([], 200, MalformedError),
        (None, 200, MalformedError),
    ],
)
def test_errors_find_their_place_on_the_tree(
    body: object, status: int, kind: type[TickerlakeError]
) -> None:
    """Each recorded error, whatever its status and shape, says what to do."""
    with pytest.raises(kind, match="what to do"):
        parse(wrapped(body, status=status))


def test_an_error_names_the_symbol_of_the_recorded_request() -> None:
    """The recording's address says which symbol was asked for."""
    body = wrapped(
        error("Not Found", "No data"), "https://x/v8/finance/chart/%5EABC?a=1", status=404
    )
    with pytest.raises(NotFoundError, match=r"does not know \^ABC"):
        parse(body)


def test_bars_must_be_somebodys() -> None:
    """Where meta names no symbol, the caller or the recorded address does; else it is refused."""
    body = chart({"2024-02-29T14:30": GOOD}, symbol=None)
    assert column(parse(body, symbol="TOLD"), "symbol") == ["TOLD"]
    assert column(parse(wrapped(body, "https://x/v8/finance/chart/%5EABC")), "symbol") == ["^ABC"]
    with pytest.raises(MalformedError, match=r"meta\.symbol"):
        parse(body)


def test_other_answers_say_what_is_read() -> None:
    """Options are named as what they are, and of what nobody knows what can be read is said."""
    answer = parse({"optionChain": {"result": [], "error": None}})
    assert answer.notes == ("options, no records",)
    assert not answer.tables()
    with pytest.raises(MalformedError, match=r"something else.*\n.*v8/finance/chart"):
        parse({"newChain": {"result": [], "error": None}})


def test_another_interval_than_asked_for_is_refused() -> None:
    """Long ranges of days may be answered in months: never taken for days."""
    with pytest.raises(MalformedError, match="another interval"):
        parse(chart({"2024-01-01T05:00": GOOD}, dataGranularity="1mo"), interval="1d")


@pytest.mark.parametrize(
    ("name", "values"), [("close", [1.0]), ("open", ["x", "y"]), ("volume", [[1], [2]])]
)
def test_columns_that_do_not_fit_are_refused(name: str, values: list[object]) -> None:
    """Columns of other lengths, or without numbers, are no answer."""
    body = chart({"2024-02-28T14:30": GOOD, "2024-02-29T14:30": GOOD})
    body["chart"]["result"][0]["indicators"]["quote"][0][name] = values
    with pytest.raises(MalformedError, match="another shape"):
        parse(body)

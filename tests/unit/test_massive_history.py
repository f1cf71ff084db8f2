"""Massive's history: what is asked for, page by page, and what its answers become."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from massive_double import (
    UNKNOWN,
    Massive,
    bar,
    massive_server,
    milliseconds,
    nanoseconds,
    weekdays,
)
from tickerlake.cache import CachedSource, known_series
from tickerlake.errors import (
    ConfigError,
    MalformedError,
    NotFoundError,
    RateLimitedError,
    TickerlakeError,
    UnreachableError,
)
from tickerlake.records import dead_reasons
from tickerlake.sources import BarsRequest, Renames, Searches, Ticks, TicksRequest, open_source
from tickerlake.sources.massive import MassiveSettings, MassiveSource
from tickerlake.testing.provider import ProviderAnswer

JANUARY = BarsRequest("ACME", "1d", date(2024, 1, 1), date(2024, 1, 31))
QUIET = {"corporate_actions": False}
SPLITS, DIVIDENDS = "/v3/reference/splits", "/v3/reference/dividends"


def parsed(told: object, **how: Any) -> Any:
    return MassiveSource().parse(json.dumps(told).encode(), **how)


def test_pages_are_followed_at_our_own_host() -> None:
    """The next page is said to be at the vendor's host: it is asked for at the configured one."""
    massive = Massive({"ACME": weekdays(date(2024, 1, 1), 28)}, rows_per_page=8)
    with massive_server(massive, **QUIET) as (source, server):
        answer = source.bars(JANUARY)
        massive.next_host = server.base_url
        assert source.bars(JANUARY).bars.num_rows == 20
    assert answer.bars.num_rows == 20
    assert server.count() == 6
    assert all("authorization" in request.headers for request in server.requests)
    asked = server.requests[0]
    assert asked.path == "/v2/aggs/ticker/ACME/range/1/day/2024-01-01/2024-01-31"
    assert asked.query == {"adjusted": "false", "sort": "asc", "limit": "50000"}


def test_a_next_page_on_a_foreign_host_is_refused() -> None:
    """Our key would go there: nothing is sent, what came is kept, and the rest is named."""
    days = weekdays(date(2024, 1, 1), 28)
    massive = Massive({"ACME": days}, rows_per_page=8, next_host="https://evil.example")
    with massive_server(massive, **QUIET) as (source, server):
        answer = source.bars(JANUARY)
    assert server.count() == 1
    assert answer.bars.num_rows == 8
    assert "another host" in answer.missing[0]


def test_a_week_begins_on_monday_and_a_quarter_on_its_first_day() -> None:
    """Weeks are stamped with Sunday; ours are keyed by Monday, and asked for from there on."""
    week = Massive({"ACME": [bar(milliseconds(date(2024, 1, day))) for day in (7, 14)]})
    with massive_server(week, **QUIET) as (source, server):
        bars = source.bars(BarsRequest("ACME", "1wk", date(2024, 1, 10), date(2024, 1, 31))).bars
    assert server.requests[0].path.endswith("/1/week/2024-01-07/2024-01-31")
    assert bars["session_date"].to_pylist() == [date(2024, 1, 8), date(2024, 1, 15)]
    quarter = {"ticker": "ACME", "results": [bar(milliseconds(date(2024, 4, 1)))], "status": "OK"}
    assert parsed(quarter, interval="3mo").bars["ts"][0].as_py() == datetime(2024, 4, 1, tzinfo=UTC)


def test_minutes_are_asked_for_in_milliseconds() -> None:
    """A range of times has its end excluded; extended hours are in it, marked."""
    day = date(2024, 7, 1)
    rows = [bar(milliseconds(day, time(hour, 0))) for hour in (9, 10, 15, 16)]
    with massive_server(Massive({"ACME": rows})) as (source, server):
        start = datetime(2024, 7, 1, 13, tzinfo=UTC)
        answer = source.bars(BarsRequest("ACME", "1m", start, start + timedelta(hours=7)))
    first, last = server.requests[0].path.split("/")[-2:]
    assert int(last) - int(first) == 7 * 3_600_000 - 1
    assert answer.bars["session"].to_pylist() == ["extended", "regular", "regular"]
    assert server.count() == 1  # no corporate actions with minutes
    hours = {"ticker": "ACME", "results": rows, "status": "DELAYED", "adjusted": False}
    told = parsed(hours, interval="1h").bars["session"].to_pylist()
    assert told == ["regular", "regular", "regular", "extended"]  # 9:00 to 10:00 holds the open


def test_seconds_are_bars_too() -> None:
    """Of the session's edges, those that begin within it are regular; 50,000 stand on a page."""
    day = date(2024, 7, 1)
    clocks = (time(9, 29, 59), time(9, 30), time(15, 59, 59), time(16))
    massive = Massive({"ACME": [bar(milliseconds(day, at)) for at in clocks]})
    request = BarsRequest("ACME", "1s", datetime(2024, 7, 1, 13, tzinfo=UTC), day)
    with massive_server(massive) as (source, server):
        bars = source.bars(request).bars
        assert source.requests(request) == 2  # 13:00 to 24:00 are 54,000 seconds at most
    assert "/range/1/second/" in server.requests[0].path
    assert bars["session"].to_pylist() == ["extended", "regular", "regular", "extended"]
    assert bars["state"].to_pylist() == ["final"] * 4
    told = {"ticker": "ACME", "results": massive.bars["ACME"][1:2] * 1, "adjusted": False}
    assert parsed(told, interval="1s").bars["ts"].to_pylist() == [
        datetime(2024, 7, 1, 13, 30, tzinfo=UTC)
    ]
    apart = {**told, "results": [bar(milliseconds(day, time(10, 0, n))) for n in (0, 1, 5)]}
    assert parsed(apart).bars["interval"].to_pylist() == ["1s"] * 3


def test_the_basis_is_what_the_answer_says() -> None:
    """As traded: each bar's own day; adjusted: the day of the answer."""
    rows = [bar(milliseconds(date(2024, 1, 2)))]
    at = datetime(2024, 6, 1, tzinfo=UTC)
    for adjusted, basis in ((False, date(2024, 1, 2)), (True, date(2024, 5, 31))):
        told = {"ticker": "ACME", "adjusted": adjusted, "results": rows, "status": "OK"}
        bars = parsed(told, received_at=at).bars
        assert bars["split_basis"].to_pylist() == [basis]
    assert MassiveSource().limits.price_basis == "raw"
    assert MassiveSource(MassiveSettings(adjusted=True)).limits.price_basis == "splits"


def test_splits_and_dividends_come_with_days() -> None:
    """A split into 4 and the sum of a day's dividends; the plan knows of the two requests."""
    massive = Massive({"ACME": weekdays(date(2024, 1, 1), 28)})
    massive.results[SPLITS] = [
        {"ticker": "ACME", "execution_date": "2024-01-10", "split_from": 1, "split_to": 4}
    ]
    dividend = {"ticker": "ACME", "ex_dividend_date": "2024-01-11", "currency": "USD"}
    massive.results[DIVIDENDS] = [{**dividend, "cash_amount": cash} for cash in (0.25, 1.5)]
    with massive_server(massive) as (source, server):
        assert source.requests(JANUARY) == 3
        answer = source.bars(JANUARY)
        assert server.count() == 3
    assert server.requests[0].query["execution_date.gte"] == "2024-01-01"
    names = ("action", "ex_date", "amount", "numerator", "denominator")
    assert [tuple(row[name] for name in names) for row in answer.actions.to_pylist()] == [
        ("split", date(2024, 1, 10), None, 4, 1),
        ("dividend", date(2024, 1, 11), 1.75, None, None),
    ]
    assert dead_reasons(answer.actions, "corporate_action").null_count == 2


def test_events_move_to_their_newer_path() -> None:
    """Where the older path is gone the newer one is asked; a plan without them is a note."""
    massive = Massive({"ACME": weekdays(date(2024, 1, 1), 28)})
    massive.instead[SPLITS] = UNKNOWN
    massive.results["/stocks/v1/splits"] = [
        {
            "ticker": "ACME",
            "adjustment_type": "forward_split",
            "execution_date": "2024-01-10",
            "historical_adjustment_factor": 0.5,
            "split_from": 1.0,
            "split_to": 2.0,
        }
    ]
    refused = {"status": "NOT_AUTHORIZED", "message": "You are not entitled to this data."}
    massive.instead[DIVIDENDS] = ProviderAnswer(refused, 403)
    with massive_server(massive) as (source, _):
        answer = source.bars(JANUARY)
        assert answer.actions["numerator"].to_pylist() == [2.0]
        assert answer.missing == ()
        assert "dividends were not given" in answer.notes[0]
        massive.instead[DIVIDENDS] = ProviderAnswer({"status": "ERROR", "error": "x"}, 429)
        with pytest.raises(RateLimitedError):  # they may come later: a dividend must not be missed
            source.bars(JANUARY)


def test_an_empty_answer_is_doubted() -> None:
    """For weeks without a bar the symbol is looked up; a known one is empty, with a note."""
    massive = Massive()
    with massive_server(massive, **QUIET) as (source, server):
        with pytest.raises(NotFoundError, match="small letters"):
            source.bars(JANUARY)
        massive.results["/v3/reference/tickers/ACME"] = {"ticker": "ACME", "name": "Acme"}
        answer = source.bars(JANUARY)
        assert answer.bars.num_rows == 0
        assert "without bars" in answer.notes[0]
        before = server.count()
        source.bars(BarsRequest("ACME", "1d", date(2024, 1, 6), date(2024, 1, 7)))  # a weekend
        assert server.count() == before + 1


@pytest.mark.parametrize("told", [{"results": None}, {"results": []}, {}])
def test_no_bars_have_many_shapes(told: dict[str, Any]) -> None:
    """Null, an empty list, and no key at all are an answer without results."""
    answer = parsed({"ticker": "ACME", "status": "OK", "resultsCount": 0, **told})
    assert answer.tables() == []
    assert answer.notes == ("Massive answered without results",)


def test_ticks_keep_every_nanosecond() -> None:
    """Integers beyond 2^53 are exact, fractional sizes too, and the order is asked for."""
    at = nanoseconds(2024, 1, 2, 15)
    trade = {"conditions": [12, 37], "exchange": 11, "id": "7", "price": 10.5, "size": 3, "tape": 3}
    massive = Massive(rows_per_page=2)
    massive.results["/v3/trades/ACME"] = [
        {**trade, "sip_timestamp": at + 1, "participant_timestamp": at},
        {**trade, "sip_timestamp": at + 123_456_789, "exchange": 4, "decimal_size": "3.5"},
        {**trade, "sip_timestamp": at + 999_999_999, "id": 8, "conditions": None},
    ]
    massive.results["/v3/quotes/ACME"] = [
        {"bid_price": 10, "bid_size": 1, "ask_price": 11, "ask_size": 2, "sip_timestamp": at + 7}
    ]
    start = datetime(2024, 1, 2, 15, tzinfo=UTC)
    with massive_server(massive) as (source, server):
        assert isinstance(source, Ticks)
        asked = TicksRequest("ACME", "trade", start, start + timedelta(microseconds=1))
        pages = list(source.ticks(asked))
        quotes = next(
            iter(source.ticks(TicksRequest("ACME", "quote", start, start + timedelta(1))))
        )
    assert server.requests[0].query == {
        "timestamp.gte": str(at),
        "timestamp.lt": str(at + 1000),
        "limit": "50000",
        "order": "asc",
        "sort": "timestamp",
    }
    trades = pa.concat_tables([page.ticks["trade"] for page in pages])
    assert trades["ts_ns"].to_pylist() == [at + 1, at + 123_456_789, at + 999_999_999]
    assert trades["size"].to_pylist() == [3, 3.5, 3]
    assert trades["venue"].to_pylist() == ["11", "4", "11"]
    assert trades["trade_id"].to_pylist() == ["7", "7", "8"]
    assert trades["conditions"].to_pylist() == ["12,37", "12,37", None]
    assert quotes.ticks["quote"]["ask_size"].to_pylist() == [2]
    assert dead_reasons(trades, "trade").null_count == 3


def test_a_plan_that_ends_before_the_range_is_missing_not_silent() -> None:
    """With `history_days` the range is cut, and what lies before is named."""
    with massive_server(Massive({"ACME": []}), history_days=30, **QUIET) as (source, server):
        assert source.limits.look_back_days["1m"] == 30
        old = BarsRequest("ACME", "1m", date(2024, 1, 2), date(2024, 1, 3))
        answer = source.bars(old)
        assert server.count() == 0
        assert "30 days" in answer.missing[0]


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (401, {"status": "ERROR", "error": "Unknown API Key"}, ConfigError, "MASSIVE_API_KEY"),
        (403, {"status": "NOT_AUTHORIZED", "message": "Your plan doesn't include this data "
               "timeframe. Please upgrade."}, ConfigError, "history_days"),
        (403, {"status": "NOT_AUTHORIZED", "message": "You are not entitled to this data."},
         ConfigError, "plan"),
        (200, {"status": "ERROR", "error": "You've exceeded the maximum requests per minute"},
         RateLimitedError, "minute"),
        (404, {"status": "NOT_FOUND", "message": "Ticker not found."}, NotFoundError, "spelling"),
        (400, {"status": "ERROR", "error": "Could not parse the time parameter: 'from'."},
         MalformedError, "time parameter"),
        (200, {"status": "ERROR", "error": "something new"}, MalformedError, "something new"),
        (504, {"status": "ERROR", "error": "gateway"}, UnreachableError, "later"),
        (429, "<html>Too Many Requests</html>", RateLimitedError, "minute"),
        (200, "<html>a page</html>", MalformedError, "shape"),
        (200, {"ticker": "A"}, MalformedError, "shape"),
        (200, {"status": "OK", "results": [{"surprise": 1}]}, MalformedError, "surprise"),
        (200, {"status": "OK", "ticker": "A", "results": [{"t": "x", "o": 1, "c": 1}]},
         MalformedError, "shape"),
        (200, {"status": "OK", "ticker": "A", "results": [{"t": 1e30, "o": 1, "c": 1}]},
         MalformedError, "shape"),
        (200, {"status": "OK", "results": [{"price": 1, "sip_timestamp": 1}]}, MalformedError,
         "--symbol"),
    ],
)  # fmt: skip
def test_errors_are_told_by_status_and_body(
    status: int, body: object, error: type[TickerlakeError], words: str
) -> None:
    """What the vendor says becomes one error of ours that says what to do."""
    with pytest.raises(error, match=words):
        parsed({"response": {"status": status, "headers": {}, "body": body}})


def test_the_key_is_in_a_header_alone() -> None:
    """A missing key names its variable; a key is in no address and in no error."""
    with massive_server(Massive({"ACME": weekdays(date(2024, 1, 1), 28)}), **QUIET) as (source, _):
        assert "ours-alone" not in str(source.bars(JANUARY).about.url)
    with (
        massive_server(Massive(), api_key="hunter2") as (source, _),
        pytest.raises(ConfigError) as refused,
    ):
        source.bars(JANUARY)
    assert "hunter2" not in str(refused.value)
    with pytest.raises(ConfigError, match="TICKERLAKE_SOURCES_MASSIVE_API_KEY"):
        MassiveSource().bars(JANUARY)


META = {
    "name": "Meta Platforms",
    "composite_figi": "BBG000MM2P62",
    "events": [
        {"type": "ticker_change", "date": "2022-06-09", "ticker_change": {"ticker": "META"}},
        {"type": "ticker_change", "date": "2012-05-18", "ticker_change": {"ticker": "FB"}},
    ],
}


def test_a_rename_is_found_from_either_name() -> None:
    """META tells of FB; FB, which nobody holds, is found by the identifier of its last holder."""
    massive = Massive()
    massive.results["/vX/reference/tickers/META/events"] = META
    massive.results["/vX/reference/tickers/BBG000MM2P62/events"] = META
    massive.results["/v3/reference/tickers"] = [
        {"ticker": "FB", "name": "Facebook", "active": False, "composite_figi": "BBG000MM2P62"}
    ]
    with massive_server(massive) as (source, _):
        assert isinstance(source, Renames)
        for name in ("META", "FB"):
            changes = source.renames(name)
            assert [(c.old, c.new, c.on) for c in changes] == [("FB", "META", date(2022, 6, 9))]
    action = parsed({"status": "OK", "results": META}).actions.to_pylist()[0]
    told = (action["action"], action["symbol"], action["new_symbol"], action["ex_date"])
    assert told == ("symbol_change", "FB", "META", date(2022, 6, 9))


def test_search_tells_listed_ones_first_and_the_exact_one_before_all() -> None:
    """Active tickers, then delisted ones where there is room; types and markets are ours."""
    common = {"market": "stocks", "locale": "us", "currency_name": "usd"}
    tickers = [
        {**common, "ticker": "AACME", "name": "An Acme", "type": "CS", "active": True},
        {**common, "ticker": "ACME", "name": "Acme", "type": "ETF", "primary_exchange": "ARCX",
         "composite_figi": "BBG0", "active": True, "list_date": "2001-02-03"},
        {**common, "ticker": "ACMQ", "name": "Old Acme", "active": False,
         "delisted_utc": "2020-05-06T00:00:00Z"},
    ]  # fmt: skip
    massive = Massive()
    massive.results["/v3/reference/tickers"] = tickers
    with massive_server(massive) as (source, server):
        assert isinstance(source, Searches)
        found = source.search("acme")
        assert [hit.symbol for hit in found] == ["ACME", "AACME", "ACMQ"]
        assert [request.query["active"] for request in server.requests] == ["true", "false"]
    first, last = found[0], found[2]
    assert (first.type, first.exchange, first.currency, first.figi) == (
        "etf", "ARCX", "USD", "BBG0",
    )  # fmt: skip
    assert (last.listed, last.last) == (False, date(2020, 5, 6))


def test_its_old_name_opens_it() -> None:
    """`polygon` is `massive`; records carry the new name."""
    assert open_source("polygon").name == "massive"


def test_rows_that_name_their_symbol_are_days_of_many() -> None:
    """The whole market's day, and the day before of one symbol, say `T` in each row."""
    rows = [
        {**bar(milliseconds(date(2024, 1, 2), time(16))), "T": name} for name in ("ZED", "ACME")
    ]
    bars = parsed({"status": "OK", "adjusted": True, "results": rows}).bars
    assert bars["symbol"].to_pylist() == ["ACME", "ZED"]
    assert bars["interval"].to_pylist() == ["1d", "1d"]
    assert bars["session_date"].to_pylist() == [date(2024, 1, 2)] * 2


def test_the_newest_trade_and_quote_are_read_too() -> None:
    """Their results are one object, in the letters of the second version."""
    at = nanoseconds(2024, 1, 2, 15) + 7
    trade = {"T": "ACME", "t": at, "y": at - 5, "q": 9, "i": "7", "x": 4, "s": 3, "p": 10.5, "z": 3}
    row = parsed({"status": "OK", "results": trade}).ticks["trade"].to_pylist()[0]
    assert (row["symbol"], row["ts_ns"], row["price"], row["size"]) == ("ACME", at, 10.5, 3)
    assert (row["venue"], row["trade_id"], row["conditions"]) == ("4", "7", None)
    quote = {"T": "ACME", "t": at, "P": 10.75, "S": 2, "X": 7, "p": 10.25, "s": 1, "x": 4}
    row = parsed({"status": "OK", "results": quote}).ticks["quote"].to_pylist()[0]
    assert (row["bid"], row["bid_size"], row["ask"], row["ask_size"]) == (10.25, 1, 10.75, 2)


def test_the_free_plans_pace_is_for_the_vendors_host() -> None:
    """Five a minute at Massive itself; a mirror has its own limits; what is set counts."""
    for settings, pace in (
        (MassiveSettings(), 5 / 60),
        (MassiveSettings(base_url="https://api.polygon.io"), 5 / 60),
        (MassiveSettings(base_url="http://localhost:1"), None),
        (MassiveSettings(requests_per_second=100), 100),
    ):
        assert MassiveSource(settings).limits.requests_per_second == pace


def test_a_plan_counts_the_pages_that_may_come() -> None:
    """Fifty thousand base bars a page: a year of minutes and of hours takes the same."""
    source = MassiveSource()
    for interval in ("1m", "1h"):
        year = BarsRequest("ACME", interval, date(2023, 1, 1), date(2023, 12, 31))
        assert 5 <= source.requests(year) <= 6
    assert source.requests(BarsRequest("ACME", "1d", date(2004, 1, 1), date(2023, 12, 31))) == 3


def test_a_range_before_the_plans_is_not_remembered_as_empty(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The refusal of the whole range says nothing of the part that the plan reaches."""
    monkeypatch.setenv("TICKERLAKE_NOW", "2024-03-01T23:00:00Z")
    massive = Massive({"ACME": weekdays(date(2024, 1, 1), 28)})
    told = {"status": "NOT_AUTHORIZED", "message": "Your plan doesn't include this timeframe."}
    with massive_server(massive, **QUIET) as (source, _):
        cached = CachedSource(source, tmp_path)
        whole = BarsRequest("ACME", "1d", date(2020, 1, 2), date(2024, 1, 26))
        path = "/v2/aggs/ticker/ACME/range/1/day/2020-01-02/2024-01-26"
        massive.instead[path] = ProviderAnswer(told, 403)
        for _ in range(2):
            with pytest.raises(ConfigError, match="does not reach ACME"):
                cached.bars(whole)
        later = dataclasses.replace(whole, start=date(2024, 1, 2))
        assert cached.bars(later).bars.num_rows == 19
        cached.close()


def test_small_letters_are_another_share(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """ACpA is a preferred share, ACPA another firm: the cache keeps them apart."""
    monkeypatch.setenv("TICKERLAKE_NOW", "2024-03-01T23:00:00Z")
    days = (date(2024, 1, 2), date(2024, 1, 3))
    closes = {"ACpA": 9.5, "ACPA": 11.0}
    bars = {
        symbol: [bar(milliseconds(day), close=close) for day in days]
        for symbol, close in closes.items()
    }
    with massive_server(Massive(bars), **QUIET) as (source, server):
        cached = CachedSource(source, tmp_path)
        for symbol, close in (*closes.items(), *closes.items()):
            found = cached.bars(BarsRequest(symbol, "1d", *days)).bars
            assert found["symbol"].to_pylist() == [symbol] * 2
            assert found["close"].to_pylist() == [close] * 2
        assert server.count() == 2
        assert {one.symbol for one in known_series(tmp_path)} == set(closes)
        cached.close()

"""Alpaca's history: what is asked for, page by page, and what its answers become."""

from __future__ import annotations

import dataclasses
import gzip
import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from alpaca_double import Alpaca, alpaca_server, bar, stamp, weekdays
from tickerlake.errors import (
    ConfigError,
    MalformedError,
    NotFoundError,
    RateLimitedError,
    TickerlakeError,
    UnreachableError,
)
from tickerlake.records import dead_reasons
from tickerlake.sources import BarsRequest, Batches, Lists, Searches, Ticks, TicksRequest
from tickerlake.sources.alpaca import AlpacaSettings, AlpacaSource
from tickerlake.testing.provider import ProviderAnswer, provider_server

JANUARY = BarsRequest("ACME", "1d", date(2024, 1, 1), date(2024, 1, 31))
QUIET = {"corporate_actions": False}


def parsed(told: object, **how: Any) -> Any:
    return AlpacaSource().parse(json.dumps(told).encode(), **how)


def minutes(*stamps: str) -> pa.Table:
    page = {"bars": {"ACME": [bar(at) for at in stamps]}, "next_page_token": None}
    return parsed(page, interval="1m").bars


def test_pages_are_followed_to_the_empty_last_one() -> None:
    """A full last page has a token and an empty page after it; nothing is lost or told twice."""
    alpaca = Alpaca({"ACME": weekdays(date(2024, 1, 1), 28)}, rows_per_page=5)
    with alpaca_server(alpaca, **QUIET) as (source, server):
        answer = source.bars(JANUARY)
    assert answer.bars.num_rows == 20
    assert answer.missing == ()
    assert server.count("/v2/stocks/bars") == 5
    asked = [{**request.query, "page_token": None} for request in server.requests]
    assert all(query == asked[0] for query in asked)
    assert asked[0]["adjustment"] == "raw"
    assert asked[0]["feed"] == "sip"


def test_a_batch_is_one_request_and_a_page_may_hold_one_symbol_only() -> None:
    """Absence from the first page proves nothing: both symbols are whole after the last."""
    days = weekdays(date(2024, 1, 1), 14)
    alpaca = Alpaca({"ACME": days, "ZEBRA": days}, rows_per_page=7)
    with alpaca_server(alpaca, **QUIET) as (source, server):
        assert isinstance(source, Batches)
        answers = source.bars_of(["ZEBRA", "ACME", "NONE"], JANUARY)
    rows = {symbol: answer.bars.num_rows for symbol, answer in answers.items()}
    assert rows == {"ZEBRA": 10, "ACME": 10, "NONE": 0}
    assert server.count() == 3
    assert "without bars" in answers["NONE"].notes[0]


def test_what_came_before_a_failure_is_kept_and_the_rest_is_named() -> None:
    """The symbol in the middle is partly there, the one before is whole, the one after failed."""
    days = weekdays(date(2024, 1, 1), 14)
    alpaca = Alpaca({"A": days, "B": days, "C": days}, rows_per_page=8)

    def answer(request: Any) -> ProviderAnswer:
        if server.count() > 2:
            return ProviderAnswer({"message": "too many requests."}, 429)
        return Alpaca.answer(alpaca, request)

    alpaca.answer = answer  # type: ignore[method-assign]
    with alpaca_server(alpaca, **QUIET) as (source, server):
        answers = source.bars_of(["A", "B", "C"], JANUARY)
    assert answers["A"].bars.num_rows == 10
    assert answers["A"].missing == ()
    assert answers["B"].bars.num_rows == 6
    assert "B 1d after page 2" in answers["B"].missing[0]
    assert isinstance(answers["C"], RateLimitedError)


@pytest.mark.parametrize("told", [{"bars": None}, {"bars": {}}, {"bars": {"ACME": None}}, {}])
def test_no_bars_have_many_shapes(told: dict[str, Any]) -> None:
    """Null, nothing, and no key at all are an answer without bars."""
    answer = parsed({**told, "next_page_token": None}, symbol="ACME")
    assert answer.tables() == []
    assert answer.notes == ("Alpaca answered without rows",)


def test_days_are_new_yorks_in_winter_and_summer() -> None:
    """05:00Z and 04:00Z are midnight: each is its own day, whatever UTC says."""
    days = (date(2024, 1, 2), date(2024, 7, 1))
    page = {"bars": {"ACME": [bar(stamp(day)) for day in days]}, "next_page_token": None}
    bars = parsed(page).bars
    assert bars["session_date"].to_pylist() == list(days)
    assert bars["ts"][0].as_py() == datetime(2024, 1, 2, tzinfo=UTC)
    assert bars["split_basis"].to_pylist() == list(days)
    assert bars["interval"].to_pylist() == ["1d", "1d"]


def test_minutes_before_open_and_after_an_early_close_are_extended() -> None:
    """On the day after Thanksgiving the session ends at 13:00 New York."""
    bars = minutes("2023-11-24T14:29:00Z", "2023-11-24T14:30:00Z", "2023-11-24T18:00:00Z")
    assert bars["session"].to_pylist() == ["extended", "regular", "extended"]
    bars = minutes("2023-11-22T20:59:00Z", "2023-11-22T21:00:00Z", "2023-11-23T00:59:00Z")
    assert bars["session"].to_pylist() == ["regular", "extended", "extended"]
    assert bars["session_date"].to_pylist() == [date(2023, 11, 22)] * 3


@pytest.mark.parametrize(
    ("received_at", "states"),
    [
        ("2024-01-05T18:00:00Z", ["final", "provisional", "forming"]),
        ("2024-01-05T21:10:00Z", ["final", "provisional", "forming"]),  # 15 minutes late
        ("2024-01-05T21:20:00Z", ["final", "final", "provisional"]),
        ("2024-01-08T21:20:00Z", ["final", "final", "final"]),
    ],
)
def test_a_day_is_final_after_the_next_close(received_at: str, states: list[str]) -> None:
    """Forming until its close has reached this feed, final after the close of the next session."""
    days = [date(2024, 1, 3), date(2024, 1, 4), date(2024, 1, 5)]
    page = {"bars": {"ACME": [bar(stamp(day)) for day in days]}, "next_page_token": None}
    at = datetime.fromisoformat(received_at)
    assert parsed(page, received_at=at).bars["state"].to_pylist() == states


def test_trades_keep_their_nanoseconds_and_quotes_their_lots() -> None:
    """Fractions of zero to nine digits are exact; the same id on two exchanges is two trades."""
    trade = {"x": "V", "p": 140.2, "s": 3, "c": ["@", "I"], "i": 9, "z": "C"}
    stamps = ["2024-01-02T15:00:00Z", "2024-01-02T15:00:00.1Z", "2024-01-02T15:00:00.123456789Z"]
    rows = [{**trade, "t": at, "x": x} for at, x in zip(stamps, "VQV", strict=True)]
    quote = {"t": stamps[2], "ax": "V", "ap": 10.5, "as": 2, "bx": "Q", "bp": 10, "bs": 1}
    alpaca = Alpaca(ticks={"trades": {"ACME": rows}, "quotes": {"ACME": [quote]}}, rows_per_page=2)
    start, end = (datetime(2024, 1, 2, 15, 0, second, tzinfo=UTC) for second in (0, 1))
    with alpaca_server(alpaca) as (source, _):
        assert isinstance(source, Ticks)
        pages = list(source.ticks(TicksRequest("ACME", "trade", start, end)))
        quotes = next(iter(source.ticks(TicksRequest("ACME", "quote", start, end))))
    trades = pa.concat_tables([page.ticks["trade"] for page in pages])
    second = 1_704_207_600_000_000_000
    assert trades["ts_ns"].to_pylist() == [second, second + 100_000_000, second + 123_456_789]
    assert trades["ts"][2].as_py().microsecond == 123_456
    assert trades["venue"].to_pylist() == ["V", "Q", "V"]
    assert trades["conditions"].to_pylist() == ["@,I"] * 3
    told = quotes.ticks["quote"].to_pylist()[0]
    assert (told["bid"], told["bid_size"], told["ask"], told["ask_size"]) == (10, 1, 10.5, 2)
    assert dead_reasons(trades, "trade").null_count == 3


def test_events_of_days_become_corporate_actions() -> None:
    """Splits, stock dividends, the sum of a day's dividends, and a rename under its old name."""
    common = {"process_date": "2024-01-10", "ex_date": "2024-01-10"}
    events = {
        "forward_splits": [{"symbol": "ACME", "new_rate": 4, "old_rate": 1, **common}],
        "stock_dividends": [{"symbol": "ACME", "rate": 0.05, **common, "ex_date": "2024-01-11"}],
        "cash_dividends": [
            {"symbol": "ACME", "rate": 0.25, "special": False, **common},
            {"symbol": "ACME", "rate": 1.0, "special": True, **common},
        ],
        "name_changes": [
            {"old_symbol": "ACME", "new_symbol": "APEX", "process_date": "2024-01-12"},
            {"old_symbol": "ACME", "new_symbol": "ACME", "process_date": "2024-01-12"},
        ],
        "cash_mergers": [{"acquiree_symbol": "ACME", "rate": 3, "process_date": "2024-01-12"}],
    }
    alpaca = Alpaca({"ACME": weekdays(date(2024, 1, 1), 28)}, events=events)
    with alpaca_server(alpaca) as (source, server):
        assert source.requests(JANUARY) == 2
        answer = source.bars(JANUARY)
        assert server.count() == 2
    names = ("action", "ex_date", "amount", "numerator", "denominator", "new_symbol")
    assert [tuple(row[name] for name in names) for row in answer.actions.to_pylist()] == [
        ("dividend", date(2024, 1, 10), 1.25, None, None, None),
        ("split", date(2024, 1, 10), None, 4, 1, None),
        ("split", date(2024, 1, 11), None, 1.05, 1, None),
        ("symbol_change", date(2024, 1, 12), None, None, None, "APEX"),
    ]
    assert dead_reasons(answer.actions, "corporate_action").null_count == 4
    assert any("cash_mergers left out" in note for note in answer.notes)


def test_bars_stand_without_events_that_the_plan_has_not() -> None:
    """That is a note. Events that may come later fail the whole: a split must not be missed."""
    alpaca = Alpaca({"ACME": weekdays(date(2024, 1, 1), 28)})
    path = "/v1/corporate-actions"
    with alpaca_server(alpaca) as (source, server):
        alpaca.instead[path] = ProviderAnswer({"message": "not found"}, 404)
        answer = source.bars(JANUARY)
        assert answer.missing == ()
        assert "corporate actions were not given" in answer.notes[0]
        assert answer.bars.num_rows == 20
        alpaca.instead[path] = ProviderAnswer({"message": "too many requests."}, 429)
        before = server.count("/v2/stocks/bars")
        with pytest.raises(RateLimitedError):
            source.bars(JANUARY)
        assert server.count("/v2/stocks/bars") == before


def test_the_newest_quarter_of_an_hour_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The free plan refuses it: the range ends before, and one that is newer asks nobody."""
    monkeypatch.setenv("TICKERLAKE_NOW", "2024-01-03T15:00:00Z")
    alpaca = Alpaca({"ACME": [bar("2024-01-03T14:44:00Z"), bar("2024-01-03T14:50:00Z")]})
    with alpaca_server(alpaca) as (source, server):
        day = BarsRequest("ACME", "1m", date(2024, 1, 3), date(2024, 1, 3))
        assert source.bars(day).bars.num_rows == 1
        assert server.requests[0].query["end"].startswith("2024-01-03T14:45:0")
        late = datetime(2024, 1, 3, 14, 50, tzinfo=UTC)
        new = BarsRequest("ACME", "1m", late, datetime(2024, 1, 3, 15, tzinfo=UTC))
        assert source.requests(new) == 0
        assert "too new" in source.bars(new).notes[0]
        assert server.count() == 1
        # Nobody may take a gap for filled that could not be asked for yet.
        trades = TicksRequest("ACME", "trade", late, datetime(2024, 1, 3, 15, tzinfo=UTC))
        (told,) = source.ticks(trades)
        assert "too new" in told.missing[0]
        assert server.count() == 1
        *pages, told = source.ticks(
            dataclasses.replace(trades, start=trades.start - timedelta(hours=1))
        )
        assert "after 2024-01-03 14:45:00Z" in told.missing[0]
        assert len(pages) == 1
        assert not pages[0].missing


def test_each_feed_is_a_provider_of_its_own() -> None:
    """Bars of one exchange never stand under the key of all of them."""
    alpaca = Alpaca({"ACME": weekdays(date(2024, 1, 1), 28)})
    with alpaca_server(alpaca, feed="iex", asof="2022-06-08", **QUIET) as (source, server):
        bars = source.bars(JANUARY).bars
    assert set(bars["provider"].to_pylist()) == {"alpaca_iex"} == {source.name}
    assert server.requests[0].query["feed"] == "iex"
    assert server.requests[0].query["asof"] == "2022-06-08"
    assert source.limits.delay_seconds == 0
    with pytest.raises(ConfigError, match="iex"):
        AlpacaSettings(feed="nasdaq")


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (403, {"message": "forbidden."}, ConfigError, "TICKERLAKE_SOURCES_ALPACA_API_KEY"),
        (401, {"code": 40110000, "message": "request is not authorized"}, ConfigError, "key"),
        (403, {"message": "subscription does not permit querying recent SIP data"}, ConfigError,
         "delay_seconds = 900"),
        (403, {"message": "subscription does not permit querying SIP data"}, ConfigError, "feed"),
        (400, {"message": "invalid symbol: A_B"}, NotFoundError, "spelling"),
        (422, {"message": "end should not be before start"}, TickerlakeError, "another range"),
        (400, {"message": "invalid limit"}, MalformedError, "invalid limit"),
        (200, {"code": 42910000, "message": "rate limit exceeded"}, RateLimitedError, "minute"),
        (500, {"message": "internal server error"}, UnreachableError, "later"),
        (200, "<html>Too Many Requests</html>", RateLimitedError, "minute"),
        (200, "<html>a page</html>", MalformedError, "shape"),
        (200, {"bars": {"ACME": [{"t": 7}]}}, MalformedError, "shape"),
        (200, {"bars": {"ACME": [{"t": "yesterday"}]}}, MalformedError, "shape"),
        (200, {"bars": {"ACME": [{"o": 1}]}}, MalformedError, "shape"),
        (200, {"quote": {}}, MalformedError, "shape"),
    ],
)  # fmt: skip
def test_errors_are_told_by_status_and_body(
    status: int, body: object, error: type[TickerlakeError], words: str
) -> None:
    """What the vendor says becomes one error of ours that says what to do."""
    recorded = {"response": {"status": status, "headers": {}, "body": body}}
    with pytest.raises(error, match=words):
        parsed(recorded, symbol="A_B")


def test_the_key_is_in_the_headers_alone() -> None:
    """A missing key names its variable; a key is in no address and in no error."""
    alpaca = Alpaca({"ACME": weekdays(date(2024, 1, 1), 28)})
    with alpaca_server(alpaca) as (source, server):
        about = source.bars(JANUARY).about
    assert server.requests[0].headers["apca-api-secret-key"] == "ours-alone"
    assert "ours-alone" not in str(server.requests[0].query) + str(about.url)
    with (
        alpaca_server(alpaca, api_key="PKWRONG") as (source, _),
        pytest.raises(ConfigError) as refused,
    ):
        source.bars(JANUARY)
    assert "PKWRONG" not in str(refused.value)
    with pytest.raises(ConfigError, match="TICKERLAKE_SOURCES_ALPACA_API_SECRET"):
        AlpacaSource(AlpacaSettings(api_key="PK")).bars(JANUARY)


def test_a_brokers_key_is_sent_as_basic() -> None:
    """Keys that begin with C go another way; an empty list of assets is an answer."""
    with provider_server(lambda _: ProviderAnswer([])) as server:
        settings = AlpacaSettings(api_key="CK", api_secret="S", trading_url=server.base_url)  # noqa: S106
        assert AlpacaSource(settings).listing() == []
    assert server.requests[0].headers["authorization"] == "Basic Q0s6Uw=="


def test_assets_are_listed_once_and_ranked() -> None:
    """The exact symbol first, then prefixes, then names; what is no longer traded comes after."""
    common = {"class": "us_equity", "exchange": "NYSE", "status": "active", "tradable": True}
    names = {"ACM": "Acme Tools", "ACMEX": "Other", "ZAC": "The Acme Fund", "ACME": "Acme"}
    assets = [{**common, "symbol": symbol, "name": name} for symbol, name in names.items()]
    assets.append({**common, "symbol": "ACMEQ", "name": "Old Acme", "status": "inactive"})
    with alpaca_server(Alpaca(assets=assets)) as (source, server):
        assert isinstance(source, Searches)
        assert isinstance(source, Lists)
        found = source.search("acme")
        assert [hit.symbol for hit in found] == ["ACME", "ACMEX", "ACMEQ", "ACM", "ZAC"]
        assert [hit.listed for hit in found] == [True, True, False, True, True]
        assert [hit.symbol for hit in source.search("acme fund")] == ["ZAC"]
        assert server.count("/v2/assets") == 1
        assert len(source.listing()) == 5


def test_recordings_are_read_gzipped_and_wrapped() -> None:
    """The interval comes from the recorded request; a list of a single symbol is told so."""
    page = {"bars": [bar("2024-01-02T15:00:00Z")], "symbol": "ACME", "next_page_token": "x"}
    with pytest.raises(MalformedError, match="--interval"):
        parsed(page)
    wrapped = {
        "request": {"url": "https://data.example/v2/stocks/ACME/bars?timeframe=5Min"},
        "response": {"status": 200, "headers": {"Date": "Tue, 02 Jan 2024 15:01:00 GMT"}}
        | {"bodyJson": page},
    }
    answer = AlpacaSource().parse(gzip.compress(json.dumps(wrapped).encode()))
    row = answer.bars.to_pylist()[0]
    assert (row["symbol"], row["interval"], row["state"]) == ("ACME", "5m", "forming")
    assert answer.notes == ("there are more pages",)
    with pytest.raises(MalformedError):
        AlpacaSource().parse(gzip.compress(b"{}" * 1000)[:30])


def test_the_newest_ones_are_read_too() -> None:
    """By symbol without a list, or one beside its symbol; a trade says what became of it."""
    trade = {"t": "2024-01-02T15:00:00.5Z", "x": "V", "p": 10.5, "s": 3, "c": ["@"], "i": 9}
    many = parsed({"trades": {"ACME": trade, "ZED": {**trade, "u": "canceled"}}}).ticks["trade"]
    assert many["symbol"].to_pylist() == ["ACME", "ZED"]
    assert many["conditions"].to_pylist() == ["@", "@,canceled"]
    one = parsed({"symbol": "ACME", "quote": {"t": trade["t"], "bp": 1, "ap": 2}}).ticks["quote"]
    assert one.to_pylist()[0]["ask"] == 2
    newest = parsed({"symbol": "ACME", "bar": bar("2024-01-02T15:00:00Z")}).bars
    assert newest["interval"].to_pylist() == ["1m"]
    many = parsed({"bars": {"ACME": bar("2024-01-02T15:00:00Z")}}).bars
    assert many["interval"].to_pylist() == ["1m"]


def test_an_empty_answer_is_doubted() -> None:
    """For weeks without a bar the asset is looked up; a known one is empty, with a note."""
    alpaca = Alpaca()
    with alpaca_server(alpaca, **QUIET) as (source, server):
        with pytest.raises(NotFoundError, match="does not know ACME"):
            source.bars(JANUARY)
        alpaca.assets = [{"symbol": "ACME", "class": "us_equity", "status": "active"}]
        assert "without bars" in source.bars(JANUARY).notes[0]
        before = server.count()
        source.bars(BarsRequest("ACME", "1d", date(2024, 1, 6), date(2024, 1, 7)))  # a weekend
        assert server.count() == before + 1
    with alpaca_server(Alpaca(), trading_url=None, **QUIET) as (source, server):
        assert source.bars(JANUARY).bars.num_rows == 0  # a mirror that knows no assets
        assert server.count() == 1


def test_a_plan_counts_the_pages_that_may_come() -> None:
    """A year of minutes with extended hours, ten thousand a page; a short range is one."""
    source = AlpacaSource(AlpacaSettings(corporate_actions=False))
    year = BarsRequest("ACME", "1m", date(2023, 1, 1), date(2023, 12, 31))
    assert 25 <= source.requests(year) <= 27
    assert source.requests(BarsRequest("ACME", "1m", date(2023, 1, 3), date(2023, 1, 3))) == 1
    assert source.requests(BarsRequest("ACME", "3mo", date(2020, 1, 1), date(2023, 1, 3))) == 1

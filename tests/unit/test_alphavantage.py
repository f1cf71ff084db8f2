"""Alpha Vantage: wall times, newest first, and everything that comes with HTTP 200."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest

from tickerlake.errors import (
    ConfigError,
    MalformedError,
    NotFoundError,
    RangeError,
    RateLimitedError,
    TickerlakeError,
    UnreachableError,
)
from tickerlake.sources import BarsRequest
from tickerlake.sources.alphavantage import AlphaVantageSettings, AlphaVantageSource
from tickerlake.testing.provider import (
    ProviderAnswer,
    ProviderRequest,
    ProviderServer,
    provider_server,
)

DAILY_LIMIT = (
    "We have detected your API key as K and our standard API rate limit is 25 requests per day. "
    "Please subscribe to any of the premium plans at https://www.alphavantage.co/premium/."
)
BURST = (
    "Please consider spreading out your free API requests more sparingly (1 request per second). "
    "You may subscribe to any of the premium plans to lift the free key rate limit (25 requests "
    "per day), raise the per-second burst limit, and instantly unlock all premium endpoints."
)
PREMIUM = "Thank you for using Alpha Vantage! This is a premium endpoint. You may subscribe to …"
BAD_KEY = "the parameter apikey is invalid or missing. Please claim your free API key on …"


def price(at: float, volume: str = "5. volume") -> dict[str, str]:
    return {"1. open": f"{at:.4f}", "2. high": f"{at + 1:.4f}", "3. low": f"{at - 1:.4f}",
            "4. close": f"{at + 0.5:.4f}", volume: "1200"}  # fmt: skip


def intraday(*stamps: str, interval: str = "1min") -> dict[str, Any]:
    """Newest first, as it comes."""
    return {
        "Meta Data": {
            "1. Information": f"Intraday ({interval}) open, high, low, close prices and volume",
            "2. Symbol": "ACME",
            "3. Last Refreshed": max(stamps, default=""),
            "4. Interval": interval,
            "6. Time Zone": "US/Eastern",
        },
        f"Time Series ({interval})": {
            stamp: price(10.0 + at) for at, stamp in enumerate(sorted(stamps, reverse=True))
        },
    }


def daily(rows: dict[str, dict[str, str]], symbol: str = "ACME", **meta: str) -> dict[str, Any]:
    told = {"2. Symbol": symbol, "5. Time Zone": "US/Eastern"} | meta
    return {"Meta Data": told, "Time Series (Daily)": rows}


WEEK = {"Meta Data": {"2. Symbol": "ACME"}, "Weekly Time Series": {"2024-01-05": price(10.0)}}


def encoded(document: object) -> bytes:
    return json.dumps(document).encode()


def source(server: ProviderServer, **settings: Any) -> AlphaVantageSource:
    return AlphaVantageSource(
        AlphaVantageSettings(
            base_url=server.base_url,
            **{"api_key": "k3y", "requests_per_second": None, "burst_wait_seconds": 0.0} | settings,
        )
    )


def test_wall_times_follow_the_clock_change() -> None:
    """09:30 in New York is 13:30Z before the clocks go back, and 14:30Z after."""
    payload = encoded(intraday("2024-11-01 09:30:00", "2024-11-04 09:30:00", "2024-11-04 08:00:00"))
    told = AlphaVantageSource().parse(payload, received_at=datetime(2025, 1, 1, tzinfo=UTC))
    assert told.bars["ts"].to_pylist() == [
        datetime(2024, 11, 1, 13, 30, tzinfo=UTC),
        datetime(2024, 11, 4, 13, 0, tzinfo=UTC),
        datetime(2024, 11, 4, 14, 30, tzinfo=UTC),
    ]
    assert told.bars["session"].to_pylist() == ["regular", "extended", "regular"]
    assert told.bars["session_date"].to_pylist()[1] == date(2024, 11, 4)
    assert told.bars["open"].to_pylist() == [12.0, 11.0, 10.0]


def test_the_newest_bar_of_a_bare_recording_is_forming() -> None:
    """Whoever does not say when it was received speaks as of the last thing that it tells."""
    payload = encoded(intraday("2024-01-02 10:00:00", "2024-01-02 10:01:00"))
    bars = AlphaVantageSource().parse(payload).bars
    assert bars["state"].to_pylist() == ["provisional", "forming"]
    # Whether its prices are adjusted, nobody says: both are asked for with the same shape.
    assert bars["split_basis"].null_count == 2


def test_a_wrapper_says_what_was_asked() -> None:
    """A recorded request tells symbol, interval and that prices are as traded; CSV tells none."""
    url = (
        "https://www.alphavantage.co/query?function=TIME_SERIES_INTRADAY&symbol=ACME"
        "&interval=5min&adjusted=false&datatype=csv"
    )
    csv = "timestamp,open,high,low,close,volume\r\n2024-01-02 10:05:00,1,2,0.5,1.5,10\r\n"
    wrapped = encoded({"request": {"url": url}, "response": {"status": 200, "body": csv}})
    (bar,) = AlphaVantageSource().parse(wrapped).bars.to_pylist()
    assert (bar["symbol"], bar["interval"], bar["close"]) == ("ACME", "5m", 1.5)
    assert bar["split_basis"] == date(2024, 1, 2)
    assert bar["ts"] == datetime(2024, 1, 2, 15, 5, tzinfo=UTC)


def test_stamps_that_are_ends_are_moved_to_starts() -> None:
    """Nobody trades at 20:00: answers that have such bars stamped their ends, in 2020."""
    csv = "time,open,high,low,close,volume\n" + "".join(
        f"2020-12-18 {clock}:00,1,2,0.5,1.5,10\n" for clock in ("20:00", "19:59", "16:00")
    )
    told = AlphaVantageSource().parse(csv.encode(), symbol="ACME")
    assert told.bars["ts"].to_pylist() == [
        datetime(2020, 12, 18, 20, 59, tzinfo=UTC),
        datetime(2020, 12, 19, 0, 58, tzinfo=UTC),
        datetime(2020, 12, 19, 0, 59, tzinfo=UTC),
    ]
    assert told.bars["session"].to_pylist() == ["regular", "extended", "extended"]
    assert "moved to their starts" in told.notes[0]


def test_currencies_and_coins_are_read_where_recorded() -> None:
    """FX has no volume; a coin's first prices are those of the market that was asked for."""
    pair = {
        "Meta Data": {"2. From Symbol": "EUR", "3. To Symbol": "AUD", "6. Time Zone": "UTC"},
        "Time Series FX (Daily)": {
            "2021-01-11": {"1. open": "1.5", "2. high": "1.6", "3. low": "1.4", "4. close": "1.55"}
        },
    }
    coin = {
        "Meta Data": {"2. Digital Currency Code": "BTC", "4. Market Code": "AUD",
                      "7. Time Zone": "UTC"},
        "Time Series (Digital Currency Daily)": {
            "2021-01-09": {
                f"{at}{which}. {word} ({unit})": f"{at * scale}"
                for at, word in enumerate(("open", "high", "low", "close"), 1)
                for which, unit, scale in (("a", "AUD", 100), ("b", "USD", 70))
            } | {"5. volume": "75785.97967500", "6. market cap (USD)": "1"}
        },
    }  # fmt: skip
    (one,) = AlphaVantageSource().parse(encoded(pair)).bars.to_pylist()
    assert (one["symbol"], one["interval"], one["close"], one["volume"]) == (
        "EURAUD", "1d", 1.55, None,
    )  # fmt: skip
    (two,) = AlphaVantageSource().parse(encoded(coin)).bars.to_pylist()
    assert (two["symbol"], two["open"], two["close"], two["volume"]) == (
        "BTCAUD", 100.0, 400.0, 75785.979675,
    )  # fmt: skip


def test_what_has_no_history_is_named() -> None:
    """Quotes and indicators are Alpha Vantage's, too, and no bars."""
    for told, name in (
        ({"Global Quote": {"01. symbol": "ACME"}}, "Global Quote"),
        ({"Meta Data": {}, "Technical Analysis: SMA": {}}, "Technical Analysis: SMA"),
    ):
        answer = AlphaVantageSource().parse(encoded(told))
        assert (answer.bars.num_rows, name in answer.notes[0]) == (0, True)


def test_volume_is_told_by_its_word() -> None:
    """Key 5 is the volume of a day, and the adjusted close where prices are adjusted, too."""
    raw = daily({"2024-01-02": price(10.0)})
    adjusted = daily(
        {
            "2024-01-03": price(5.0, "6. volume")
            | {"5. adjusted close": "5.4", "7. dividend amount": "0.2500",
               "8. split coefficient": "2.0"},
        }
    )  # fmt: skip
    (one,) = AlphaVantageSource().parse(encoded(raw)).bars.to_pylist()
    told = AlphaVantageSource().parse(encoded(adjusted))
    (two,) = told.bars.to_pylist()
    assert (one["volume"], one["adj_close"], one["close"]) == (1200.0, None, 10.5)
    assert (two["volume"], two["adj_close"], two["close"]) == (1200.0, 5.4, 5.5)
    assert [(a["action"], a["amount"], a["numerator"]) for a in told.actions.to_pylist()] == [
        ("dividend", 0.25, None),
        ("split", None, 2.0),
    ]


def test_foreign_symbols_have_their_own_exchange() -> None:
    """TSCO.LON is a share of London: its day is over when London closes, whatever zone is named."""
    rows = encoded(daily({"2024-01-02": price(10.0)}, symbol="TSCO.LON"))
    for at, state in (("2024-01-02T16:00Z", "forming"), ("2024-01-02T17:00Z", "provisional")):
        told = AlphaVantageSource().parse(rows, received_at=datetime.fromisoformat(at))
        (bar,) = told.bars.to_pylist()
        assert (bar["state"], bar["currency"], told.about.exchange) == (state, None, "LON")


def test_weeks_and_months_start_on_their_first_day() -> None:
    """A week is dated by its last day of trading; its bar starts on Monday, and is asked for so."""
    month = {
        "Meta Data": {"2. Symbol": "ACME"},
        "Monthly Adjusted Time Series": {"2024-01-31": price(10.0, "6. volume")},
    }
    (bar,) = AlphaVantageSource().parse(encoded(WEEK)).bars.to_pylist()
    assert (bar["interval"], bar["session_date"]) == ("1wk", date(2024, 1, 1))
    with provider_server(lambda _: ProviderAnswer(WEEK)) as server:
        asked = BarsRequest("ACME", "1wk", date(2024, 1, 3), date(2024, 1, 31))
        assert source(server).bars(asked).bars.num_rows == 1
    (bar,) = AlphaVantageSource().parse(encoded(month)).bars.to_pylist()
    assert (bar["interval"], bar["session_date"]) == ("1mo", date(2024, 1, 1))


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"Information": DAILY_LIMIT}, RateLimitedError),
        ({"Note": "Our standard API call frequency is 5 calls per minute"}, RateLimitedError),
        ({"Information": PREMIUM}, ConfigError),
        ({"Error Message": BAD_KEY}, ConfigError),
        ({"Error Message": "Invalid API call. Please retry or visit the documentation"},
         NotFoundError),
        ({}, NotFoundError),
        ({"Information": "something new"}, MalformedError),
        ({"hello": 1}, MalformedError),
        ([], MalformedError),
        ("<html>Sorry</html>", MalformedError),
        (daily({"2024-01-02": {"1. open": "much"}}), MalformedError),
        (daily({"2024-01-02": {"1. open": "1"}}), MalformedError),
        (daily({"soon": price(1.0)}), MalformedError),
        ({"Time Series (Daily)": [1]}, MalformedError),
        ({"Time Series (Fortnightly)": {"2024-01-02": price(1.0)}}, MalformedError),
        (daily({"2024-01-02": price(1.0)}, **{"5. Time Zone": "Mars/Olympus"}), MalformedError),
    ],
)  # fmt: skip
def test_what_comes_with_200_is_told_apart(body: Any, error: type[TickerlakeError]) -> None:
    """Limit, premium, key, symbol and shape are five different things, all with HTTP 200."""
    payload = body.encode() if isinstance(body, str) else encoded(body)
    with pytest.raises(TickerlakeError) as told:
        AlphaVantageSource().parse(payload, symbol="ACME")
    assert type(told.value) is error
    assert told.value.todo


def test_an_error_page_is_unreachable() -> None:
    """A recorded 503 is what it says, whatever its body."""
    wrapped = encoded({"response": {"status": 503, "body": "<html>down</html>"}})
    with pytest.raises(UnreachableError):
        AlphaVantageSource().parse(wrapped)


def test_a_burst_is_waited_for_and_a_spent_day_is_not() -> None:
    """The advice to slow down names the daily limit as well, and is no reason to stop."""
    answers: Iterator[Any] = iter([{"Information": BURST}, WEEK])
    request = BarsRequest("ACME", "1wk")
    with provider_server(lambda _: ProviderAnswer(next(answers))) as server:
        assert source(server).bars(request).bars.num_rows == 1
        assert len(server.requests) == 2
    with (
        provider_server(lambda _: ProviderAnswer({"Information": DAILY_LIMIT})) as server,
        pytest.raises(RateLimitedError, match="tomorrow"),
    ):
        source(server).bars(request)
    assert len(server.requests) == 1


def test_a_symbol_is_unknown_only_if_the_search_agrees() -> None:
    """Invalid API calls are calls, too: a listed symbol has none of these bars, and no more."""
    listed = {"bestMatches": [{"1. symbol": "TSCO.LON", "2. name": "Tesco"}]}

    def answer(request: ProviderRequest) -> ProviderAnswer:
        searched = request.query["function"] == "SYMBOL_SEARCH"
        return ProviderAnswer(listed if searched else {"Error Message": "Invalid API call."})

    with provider_server(answer) as server:
        day = date(2024, 1, 2)
        with pytest.raises(RangeError, match="1d"):
            source(server).bars(BarsRequest("TSCO.LON", "1m", day, day))
        with pytest.raises(NotFoundError):
            source(server).bars(BarsRequest("NOPE", "1m", day, day))


def months(request: ProviderRequest) -> ProviderAnswer:
    month = request.query["month"]
    return ProviderAnswer(intraday(f"{month}-05 10:00:00", f"{month}-28 10:00:00"))


@pytest.mark.parametrize(
    ("start", "end", "asked"),
    [
        (date(2024, 1, 2), date(2024, 1, 31), ["2024-01"]),
        (date(2024, 1, 31), date(2024, 2, 1), ["2024-01", "2024-02"]),
        # Midnight in London is the evening before in New York.
        (datetime(2024, 1, 31, 23, tzinfo=UTC), datetime(2024, 2, 1, 5, tzinfo=UTC), ["2024-01"]),
        (date(1999, 12, 1), date(2000, 1, 31), ["2000-01"]),
    ],
)
def test_one_request_a_calendar_month(start: date, end: date, asked: list[str]) -> None:
    """Intraday ranges are asked for month by month, raw, and no month twice or in vain."""
    request = BarsRequest("ACME", "1m", start, end)
    with provider_server(months) as server:
        told = source(server).bars(request)
        assert source(server).requests(request) == len(server.requests) == len(asked)
    assert [r.query["month"] for r in server.requests] == asked
    assert all(r.query["adjusted"] == "false" for r in server.requests)
    assert all(r.query["extended_hours"] == "false" for r in server.requests)
    assert bool(told.missing) == (start.year < 2000)


def test_free_keys_have_the_last_hundred_days(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies further back is missing, or refused where nothing is left; premium asks for all."""
    monkeypatch.setenv("TICKERLAKE_NOW", "2024-06-28T12:00:00Z")
    rows = daily({"2024-06-03": price(10.0)})
    with provider_server(lambda _: ProviderAnswer(rows)) as server:
        told = source(server).bars(BarsRequest("ACME", "1d", date(2023, 1, 3)))
        assert "last 100 days" in told.missing[0]
        assert server.requests[-1].query["outputsize"] == "compact"
        with pytest.raises(RangeError, match="premium"):
            source(server).bars(BarsRequest("ACME", "1d", date(2023, 1, 3), date(2023, 6, 1)))
        acme = source(server, premium=True)
        for start, size in ((date(2023, 1, 3), "full"), (date(2024, 6, 3), "compact")):
            assert not acme.bars(BarsRequest("ACME", "1d", start)).missing
            asked = server.requests[-1].query
            assert (asked["function"], asked["outputsize"]) == ("TIME_SERIES_DAILY_ADJUSTED", size)


def test_a_plans_pace_is_planned_by() -> None:
    """What the user's plan allows stands in the limits that requests are planned by."""
    settings = AlphaVantageSettings(requests_per_second=1.25, requests_burst=5, premium=True)
    limits = AlphaVantageSource(settings).limits
    assert (limits.requests_per_second, limits.requests_burst) == (1.25, 5)
    assert "corporate_action" in limits.history
    assert not limits.look_back_days


def test_the_key_stays_in_the_request() -> None:
    """It is a parameter, for want of another way: no error, note or address of ours shows it."""
    with provider_server(lambda _: ProviderAnswer(WEEK)) as server:
        told = source(server).bars(BarsRequest("ACME", "1wk"))
    assert server.requests[0].query["apikey"] == "k3y"
    assert told.about.url is not None
    assert "function=TIME_SERIES_WEEKLY" in told.about.url
    assert "k3y" not in str(told)
    with pytest.raises(ConfigError, match="TICKERLAKE_SOURCES_ALPHAVANTAGE_API_KEY"):
        AlphaVantageSource().bars(BarsRequest("ACME", "1wk"))


def test_a_search_keeps_its_order() -> None:
    """Matches have numbered keys; the exchange follows from the suffix."""
    matches = {
        "bestMatches": [
            {"1. symbol": "ACME", "2. name": "Acme Corp", "3. type": "Equity",
             "4. region": "United States", "8. currency": "USD", "9. matchScore": "1.0000"},
            {"1. symbol": "ACM.LON", "2. name": "Acme plc", "3. type": "ETF",
             "4. region": "United Kingdom", "8. currency": "GBX", "9. matchScore": "0.5000"},
        ]
    }  # fmt: skip
    with provider_server(lambda _: ProviderAnswer(matches)) as server:
        one, two = source(server).search("acme")
    assert (one.symbol, one.type, one.exchange, one.country) == ("ACME", "equity", "US", "US")
    assert (two.currency, two.type, two.exchange, two.country) == ("GBX", "etf", "LON", "GB")
    assert "ACME, ACM.LON" in AlphaVantageSource().parse(encoded(matches)).notes[0]

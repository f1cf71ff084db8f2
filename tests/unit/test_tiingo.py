"""Tiingo's answers: adjusted columns, events on their rows, limits that come with HTTP 200."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
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
from tickerlake.sources import BarsRequest, Frame
from tickerlake.sources.tiingo import TiingoSettings, TiingoSource
from tickerlake.testing.provider import (
    Handler,
    ProviderAnswer,
    ProviderRequest,
    ProviderServer,
    provider_server,
)

DAILY: list[dict[str, Any]] = [
    {"date": "2024-01-02T00:00:00.000Z", "close": 40.0, "high": 42.0, "low": 39.5, "open": 41.0,
     "volume": 1000, "adjClose": 9.9, "adjHigh": 10.4, "adjLow": 9.8, "adjOpen": 10.1,
     "adjVolume": 4000, "divCash": 0.0, "splitFactor": 1.0},
    {"date": "2024-01-03T00:00:00.000Z", "close": 40.1, "high": 42.1, "low": 39.6, "open": 41.1,
     "volume": 1001, "adjClose": 10.0, "adjHigh": 10.5, "adjLow": 9.9, "adjOpen": 10.2,
     "adjVolume": 4004, "divCash": 0.25, "splitFactor": 1.0},
    {"date": "2024-01-04T00:00:00.000Z", "close": 10.2, "high": 10.6, "low": 10.0, "open": 10.3,
     "volume": 4100, "adjClose": 10.2, "adjHigh": 10.6, "adjLow": 10.0, "adjOpen": 10.3,
     "adjVolume": 4100, "divCash": 0.0, "splitFactor": 4.0},
]  # fmt: skip


def source(server: ProviderServer | None = None, **settings: Any) -> TiingoSource:
    if server is not None:
        settings["base_url"] = server.base_url
    return TiingoSource(
        TiingoSettings(**{"api_key": "t0ken", "requests_per_second": None, **settings})
    )


def answering(body: Any, status: int = 200) -> Handler:
    return lambda _: ProviderAnswer(body, status)


def as_csv(rows: list[dict[str, Any]]) -> str:
    lines = [",".join(rows[0])]
    lines += [",".join(str(value)[:10] for value in row.values()) for row in rows]
    return "\r\n".join(lines) + "\r\n"


def test_json_and_csv_are_the_same_bars() -> None:
    """Raw columns are the bar, adjClose its adj_close, whatever the order and the form."""
    told = [
        TiingoSource().parse(body, symbol="ACME", received_at=datetime(2024, 2, 1, tzinfo=UTC))
        for body in (json.dumps(DAILY).encode(), as_csv(DAILY).encode())
    ]
    assert told[0].bars.equals(told[1].bars)
    assert told[0].actions.equals(told[1].actions)
    first = told[0].bars.to_pylist()[0]
    assert [first[n] for n in ("open", "high", "low", "close", "volume", "adj_close")] == [
        41.0, 42.0, 39.5, 40.0, 1000.0, 9.9,
    ]  # fmt: skip
    assert (first["ts"], first["session_date"]) == (
        datetime(2024, 1, 2, tzinfo=UTC),
        date(2024, 1, 2),
    )
    assert first["split_basis"] == date(2024, 1, 2)


def test_events_stand_on_their_ex_dates() -> None:
    """DivCash is a dividend, splitFactor a split, on the day of the row."""
    actions = TiingoSource().parse(json.dumps(DAILY).encode(), symbol="ACME").actions.to_pylist()
    assert [(a["action"], a["ex_date"], a["amount"]) for a in actions] == [
        ("dividend", date(2024, 1, 3), 0.25),
        ("split", date(2024, 1, 4), None),
    ]
    assert (actions[1]["numerator"], actions[1]["denominator"]) == (4.0, 1.0)


@pytest.mark.parametrize(
    ("factor", "parts"),
    [(0.1, (1.0, 10.0)), (1.5, (3.0, 2.0)), (0.333333, (1.0, 3.0)), (1.00463, (1.00463, 1.0))],
)
def test_a_factor_is_the_fraction_that_it_stands_for(
    factor: float, parts: tuple[float, float]
) -> None:
    """A rounded factor is its fraction; one of a spin-off stays a number."""
    rows = [{**DAILY[0], "splitFactor": factor}]
    (action,) = TiingoSource().parse(json.dumps(rows).encode(), symbol="A").actions.to_pylist()
    assert (action["numerator"], action["denominator"]) == parts


@pytest.mark.parametrize(
    ("at", "states"),
    [
        ("2024-01-04T15:00:00Z", ["final", "provisional", "forming"]),
        ("2024-01-04T22:30:00Z", ["final", "final", "provisional"]),
        ("2024-01-05T20:59:00Z", ["final", "final", "provisional"]),
        ("2024-01-05T21:00:00Z", ["final", "final", "final"]),
    ],
)
def test_a_day_is_final_after_the_next_close(at: str, states: list[str]) -> None:
    """The states of three days while the third runs, after it, and after the next one."""
    told = TiingoSource().parse(
        json.dumps(DAILY).encode(), symbol="ACME", received_at=datetime.fromisoformat(at)
    )
    assert told.bars["state"].to_pylist() == states


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ("You have run over your hourly request allocation. Please upgrade.", 200,
         RateLimitedError),
        ({"detail": "Error: You have run over your 500 symbol look up"}, 200, RateLimitedError),
        ("Error: Ticker 'ACME' not found", 200, NotFoundError),
        ({"detail": "Error: Ticker 'ACME' not found"}, 404, NotFoundError),
        ({"detail": "Not found."}, 404, NotFoundError),
        ({"detail": "Invalid token."}, 401, ConfigError),
        ({"detail": "You do not have permission to access the News API"}, 403, ConfigError),
        ({"detail": "Error: resampleFreq"}, 400, MalformedError),
        ("<html><title>Request rate</title></html>", 200, MalformedError),
        ("[{", 200, MalformedError),
        ([{"date": "yesterday", "close": 1.0}], 200, MalformedError),
        ([{"date": "2024-01-02T00:00:00.000Z", "close": "much"}], 200, MalformedError),
        ([None], 200, MalformedError),
        ("", 503, UnreachableError),
    ],
)  # fmt: skip
def test_what_is_no_price_is_told_for_what_it_is(
    body: Any, status: int, error: type[TickerlakeError]
) -> None:
    """Status first, then shape, then words: limits come with HTTP 200 and as plain text."""
    with provider_server(answering(body, status)) as server, pytest.raises(TickerlakeError) as told:
        source(server, attempts_max=1).bars(BarsRequest("ACME", "1d", date(2024, 1, 2)))
    assert type(told.value) is error
    assert told.value.todo
    assert "t0ken" not in str(told.value)


def test_one_request_for_days_and_the_key_in_its_header() -> None:
    """Any range of days is one request; the key stands in no address."""
    with provider_server(answering(DAILY)) as server:
        request = BarsRequest("BRK-A", "1d", date(1990, 1, 1), date(2024, 1, 4))
        acme = source(server)
        answer = acme.bars(request)
    assert acme.requests(request) == len(server.requests) == 1
    (asked,) = server.requests
    assert asked.path == "/tiingo/daily/BRK-A/prices"
    assert asked.query["startDate"] == "1990-01-01"
    assert asked.headers["authorization"] == "Token t0ken"
    assert "t0ken" not in f"{asked.path}{asked.query}{answer.about}"
    assert answer.about.exchange == "US"
    assert answer.about.as_of is not None


def test_without_a_key_nothing_is_asked() -> None:
    """A missing key names its variable."""
    with pytest.raises(ConfigError, match="TICKERLAKE_SOURCES_TIINGO_API_KEY"):
        TiingoSource().bars(BarsRequest("ACME"))


def minutes(request: ProviderRequest) -> ProviderAnswer:
    """Half hours from 13:30 to 20:30 UTC of the first day asked for, stamped in New York."""
    day = datetime.fromisoformat(f"{request.query['startDate']}T08:30:00-05:00")
    rows = []
    for n in range(17):
        at = (day + timedelta(minutes=30 * n)).isoformat()
        rows.append({"date": at, "open": 1.0, "high": 2.0, "low": 0.5, "close": 1.5, "volume": n})
    return ProviderAnswer(rows)


def test_intraday_bars_are_of_their_sessions() -> None:
    """Any ISO offset is read; what lies before the open or after the close is extended."""
    with provider_server(minutes) as server:
        request = BarsRequest("ACME", "30m", date(2024, 1, 2), date(2024, 1, 2))
        told = source(server, prepost=True).bars(request)
    bars = told.bars.to_pylist()
    assert bars[0]["ts"] == datetime(2024, 1, 2, 13, 30, tzinfo=UTC)
    assert [bar["session"] for bar in bars] == ["extended"] * 2 + ["regular"] * 13 + [
        "extended", "extended",
    ]  # fmt: skip
    (asked,) = server.requests
    assert "volume" in asked.query["columns"]
    assert (asked.query["resampleFreq"], asked.query["afterHours"]) == ("30min", "true")


def test_a_span_of_instants_is_one_request() -> None:
    """A range that fits the span is one request, be it days or instants that touch a day more."""
    week = BarsRequest("ACME", "1m", date(2024, 1, 1), date(2024, 1, 7))
    start = datetime(2024, 1, 2, 15, tzinfo=UTC)
    instants = BarsRequest("ACME", "1m", start, start + timedelta(days=7))
    longer = BarsRequest("ACME", "1m", start, start + timedelta(days=8))
    with provider_server(minutes) as server:
        for request, count in ((week, 1), (instants, 1), (longer, 2)):
            server.requests.clear()
            source(server).bars(request)
            assert len(server.requests) == source().requests(request) == count
    assert [(r.query["startDate"], r.query["endDate"]) for r in server.requests] == [
        ("2024-01-02", "2024-01-09"),
        ("2024-01-09", "2024-01-10"),
    ]


def test_what_tiingo_never_had_is_told() -> None:
    """Before 2017 there are no minutes: a range wholly there is refused, a part is missing."""
    with provider_server(answering([])) as server:
        early = BarsRequest("ACME", "1m", date(2016, 12, 30), date(2017, 1, 5))
        assert "Tiingo begins at 2017-01-01" in source(server).bars(early).missing[0]
        assert server.requests[0].query["startDate"] == "2017-01-01"
        with pytest.raises(RangeError, match="2017"):
            source(server).bars(BarsRequest("ACME", "1m", date(2016, 1, 4), date(2016, 1, 5)))


def test_an_answer_that_was_cut_is_partly_done() -> None:
    """Just so many thousand rows that begin late are not taken for the whole range."""
    start = datetime(2024, 1, 30, 14, tzinfo=UTC)
    rows = [
        {"date": (start + timedelta(minutes=n)).isoformat(), "open": 1, "high": 1, "low": 1,
         "close": 1, "volume": 1}
        for n in range(1000)
    ]  # fmt: skip
    request = BarsRequest("ACME", "1m", date(2024, 1, 24), date(2024, 1, 30))
    with provider_server(answering(rows)) as server:
        assert "1,000 rows" in source(server).bars(request).missing[0]
    with provider_server(answering(rows[:999])) as server:
        assert not source(server).bars(request).missing


def test_a_cassette_of_weeks_of_two_symbols() -> None:
    """Each answer's request says whose it is and how long; a week is dated by its Friday."""
    cassette = "interactions:\n" + "".join(
        f"- request: {{uri: 'https://x.example/tiingo/daily/{name}/prices?resampleFreq=weekly'}}\n"
        f"  response: {{status: {{code: 200}}, headers: {{}}, body: {{string: '{body}'}}}}\n"
        for name, body in (
            ("AAA", '[{"date":"2024-01-05T00:00:00+00:00","open":1,"high":2,"low":1,"close":2}]'),
            ("BBB", '[{"date":"2024-01-12T00:00:00+00:00","open":3,"high":4,"low":3,"close":4}]'),
        )
    )
    bars = TiingoSource().parse(cassette.encode()).bars.to_pylist()
    assert [(b["symbol"], b["interval"], b["session_date"], b["close"]) for b in bars] == [
        ("AAA", "1wk", date(2024, 1, 1), 2.0),
        ("BBB", "1wk", date(2024, 1, 8), 4.0),
    ]


def test_days_are_no_minutes() -> None:
    """An answer of another interval than was asked for is refused, either way round."""
    at = [{"date": "2024-01-02T14:30:00.000Z", "open": 1, "high": 1, "low": 1, "close": 1}]
    for rows, interval in ((DAILY, "30m"), (at, "1d")):
        with pytest.raises(MalformedError, match=f"of {interval} bars"):
            TiingoSource().parse(json.dumps(rows).encode(), symbol="ACME", interval=interval)


def test_recorded_coins_are_bars_round_the_clock() -> None:
    """Coins have their rows inside, their own currency, and a session on Saturdays."""
    row = {"date": "2024-01-06T00:00:00+00:00", "open": 1.5e-7, "high": 2e-7, "low": 1e-7,
           "close": 1.9e-7, "volume": 34807.97636632, "tradesDone": 2}  # fmt: skip
    told = [{"ticker": "fooxbt", "quoteCurrency": "xbt", "priceData": [row]}]
    (bar,) = TiingoSource().parse(json.dumps(told).encode()).bars.to_pylist()
    assert (bar["symbol"], bar["interval"], bar["currency"]) == ("fooxbt", "1d", "XBT")
    assert (bar["close"], bar["volume"], bar["session_date"]) == (
        1.9e-7,
        34807.97636632,
        date(2024, 1, 6),
    )


def test_rows_without_prices_are_noted() -> None:
    """An answer of other columns has no bars, and says so."""
    told = TiingoSource().parse(b'[{"date":"2024-01-02T00:00:00+00:00","volume":5}]', symbol="A")
    assert told.bars.num_rows == 0
    assert "1 row without prices" in told.notes[0]


def test_a_search_keeps_what_is_told() -> None:
    """Tiingo's order, the delisted among them; entries without ticker are left out."""
    found = [
        {"ticker": "acme", "name": "Acme Inc", "assetType": "Stock", "isActive": True,
         "permaTicker": "US1", "openFIGI": "BBG000000001", "countryCode": "US"},
        {"name": "nothing to ask for"},
        {"ticker": "ACMF", "name": "Acme Fund", "assetType": "Mutual Fund", "isActive": False},
    ]  # fmt: skip
    with provider_server(answering(found)) as server:
        one, two = source(server).search("acme", limit=5)
    assert (one.symbol, one.type, one.listed, one.figi) == ("ACME", "equity", True, "BBG000000001")
    assert (two.symbol, two.type, two.listed) == ("ACMF", "fund", False)
    assert server.requests[0].query == {"query": "acme", "limit": "5", "includeDelisted": "true"}
    assert "ACME, ACMF" in TiingoSource().parse(json.dumps(found).encode()).notes[0]


def test_reference_prices_are_quotes_and_breaks_carry_no_size() -> None:
    """A reference price is both sides of a quote; a break cancels, so no sum may count it."""
    at = datetime(2024, 1, 2, 15, tzinfo=UTC)
    stamp = "2024-01-02T10:00:00.123456789-05:00"
    reference = {"messageType": "A", "service": "iex", "data": [stamp, "acme", 10.25]}
    gone = ["B", stamp, 1704207600123456788, "acme", *[None] * 5, 10.25, 50, None, 0, 1, 1, 0]
    broken = {"messageType": "A", "service": "iex", "data": gone}
    talk = source(threshold_level=0).dialect(["Acme"], ["trade", "quote"])
    frames = [Frame(at, "in", "", json.dumps(told)) for told in (reference, broken)]
    tables = talk.read(frames).tables
    (quote,), (trade,) = tables["quote"].to_pylist(), tables["trade"].to_pylist()
    assert (quote["symbol"], quote["bid"], quote["ask"], quote["bid_size"]) == (
        "Acme", 10.25, 10.25, None,
    )  # fmt: skip
    assert (trade["price"], trade["size"]) == (10.25, None)
    assert trade["conditions"] == "break,sweep,odd_lot"
    assert trade["ts_ns"] == quote["ts_ns"] == 1704207600123456789


def test_the_subscription_names_its_level() -> None:
    """Tickers go out in lower case, the key in the frame, and trades only where they come."""
    (said,) = source(socket_url="ws://x").dialect(["ACME"], ["quote"]).hello()
    assert json.loads(said) == {
        "eventName": "subscribe",
        "authorization": "t0ken",
        "eventData": {"thresholdLevel": 6, "tickers": ["acme"]},
    }
    with pytest.raises(RangeError, match="threshold_level"):
        source().dialect(["ACME"], ["trade"])
    with pytest.raises(ConfigError, match="0, 5 or 6"):
        source(threshold_level=7)

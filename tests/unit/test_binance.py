"""Binance over REST: pages, states, times, trades by id, symbols, and what its errors mean."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

import pytest

import crypto_doubles as doubles
from crypto_doubles import at, kline, played
from tickerlake.errors import (
    ConfigError,
    MalformedError,
    NotFoundError,
    RangeError,
    RateLimitedError,
    TickerlakeError,
    UnreachableError,
)
from tickerlake.sources import BarsRequest, Lists, Searches, Ticks, TicksRequest, open_source
from tickerlake.sources.refusals import NoSuchAddressError
from tickerlake.testing.provider import ProviderAnswer, ProviderRequest

WHEN = datetime(2024, 2, 1, 12, 0, 30, tzinfo=UTC)


def parsed(rows: object, **told: object) -> dict[str, list[object]]:
    told = {"symbol": "ACMEUSDT", "received_at": WHEN} | told
    answer = open_source("binance").parse(json.dumps(rows).encode(), **told)  # type: ignore[arg-type]
    return dict(answer.bars.to_pydict())


def test_a_long_range_is_as_many_pages_as_it_says_before() -> None:
    """2500 minutes are three pages of at most 1000, without a hole or a repeat at the seams."""
    request = BarsRequest(
        "ACMEUSDT", "1m", datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 3, 17, 40, tzinfo=UTC)
    )
    with played("binance", doubles.binance) as (source, server):
        assert source.requests(request) == 3  # type: ignore[attr-defined]
        bars = source.bars(request).bars
        assert server.count("/api/v3/klines") == 3
    minutes = [int(ts.timestamp()) for ts in bars["ts"].to_pylist()]
    assert minutes == list(range(at("2024-01-02"), at("2024-01-03T17:40"), 60))
    assert bars["close"][7].as_py() == minutes[7] // 60 % 100_000 + 0.25


def test_an_exactly_full_page_that_reaches_the_end_is_the_last() -> None:
    """1000 bars are one request: nobody asks for an empty page behind them."""
    request = BarsRequest(
        "ACMEUSDT", "1m", datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 2, 16, 40, tzinfo=UTC)
    )
    with played("binance", doubles.binance) as (source, server):
        assert source.bars(request).bars.num_rows == 1000
        assert len(server.requests) == source.requests(request) == 1  # type: ignore[attr-defined]


def test_years_before_the_listing_cost_one_request() -> None:
    """Binance answers from the first bar on, so an open start needs no search for it."""
    with played("binance", doubles.binance) as (source, server):
        bars = source.bars(BarsRequest("ACMEUSDT", "1d", None, date(2024, 1, 20))).bars
        assert bars["session_date"].to_pylist()[0] == date(2024, 1, 1)
        assert bars.num_rows == 20
        assert len(server.requests) == 1


def test_weeks_are_asked_for_from_monday_on() -> None:
    """A week is whole: a range that begins on a Thursday gives the week from Monday."""
    with played("binance", doubles.binance) as (source, _):
        bars = source.bars(
            BarsRequest("ACMEUSDT", "1wk", date(2024, 1, 11), date(2024, 1, 20))
        ).bars
    assert bars["session_date"].to_pylist() == [date(2024, 1, 8), date(2024, 1, 15)]


def test_a_bar_is_final_when_the_next_one_is_over() -> None:
    """The running bar is forming, the one before it provisional, older ones final."""
    rows = [kline(at(f"2024-02-01T11:{minute}"), 60) for minute in (57, 58, 59)]
    rows.append(kline(at("2024-02-01T12:00"), 60))
    assert parsed(rows)["state"] == ["final", "final", "provisional", "forming"]
    assert parsed(rows, received_at=None)["state"] == ["final", "final", "provisional", "forming"]


def test_a_bar_says_what_it_is() -> None:
    """Quote asset as currency, UTC day as session, raw prices, nothing that was not told."""
    rows = [kline(at("2024-01-31T23:00"), 3600, price="0.00000637", volume="27122.5")]
    bar = {name: values[0] for name, values in parsed(rows).items()}
    assert bar["interval"] == "1h"
    assert bar["ts"] == datetime(2024, 1, 31, 23, tzinfo=UTC)
    assert bar["session_date"] == bar["split_basis"] == date(2024, 1, 31)
    assert (bar["close"], bar["volume"]) == (0.00000637, 27122.5)
    assert (bar["currency"], bar["instrument_type"]) == ("USDT", "crypto")
    assert (bar["session"], bar["adj_close"]) == ("regular", None)


def test_a_minute_without_trades_keeps_its_flat_row() -> None:
    """Volume 0 is what Binance says of such a minute: it is a bar, no hole."""
    rows = [kline(at("2024-02-01T10:00"), 60, volume="0.00000000")]
    assert parsed(rows)["volume"] == [0.0]


def test_months_and_microseconds_are_told_by_size() -> None:
    """A month's length varies; archive files count µs; neither is taken for something else."""
    rows = [kline(at("2024-02-01"), 29 * 86_400)]
    assert parsed(rows)["interval"] == ["1mo"]
    rows[0][0], rows[0][6] = rows[0][0] * 1000, rows[0][6] * 1000 + 999
    assert parsed(rows)["ts"] == [datetime(2024, 2, 1, tzinfo=UTC)]


@pytest.mark.parametrize(
    ("symbol", "source", "quote"),
    [
        ("BTCUSDT", "binance", "USDT"),
        ("BTCFDUSD", "binance", "FDUSD"),
        ("ADAEUR", "binance", "EUR"),
        ("DOTUSD", "binance_us", "USD"),
        ("BNBUSD", "binance_us", "USD"),
        ("OMGBUSD", "binance_us", "BUSD"),
        ("STRANGE", "binance", None),
    ],
)
def test_the_quote_asset_is_how_the_symbol_ends(
    symbol: str, source: str, quote: str | None
) -> None:
    """BUSD and USD end alike; an unknown end is null: no guess."""
    payload = json.dumps([kline(at("2024-01-31"), 60)]).encode()
    bars = open_source(source).parse(payload, symbol=symbol).bars
    assert bars["currency"].to_pylist() == [quote]


def test_trades_go_on_by_id_and_end_before_the_end() -> None:
    """Several trades share a millisecond, so pages go on by id; none is lost or given twice."""
    asked = TicksRequest(
        "ACMEUSDT",
        "trade",
        datetime(2024, 1, 1, 1, tzinfo=UTC),
        datetime(2024, 1, 1, 7, tzinfo=UTC),
    )
    with played("binance", doubles.binance) as (source, server):
        assert isinstance(source, Ticks)
        pages = [answer.ticks["trade"] for answer in source.ticks(asked)]
        assert [sorted(r.query) for r in server.requests] == [
            ["limit", "startTime", "symbol"],
            ["fromId", "limit", "symbol"],
            ["fromId", "limit", "symbol"],
        ]
    ids = [int(number) for page in pages for number in page["trade_id"].to_pylist()]
    assert ids == list(range(360, 360 + 6 * 120 * 3))
    first = pages[0].slice(0, 2).to_pylist()
    assert [trade["conditions"] for trade in first] == ["sell", "buy"]  # m: the buyer was maker
    assert (first[0]["price"], first[0]["size"]) == (460.5, 0.1)
    assert first[0]["ts_ns"] == at("2024-01-01T01:00") * 10**9


def test_quotes_have_no_history() -> None:
    """Quotes come live only: asking for old ones is wrong use."""
    asked = TicksRequest("ACMEUSDT", "quote", WHEN, datetime(2024, 2, 2, tzinfo=UTC))
    with pytest.raises(RangeError, match="listen live"):
        next(open_source("binance").ticks(asked))  # type: ignore[attr-defined]


def test_symbols_that_broke_off_are_listed_as_gone() -> None:
    """ExchangeInfo gives all symbols; BREAK is what a delisted one ends with."""
    with played("binance", doubles.binance) as (source, _):
        assert isinstance(source, Lists)
        assert isinstance(source, Searches)
        by_symbol = {hit.symbol: hit for hit in source.listing()}
        assert [hit.symbol for hit in source.search("acme")][:2] == ["ACMEUSDT", "ACMEBTC"]
        assert source.search("no such") == []
    assert [by_symbol[name].listed for name in ("ACMEUSDT", "ACMEBTC", "OLDACME")] == [
        True, True, False,
    ]  # fmt: skip
    assert by_symbol["ACMEBTC"].currency == "BTC"


REFUSALS: list[tuple[int, object, type[TickerlakeError], str]] = [
    (451, {"code": 0, "msg": "Service unavailable from a restricted location."}, ConfigError,
     "data-api.binance.vision"),
    (418, {"code": -1003, "msg": "Way too many requests; IP banned until 1."}, RateLimitedError,
     "wait 120 s"),
    (429, {"code": -1003, "msg": "Too many requests."}, RateLimitedError, "120 s"),
    (403, b"<html>Forbidden</html>", UnreachableError, "firewall"),
    (400, {"code": -1121, "msg": "Invalid symbol."}, NotFoundError, "ACMEUSDT"),
    (400, {"code": -1100, "msg": "Illegal characters found in parameter 'symbol'"},
     NotFoundError, "ACMEUSDT"),
    (400, {"code": -1120, "msg": "Invalid interval."}, RangeError, "-1120"),
    (400, {"code": -1003, "msg": "Too much request weight used"}, RateLimitedError, "later"),
    (200, b"<html>Welcome</html>", MalformedError, "no JSON"),
    (503, {"code": -1007, "msg": "Timeout waiting for response."}, UnreachableError, "2 times"),
    (404, b"", NoSuchAddressError, "nothing at this address"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "error", "words"), REFUSALS)
def test_each_refusal_says_what_to_do(
    status: int, body: object, error: type[TickerlakeError], words: str
) -> None:
    """Status first, then the code in the body; every one is an error of our tree."""

    def answer(_: ProviderRequest) -> ProviderAnswer:
        return ProviderAnswer(body, status, {} if status == 503 else {"retry-after": "120"})

    with played("binance", answer) as (source, _), pytest.raises(error, match=words) as raised:
        source.bars(BarsRequest("ACMEUSDT", "1m", date(2024, 1, 2), date(2024, 1, 2)))
    assert type(raised.value) is error


def test_what_came_before_a_failed_page_is_kept() -> None:
    """The second page fails: the first one's bars are given, and the rest is missing."""

    def answer(request: ProviderRequest) -> ProviderAnswer:
        if int(request.query["startTime"]) > at("2024-01-02") * 1000:
            return ProviderAnswer({"code": -1003, "msg": "Too many requests."}, 429)
        return doubles.binance(request)

    with played("binance", answer) as (source, _):
        answered = source.bars(BarsRequest("ACMEUSDT", "1m", date(2024, 1, 2), date(2024, 1, 3)))
    assert answered.bars.num_rows == 1000
    assert "2024-01-02 16:39Z" in answered.missing[0]


def test_a_server_that_goes_in_circles_is_malformed() -> None:
    """A page that ends before it should begin would be asked for for ever."""
    page = [kline(at("2024-01-01") + 60 * n, 60) for n in range(1000)]
    with (
        played("binance", lambda _: ProviderAnswer(page)) as (source, _),
        pytest.raises(MalformedError, match="pages"),
    ):
        source.bars(BarsRequest("ACMEUSDT", "1m", date(2024, 1, 2), date(2024, 1, 3)))


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([kline(at("2024-01-31"), 60)], {"symbol": None}),
        ([kline(at("2024-01-31"), 60)], {"interval": "1d"}),
        ([kline(at("2024-01-31"), 180)], {}),
        ([[1, "2"]], {}),
        ([kline(at("2024-01-31"), 60), None], {}),
        ([kline(at("2024-01-31"), 60, price="x")], {}),
        ([["x", *kline(at("2024-01-31"), 60)[1:]]], {}),
        ([[10**30, *kline(at("2024-01-31"), 60)[1:]]], {}),
        ([{"a": 1}], {}),
        (7, {}),
    ],
)
def test_rows_of_another_shape_are_malformed(rows: object, told: dict[str, object]) -> None:
    """What cannot be told, contradicts, or is no number is refused whole."""
    with pytest.raises(MalformedError):
        parsed(rows, **told)


def test_a_recorded_list_of_symbols_or_trades_is_read_too() -> None:
    """ExchangeInfo has no records, and says so; single trades are told from aggregate ones."""
    source = open_source("binance")
    listed = source.parse(json.dumps({"symbols": doubles.BINANCE_SYMBOLS}).encode())
    assert listed.tables() == []
    assert listed.notes == ("a list of 3 symbols, no records",)
    single = [{"id": 5, "price": "1.5", "qty": "2", "time": 1704067200000, "isBuyerMaker": False}]
    answer = source.parse(json.dumps(single).encode(), symbol="ACMEUSDT")
    assert answer.ticks["trade"]["trade_id"].to_pylist() == ["5"]
    assert answer.ticks["trade"]["conditions"].to_pylist() == ["buy"]

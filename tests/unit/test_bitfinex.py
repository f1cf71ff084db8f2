"""Bitfinex over REST: arrays by place, pages, error arrays, symbols with t, weeks, trades."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import pytest

import crypto_doubles as doubles
from crypto_doubles import at, bitfinex_candle, played
from tickerlake.errors import (
    MalformedError,
    NotFoundError,
    RangeError,
    RateLimitedError,
    TickerlakeError,
    UnreachableError,
)
from tickerlake.sources import BarsRequest, Lists, Ticks, TicksRequest, open_source
from tickerlake.sources.refusals import NoSuchAddressError
from tickerlake.testing.provider import ProviderAnswer

DAY = datetime(2024, 1, 2, tzinfo=UTC)


def test_close_stands_before_high() -> None:
    """Rows are time, open, close, high, low, volume; later items are passed over."""
    rows = [
        [at("2024-01-02") * 1000, 3, 5, 9, 1, 0.5, "new"],
        bitfinex_candle(at("2024-01-02T01:00")),
    ]
    answer = open_source("bitfinex").parse(json.dumps(rows).encode(), symbol="tACME:USTF0")
    bar = answer.bars.to_pylist()[0]
    assert [bar[name] for name in ("open", "high", "low", "close", "volume")] == [3, 9, 1, 5, 0.5]
    assert (bar["interval"], bar["currency"]) == ("1h", "USTF0")


def test_the_last_candle_alone_comes_flat() -> None:
    """`last` answers with one row that is in no list."""
    payload = json.dumps(bitfinex_candle(at("2024-01-02"))).encode()
    [bar] = (
        open_source("bitfinex").parse(payload, symbol="tACMEUSD", interval="1d").bars.to_pylist()
    )
    assert bar["ts"] == DAY


def test_pages_go_on_behind_the_last_candle() -> None:
    """Buckets without trades are absent, so pages are counted in rows, not in time."""
    request = BarsRequest("tACMEUSD", "1m", DAY, DAY + timedelta(hours=30))
    with played("bitfinex", doubles.bitfinex) as (source, server):
        assert source.requests(request) == 2  # type: ignore[attr-defined]
        bars = source.bars(request).bars
        assert len(server.requests) == 2
    minutes = [int(ts.timestamp()) // 60 for ts in bars["ts"].to_pylist()]
    first = at("2024-01-02") // 60
    assert minutes == [n for n in range(first, first + 1800) if n % 10 != 7]


def test_weeks_that_do_not_start_on_monday_are_refused() -> None:
    """Ours start on Monday; a week of other days would be another bar."""
    request = BarsRequest("tACMEUSD", "1wk", date(2024, 1, 10), date(2024, 1, 23))
    with played("bitfinex", doubles.bitfinex) as (source, _):
        days = source.bars(request).bars["session_date"].to_pylist()
    assert days == [date(2024, 1, 8), date(2024, 1, 15), date(2024, 1, 22)]
    thursday = [bitfinex_candle(at("2024-01-11"))]
    with (
        played("bitfinex", lambda _: ProviderAnswer(thursday)) as (source, _),
        pytest.raises(MalformedError, match="Monday"),
    ):
        source.bars(request)


@pytest.mark.parametrize("symbol", ["BTCUSD", "fUSD"])
def test_symbols_begin_with_t(symbol: str) -> None:
    """Without the t nothing is asked; funding is another market."""
    with played("bitfinex", doubles.bitfinex) as (source, server):
        with pytest.raises(NotFoundError, match="write the t"):
            source.bars(BarsRequest(symbol, "1d", date(2024, 1, 2), date(2024, 1, 3)))
        assert server.requests == []


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (429, ["error", 11010, "ratelimit: error"], RateLimitedError),
        (200, ["error", 11010, "ratelimit: error"], RateLimitedError),
        (200, {"error": "ERR_RATE_LIMIT"}, RateLimitedError),
        (400, ["error", 10020, "symbol: invalid"], NotFoundError),
        (400, ["error", 10020, "limit: invalid"], RangeError),
        (500, ["error", 10020, "symbol: invalid"], NotFoundError),
        (500, ["error", 10001, "unknown_error"], UnreachableError),
        (200, ["error", 20060, "maintenance"], UnreachableError),
        (404, b"<html>", NoSuchAddressError),
        (200, ["surprise"], MalformedError),
        (200, {}, MalformedError),
    ],
)
def test_error_arrays_come_with_any_status(
    status: int, body: object, error: type[TickerlakeError]
) -> None:
    """An array that begins with the word error is one, whatever the status says."""
    with (
        played("bitfinex", lambda _: ProviderAnswer(body, status)) as (source, _),
        pytest.raises(error) as raised,
    ):
        source.bars(BarsRequest("tACMEUSD", "1d", date(2024, 1, 2), date(2024, 1, 3)))
    assert type(raised.value) is error


def test_a_wrong_request_is_sent_once_whatever_its_status() -> None:
    """HTTP 500 with a bad parameter in its body is no trouble of the server's: no second try."""
    answer = ProviderAnswer('["error",10020,"symbol: invalid"]', 500)
    with played("bitfinex", lambda _: answer) as (source, server):
        with pytest.raises(NotFoundError):
            source.bars(BarsRequest("tNOSUCH", "1d", date(2024, 1, 2), date(2024, 1, 3)))
        assert len(server.requests) == 1


def test_trades_of_one_millisecond_are_not_given_twice() -> None:
    """Pages begin with the millisecond in which the one before ended."""
    asked = TicksRequest("tACMEUSD", "trade", DAY, DAY + timedelta(minutes=10))
    with played("bitfinex", doubles.bitfinex) as (source, server):
        assert isinstance(source, Ticks)
        trades = [
            row for answer in source.ticks(asked) for row in answer.ticks["trade"].to_pylist()
        ]
        assert len(server.requests) == 2
    assert [int(trade["trade_id"]) for trade in trades] == list(range(259_201, 259_201 + 1800))
    assert [trade["conditions"] for trade in trades[:2]] == ["buy", "sell"]
    assert {trade["size"] for trade in trades} == {0.25}


def test_pairs_are_listed_with_their_t() -> None:
    """The list is nested once; long names have a colon."""
    with played("bitfinex", doubles.bitfinex) as (source, _):
        assert isinstance(source, Lists)
        found = [(hit.symbol, hit.name, hit.currency) for hit in source.listing()]
    assert found == [
        ("tACMEUSD", "ACME / USD", "USD"), ("tACME:USTF0", "ACME / USTF0", "USTF0"),
    ]  # fmt: skip

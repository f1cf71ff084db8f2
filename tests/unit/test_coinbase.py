"""Coinbase over REST: its order of columns and rows, windows, holes, trades by id, and errors."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import pytest

import crypto_doubles as doubles
from crypto_doubles import at, played
from tickerlake.errors import (
    ConfigError,
    MalformedError,
    NotFoundError,
    RangeError,
    RateLimitedError,
    TickerlakeError,
)
from tickerlake.sources import BarsRequest, Lists, Ticks, TicksRequest, open_source
from tickerlake.testing.provider import ProviderAnswer

DAY = datetime(2024, 1, 2, tzinfo=UTC)


def test_low_stands_before_high_and_open_behind_them() -> None:
    """Rows are time, low, high, open, close, volume, newest first; numbers keep every digit."""
    rows = [
        [at("2024-01-02T00:01"), 1.125, 9, 3.1, 5.000000001, 0.1],
        [at("2024-01-02"), 2, 8, 4, 6, 7],
    ]
    source = open_source("coinbase")
    answer = source.parse(json.dumps(rows).encode(), symbol="ACME-USD", received_at=DAY)
    earlier, later = answer.bars.to_pylist()
    assert [later[name] for name in ("open", "high", "low", "close", "volume")] == [
        3.1, 9.0, 1.125, 5.000000001, 0.1,
    ]  # fmt: skip
    assert earlier["ts"] == DAY
    assert (later["interval"], later["currency"]) == ("1m", "USD")


def test_a_range_of_the_span_is_one_request_and_longer_ones_are_windows() -> None:
    """Both ends are included at Coinbase, and 301 buckets would be refused: 288 are asked for."""
    with played("coinbase", doubles.coinbase) as (source, server):
        span = timedelta(days=source.limits.span_days["1m"])
        for start, length in ((DAY, span), (DAY + timedelta(minutes=7), span)):
            source.bars(BarsRequest("ACME-USD", "1m", start, start + length))
        assert len(server.requests) == 2
        request = BarsRequest("ACME-USD", "1m", DAY, DAY + timedelta(hours=12))
        assert source.requests(request) == 3  # type: ignore[attr-defined]
        bars = source.bars(request).bars
        assert len(server.requests) == 5
    minutes = [int(ts.timestamp()) // 60 for ts in bars["ts"].to_pylist()]
    first = at("2024-01-02") // 60
    assert minutes == [n for n in range(first, first + 720) if n % 10 != 7]


def test_rows_before_the_range_are_left_out() -> None:
    """Coinbase may answer with buckets from before the start."""
    with played("coinbase", doubles.coinbase) as (source, _):
        start = DAY + timedelta(hours=3)
        bars = source.bars(BarsRequest("ACME-USD", "1h", start, start + timedelta(hours=2))).bars
    assert bars["ts"].to_pylist() == [start, start + timedelta(hours=1)]


@pytest.mark.parametrize("hours", [2, 41])
def test_trades_of_a_range_come_in_the_order_of_their_ids(hours: int) -> None:
    """Far back their first id is found by halving; near now the newest page has them."""
    start = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=hours)
    asked = TicksRequest("ACME-USD", "trade", start, start + timedelta(minutes=30))
    with played("coinbase", doubles.coinbase) as (source, server):
        assert isinstance(source, Ticks)
        trades = [
            row for answer in source.ticks(asked) for row in answer.ticks["trade"].to_pylist()
        ]
        assert len(server.requests) <= (1 if hours == 41 else 16)
    first = hours * 120 + 1
    assert [int(trade["trade_id"]) for trade in trades] == list(range(first, first + 60))
    assert trades[0]["ts_ns"] == (at("2024-01-01") + hours * 3600) * 10**9 + 123_456_000
    # The id is odd, so the maker sold, and the taker bought.
    assert (trades[0]["conditions"], trades[0]["size"]) == ("buy", 0.25)


def test_trades_after_the_newest_one_are_none() -> None:
    """A range in which nothing was traded yet gives no page."""
    start = datetime(2024, 6, 1, tzinfo=UTC)
    with played("coinbase", doubles.coinbase) as (source, _):
        assert isinstance(source, Ticks)
        asked = TicksRequest("ACME-USD", "trade", start, start + timedelta(hours=1))
        assert list(source.ticks(asked)) == []


def test_products_whose_trading_ended_are_listed_as_gone() -> None:
    """The status says which are delisted."""
    with played("coinbase", doubles.coinbase) as (source, _):
        assert isinstance(source, Lists)
        assert [(hit.symbol, hit.listed) for hit in source.listing()] == [
            ("ACME-USD", True), ("OLD-USD", False),
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (404, {"message": "NotFound"}, NotFoundError),
        (429, {"message": "Public rate limit exceeded"}, RateLimitedError),
        (400, {"message": "granularity too small for the requested time range"}, RangeError),
        (400, {"message": "start is too old"}, RangeError),
        (403, b"<html>Forbidden</html>", ConfigError),
        (400, {"message": "Something else"}, MalformedError),
        (200, {"surprise": 1}, MalformedError),
        (200, [[1, 2]], MalformedError),
        (200, [{"trade_id": 1}], MalformedError),
    ],
)
def test_each_refusal_is_of_our_tree(
    status: int, body: object, error: type[TickerlakeError]
) -> None:
    """Status first, then the message."""
    with (
        played("coinbase", lambda _: ProviderAnswer(body, status)) as (source, _),
        pytest.raises(error) as raised,
    ):
        source.bars(BarsRequest("ACME-USD", "1d", date(2024, 1, 2), date(2024, 1, 3)))
    assert type(raised.value) is error


def test_a_recording_with_its_request_says_symbol_and_interval() -> None:
    """One candle alone tells no interval; the request around it does."""
    url = (
        "https://api.exchange.coinbase.com/products/ACME-EUR/candles?granularity=300&start=1&end=2"
    )
    body = [[at("2024-01-02"), 1, 2, 1, 2, 3]]
    headers = {"date": "Tue, 02 Jan 2024 00:06:00 GMT"}
    wrapped = {
        "request": {"url": url},
        "response": {"status": 200, "headers": headers, "bodyJson": body},
    }
    [bar] = open_source("coinbase").parse(json.dumps(wrapped).encode()).bars.to_pylist()
    assert (bar["symbol"], bar["interval"], bar["currency"]) == ("ACME-EUR", "5m", "EUR")
    assert bar["state"] == "provisional"

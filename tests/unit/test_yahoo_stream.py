"""Yahoo's streamer is a ticker: what its frames become, and what they do not."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest

from tickerlake.errors import MalformedError
from tickerlake.sources import Frame, Heard, open_source
from tickerlake.sources.live import Dialect
from tickerlake.sources.yahoo import YahooSource
from yahoo_pricing import message_of, pricing

AT = datetime(2024, 1, 2, 15, tzinfo=UTC)
NOON = 1704207600000


def talk() -> Dialect:
    return YahooSource().dialect(["ACME"], ["trade", "quote"])


def heard(*frames: str) -> Heard:
    return talk().read([Frame(AT, "in", "", data) for data in frames])


def test_it_subscribes_to_version_two_and_keeps_alive() -> None:
    """The subscription is sent at once and again every 15 seconds."""
    dialect = talk()
    assert dialect.url == "wss://streamer.finance.yahoo.com/?version=2"
    assert dialect.keep_alive() == dialect.hello() == ['{"subscribe": ["ACME"]}']
    assert dialect.keep_alive_seconds == 15


def test_a_size_is_the_growth_of_the_days_volume() -> None:
    """The first has none; a clock that moves alone is no trade; a new day begins anew."""
    frames = [
        pricing(id="ACME", price=10.5, time_ms=NOON, day_volume=1000),
        pricing(id="ACME", price=10.5, time_ms=NOON + 1, day_volume=1000),
        pricing(id="ACME", price=10.5, time_ms=NOON + 2, day_volume=1300),
        pricing(id="ACME", price=10.6, time_ms=NOON + 1, day_volume=1300),  # late: dropped
        pricing(id="ACME", price=11, time_ms=NOON + 9, day_volume=20, market_hours=0),
    ]
    trades = heard(*frames).tables["trade"]
    assert trades["size"].to_pylist() == [None, 300.0, None]
    assert trades["conditions"].to_pylist() == ["ticker", "ticker", "ticker,pre"]
    assert trades["ts_ns"].to_pylist() == [(NOON + ms) * 1_000_000 for ms in (0, 2, 9)]


def test_float32_prices_are_the_decimal_that_was_meant() -> None:
    """110429.42 has seven digits on the wire and gains no more; pence stay pence."""
    frame = pricing(id="BTC-USD", price=110429.42, time_ms=NOON, currency="GBp", quote_type=41)
    (row,) = heard(frame).tables["trade"].to_pylist()
    assert (row["price"], row["currency"], row["instrument_type"]) == (110429.42, "GBp", "crypto")


def test_bid_and_ask_make_a_quote_when_they_change() -> None:
    """One quote for a pair that is told twice; a side that is not told is null."""
    told = {"id": "ACME", "price": 10.5, "bid": 10.25, "bid_size": 3}
    frames = [pricing(**told, time_ms=NOON + ms) for ms in (0, 1)]
    (row,) = heard(*frames).tables["quote"].to_pylist()
    assert (row["bid"], row["bid_size"], row["ask"]) == (10.25, 3.0, None)


def test_a_frame_of_version_one_is_read_too() -> None:
    """The message bare, in base64, without JSON around it, as a file and on the socket."""
    bare = base64.b64encode(message_of(id="ACME", price=1.5, time_ms=NOON)).decode()
    assert heard(bare).tables["trade"]["price"].to_pylist() == [1.5]
    answer = open_source("yahoo").parse(bare.encode(), received_at=AT)
    assert answer.ticks["trade"]["fetched_at"].to_pylist() == [AT]


def test_what_is_cut_is_told_and_what_is_no_frame_is_malformed() -> None:
    """A message cut anywhere costs itself; a file that holds no frame is no recording."""
    message = message_of(id="ACME", price=1.5, time_ms=NOON, day_volume=2**40, exchange="NMS")
    for end in range(1, len(message)):
        cut = base64.b64encode(message[:end]).decode()
        assert isinstance(heard(cut), Heard)
    with pytest.raises(MalformedError):
        open_source("yahoo").parse(b'{"type": "pricing", "message": "AAAA"}')

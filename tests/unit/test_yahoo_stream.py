"""Yahoo's streamer is a ticker: what its frames become, and what they do not."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from random import Random
from typing import Any

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


def many(random: Random) -> list[str]:
    """Frames of a few symbols, fields left out, late, repeated and damaged ones among them."""
    frames = []
    for n in range(400):
        told: dict[str, Any] = {
            "id": random.choice(["ACME", "BTC-USD", "LONG.NAME=F"]),
            "price": random.choice([10.5, 10.6, 110429.42, float("nan")]),
            "time_ms": random.choice([NOON + n] * 6 + [NOON, -NOON, 2**55, 0]),
            "day_volume": random.choice([n // 5, 0, 2**40, -(2**63), 2**63 - 1]),
            "bid": random.choice([10.25, 0.0]),
            "bid_size": random.choice([3, 0, -1]),
            "ask": random.choice([10.5, 10.75]),
            "quote_type": random.choice([7, 8, 41, 99, 2**63]),
            "market_hours": random.choice([0, 1, 2, 9]),
            "currency": random.choice(["USD", "", "zł"]),
        }
        kept = {name: value for name, value in told.items() if random.random() < 0.9}
        frames.append(pricing(**kept))
        if random.random() < 0.05:
            message = bytearray(message_of(**kept))
            message[random.randrange(len(message))] = random.randrange(256)
            cut = message[: random.randrange(len(message)) or None]
            text = base64.b64encode(random.choice([message, cut])).decode()
            frames.append(json.dumps({"type": "pricing", "message": text}))
    return frames


@pytest.mark.parametrize("extra", [[], ["{}"], ["null", ""], ["CgRBQ01F"]])
def test_frames_are_the_same_alone_and_in_company(extra: list[str]) -> None:
    """A batch is read as columns, a single frame by itself: nobody sees which."""
    random = Random(len(extra[0]) if extra else 1)
    frames = many(random)
    frames[200:200] = extra
    together, one_by_one = talk(), talk()
    alone = [one_by_one.read([Frame(AT, "in", "", frame)]) for frame in frames]
    batches = [
        together.read([Frame(AT, "in", "", frame) for frame in part])
        for part in (frames[:150], frames[150:])
    ]
    for kind in ("trade", "quote"):
        rows, expected = (
            [
                repr(row)
                for one in heard
                if kind in one.tables
                for row in one.tables[kind].to_pylist()
            ]
            for heard in (batches, alone)
        )
        assert len(rows) > 100
        assert rows == expected
    notes, expected_notes = (
        list(dict.fromkeys(note for one in heard for note in one.notes))
        for heard in (batches, alone)
    )
    assert notes == expected_notes


def test_a_size_that_no_float_holds_exactly_is_rounded() -> None:
    """Sizes are float64: beyond 2^53 the nearest one, as sizes of trades."""
    frame = pricing(id="ACME", price=1.5, time_ms=NOON, bid=1.25, bid_size=2**60 + 1)
    assert heard(frame).tables["quote"]["bid_size"].to_pylist() == [2.0**60]


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

"""Alpaca's bars and their revisions, from the socket to the views; and what has no record."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from alpaca_double import KEYS
from tickerlake.publish import LiveReport, Publisher, publish_feed
from tickerlake.query.known import known_actions, known_bars
from tickerlake.query.registry import open_engine
from tickerlake.sources import open_source
from tickerlake.sources.feed import Feed
from tickerlake.sources.sockets import SocketSettings
from tickerlake.testing.engine_suite import House
from tickerlake.testing.socket_provider import Hear, Say, Silence, socket_provider
from us_frames import ALPACA_BAR

QUICK = SocketSettings(batch_seconds=0.01, reconnect_seconds=0.01)
OPENING = (
    Say('[{"T":"success","msg":"connected"}]'),
    Hear(),
    Say('[{"T":"success","msg":"authenticated"}]'),
    Hear(),
    Say('[{"T":"subscription","bars":["ACME"],"updatedBars":["ACME"]}]'),
)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


def bar(symbol: str, volume: float, *, updated: bool = False) -> dict[str, Any]:
    return {
        **ALPACA_BAR,
        "T": "u" if updated else "b",
        "S": symbol,
        "v": volume,
        "c": 10 + volume / 1000,
    }


def published(house: House, *frames: list[dict[str, Any]], records: int) -> LiveReport:
    stop, last = threading.Event(), LiveReport()
    patience = threading.Timer(60, stop.set)
    patience.start()
    texts = [json.dumps(frame) for frame in frames]
    with socket_provider([*OPENING, Say(*texts), Silence()]) as server:
        source = open_source("alpaca", settings={**KEYS, "socket_url": server.url})
        publisher = Publisher(
            source,
            house.stream,
            known=partial(known_bars, house.lake, house.stream),
            known_actions=partial(known_actions, house.lake, house.stream),
        )
        feed = Feed(source, ["ACME", "BETA", "ZED"], ["bar"], QUICK)
        for last in publish_feed(feed, publisher, stop=stop):
            if dict(last.sent).get("bar", 0) >= records:
                stop.set()
    patience.cancel()
    house.deliver()
    return last


def test_the_revision_is_shown_and_both_are_kept(house: House) -> None:
    """In a frame of its own or beside its bar, the later word counts, whatever its values are."""
    twice = [bar("ZED", volume) for volume in (900, 300, 600)]
    report = published(
        house,
        [bar("ACME", 100), bar("BETA", 500)],
        [bar("ACME", 110, updated=True), {"T": "s", "S": "ACME"}, {"T": "i", "S": "ACME"}],
        [*twice, bar("ZED", 200, updated=True), {"T": "i", "S": "ZED"}],
        records=7,
    )
    assert dict(report.left_out) == {"trading statuses": 1, "imbalances": 2}
    with closing(open_engine("duckdb", lake=house.lake, stream=house.stream)) as engine:
        shown = engine.sql("select symbol, volume, close from bars order by symbol").table
        kept = engine.sql("select symbol, volume from bars_history order by symbol, volume").table
    assert shown.to_pylist() == [
        {"symbol": "ACME", "volume": 110.0, "close": 10.11},
        {"symbol": "BETA", "volume": 500.0, "close": 10.5},
        {"symbol": "ZED", "volume": 200.0, "close": 10.2},
    ]
    assert kept["volume"].to_pylist() == [100.0, 110.0, 500.0, 200.0, 300.0, 600.0, 900.0]

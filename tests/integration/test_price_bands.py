"""Price bands of Alpaca and Massive, from the socket over stream and lake into the view."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tickerlake.publish import Publisher, publish_feed
from tickerlake.query.known import known_actions, known_bars
from tickerlake.query.registry import open_engine
from tickerlake.records import Kind
from tickerlake.sources import Frame, open_source
from tickerlake.sources.captures import capture_line
from tickerlake.sources.feed import Feed
from tickerlake.sources.sockets import SocketSettings
from tickerlake.testing.engine_suite import House
from tickerlake.testing.socket_provider import Cut, Hear, Say, Silence, Step, socket_provider
from us_frames import ALPACA_BANDS, ALPACA_TRADE, AT, MASSIVE_BANDS, MASSIVE_TRADE

QUICK = SocketSettings(batch_seconds=0.01, reconnect_seconds=0.01, backfill_settle_seconds=0.0)
OPENINGS: dict[str, list[Step]] = {
    "alpaca": [
        Say('[{"T":"success","msg":"connected"}]'),
        Hear(),
        Say('[{"T":"success","msg":"authenticated"}]'),
        Hear(),
        Say('[{"T":"subscription","lulds":["ACME"]}]'),
    ],
    "massive": [
        Say('[{"ev":"status","status":"connected","message":"Connected Successfully"}]'),
        Hear(),
        Say('[{"ev":"status","status":"auth_success","message":"authenticated"}]'),
        Hear(),
        Say('[{"ev":"status","status":"success","message":"subscribed to: LULD.ACME"}]'),
    ],
}
BANDS = {"alpaca": ALPACA_BANDS, "massive": MASSIVE_BANDS}
TRADES = {"alpaca": ALPACA_TRADE, "massive": MASSIVE_TRADE}
NAMES = sorted(BANDS)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


def source_at(name: str, url: str) -> Any:
    settings = {"socket_url": url, "api_key": "K"}
    return open_source(name, settings=settings | ({"api_secret": "S"} if name == "alpaca" else {}))


def listened(
    name: str, house: House, kinds: Sequence[Kind], *connections: list[Step], records: int
) -> list[str]:
    """Publish until so many records came that are no gaps; returns what was subscribed to."""
    stop = threading.Event()
    patience = threading.Timer(60, stop.set)
    patience.start()
    with socket_provider(*connections) as server:
        source = source_at(name, server.url)
        publisher = Publisher(
            source,
            house.stream,
            known=partial(known_bars, house.lake, house.stream),
            known_actions=partial(known_actions, house.lake, house.stream),
        )
        settled = 0
        for report in publish_feed(Feed(source, ["ACME"], kinds, QUICK), publisher, stop=stop):
            settled += sum("not filled" in said.text for said in report.said)
            came = sum(count for kind, count in report.sent if kind != "gap")
            if came >= records and settled >= len(connections) - 1:
                stop.set()
        said = [heard[-1] for heard in server.heard]
    patience.cancel()
    house.deliver()
    return said


def shown(house: House, query: str) -> list[dict[str, Any]]:
    with closing(open_engine("duckdb", lake=house.lake, stream=house.stream)) as engine:
        rows: list[dict[str, Any]] = engine.sql(query).table.to_pylist()
    return rows


@pytest.mark.parametrize("name", NAMES)
def test_bands_that_are_asked_for_come_into_the_view(house: House, name: str) -> None:
    """Told again after a cut they are one row; the hole between is told, and why it stays."""
    told = Say(json.dumps([BANDS[name], TRADES[name]]))
    first, second = [*OPENINGS[name], told, Cut()], [*OPENINGS[name], told, Silence()]
    asked = listened(name, house, ["price_band"], first, second, records=2)
    channel = {"alpaca": '"lulds":["ACME"]', "massive": '"LULD.ACME"'}[name]
    assert all(channel in said for said in asked)
    (row,) = shown(house, "select * from price_bands")
    assert (row["symbol"], row["lower"], row["upper"]) == ("ACME", 8.5, 12.5)
    assert row["indicators"] == {"alpaca": "B", "massive": "15,22"}[name]
    assert shown(house, "select count(*) as n from trades") == [{"n": 0}]
    (gap,) = shown(house, "select gap_kind, filled, reason from gaps")
    assert (gap["gap_kind"], gap["filled"]) == ("price_band", False)
    assert gap["reason"].endswith(f"not filled: {name} has no history of price_band")


@pytest.mark.parametrize("name", NAMES)
def test_bands_come_only_where_they_are_named(house: House, name: str) -> None:
    """Who names no kinds gets trades, quotes and bars, as before there were price bands."""
    talk = [*OPENINGS[name], Say(json.dumps([TRADES[name]])), Silence()]
    (said,) = listened(name, house, (), talk, records=1)
    asked = json.loads(said)
    if name == "alpaca":
        assert set(asked) == {"action", "trades", "quotes", "bars", "updatedBars"}
    else:
        assert asked["params"] == "T.ACME,Q.ACME,AM.ACME"


@pytest.mark.parametrize("name", NAMES)
def test_recorded_bands_are_played_and_parsed(house: House, tmp_path: Path, name: str) -> None:
    """A recording's bands are records, though nobody named them when it is played."""
    payload = capture_line(Frame(AT, "in", "wss://host", json.dumps([BANDS[name]])))
    parsed = source_at(name, "ws://127.0.0.1:1").parse(payload).ticks["price_band"]
    path = tmp_path / "frames.jsonl"
    path.write_bytes(payload)
    played = open_source("capture", settings={"path": str(path), "provider": name, "speed": None})
    stop = threading.Event()
    tables = [fresh.tables for fresh in Feed(played, ["*"], (), QUICK).fresh(stop)]
    assert [one["price_band"] for one in tables if "price_band" in one] == [parsed]

"""A stream that does not answer while a socket goes on talking."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from tickerlake import clock
from tickerlake.errors import UnreachableError
from tickerlake.publish import Publisher, publish_feed
from tickerlake.query.known import known_actions, known_bars
from tickerlake.query.registry import open_engine
from tickerlake.records import Kind
from tickerlake.sources import open_source
from tickerlake.sources.feed import Feed
from tickerlake.sources.sockets import SocketSettings
from tickerlake.testing.engine_suite import House
from tickerlake.testing.socket_provider import Hear, Say, socket_provider


class Doubtful(Publisher):
    """Says of its first puts that nobody answered, though the records have landed."""

    doubts = 1

    def put(self, kind: Kind, table: pa.Table, sent_before: int) -> None:
        super().put(kind, table, sent_before)
        if self.doubts:
            self.doubts -= 1
            raise UnreachableError("The broker cannot be reached.", found="no answer")


def trade(number: int) -> str:
    ms = int(clock.now().timestamp() * 1000)
    row = {"c": None, "p": 10.0 + number, "s": "ACME", "t": ms, "v": 1}
    return json.dumps({"data": [row], "type": "trade"})


def listening(house: House, url: str) -> tuple[Doubtful, Feed]:
    source = open_source("finnhub", settings={"socket_url": url, "api_key": "nobodys-key"})
    publisher = Doubtful(
        source,
        house.stream,
        known=partial(known_bars, house.lake, house.stream),
        known_actions=partial(known_actions, house.lake, house.stream),
    )
    return publisher, Feed(source, ["ACME"], ["trade"], SocketSettings(batch_seconds=0.01))


def test_records_wait_and_are_put_again(tmp_path: Path) -> None:
    """What may have landed is put again under its ids: the lake has all of it once."""
    house, stop, told = House(tmp_path), threading.Event(), []
    with socket_provider([Hear(), Say(*(trade(number) for number in range(50)))]) as server:
        publisher, feed = listening(house, server.url)
        for report in publish_feed(feed, publisher, stop=stop, on_outage=told.append):
            if report.records >= 50:
                stop.set()
    assert len(told) == 1
    house.deliver()
    with closing(open_engine("duckdb", lake=house.lake, stream=house.stream)) as engine:
        rows = engine.sql("select price from trades order by price").table["price"].to_pylist()
    house.close()
    assert rows == [10.0 + number for number in range(50)]


def test_after_the_stop_it_is_an_error(tmp_path: Path) -> None:
    """Who was asked to end does not wait for a broker: the last put's error is the verb's."""
    house, stop = House(tmp_path), threading.Event()
    with socket_provider([Hear(), Say(trade(1))]) as server:
        publisher, feed = listening(house, server.url)
        publisher.doubts = 1_000_000
        reports = publish_feed(feed, publisher, stop=stop, on_outage=lambda _: stop.set())
        with pytest.raises(UnreachableError, match="broker"):
            list(reports)
    house.close()

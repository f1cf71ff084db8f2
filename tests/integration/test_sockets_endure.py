"""Faults inside end no flow: neither the reader's, nor history's, nor a stream's."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pytest

from tickerlake import clock
from tickerlake.errors import UnreachableError
from tickerlake.publish import LiveReport, Publisher, publish_feed
from tickerlake.query.known import known_actions, known_bars
from tickerlake.records import Kind
from tickerlake.sources import (
    Answer,
    BarsRequest,
    Dialect,
    Frame,
    Heard,
    TicksRequest,
    empty_answer,
)
from tickerlake.sources.binance import BinanceSource
from tickerlake.sources.feed import Feed, Fresh
from tickerlake.sources.finnhub import FinnhubSource
from tickerlake.sources.sockets import SocketSettings
from tickerlake.testing.engine_suite import House
from tickerlake.testing.socket_provider import Cut, Hear, Say, Silence, Until, socket_provider

READY = '{"result":null,"id":1}'
QUICK = SocketSettings(
    batch_seconds=0.01,
    reconnect_seconds=0.01,
    backfill_pause_seconds=0.01,
    backfill_settle_seconds=0.0,
)


def trade(number: int) -> str:
    ms = int(clock.now().timestamp() * 1000)
    row = {"c": None, "p": 10.0 + number, "s": "ACME", "t": ms, "v": 1}
    return json.dumps({"data": [row], "type": "trade"})


class Odd(FinnhubSource):
    """Finnhub whose sign of life fails, and whose history knows no better than to break."""

    limits = dataclasses.replace(FinnhubSource.limits, history=("trade",))

    def dialect(self, symbols: Sequence[str], kinds: Sequence[Kind]) -> Dialect:
        talk = super().dialect(symbols, kinds)
        talk.keep_alive_seconds = 0.05

        def keep_alive() -> Sequence[str | bytes]:
            raise ZeroDivisionError("a sign of life that none is")

        talk.keep_alive = keep_alive  # type: ignore[method-assign]
        return talk

    def ticks(self, request: TicksRequest) -> Iterator[Answer]:
        raise ZeroDivisionError("history that none is")


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    """Set by itself when a test waits in vain."""
    event = threading.Event()
    patience = threading.Timer(60, event.set)
    patience.start()
    yield event
    patience.cancel()


def told(feed: Feed, stop: threading.Event, enough: Callable[[list[Fresh]], bool]) -> list[str]:
    gathered: list[Fresh] = []
    for fresh in feed.fresh(stop):
        gathered.append(fresh)
        if enough(gathered):
            stop.set()
    return [said.text for fresh in gathered for said in fresh.said]


def test_a_fault_of_ours_is_no_silence(stop: threading.Event) -> None:
    """Reader and filler meet what nobody foresaw: another connection follows, gaps are answered."""
    with socket_provider(*([Hear(), Say(trade(n))] for n in range(3))) as server:
        source = Odd(FinnhubSource.settings_type(socket_url=server.url, api_key="k"))
        feed = Feed(source, ["ACME"], ["trade"], QUICK)
        texts = told(feed, stop, lambda _: len(server.paths) >= 3)
    assert [text for text in texts if "ZeroDivisionError in the reader" in text]
    answered = [text for text in texts if "not filled: ZeroDivisionError" in text]
    assert len(answered) >= 1


class Hourly(BinanceSource):
    """Binance whose history of bars has one of an hour ago."""

    asked: ClassVar[list[BarsRequest]] = []

    def bars(self, request: BarsRequest) -> Answer:
        self.asked.append(request)
        minute = int(clock.now().timestamp()) // 60 * 60_000 - 3_600_000
        row = [minute, "1", "2", "0.5", "1.5", "10", minute + 59_999, "15", 3, "5", "7", "0"]
        return self.parse(json.dumps([row]).encode(), symbol=request.symbol, interval="1m")


class Doubtful(Publisher):
    """Nobody answers the first time that bars are put."""

    doubts = 1

    def put(self, kind: Kind, table: pa.Table, sent_before: int) -> None:
        if kind == "bar" and self.doubts:
            self.doubts -= 1
            raise UnreachableError("The broker cannot be reached.", found="no answer")
        super().put(kind, table, sent_before)


def test_bars_of_history_wait_for_a_stream_like_all_others(
    tmp_path: Path, stop: threading.Event
) -> None:
    """The stream does not answer just then: they are put again, and the verb goes on."""
    house, outages = House(tmp_path), []
    with socket_provider([Hear(), Say(READY), Cut()], [Hear(), Say(READY)]) as server:
        source = Hourly(BinanceSource.settings_type(socket_url=server.url))
        publisher = Doubtful(
            source,
            house.stream,
            known=partial(known_bars, house.lake, house.stream),
            known_actions=partial(known_actions, house.lake, house.stream),
        )
        feed = Feed(source, ["ACMEUSDT"], ["bar"], QUICK)
        last = LiveReport()
        for last in publish_feed(feed, publisher, stop=stop, on_outage=outages.append):
            if dict(last.sent).get("bar"):
                stop.set()
    house.close()
    assert len(outages) == 1
    assert dict(last.sent)["bar"] == 1


class Breaking(FinnhubSource):
    """Finnhub that cannot read a frame of the price 666, and whose history breaks off once."""

    limits = dataclasses.replace(FinnhubSource.limits, history=("trade",))
    asked: ClassVar[list[TicksRequest]] = []
    pages: ClassVar[list[tuple[float, ...] | UnreachableError]] = []

    def dialect(self, symbols: Sequence[str], kinds: Sequence[Kind]) -> Dialect:
        talk = super().dialect(symbols, kinds)
        read = talk.read

        def breaking(frames: Sequence[Frame]) -> Heard:
            if any("666" in str(frame.data) for frame in frames):
                raise ZeroDivisionError("a frame that nobody foresaw")
            return read(frames)

        talk.read = breaking  # type: ignore[method-assign]
        return talk

    def ticks(self, request: TicksRequest) -> Iterator[Answer]:
        self.asked.append(request)
        began = request.start.timestamp() * 1000 + 0.5
        while self.pages:
            page = self.pages.pop(0)
            if isinstance(page, UnreachableError):
                raise page
            rows = [
                {"c": None, "p": price, "s": "ACME", "t": int(began + after), "v": 1}
                for price, after in zip(page[::2], page[1::2], strict=True)
            ]
            frame = Frame(clock.now(), "in", "", json.dumps({"data": rows, "type": "trade"}))
            heard = super().dialect(["ACME"], ["trade"]).read([frame])
            yield dataclasses.replace(empty_answer(), ticks=heard.tables)


def test_a_frame_that_breaks_our_reading_is_a_gap(stop: threading.Event) -> None:
    """No traceback: the connection is given up there, another follows, history fills the rest.

    And history that breaks off is asked for what is left, not for all of it again.
    """
    Breaking.asked.clear()
    late = UnreachableError("History sleeps.", found="nobody")
    Breaking.pages[:] = [(666.0, 1, 3.0, 2), late, (3.0, 0, 4.0, 1)]
    gathered: list[Fresh] = []
    released = Until()
    steps = [Hear(), Say(trade(1)), released, Say(trade(656), trade(3)), Silence()]
    with socket_provider(steps, [Hear(), Say(trade(5)), Silence()]) as server:
        source = Breaking(FinnhubSource.settings_type(socket_url=server.url, api_key="k"))
        for fresh in Feed(source, ["ACME"], ["trade"], QUICK).fresh(stop):
            gathered.append(fresh)
            if "trade" in fresh.tables:
                released.event.set()
            if any(said.event == "filled" for said in fresh.said):
                stop.set()
    tables = [fresh.tables["trade"] for fresh in gathered if "trade" in fresh.tables]
    prices = [price for table in tables for price in table["price"].to_pylist()]
    assert {11.0, 666.0, 3.0, 4.0, 15.0} <= set(prices)
    [gap] = {said.text for fresh in gathered for said in fresh.said if said.event == "gap"}
    assert "broke our reading" in gap
    [filled] = [said.text for fresh in gathered for said in fresh.said if said.event == "filled"]
    assert filled.endswith("filled from history: 4 records")
    first, second = Breaking.asked
    assert second.start == first.start + timedelta(milliseconds=2)

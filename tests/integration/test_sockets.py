"""A provider's socket as a flow of records, over all that happens to a connection."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

import pytest

from tickerlake import clock
from tickerlake.errors import ConfigError, NotFoundError, UnreachableError, UsageError
from tickerlake.sources import Answer, Frame, Source, TicksRequest, empty_answer, open_source
from tickerlake.sources.feed import Feed, Fresh
from tickerlake.sources.finnhub import FinnhubSource
from tickerlake.sources.sockets import SocketSettings
from tickerlake.testing.socket_provider import (
    Close,
    Cut,
    Hear,
    Refuse,
    Say,
    Silence,
    SocketProvider,
    Step,
    Until,
    out_of_order,
    repeated,
    socket_provider,
)

KEY = "5ecret-Key"
QUICK = SocketSettings(
    batch_seconds=0.01,
    reconnect_seconds=0.01,
    backfill_pause_seconds=0.01,
    backfill_settle_seconds=0.0,
)


def trade(number: int, symbol: str = "ACME", at: datetime | None = None) -> str:
    ms = int((at or clock.now()).timestamp() * 1000)
    row = {"c": None, "p": 10.0 + number, "s": symbol, "t": ms, "v": 1}
    return json.dumps({"data": [row], "type": "trade"})


class Gathered:
    """Runs a feed in this thread until enough has come, and keeps all of it."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.stop = threading.Event()
        self.all: list[Fresh] = []

    def until(self, enough: Callable[[Gathered], bool]) -> Gathered:
        for fresh in self.feed.fresh(self.stop):
            self.all.append(fresh)
            if enough(self):
                self.stop.set()  # what follows is still gathered: nothing is lost at the end
        return self

    def rows(self, kind: str = "trade") -> list[dict[str, Any]]:
        tables = [fresh.tables[kind] for fresh in self.all if kind in fresh.tables]
        return [row for table in tables for row in table.to_pylist()]

    @property
    def prices(self) -> list[float]:
        return [row["price"] - 10.0 for row in self.rows()]

    def said(self, event: str) -> list[str]:
        return [one.text for fresh in self.all for one in fresh.said if one.event == event]


def finnhub(server: SocketProvider, **settings: object) -> Source:
    return open_source("finnhub", settings={"socket_url": server.url, "api_key": KEY, **settings})


@contextlib.contextmanager
def gathering(
    *connections: Sequence[Step],
    settings: SocketSettings = QUICK,
    make: Callable[[SocketProvider], Source] = finnhub,
    symbols: Sequence[str] = ("ACME",),
) -> Iterator[tuple[Gathered, SocketProvider]]:
    with socket_provider(*connections) as server:
        yield Gathered(Feed(make(server), symbols, ["trade"], settings)), server


def test_frames_become_records_in_their_order() -> None:
    """One subscription a symbol; repeated and out-of-order frames are records as they came."""
    frames = out_of_order([trade(n) for n in range(20)], seed=4)
    with gathering([Hear(2), Say(*repeated(frames))], symbols=("ACME", "BETA")) as (got, server):
        got.until(lambda got: len(got.prices) >= 40)
        assert [json.loads(text)["symbol"] for text in server.heard[0]] == ["ACME", "BETA"]
        assert server.paths == [f"/?token={KEY}"]
    expected = [json.loads(text)["data"][0]["p"] - 10.0 for text in repeated(frames)]
    assert got.prices == expected
    # Equal trades are counted, because they may be real: the second of each is a record of its own.
    assert {row["trade_id"] for row in got.rows()} == {"0", "1"}


def test_what_was_received_before_the_stop_is_handed_out() -> None:
    """A stop closes the socket, and what waits in the buffer still comes."""
    slow = dataclasses.replace(QUICK, batch_seconds=0.3)
    with gathering([Hear(), Say(*(trade(n) for n in range(500)))], settings=slow) as (got, _):
        got.until(lambda got: bool(got.prices))
    assert got.prices == [float(n) for n in range(len(got.prices))]
    assert got.said("connected") == ["records come"]
    assert not got.said("lost")


@pytest.mark.parametrize("fault", [Cut(), Close(), Silence()], ids=["cut", "closed", "silent"])
def test_another_connection_follows_and_the_gap_is_told(fault: Step) -> None:
    """After a cut, a close, or silence: connect, subscribe again, record what may be missing."""
    again, silent = Until(), isinstance(fault, Silence)
    with gathering(
        [Hear(), Say(trade(1)), fault],
        [Hear(), again, Say(trade(2))],
        make=lambda server: finnhub(server, silence_seconds=1.0 if silent else 60.0),
    ) as (got, server):
        releasing = threading.Thread(target=lambda: (server.wait_for_frames(2), again.event.set()))
        releasing.start()
        got.until(lambda got: len(got.rows("gap")) >= 2)
        releasing.join()
        assert [len(said) for said in server.heard[:2]] == [1, 1]
    assert got.prices[:2] == [1.0, 2.0]
    found, last = got.rows("gap")[:2]
    assert (found["symbol"], found["gap_kind"], found["filled"]) == ("ACME", "trade", False)
    one, two = (row["ts"] for row in got.rows()[:2])
    assert found["ts"] <= one + timedelta(seconds=1)
    assert found["to_ts"] >= two - timedelta(seconds=1)
    # The last word has the key of the first: one row in the view `gaps`.
    assert [last[name] for name in ("symbol", "gap_kind", "ts", "to_ts")] == [
        found[name] for name in ("symbol", "gap_kind", "ts", "to_ts")
    ]
    assert "finnhub has no history of trade" in last["reason"]
    assert ("no frame for" in last["reason"]) == silent


class Remembering(FinnhubSource):
    """Finnhub with a history of trades, for tests."""

    limits = dataclasses.replace(FinnhubSource.limits, history=("trade",))
    #: What its history answers, or raises.
    history: ClassVar[list[Answer | Exception]] = []
    asked: ClassVar[list[TicksRequest]] = []

    def ticks(self, request: TicksRequest) -> Iterator[Answer]:
        self.asked.append(request)
        answer = self.history.pop(0)
        if isinstance(answer, Exception):
            raise answer
        yield answer


def remembering(
    server: SocketProvider, *history: Answer | Exception, silence_seconds: float = 60.0
) -> Source:
    Remembering.history, Remembering.asked = list(history), []
    settings = {"socket_url": server.url, "api_key": KEY, "silence_seconds": silence_seconds}
    return Remembering(FinnhubSource.settings_type(**settings))  # type: ignore[arg-type]


def from_history(*numbers: int) -> Answer:
    talk = FinnhubSource.settings_type(api_key="k")
    frames = [Frame(clock.now(), "in", "", trade(number)) for number in numbers]
    heard = FinnhubSource(talk).dialect(["ACME"], ["trade"]).read(frames)
    return dataclasses.replace(empty_answer(), ticks=heard.tables)


def test_a_gap_is_filled_from_history() -> None:
    """History is asked for just what was missed; its records come, then the gap is filled."""
    late = UnreachableError("History sleeps.")
    with gathering(
        [Hear(), Say(trade(1)), Cut()],
        [Hear(), Say(trade(5))],
        make=lambda server: remembering(server, late, from_history(2, 3)),
    ) as (got, _):
        got.until(lambda got: bool(got.said("filled")))
    assert sorted(got.prices) == [1.0, 2.0, 3.0, 5.0]
    first, last = got.rows("gap")
    assert (first["filled"], last["filled"]) == (False, True)
    assert "2 records" in last["reason"]
    assert len(Remembering.asked) == 2  # tried again after history slept
    [asked] = set(Remembering.asked)
    assert (asked.symbol, asked.kind, asked.start) == ("ACME", "trade", first["ts"])
    assert any(fresh.from_history for fresh in got.all)


def test_a_feed_that_lags_more_than_it_says_loses_nothing() -> None:
    """Ten minutes behind, beside a symbol that is not: each gap begins at its own last record."""
    late = clock.now() - timedelta(minutes=10)
    with gathering(
        [Hear(2), Say(trade(1, at=late), trade(2, "BETA")), Cut()],
        [Hear(2), Say(trade(3, at=late + timedelta(minutes=1)))],
        symbols=("ACME", "BETA"),
        make=lambda server: remembering(server, from_history(), from_history()),
    ) as (got, _):
        got.until(lambda got: len(got.said("filled")) >= 2)
    asked = {request.symbol: request.start for request in Remembering.asked}
    newest = {row["symbol"]: row["ts"] for row in got.rows()[:2]}
    assert asked["ACME"] <= newest["ACME"]
    assert newest["BETA"] - timedelta(minutes=1) < asked["BETA"] <= newest["BETA"]


def test_what_one_gap_has_filled_is_not_asked_for_again_by_the_next() -> None:
    """Two cuts in a row overlap by their margins: the second asks from the end of the first."""
    with gathering(
        [Hear(), Say(trade(1)), Cut()],
        [Hear(), Say(trade(2)), (second := Until()), Cut()],
        [Hear(), Say(trade(3))],
        make=lambda server: remembering(server, from_history(2), from_history(3)),
    ) as (got, _):

        def enough(got: Gathered) -> bool:
            if got.said("filled"):
                second.event.set()
            return len(got.said("filled")) >= 2

        got.until(enough)
    first, last = Remembering.asked
    assert last.start == first.end - timedelta(microseconds=1)
    assert last.end > first.end
    assert [gap["filled"] for gap in got.rows("gap")] == [False, True, False, True]


def test_a_gap_that_history_cannot_fill_says_why() -> None:
    """What history says for good is the reason; the records of the socket are not touched."""
    with gathering(
        [Hear(), Say(trade(1)), Close()],
        [Hear(), Say(trade(2))],
        make=lambda server: remembering(server, NotFoundError("No such symbol.")),
    ) as (got, _):
        got.until(lambda got: len(got.rows("gap")) >= 2)
    assert got.rows("gap")[1]["filled"] is False
    assert "not filled: No such symbol." in got.rows("gap")[1]["reason"]


def test_beyond_the_cap_frames_are_dropped_told_and_filled() -> None:
    """Whoever is slow loses frames, not the connection: the rest of them is a gap, then filled."""
    burst = [trade(n) for n in range(3000)]
    full, sent = threading.Event(), Until()
    tight = dataclasses.replace(QUICK, buffer_bytes_max=50_000)
    with gathering(
        [Hear(), Say(trade(0)), sent, Say(*burst, trade(9999)), Until(full)],
        settings=tight,
        make=lambda server: remembering(server, from_history(*range(3000))),
    ) as (got, server):
        flow = got.feed.fresh(got.stop)
        while not got.prices:
            got.all.append(next(flow))
        sent.event.set()
        # This thread reads nothing now: the reader must take it all, or the server would block.
        with server.changed:
            assert server.changed.wait_for(lambda: server.said >= 3002, 60)
        for fresh in flow:
            got.all.append(fresh)
            if got.said("filled"):
                full.set()
                got.stop.set()
    [dropped] = [text for text in got.said("gap") if "faster than" in text]
    assert int(dropped.split(": ")[-1].split()[0]) > 2000
    assert {float(n) for n in range(3000)} <= set(got.prices)
    assert len(server.paths) == 1


def test_a_refused_key_ends_the_flow_and_is_told_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """At the handshake and in the talk; the error says what to do, and no log holds the key."""
    caplog.set_level(logging.DEBUG)
    for steps in ([Refuse(401)], [Hear(), Say('{"type":"error","msg":"Invalid API key"}')]):
        with gathering(steps) as (got, server), pytest.raises(ConfigError) as raised:
            got.until(lambda _: False)
        assert len(server.paths) == 1
        assert KEY not in str(raised.value)
        assert "key" in str(raised.value)
        if steps == [Refuse(401)]:
            assert "check the key in TICKERLAKE_SOURCES_FINNHUB_API_KEY" in raised.value.todo
    ours = [record for record in caplog.records if "server" not in record.name]
    assert not [record for record in ours if KEY in record.getMessage()]


@pytest.mark.parametrize("status", [503, 429])
def test_what_may_pass_is_tried_again(status: int) -> None:
    """A provider that is down, or says that we ask too often, is asked again, then there."""
    settings = dataclasses.replace(QUICK, rate_limited_seconds=0.01)
    with gathering(
        [Refuse(status)], [Refuse(status)], [Hear(), Say(trade(1))], settings=settings
    ) as (got, server):
        got.until(lambda got: bool(got.prices))
        assert len(server.paths) == 3
    assert len(got.said("lost")) == 2
    assert not got.rows("gap")  # there was nothing before that could have been missed


def test_what_nobody_could_mean_costs_little() -> None:
    """A torn frame is told once; one beyond the size that is allowed ends its connection only."""
    small = dataclasses.replace(QUICK, frame_bytes_max=1000)
    huge = [Hear(), Say(trade(1), "{torn", "{torn"), Say("x" * 5000)]
    with gathering(huge, [Hear(), Say(trade(2))], settings=small) as (got, server):
        got.until(lambda got: len(got.prices) >= 2)
        assert len(server.paths) == 2
    assert got.prices == [1.0, 2.0]
    assert len([note for note in got.said("note") if "{torn" in note]) == 1
    assert len(got.rows("gap")) >= 1


def test_nobody_there_from_the_first() -> None:
    """Where no connection ever stood, so many attempts are enough."""
    with socket_provider([]) as server:
        url = server.url
    source = open_source("finnhub", settings={"socket_url": url, "api_key": KEY})
    got = Gathered(Feed(source, ["ACME"], ["trade"], dataclasses.replace(QUICK, attempts_max=2)))
    with pytest.raises(UnreachableError) as raised:
        got.until(lambda _: False)
    assert KEY not in str(raised.value)
    assert len(got.said("lost")) == 1


def test_a_stop_while_disconnected_tells_the_gap() -> None:
    """What was lost before a stop is recorded, though no connection followed."""
    with gathering([Hear(), Say(trade(1)), Cut()], [Refuse(503)]) as (got, _):
        got.until(lambda got: len(got.said("lost")) >= 2)
    [gap] = got.rows("gap")
    assert gap["filled"] is False
    assert "stopped before another connection stood" in gap["reason"]


def test_frames_can_be_recorded_without_the_key() -> None:
    """Each frame is told to the recorder, sent ones too, its address without the key."""
    kept: list[tuple[Frame, int]] = []
    with socket_provider([Hear(), Say(trade(1)), Cut()], [Hear(), Say(trade(2))]) as server:
        feed = Feed(
            finnhub(server), ["ACME"], ["trade"], QUICK, record=lambda *one: kept.append(one)
        )
        Gathered(feed).until(lambda got: len(got.prices) >= 2)
    assert [(frame.direction, number) for frame, number in kept][:4] == [
        ("out", 0), ("in", 0), ("out", 1), ("in", 1),
    ]  # fmt: skip
    assert {frame.url for frame, _ in kept} == {server.url}


def test_a_source_without_a_socket_is_wrong_use() -> None:
    """Yahoo's history cannot be listened to."""
    with pytest.raises(UsageError, match="by itself"):
        Feed(open_source("sample"), ["AAPL"], [])

"""What arrives is conflated: pages see the newest bar of each series, never an older one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickerlake.records import STATE_RANK
from tickerlake.testing.page import BarsChain, bars_table
from tickerlake.web import WebSettings
from tickerlake.web.conflate import BARS_PER_FRAME_MAX, conflate
from tickerlake.web.hub import Hub
from tickerlake.web.stream import StreamEndpoint

DAY = datetime(2013, 3, 1, tzinfo=UTC)
FETCHED = datetime(2013, 3, 1, 20, tzinfo=UTC)
Frames = AsyncGenerator[bytes]


def bar(symbol: str = "AAPL", close: float = 1.0, **more: Any) -> dict[str, Any]:
    return {"symbol": symbol, "ts": DAY, "close": close, "fetched_at": FETCHED, **more}


def read(frame: bytes) -> dict[str, Any]:
    """The data of a frame's last event that carries bars."""
    events = [part for part in frame.decode().split("\n\n") if part.startswith("data: ")]
    return dict(json.loads(events[-1].removeprefix("data: ")))


def closes(frame: bytes) -> dict[str, float]:
    return {one["symbol"]: one["close"] for one in read(frame)["bars"]}


async def next_bars(frames: Frames) -> bytes:
    """The next frame that carries bars; beats between are passed over."""
    async for frame in frames:
        if b'"bars":' in frame:
            return frame
    raise AssertionError("the stream ended")


def with_hub(story: Callable[[Hub], Awaitable[None]], **settings: Any) -> None:
    """Run a story against a hub in its event loop, and close it after."""

    async def run() -> None:
        hub = Hub(BarsChain().pipeline, WebSettings(frame_milliseconds=1, **settings))
        running = asyncio.create_task(hub.run())
        try:
            await asyncio.wait_for(story(hub), 30)
        finally:
            hub.close()
            await running

    # In a thread of its own: a browser test before it leaves its event loop running in this one.
    with ThreadPoolExecutor(1) as threads:
        threads.submit(lambda: asyncio.run(run())).result()


def test_a_new_page_gets_the_present_state_then_what_changes() -> None:
    """On connect the newest bar of each series is there; later frames carry changes alone."""

    async def story(hub: Hub) -> None:
        hub.feed("bar", bars_table([bar(close=1.0), bar("MSFT", 5.0)]))
        early = hub.frames(None)
        await next_bars(early)
        late = hub.frames(None)
        assert closes(await next_bars(late)) == {"AAPL": 1.0, "MSFT": 5.0}
        hub.feed("bar", bars_table([bar(close=2.0, event_id=2)]))
        assert closes(await next_bars(late)) == {"AAPL": 2.0}

    with_hub(story)


def test_a_page_hears_only_of_the_symbols_that_it_shows() -> None:
    """`symbols` limits both the first state and what follows."""

    async def story(hub: Hub) -> None:
        hub.feed("bar", bars_table([bar(), bar("MSFT")]))
        frames = hub.frames(frozenset({"MSFT"}))
        assert closes(await next_bars(frames)) == {"MSFT": 1.0}
        hub.feed("bar", bars_table([bar(close=3.0, event_id=9)]))
        hub.feed("bar", bars_table([bar("MSFT", 4.0, event_id=9)]))
        assert closes(await next_bars(frames)) == {"MSFT": 4.0}

    with_hub(story)


def test_an_older_state_never_takes_the_place_of_a_newer_one() -> None:
    """A `forming` bar that comes late, a repeat and a dead letter move nothing."""

    async def story(hub: Hub) -> None:
        frames = hub.frames(None)
        hub.feed("bar", bars_table([bar(close=7.0, state="final")]))
        assert closes(await next_bars(frames)) == {"AAPL": 7.0}
        late = FETCHED + timedelta(hours=1)
        hub.feed("bar", bars_table([bar(close=9.0, state="forming", fetched_at=late)]))
        hub.feed("bar", bars_table([bar(close=7.0, state="final")]))
        hub.feed("bar", bars_table([bar(close=-1.0, fetched_at=late, dead_reason="negative")]))
        hub.feed("bar", bars_table([bar("NEXT", 1.0)]))
        assert closes(await next_bars(frames)) == {"NEXT": 1.0}

    with_hub(story)


def test_a_session_that_ends_as_the_next_one_opens_loses_nothing() -> None:
    """The final bar and the next forming one come in one batch: the page gets both."""
    table = bars_table(
        [
            bar(close=7.0, state="final", volume=9.0),
            bar(ts=DAY + timedelta(days=1), close=8.0, state="forming", volume=None),
        ]
    )
    shown = [json.loads(one.fragment) for one in conflate([table])]
    assert [(one["close"], one["state"], one["volume"]) for one in shown] == [
        (7.0, "final", 9.0),
        (8.0, "forming", None),
    ]


def test_a_flood_of_history_is_cut_and_the_page_told_to_reload() -> None:
    """Ten years of a symbol in one batch are no frame: the newest come, and a hint."""

    async def story(hub: Hub) -> None:
        rows = [bar(ts=DAY + timedelta(days=day), close=float(day)) for day in range(1000)]
        frames = hub.frames(None)
        hub.feed("bar", bars_table(rows))
        shown = read(await next_bars(frames))
        assert [one["close"] for one in shown["bars"]] == [997.0, 998.0, 999.0]
        assert len(shown["bars"]) == BARS_PER_FRAME_MAX
        assert shown["reload"] == [["test", "AAPL", "1d"]]

    with_hub(story)


def test_a_slow_page_is_skipped_and_then_gets_the_newest() -> None:
    """While a page does not read, others go on; then one frame brings it to the present."""

    async def story(hub: Hub) -> None:
        slow, quick = hub.frames(None), hub.frames(None)
        hub.feed("bar", bars_table([bar(close=0.0, event_id=0)]))
        await next_bars(slow)
        await next_bars(quick)
        for number in range(1, 50):
            hub.feed("bar", bars_table([bar(close=float(number), event_id=number)]))
            assert closes(await next_bars(quick)) == {"AAPL": float(number)}
        caught_up = await next_bars(slow)
        assert closes(caught_up) == {"AAPL": 49.0}
        assert read(caught_up)["reload"] == []  # the same bar all the time: nothing was missed
        tomorrow = DAY + timedelta(days=1)
        for number, ts in enumerate((DAY, tomorrow)):
            hub.feed("bar", bars_table([bar(ts=ts, close=99.0 + number, event_id=100)]))
            await next_bars(quick)
        caught_up = await next_bars(slow)
        assert closes(caught_up) == {"AAPL": 100.0}
        assert read(caught_up)["reload"] == [["test", "AAPL", "1d"]]
        assert hub.counts.skipped > 0

    with_hub(story)


@pytest.mark.parametrize(
    ("age", "badge"), [(timedelta(0), "LIVE"), (timedelta(days=400), "REPLAY")]
)
def test_freshness_is_the_time_since_arrival(
    age: timedelta, badge: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New bars are LIVE, old bars that arrive now a REPLAY, and a feed that stops is STALE."""
    monkeypatch.delenv("TICKERLAKE_NOW", raising=False)

    async def story(hub: Hub) -> None:
        assert hub.freshness().badge == "STALE"
        frames = hub.frames(None)
        hub.feed("bar", bars_table([bar(ts=datetime.now(UTC) - age)]))  # noqa: TID251
        assert read(await next_bars(frames))["badge"] == badge
        async for frame in frames:
            if b'"badge":"STALE"' in frame:
                break

    with_hub(story, stale_after_seconds=0.4)


def test_a_bar_at_the_end_of_time_does_not_end_the_stream() -> None:
    """A date that somebody mistyped is shown like any other."""

    async def story(hub: Hub) -> None:
        frames = hub.frames(None)
        hub.feed("bar", bars_table([bar(ts=datetime(9999, 12, 31, tzinfo=UTC))]))
        await next_bars(frames)
        hub.feed("bar", bars_table([bar("MSFT", 5.0)]))
        assert closes(await next_bars(frames)) == {"MSFT": 5.0}

    with_hub(story)


def test_a_page_that_reads_nothing_ends_with_the_server() -> None:
    """Cut off because the server stops, its stream ends without an error to log."""

    async def story(hub: Hub) -> None:
        full = asyncio.Event()

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.body":
                full.set()
                await receive()

        async def receive() -> dict[str, Any]:
            await asyncio.Event().wait()
            return {}

        scope = {"query_string": b""}
        serving = asyncio.create_task(StreamEndpoint(hub, WebSettings())(scope, receive, send))  # type: ignore[arg-type]
        await full.wait()
        hub.close()
        serving.cancel()
        await serving

    with_hub(story)


def test_a_clock_that_was_set_makes_a_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    """With TICKERLAKE_NOW nothing is called LIVE, however new it looks."""
    monkeypatch.setenv("TICKERLAKE_NOW", "2013-03-01T20:00:00Z")

    async def story(hub: Hub) -> None:
        frames = hub.frames(None)
        hub.feed("bar", bars_table([bar()]))
        assert read(await next_bars(frames))["badge"] == "REPLAY"

    with_hub(story)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["A", "B"]),
            st.sampled_from(["1d", "1h"]),
            st.integers(0, 6),
            st.sampled_from(list(STATE_RANK)),
            st.integers(0, 3),
            st.integers(-2, 2),
            st.booleans(),
        ),
        max_size=60,
    ),
    st.integers(1, 5),
)
def test_conflation_agrees_with_a_plain_model(records: list[tuple[Any, ...]], parts: int) -> None:
    """Whatever comes in whatever batches, the newest bars of each series are what is left."""
    model: dict[tuple[str, str], dict[int, tuple[Any, ...]]] = {}
    rows = []
    for number, (symbol, interval, day, state, fetched, event, dead) in enumerate(records):
        ts, at = DAY + timedelta(days=day), FETCHED + timedelta(seconds=fetched)
        rows.append(
            bar(
                symbol, float(number), interval=interval, ts=ts, state=state, fetched_at=at,
                event_id=event, dead_reason="dead" if dead else None,
            )
        )  # fmt: skip
        rank = (STATE_RANK[state], fetched, event)
        bars = model.setdefault((symbol, interval), {})
        if not dead and rank >= bars.get(day, (rank,))[0]:
            bars[day] = (rank, float(number))
    table = bars_table(rows) if rows else bars_table([bar()]).slice(0, 0)
    size = max(1, table.num_rows // parts)
    batches: list[pa.Table] = [table.slice(i, size) for i in range(0, table.num_rows, size)]
    shown = conflate(batches or [table])
    expected = {
        (symbol, interval, bars[day][1])
        for (symbol, interval), bars in model.items()
        for day in sorted(bars)[-BARS_PER_FRAME_MAX:]
    }
    got = {(one.series[1], one.series[2], json.loads(one.fragment)["close"]) for one in shown}
    assert got == expected
    for one in shown:
        assert one.more == (len(model[one.series[1], one.series[2]]) > BARS_PER_FRAME_MAX)

"""The live stream's hub: what arrived, encoded once, sent to every page at its own pace.

The promise to a page: it sees the newest bar of each series it asked for, never all of them. While
its connection is full it is skipped, and then gets the newest state at once; nothing waits for it.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import pyarrow as pa
from starlette.concurrency import run_in_threadpool

from tickerlake import clock
from tickerlake.errors import TickerlakeError
from tickerlake.records import Kind
from tickerlake.web.base import Pipeline
from tickerlake.web.conflate import INTERVAL_SPANS, Bar, conflate
from tickerlake.web.settings import WebSettings

__all__ = ["Badge", "Freshness", "Hub", "HubCounts"]

Badge = Literal["LIVE", "STALE", "REPLAY"]
#: How often pages hear that the connection lives, and how the pipeline is.
_BEAT_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Freshness:
    """How fresh the live stream is. The page adds DISCONNECTED, which only it can see."""

    #: Since the last record arrived, by the machine's clock; null when none has arrived yet.
    age_seconds: float | None
    badge: Badge


@dataclass(slots=True)
class HubCounts:
    """What the hub has done since its start, for /metrics."""

    records: int = 0
    bars: int = 0
    frames: int = 0
    skipped: int = 0


@dataclass(slots=True)
class _Series:
    """The newest bar of one series."""

    newest: Bar
    #: The last turn that changed anything in it.
    turn: int
    #: The last turn after which the newest bar alone does not tell all: a bar was added, or an
    #: older one mended. A page that missed it must reload its chart.
    reload_turn: int


@dataclass(slots=True)
class _Frame:
    """What one turn brought: fragments by symbol, and series with more than the frame carries."""

    #: An event for every page, or nothing.
    notice: bytes = b""
    fragments: dict[str, list[bytes]] = field(default_factory=dict)
    more: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)
    #: Ready frames by what pages asked for; pages with the same wish share one.
    encoded: dict[frozenset[str] | None, bytes] = field(default_factory=dict)


class Hub:
    """Takes Arrow batches from the feed's thread, gives frames to pages in the event loop."""

    def __init__(self, pipeline: Callable[[], Pipeline], settings: WebSettings) -> None:
        self._pipeline = pipeline
        self._settings = settings
        self._lock = threading.Lock()
        self._arrived: list[pa.Table] = []
        self._arrived_at: float | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._work = asyncio.Event()
        self._next = asyncio.Event()
        self._turn = 0
        self._frame = _Frame()
        self._series: dict[tuple[str, str, str], _Series] = {}
        self._by_symbol: dict[str, list[tuple[str, str, str]]] = {}
        #: (arrival, end of the newest bar) of the last turns, to tell a replay from live data.
        self._ends: deque[tuple[float, datetime]] = deque()
        #: The next turn's event about the pipeline.
        self._coming = b""
        self._closed = False
        self.is_running = False
        self.clients = 0
        self.counts = HubCounts()

    def feed(self, kind: Kind, table: pa.Table) -> None:
        """Take what arrived; called by the feed from any thread, returns at once."""
        if kind != "bar" or not table.num_rows:
            return
        with self._lock:
            first = not self._arrived
            self._arrived.append(table)
            self._arrived_at = clock.monotonic_seconds()
        if first and self._loop is not None and not self._closed:
            self._loop.call_soon_threadsafe(self._work.set)

    async def run(self) -> None:
        """Turn arrivals into frames, at most one per `frame_milliseconds`, until closed."""
        self._loop = asyncio.get_running_loop()
        self._work.set()  # for what arrived before the loop ran
        self.is_running = True
        try:
            await self._turns()
        finally:
            self.is_running = False
            self.close()

    async def _turns(self) -> None:
        async with asyncio.TaskGroup() as group:
            beat = group.create_task(self._beat())
            while not self._closed:
                await self._work.wait()
                self._work.clear()
                self._take_turn()
                await asyncio.sleep(self._settings.frame_milliseconds / 1000)
            beat.cancel()

    def close(self) -> None:
        """End every page's stream and the run; called in the event loop."""
        self._closed = True
        self._work.set()
        self._wake()

    @property
    def is_closed(self) -> bool:
        """Whether the server stops."""
        return self._closed

    def freshness(self) -> Freshness:
        """LIVE, STALE or REPLAY, and since when."""
        now = clock.monotonic_seconds()
        age = None if self._arrived_at is None else now - self._arrived_at
        if age is None or age > self._settings.stale_after_seconds:
            return Freshness(age, "STALE")
        old = clock.now() - timedelta(days=self._settings.replay_after_days)
        replay = bool(self._ends) and max(end for _, end in self._ends) < old
        pinned = clock.pinned_now() is not None
        return Freshness(age, "REPLAY" if replay or pinned else "LIVE")

    async def frames(self, symbols: frozenset[str] | None) -> AsyncGenerator[bytes]:
        """Server-sent events for one page: first the present state, then what changes.

        Args:
            symbols: What the page shows; null for everything.
        """
        self.clients += 1
        try:
            seen = self._turn
            yield self._hello() + self._state(symbols, since=-1)
            while not self._closed:
                if seen == self._turn:
                    await self._next.wait()
                    continue
                skipped, before, seen = self._turn - seen - 1, seen, self._turn
                frame = self._state(symbols, since=before) if skipped else self._shared(symbols)
                self.counts.skipped += skipped
                if frame or self._frame.notice:
                    self.counts.frames += 1
                    yield frame + self._frame.notice
        finally:
            self.clients -= 1

    def _take_turn(self) -> None:
        """Conflate what arrived, encode each bar once, and wake the pages."""
        with self._lock:
            batches, self._arrived = self._arrived, []
            arrived_at = self._arrived_at
        bars = conflate(batches) if batches else []
        notice, self._coming = self._coming, b""
        if not bars and not notice:
            return
        self._turn += 1
        self._frame = _Frame(notice)
        self.counts.records += sum(batch.num_rows for batch in batches)
        self.counts.bars += len(bars)
        for bar in bars:
            self._place(bar)
        if bars and arrived_at is not None:
            self._ends.append((arrived_at, max(_end(bar) for bar in bars)))
            while self._ends[0][0] < arrived_at - self._settings.stale_after_seconds:
                self._ends.popleft()
        self._wake()

    def _place(self, bar: Bar) -> None:
        symbol = bar.series[1]
        known = self._series.get(bar.series)
        if known is None:
            self._series[bar.series] = _Series(bar, self._turn, self._turn)
            self._by_symbol.setdefault(symbol, []).append(bar.series)
        else:
            ts, newest_ts = bar.order[0], known.newest.order[0]
            if ts == newest_ts and bar.order <= known.newest.order:
                return  # a repeat, or an earlier state of the bar that is shown
            known.turn = self._turn
            if ts != newest_ts:
                known.reload_turn = self._turn
            if ts >= newest_ts:
                known.newest = bar
        self._frame.fragments.setdefault(symbol, []).append(bar.fragment)
        if bar.more:
            more = self._frame.more.setdefault(symbol, [])
            if bar.series not in more:
                more.append(bar.series)

    def _shared(self, symbols: frozenset[str] | None) -> bytes:
        """This turn's frame, encoded once for all pages with the same wish."""
        frame = self._frame
        ready = frame.encoded.get(symbols)
        if ready is None:
            wanted = frame.fragments if symbols is None else symbols & frame.fragments.keys()
            fragments = [part for symbol in wanted for part in frame.fragments[symbol]]
            more = [series for symbol in wanted for series in frame.more.get(symbol, ())]
            ready = frame.encoded[symbols] = self._encode(fragments, more)
        return ready

    def _state(self, symbols: frozenset[str] | None, *, since: int) -> bytes:
        """The newest bars that changed after turn `since`, and what to reload after a skip."""
        wanted = self._by_symbol if symbols is None else symbols & self._by_symbol.keys()
        changed = [
            (name, self._series[name])
            for symbol in wanted
            for name in self._by_symbol[symbol]
            if self._series[name].turn > since
        ]
        more = [name for name, series in changed if 0 <= since < series.reload_turn]
        return self._encode([series.newest.fragment for _, series in changed], more)

    def _encode(self, fragments: list[bytes], more: list[tuple[str, str, str]]) -> bytes:
        if not fragments and not more:
            return b""
        reload = json.dumps(more, separators=(",", ":")).encode()
        bars = b",".join(fragments)
        return b'data: {"bars":[' + bars + b'],"reload":' + reload + b"," + self._fresh() + b"}\n\n"

    def _fresh(self) -> bytes:
        fresh = self.freshness()
        age = "null" if fresh.age_seconds is None else f"{fresh.age_seconds * 1000:.0f}"
        return f'"badge":"{fresh.badge}","age_ms":{age}'.encode()

    def _hello(self) -> bytes:
        hello = {
            "stale_after_ms": self._settings.stale_after_seconds * 1000,
            "beat_ms": _BEAT_SECONDS * 1000,
            "pinned_now": clock.pinned_now(),
        }
        text = json.dumps(hello, separators=(",", ":"))[:-1].encode()
        return b"retry: 1000\nevent: hello\ndata: " + text + b"," + self._fresh() + b"}\n\n"

    async def _beat(self) -> None:
        """Tell pages every second that the connection lives, and how the pipeline is."""
        while True:
            if self.clients:
                self._coming = await self._pipeline_event()
                self._work.set()
            await asyncio.sleep(_BEAT_SECONDS)

    async def _pipeline_event(self) -> bytes:
        body: dict[str, object]
        try:
            pipeline = await run_in_threadpool(self._pipeline)
        except TickerlakeError as error:
            body = {"problem": error.problem, "todo": error.todo}
        else:
            body = {"hops": [asdict(hop) for hop in pipeline.hops]}
        text = json.dumps(body, separators=(",", ":"))[:-1].encode()
        return b"event: beat\ndata: " + text + b"," + self._fresh() + b"}\n\n"

    def _wake(self) -> None:
        self._next.set()
        self._next.clear()


def _end(bar: Bar) -> datetime:
    span = INTERVAL_SPANS.get(bar.series[2], timedelta(0))
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=bar.order[0]) + span
    except OverflowError:  # a date that somebody mistyped must not stop everybody's stream
        return datetime.max.replace(tzinfo=UTC)

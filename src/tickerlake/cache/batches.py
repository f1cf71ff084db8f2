"""Many symbols with one request, where the provider can: what came is kept symbol by symbol."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

from tickerlake import clock
from tickerlake.cache.axis import instant, micros
from tickerlake.cache.flight import flight
from tickerlake.cache.plan import Plan, Planned
from tickerlake.errors import NotFoundError, TickerlakeError
from tickerlake.sources import Answer, BarsRequest, Batches, Limits, Source, select

__all__ = ["bars_of", "counted_once"]

OnAsk = Callable[[BarsRequest], None]


def counted_once(items: Sequence[Planned], source: Source) -> tuple[Planned, ...]:
    """The items, of which only the first one counts a request that several share.

    How many pages it may have the source tells itself (`requests_of`), where it does.
    """
    if not isinstance(source, Batches):
        return tuple(items)
    told = getattr(source, "requests_of", None)
    counted: dict[int, Planned] = {}
    for group in _alike(items, source.limits.symbols_per_request):
        counted |= {id(item): _rest(item, is_told=told is not None) for item in group[1:]}
        if told is not None:
            most = sum(told(len(group), ask) for ask in group[0].asks)
            counted[id(group[0])] = _first(group[0], most, source.limits)
    return tuple(counted.get(id(item), item) for item in items)


def _first(item: Planned, most: int, limits: Limits) -> Planned:
    """All that the group takes."""
    pace = limits.requests_per_second
    seconds = max(0, most - limits.requests_burst) / pace if pace else 0.0
    return dataclasses.replace(item, requests_max=most, seconds=seconds)


def _rest(item: Planned, *, is_told: bool) -> Planned:
    """What its pages may add to a request that another one counts."""
    more = 0 if is_told else item.requests_max - item.requests_min
    seconds = item.seconds * more / item.requests_max if item.requests_max else 0.0
    return dataclasses.replace(item, requests_min=0, requests_max=more, seconds=seconds)


def bars_of(
    source: Batches,
    folder: Path,
    requests: Sequence[BarsRequest],
    *,
    plan: Callable[[Sequence[BarsRequest], int], Plan],
    through: Callable[[BarsRequest, Source, OnAsk, int], Answer],
    on_ask: OnAsk,
) -> dict[str, Answer | Exception]:
    """Ask for what several symbols lack alike at once, then let each symbol's own way go on.

    Two processes that do so at once make one set of requests: the later one waits.

    Args:
        source: The provider.
        folder: The cache's.
        requests: One a symbol, of one interval and range.
        plan: What each lacks at one moment (microseconds).
        through: The cache's way for one symbol over whatever source it is handed, as of a moment.
        on_ask: Told of each request; of one for several symbols when all that came is kept.
    """
    assert isinstance(source, Source)  # noqa: S101 - whoever batches is a source
    asked: list[BarsRequest] = []
    with flight(folder, f"batch {source.name} {requests[0].interval}"):
        now = micros(clock.now())
        handed = _Handed(source, instant(now))

        def on_ask_alone(request: BarsRequest) -> None:
            if not handed.has_given:
                on_ask(request)

        for group in _alike(plan(requests, now).items, source.limits.symbols_per_request):
            symbols = [item.request.symbol for item in group]
            for ask in group[0].asks:
                asked.append(group[0].request)
                try:
                    handed.give(ask, source.bars_of(symbols, ask))
                except NotFoundError:
                    break  # one bad name fails all: each symbol is asked for by itself
                except TickerlakeError as error:
                    handed.give(ask, dict.fromkeys(symbols, error))
                    break
        answers: dict[str, Answer | Exception] = {}
        for request in requests:
            try:
                answers[request.symbol] = through(request, handed, on_ask_alone, now)
            except TickerlakeError as error:
                answers[request.symbol] = error
    for request in asked:
        on_ask(request)
    return answers


def _alike(items: Sequence[Planned], size: int) -> Iterator[list[Planned]]:
    """Items of one range that lack the same parts, at most so many together, at least two."""
    ranges: dict[tuple[Any, ...], list[Planned]] = {}
    for item in items:
        request = item.request
        ranges.setdefault((request.interval, request.start, request.end), []).append(item)
    for same in ranges.values():
        for at in range(0, len(same), size):
            lacking: dict[tuple[Any, ...], list[Planned]] = {}
            for item in same[at : at + size]:
                asks = tuple((ask.start, ask.end) for ask in item.asks)
                if asks:
                    lacking.setdefault(asks, []).append(item)
            yield from (group for group in lacking.values() if len(group) > 1)


class _Handed:
    """A source that has some answers already; each is handed out once, the rest is asked for.

    They are as of the moment at which they were asked for, though a hundred pages take a while.
    """

    def __init__(self, source: Source, at: datetime) -> None:
        self._source = source
        self._at = at
        #: Whether the last answer was one of those that it had already.
        self.has_given = False
        self._given: dict[str, list[tuple[BarsRequest, Answer | Exception]]] = {}

    @property
    def name(self) -> str:
        return self._source.name

    @property
    def limits(self) -> Limits:
        return self._source.limits

    def give(self, ask: BarsRequest, answers: Any) -> None:  # noqa: ANN401 - a mapping of either
        for symbol, answer in answers.items():
            self._given.setdefault(symbol, []).append((ask, answer))

    def bars(self, request: BarsRequest) -> Answer:
        given = self._given.get(request.symbol, [])
        self.has_given = True
        for at, (ask, answer) in enumerate(given):
            if _covers(ask, request):
                del given[at]
                if isinstance(answer, Exception):
                    raise answer
                as_of = min(answer.about.as_of or self._at, self._at)
                about = dataclasses.replace(answer.about, as_of=as_of)
                return dataclasses.replace(answer, bars=select(answer.bars, request), about=about)
        self.has_given = False
        return self._source.bars(request)

    def symbols(self) -> Iterator[str]:
        return self._source.symbols()

    def parse(self, payload: bytes, **told: Any) -> Answer:  # noqa: ANN401 - as a source's
        return self._source.parse(payload, **told)


def _covers(ask: BarsRequest, request: BarsRequest) -> bool:
    """Whether the answer to `ask` holds all that `request` asks for; None is the furthest."""
    begins = ask.start is None or _orderly(ask.start, request.start)
    return begins and (ask.end is None or _orderly(request.end, ask.end))


def _orderly(low: date | datetime | None, high: date | datetime | None) -> bool:
    return low is not None and high is not None and type(low) is type(high) and low <= high

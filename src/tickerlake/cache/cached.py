"""A source that never downloads a settled bar twice: wraps a Source and is a Source."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from tickerlake import clock
from tickerlake.cache.axis import instant, micros
from tickerlake.cache.batches import bars_of, counted_once
from tickerlake.cache.coverage import Coverage
from tickerlake.cache.fetching import Fetching
from tickerlake.cache.flight import flight
from tickerlake.cache.local import keep_copy
from tickerlake.cache.looks import Look, look_at, sketched
from tickerlake.cache.plan import Plan, Planned, cost, parts_of
from tickerlake.cache.reading import answer_from, nothing_there
from tickerlake.cache.settings import CacheSettings
from tickerlake.cache.store import Store
from tickerlake.errors import NotFoundError, RangeError, TickerlakeError
from tickerlake.sources import Answer, BarsRequest, Batches, Limits, Source

__all__ = ["CachedSource"]


class CachedSource:
    """Answers from what is held, and asks the provider only for what is not.

    Promise: a bar that is settled and held is not asked for again, but for the few that prove it is
    still true; a range that two ask for at once is fetched once; after a crash at any moment
    nothing is half believed. The same requests in another order give the same bars, but for
    `fetched_at` and the noise of floats. Where the provider cannot be asked, what is held is
    served, `stale`, and `missing` says what is not there. Offline nobody is asked.

    Not promised: that providers drop no bars, or that prices which nothing explains are wrong; they
    are kept apart (`cache status`), and what was held is served as suspect.
    """

    def __init__(
        self,
        source: Source,
        folder: Path,
        *,
        offline: bool = False,
        host: str | None = None,
        settings: CacheSettings | None = None,
        on_ask: Callable[[BarsRequest], None] = lambda _: None,
    ) -> None:
        """`on_ask` is told after each request to the provider; what came is kept by then."""
        self._source = source
        self._store = Store(folder)
        self._offline = offline
        self._host = host or source.name
        self._settings = settings or CacheSettings()
        self._on_ask = on_ask
        self._extended = bool(getattr(source, "extended_hours", False))

    @property
    def name(self) -> str:
        """The wrapped source's name."""
        return self._source.name

    @property
    def limits(self) -> Limits:
        """The wrapped source's limits."""
        return self._source.limits

    def close(self) -> None:
        """Give back the cache's files."""
        self._store.close()

    def bars(self, request: BarsRequest) -> Answer:
        """The range, from the cache and, where it lacks something, from the provider.

        Raises:
            NotFoundError: The provider does not know the symbol, and nothing of it is held.
            RangeError: The interval, or all of the range, is beyond the provider's limits, and
                nothing of it is held.
            RateLimitedError, UnreachableError, MalformedError: The provider could not be asked,
                and nothing of the range is held.
            StorageError: The cache cannot be read or written.
        """
        return self._bars(request, self._source, self._on_ask)

    def bars_of(
        self, symbols: Sequence[str], request: BarsRequest
    ) -> Mapping[str, Answer | Exception]:
        """As `bars` of each; what they lack alike is asked for together where the provider can.

        `request.symbol` does not count. What fails for one symbol stands in its place.

        Raises:
            RangeError: The source does not have this interval.
            StorageError: The cache cannot be read or written.
        """
        requests = [dataclasses.replace(request, symbol=symbol) for symbol in symbols]
        if isinstance(self._source, Batches) and not (self._offline or self.limits.local):
            return bars_of(
                self._source,
                self._store.folder,
                requests,
                plan=self._plan,
                through=self._bars,
                on_ask=self._on_ask,
            )
        answers: dict[str, Answer | Exception] = {}
        for one in requests:
            try:
                answers[one.symbol] = self.bars(one)
            except TickerlakeError as error:
                answers[one.symbol] = error
        return answers

    def _bars(
        self,
        request: BarsRequest,
        source: Source,
        on_ask: Callable[[BarsRequest], None],
        now: int | None = None,
    ) -> Answer:
        self._require(request)
        if self._offline:
            return self.cached(request)
        if self.limits.local:
            return keep_copy(self._store, source, request)
        moment = self._store.index.moment()
        look = self._look(request, now)
        if not look.missing:
            answer = self._served(look)
            if answer is not None and self._still(look, moment):
                return answer
        with flight(self._store.folder, look.flight):
            look_now = functools.partial(self._look, now=now)
            fetching = Fetching(self._store, source, self._settings, look_now, on_ask=on_ask)
            return fetching.bars(request)

    def cached(self, request: BarsRequest) -> Answer:
        """What is held of the range; asks nobody.

        Raises:
            NotFoundError: Nothing is held of this symbol and interval.
            RangeError: The source does not have this interval, or said that it has no such bars.
        """
        self._require(request)
        look = self._look(request)
        rows, damaged = self._store.rows(look.series, *look.wanted)
        if look.series.id is None:
            raise NotFoundError(
                f"No {request.interval} bars of {request.symbol!r} from {self.name} are cached.",
                expected="bars that were fetched before",
                found="none",
                todo="fetch once without --offline",
            )
        answer = answer_from(self._store, look, self.limits, rows)
        nothing = nothing_there(look)
        if nothing is not None and not answer.bars.num_rows:
            raise nothing
        notes = (f"{request.symbol} {request.interval}: from the cache alone", *answer.notes)
        missing = answer.missing
        if damaged:
            files = "a damaged file" if len(damaged) == 1 else f"{len(damaged)} damaged files"
            name = f"{request.symbol} {request.interval}"
            missing += (f"{name}: what {files} of the cache held (fetch without --offline)",)
        return dataclasses.replace(answer, notes=notes, missing=missing)

    def plan(self, requests: Sequence[BarsRequest]) -> Plan:
        """What `bars` of each would send now, and what it would cost; asks nobody.

        Raises:
            RangeError: The source does not have an interval.
        """
        return self._plan(requests, micros(clock.now()))

    def requests(self, request: BarsRequest) -> int:
        """How many requests `bars` would send now, at most.

        Raises:
            RangeError: The source does not have this interval.
        """
        return self.plan([request]).requests_max

    def symbols(self) -> Iterator[str]:
        """The wrapped source's symbols."""
        return self._source.symbols()

    def parse(
        self,
        payload: bytes,
        *,
        symbol: str | None = None,
        interval: str | None = None,
        received_at: datetime | None = None,
    ) -> Answer:
        """As the wrapped source; a parsed recording is not kept."""
        return self._source.parse(
            payload, symbol=symbol, interval=interval, received_at=received_at
        )

    def _require(self, request: BarsRequest) -> None:
        self.limits.require(request.interval, source=self.name)
        if not request.symbol.strip():
            raise NotFoundError(
                "A symbol is missing.", expected="a symbol", found="nothing", todo="name one"
            )

    def _plan(self, requests: Sequence[BarsRequest], now: int) -> Plan:
        """All of one moment: those that end at it lack the same, then."""
        planned: list[Planned] = []
        told: set[str] = set()
        for request in requests:
            symbol = request.symbol.strip().upper()
            # Bars of another interval, asked for before, will have told where the symbol trades:
            # any zone makes as many requests as the true one.
            planned.append(self._planned(request, now, zone="UTC" if symbol in told else None))
            told.add(symbol)
        return Plan(counted_once(planned, self._source))

    def _look(self, request: BarsRequest, now: int | None = None, zone: str | None = None) -> Look:
        return look_at(
            self._store,
            request,
            source=self.name,
            limits=self.limits,
            settings=self._settings,
            extended=self._extended,
            now=now,
            zone=zone,
        )

    def _served(self, look: Look) -> Answer | None:
        """The answer, if nothing that it needs is damaged."""
        rows, damaged = self._store.rows(look.series, *look.wanted)
        if damaged:
            return None
        answer = answer_from(self._store, look, self.limits, rows)
        if answer.bars.num_rows:
            return answer
        nothing = nothing_there(look)
        if nothing is not None:
            raise nothing
        name = f"{look.request.symbol} {look.request.interval}"
        note = (
            f"{name}: {self.name} has no bars in this range, as far as is known; it was not asked"
        )
        return dataclasses.replace(answer, notes=(*answer.notes, note))

    def _still(self, look: Look, moment: tuple[int, int]) -> bool:
        """Whether nobody pruned or repaired the series between the look and the reading."""
        if self._store.index.moment() == moment:
            return True
        again = self._look(look.request)
        return (again.series, again.actions) == (look.series, look.actions)

    def _planned(self, request: BarsRequest, now: int, zone: str | None) -> Planned:
        self._require(request)
        look = self._look(request, now, zone)
        covered = look.series.held.coverage.within(*look.wanted)
        planned = Planned(request, self.name, self._host, cached=parts_of(covered))
        if self._offline or self.limits.local:
            return planned
        denial = self._store.index.denial(self.name, look.asked_symbol)
        if denial is not None and look.now < denial.until:
            why = f"{denial.why} Asked again after {instant(denial.until):%F %R}Z."
            return dataclasses.replace(planned, out_of_reach=parts_of(look.missing, why))
        rows, _ = self._store.rows(look.series)
        plan = sketched(look, rows)
        asks = tuple(look.request_of(ask) for ask in plan.asks)
        told = [self._requests_of(ask) for ask in asks]
        pages, bytes_ = cost(
            len(asks),
            Coverage.of((ask.start, ask.end) for ask in plan.asks),
            request.interval,
            self.limits,
            round_the_clock=look.market.calendar is None,
        )
        # What a source tells holds its pages and its other requests (events).
        is_paged = request.interval in self.limits.rows_per_page
        most = pages if is_paged and None in told else sum(count or 1 for count in told)
        pace = self.limits.requests_per_second
        days = self.limits.look_back_days.get(request.interval)
        why = f"{self.name} keeps {days or 0:g} days of {request.interval}"
        return dataclasses.replace(
            planned,
            asks=asks,
            requests_min=len(asks) if is_paged else most,
            requests_max=most,
            out_of_reach=parts_of(plan.out_of_reach, why),
            bytes=bytes_,
            seconds=max(0, most - self.limits.requests_burst) / pace if pace else 0.0,
        )

    def _requests_of(self, ask: BarsRequest) -> int | None:
        """What the source itself says, where it does (`requests`): days may come with events."""
        told = getattr(self._source, "requests", None)
        try:
            return None if told is None else int(told(ask))
        except RangeError:  # the edge of its look-back moved on: it will say so itself
            return 1

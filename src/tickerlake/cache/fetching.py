"""One fetch, while its lock is held: look, plan, ask, absorb, until nothing is missing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from tickerlake import clock
from tickerlake.cache.absorb import Absorbed, Case, absorb, emptied
from tickerlake.cache.axis import (
    DAY,
    SECOND,
    date_at,
    instant,
    micros,
)
from tickerlake.cache.coverage import Coverage
from tickerlake.cache.flight import flight
from tickerlake.cache.index import Denial
from tickerlake.cache.looks import Look, sketched
from tickerlake.cache.planner import Ask
from tickerlake.cache.reading import answer_from, nothing_there
from tickerlake.cache.rows import require_anchors
from tickerlake.errors import (
    LimitError,
    MalformedError,
    NotFoundError,
    RangeError,
    TickerlakeError,
    UnreachableError,
)
from tickerlake.sources import Answer, BarsRequest, Source, empty_answer, select

if TYPE_CHECKING:
    from tickerlake.cache.settings import CacheSettings
    from tickerlake.cache.store import Store

__all__ = ["Fetching"]

#: Looks until nothing is missing: a symbol's new holder, or a damaged file, makes a second one.
_ROUNDS: Final = 5
_HOUR: Final = 3600 * SECOND
_DENIAL_WAITS: Final = (_HOUR, 6 * _HOUR, DAY, 3 * DAY, 7 * DAY)


class Fetching:
    """The work of one `CachedSource.bars`; whoever makes it holds the lock of its series."""

    def __init__(
        self,
        store: Store,
        source: Source,
        settings: CacheSettings,
        look: Callable[[BarsRequest], Look],
        *,
        on_ask: Callable[[BarsRequest], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._source = source
        self._settings = settings
        self._look = look
        self._on_ask = on_ask
        self._live = round(settings.live_seconds * SECOND)
        self._notes: list[str] = []
        self._missing: list[str] = []
        self._trouble: TickerlakeError | None = None
        self._nothing: RangeError | None = None
        #: What was asked for in this call, of the generation that is served.
        self._asked = Coverage()

    def bars(self, request: BarsRequest) -> Answer:
        """Ask for what is missing, then answer from what is held."""
        out_of_reach = Coverage()
        for _ in range(_ROUNDS):
            look = self._sound(request)
            look = dataclasses.replace(look, missing=look.missing - self._asked)
            rows, _ = self._store.rows(look.series)
            plan = sketched(look, rows)
            out_of_reach |= plan.out_of_reach
            if not plan.asks or self._denied(look):
                break
            for ask in plan.asks:
                self._asked |= Coverage.of([look.span_of(ask)])
                goes_on = self._ask(request, ask)
                self._on_ask(request)
                if not goes_on:
                    break
            if self._trouble is not None:
                break
        return self._answer(request, out_of_reach)

    def _sound(self, request: BarsRequest) -> Look:
        """The look, after files that are damaged were set aside."""
        look = self._look(request)
        for series in (look.series, look.actions):
            if series is None or series.id is None:
                continue
            _, damaged = self._store.rows(series)
            if damaged:
                self._store.set_aside(series, damaged)
                n = len(damaged)
                files = "a damaged file was" if n == 1 else f"{n} damaged files were"
                self._notes.append(f"cache: {files} set aside; what was lost is asked for again")
        return self._look(request)

    def _denied(self, look: Look) -> bool:
        """Whether the provider lately said that it does not know the symbol."""
        denial = self._store.index.denial(self._source.name, look.asked_symbol)
        if denial is None or look.now >= denial.until:
            return False
        self._trouble = NotFoundError(
            denial.why,
            found=f"said before; asked again after {instant(denial.until):%F %R}Z",
            todo="check the spelling of the symbol",
        )
        return True

    def _ask(self, request: BarsRequest, ask: Ask, *, insist: bool = False) -> bool:
        """One request, absorbed. False: what is held has changed so that the plan must, too."""
        look = self._look(request)
        if look.rules.edge is not None:  # checked again now that it is sent
            ask = dataclasses.replace(ask, start=max(ask.start, look.rules.edge))
            if ask.start >= ask.end:
                return True
        try:
            answer = self._source.bars(look.request_of(ask))
            require_anchors(answer.bars, request.interval)
        except NotFoundError as error:
            self._deny(look, error)
            return False
        except RangeError as error:
            self._nothing = error
            answer = None
        except (UnreachableError, MalformedError, LimitError) as error:
            self._trouble = error
            return False
        self._allow(look)
        if answer is None or not answer.bars.num_rows:
            self._absorb_empty(look, ask, answer)
            return True
        self._notes += answer.notes
        self._missing += answer.missing
        absorbed = absorb(self._case(look, ask), answer, insist=insist)
        return self._doubt(look, ask, answer) if absorbed.doubt else self._keep(look, ask, absorbed)

    def _keep(self, look: Look, ask: Ask, absorbed: Absorbed) -> bool:
        self._notes += absorbed.notes
        self._store.commit(absorbed.changes)
        if absorbed.changes[0].series.generation == look.series.generation:
            return True
        self._asked = Coverage.of([look.span_of(ask)])
        return False

    def _case(self, look: Look, ask: Ask) -> Case:
        return Case(self._store, look, ask, self._source.limits, self._live)

    def _doubt(self, look: Look, ask: Ask, answer: Answer) -> bool:
        """Nothing that is known explains the prices: learn of events, then ask once more."""
        request = look.request
        if request.interval == "1d" or "1d" not in self._source.limits.intervals:
            # Events that explain it may lie after the range.
            wide = Ask(ask.start, max(ask.end, look.limit), is_open=True)
            return self._ask(request, wide, insist=True)
        try:
            self._learn(BarsRequest(request.symbol, "1d", date_at(ask.start)))
        except TickerlakeError as error:
            self._notes.append(f"{request.symbol} 1d: {error.problem}")
        absorbed = absorb(self._case(look, ask), answer, insist=False)
        if absorbed.doubt:
            return self._ask(request, ask, insist=True)
        return self._keep(look, ask, absorbed)

    def _learn(self, daily: BarsRequest) -> None:
        with flight(self._store.folder, self._look(daily).flight):
            Fetching(self._store, self._source, self._settings, self._look).bars(daily)

    def _absorb_empty(self, look: Look, ask: Ask, answer: Answer | None) -> None:
        if answer is not None:
            self._notes += answer.notes
        held, _ = self._store.rows(look.series, *look.span_of(ask))
        if held.num_rows:
            # A listed symbol without bars that it had: the provider is not well.
            self._trouble = MalformedError(
                f"{self._source.name} no longer tells bars of {look.request.symbol} that it told.",
                expected="the bars that are cached, among others",
                found="none",
                todo="try again later; what is cached is kept",
            )
            return
        why = self._nothing if answer is None else None
        self._store.commit(emptied(self._case(look, ask), answer or empty_answer(), why))

    def _deny(self, look: Look, error: NotFoundError) -> None:
        before = self._store.index.denial(self._source.name, look.asked_symbol)
        tries = 1 if before is None else before.tries + 1
        wait = _DENIAL_WAITS[min(tries, len(_DENIAL_WAITS)) - 1]
        denial = Denial(tries, micros(clock.now()) + wait, error.problem)
        self._store.index.deny(self._source.name, look.asked_symbol, denial)
        self._trouble = error

    def _allow(self, look: Look) -> None:
        symbol = look.asked_symbol
        if self._store.index.denial(self._source.name, symbol) is not None:
            self._store.index.deny(self._source.name, symbol, None)

    def _answer(self, request: BarsRequest, out_of_reach: Coverage) -> Answer:
        look = self._look(request)
        rows, _ = self._store.rows(look.series, *look.wanted)
        held = select(rows, request).num_rows
        name = f"{request.symbol} {request.interval}"
        if self._trouble is not None and not held:
            raise self._trouble
        nothing = self._nothing or nothing_there(look)
        if nothing is not None and not held:
            raise nothing
        limits = self._source.limits
        days = limits.look_back_days.get(request.interval)
        if out_of_reach and not held and not look.missing - out_of_reach:
            raise RangeError(
                f"{self._source.name} no longer has {name} that far back.",
                expected=f"a range within the last {days or 0:g} days",
                found=f"{request.start} to {request.end}",
                todo="ask for a later range, or a longer interval",
            )
        answer = answer_from(self._store, look, limits, rows)
        missing = [*self._missing, *answer.missing]
        for low, high in out_of_reach:
            part = f"{name} from {instant(low):%F %R}Z to {instant(high):%F %R}Z"
            missing.append(f"{part}: {self._source.name} keeps {days or 0:g} days")
        notes = [*self._notes, *answer.notes]
        if self._trouble is not None:
            error = self._trouble
            notes.append(f"{name}: stale: {error.problem} What was cached before is served.")
            for low, high in look.missing - out_of_reach:
                part = f"{name} from {instant(low):%F %R}Z to {instant(min(high, look.now)):%F %R}Z"
                missing.append(f"{part}: {error.problem} ({error.todo})")
        return dataclasses.replace(
            answer,
            notes=tuple(dict.fromkeys(notes)),
            missing=tuple(dict.fromkeys(missing)),
            stale=self._trouble is not None,
        )

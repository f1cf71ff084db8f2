"""Symbols that became others: who tells it is asked, and the history goes on under the new one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake import clock
from tickerlake.errors import NotFoundError, TickerlakeError
from tickerlake.records import conform
from tickerlake.search.index import Changes, SymbolIndex
from tickerlake.sources import (
    Answer,
    BarsRequest,
    Batches,
    Limits,
    Rename,
    Renames,
    Source,
    empty_answer,
)

__all__ = ["Followed", "SymbolChanges"]

#: A symbol without a bar for so long has ended, or is not traded: worth a question.
_ENDED: Final = timedelta(days=10)
#: So long an answer about changes is believed.
_FRESH: Final = timedelta(days=7)
_CHANGES_MAX: Final = 10


class SymbolChanges:
    """Which symbols became others, from providers that tell; each is asked once a week."""

    def __init__(
        self, index: SymbolIndex, sources: Callable[[], Mapping[str, Source]] = dict
    ) -> None:
        """`sources()` opens those that may be asked, by name; offline there are none."""
        self._index = index
        self._sources = sources

    def of(self, symbol: str) -> list[Rename]:
        """What is told of the symbol, by the first provider that tells anything.

        A provider that cannot be asked tells nothing, and is asked again the next time.
        """
        known = self._index.renames(symbol)
        if known is not None and _is_fresh(known):
            return list(known.renames)
        asked = False
        for source in self._sources().values():
            if not isinstance(source, Renames):
                continue
            try:
                found = source.renames(symbol)
            except NotFoundError:
                found = []
            except TickerlakeError:
                continue
            asked = True
            if found:
                self._index.remember_renames(symbol, found, at=clock.now())
                return list(found)
        if asked:
            self._index.remember_renames(symbol, [], at=clock.now())
        return [] if known is None else list(known.renames)

    def is_known(self, symbol: str) -> bool:
        """Whether `of` would ask nobody."""
        known = self._index.renames(symbol)
        return known is not None and _is_fresh(known)


def _is_fresh(known: Changes) -> bool:
    return max(clock.now() - known.at, timedelta(0)) < _FRESH


class Followed:
    """A source whose histories go on under a symbol's new name.

    Where a symbol's bars end before the asked range does (or it is not known any more), and a
    provider tells that it became another one, the other one's bars from that day on are in the
    answer too, under their own symbol, and the change itself as a corporate action. Not promised:
    that anybody tells. Whether a new symbol's own history reaches back before the change is the
    provider's matter.
    """

    def __init__(self, source: Source, changes: SymbolChanges) -> None:
        self._source = source
        self._changes = changes

    @property
    def name(self) -> str:
        """The wrapped source's name."""
        return self._source.name

    @property
    def limits(self) -> Limits:
        """The wrapped source's limits."""
        return self._source.limits

    def bars(self, request: BarsRequest) -> Answer:
        """As the wrapped source, and on under each further symbol.

        Raises:
            TickerlakeError: As the wrapped source, for the symbol that was asked for.
        """
        try:
            answer: Answer | NotFoundError = self._source.bars(request)
        except NotFoundError as error:
            answer = error
        return self.follow(request, answer)

    def bars_of(
        self, symbols: Sequence[str], request: BarsRequest
    ) -> Mapping[str, Answer | Exception]:
        """As `bars` of each, together where the wrapped source can; failures in their place.

        Raises:
            TickerlakeError: What fails for all.
        """
        requests = [dataclasses.replace(request, symbol=symbol) for symbol in symbols]
        if not isinstance(self._source, Batches):
            return {one.symbol: _told(self.bars, one) for one in requests}
        found = self._source.bars_of(symbols, request)
        return {one.symbol: self._followed(one, found[one.symbol]) for one in requests}

    def follow(self, request: BarsRequest, answer: Answer | NotFoundError) -> Answer:
        """The answer, continued where its symbol has become another one.

        Raises:
            NotFoundError: It was handed in, and nobody tells of a change.
        """
        wish = _last_wish(request)
        seen, error = {request.symbol}, answer if isinstance(answer, NotFoundError) else None
        whole = empty_answer() if isinstance(answer, NotFoundError) else answer
        newest = None if error is not None else whole
        while _has_ended(newest, wish) and len(seen) <= _CHANGES_MAX:
            change = self._next(request.symbol, wish)
            if change is None or change.new in seen:
                break
            seen.add(change.new)
            begin = _later(request.start, change.on)
            request = dataclasses.replace(request, symbol=change.new, start=begin)
            whole = _with_change(whole, change, self.name)
            error = None
            try:
                newest = self._source.bars(request)
            except TickerlakeError as failure:
                part = f"{change.new} {request.interval} from {change.on}"
                missing = (*whole.missing, f"{part}: {failure.problem}")
                whole = dataclasses.replace(whole, missing=missing)
                break
            whole = _joined(whole, newest)
        if error is not None:
            raise error
        return whole

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
        """As the wrapped source."""
        return self._source.parse(
            payload, symbol=symbol, interval=interval, received_at=received_at
        )

    def _followed(self, request: BarsRequest, answer: Answer | Exception) -> Answer | Exception:
        if isinstance(answer, Answer | NotFoundError):
            return _told(self.follow, request, answer)
        return answer

    def _next(self, symbol: str, wish: date) -> Rename | None:
        told = (r for r in self._changes.of(symbol) if r.old == symbol and r.new != symbol)
        return next((change for change in told if change.on <= wish), None)


def _told(ask: Callable[..., Answer], *how: BarsRequest | Answer | Exception) -> Answer | Exception:
    try:
        return ask(*how)
    except TickerlakeError as error:
        return error


def _last_wish(request: BarsRequest) -> date:
    end, today = request.end, clock.now().date()
    last = end.date() if isinstance(end, datetime) else end
    return today if last is None else min(last, today)


def _has_ended(answer: Answer | None, wish: date) -> bool:
    if answer is None or not answer.bars.num_rows:
        return True
    newest = pc.max(answer.bars["session_date"]).as_py()
    return newest is not None and newest < wish - _ENDED


def _later(start: date | datetime | None, on: date) -> date | datetime:
    if start is None:
        return on
    day = start.date() if isinstance(start, datetime) else start
    return start if day >= on else on


def _with_change(answer: Answer, change: Rename, provider: str) -> Answer:
    row = {
        "provider": provider,
        "symbol": change.old,
        "ts": datetime.combine(change.on, time(), UTC),
        "fetched_at": clock.now(),
        "action": "symbol_change",
        "ex_date": change.on,
        "new_symbol": change.new,
    }
    action = conform(pa.table({name: [value] for name, value in row.items()}), "corporate_action")
    note = f"{change.old} became {change.new} on {change.on}: followed"
    return dataclasses.replace(
        answer,
        actions=pa.concat_tables([answer.actions, action]),
        notes=(*answer.notes, note),
    )


def _joined(whole: Answer, more: Answer) -> Answer:
    return dataclasses.replace(
        whole,
        bars=pa.concat_tables([whole.bars, more.bars]),
        actions=pa.concat_tables([whole.actions, more.actions]),
        notes=tuple(dict.fromkeys(whole.notes + more.notes)),
        missing=tuple(dict.fromkeys(whole.missing + more.missing)),
        stale=whole.stale or more.stale,
    )

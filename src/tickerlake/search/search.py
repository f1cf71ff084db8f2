"""Search over several providers that asks each of them as seldom as it can."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

from tickerlake import clock
from tickerlake.errors import TickerlakeError, UnreachableError, UsageError
from tickerlake.search.folding import fold
from tickerlake.search.identifiers import Identifier, identify
from tickerlake.search.index import SymbolIndex
from tickerlake.search.ranking import Match, ranked
from tickerlake.search.settings import SearchSettings
from tickerlake.sources import Describes, Hit, Lists, Searches, Source

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Found", "Mode", "SymbolSearch"]

#: `ask`: providers that do not know the text yet; `typing`: only if nothing known fits;
#: `offline`: nobody.
Mode = Literal["ask", "typing", "offline"]

#: A provider is asked for so many at least: what it sends beyond the wish is remembered.
_HITS_ASKED: Final = 20
#: What the index may offer to the ranking, which sorts by better rules than FTS5's.
_CANDIDATES: Final = 400
_TYPED_MIN: Final = 2


@dataclass(frozen=True, slots=True)
class Found:
    """Symbols that fit, best first."""

    matches: tuple[Match, ...] = ()
    #: Which providers were sent a request.
    asked: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    #: Providers that should have been asked and could not be.
    failures: Mapping[str, TickerlakeError] = field(default_factory=dict)
    #: Every provider that should have answered has failed: this is only what was known before.
    is_partial: bool = False

    def __len__(self) -> int:
        return len(self.matches)

    def __iter__(self) -> Iterator[Hit]:
        return (match.hit for match in self.matches)

    def rows(self) -> list[dict[str, object]]:
        """The hits as plain values, with `also`: the other providers that have the instrument."""
        return [
            {
                **dataclasses.asdict(match.hit),
                "also": [{"provider": p, "provider_symbol": symbol} for p, symbol in match.also],
            }
            for match in self.matches
        ]

    def to_arrow(self) -> pa.Table:
        """The hits as an Arrow table, a column each."""
        import pyarrow as pa

        types = {"listed": pa.bool_(), "first": pa.date32(), "last": pa.date32()}
        also = pa.list_(pa.struct([("provider", pa.string()), ("provider_symbol", pa.string())]))
        columns = [(f.name, types.get(f.name, pa.string())) for f in dataclasses.fields(Hit)]
        return pa.Table.from_pylist(self.rows(), schema=pa.schema([*columns, ("also", also)]))


class SymbolSearch:
    """Asks providers for what the index cannot answer, and remembers every hit.

    A text is known of a provider, and no request is sent, if within `fresh_days` it was asked for
    just this text, or for a longer one that begins so and had hits (typing towards it), or has
    given its whole list; an answer without hits is believed for `empty_fresh_hours`. A provider
    that cannot be reached is left alone for `pause_minutes`. Not promised: that what is known is
    all that a provider would find; `refresh` asks anew.
    """

    def __init__(
        self,
        index: SymbolIndex,
        sources: Callable[[Sequence[str] | None], Mapping[str, Source]],
        settings: SearchSettings | None = None,
    ) -> None:
        """`sources(names)` opens those to ask, the preferred first; None: the usual ones."""
        self._index = index
        self._sources = sources
        self._settings = settings or SearchSettings()
        #: A source is used by one thread at a time; and who waited finds the answer in the index.
        self._asking = threading.Lock()

    def search(
        self,
        text: str,
        *,
        limit: int = 20,
        mode: Mode = "ask",
        names: Sequence[str] | None = None,
        refresh: bool = False,
        details: bool = False,
    ) -> Found:
        """Symbols that fit a name, a symbol, an ISIN or a SEDOL.

        Args:
            text: What to look for.
            limit: At most so many.
            mode: Whether providers may be asked.
            names: Ask only these, and show only theirs; None: the usual ones, and all that is
                known.
            refresh: Ask even for what is known.
            details: Ask for currency and first day, too, where a search does not tell them.

        Raises:
            UsageError: Nothing to look for; or an ISIN or FIGI with a wrong check digit.
            TickerlakeError: Nothing is known, and every provider failed: the first one's error.
        """
        wanted = fold(text)
        if not wanted:
            raise UsageError(
                "There is nothing to search for.",
                expected="a name, a symbol, an ISIN or a SEDOL",
                found="an empty text",
            )
        identifier = identify(text)
        if identifier is not None and identifier.is_sound:
            wanted = fold(identifier.text)
        if mode == "typing":
            known = self._known(wanted, identifier, names, limit)
            if known or len(wanted) < _TYPED_MIN:
                return Found(tuple(known))
        round_ = _Round()
        if mode != "offline" and _may_be_right(identifier):
            with self._asking:
                self._ask(text.strip(), wanted, identifier, names, round_, refresh=refresh)
        matches = tuple(self._known(wanted, identifier, names, limit))
        if details and mode == "ask" and self._describe(matches, names, round_):
            matches = tuple(self._known(wanted, identifier, names, limit))
        if not matches and mode != "typing":
            _complain(identifier, round_)
        is_partial = bool(round_.failures) and not round_.answered
        return Found(matches, tuple(round_.asked), tuple(round_.notes), round_.failures, is_partial)

    def _known(
        self,
        text: str,
        identifier: Identifier | None,
        names: Sequence[str] | None,
        limit: int,
    ) -> list[Match]:
        hits = self._index.find(text, limit=_CANDIDATES) + self._index.of_symbol(text)
        places: dict[tuple[str, str], int] = {}
        for provider in self._index.providers():
            remembered = self._index.answer(provider, text)
            for place, hit in enumerate(remembered.hits if remembered else ()):
                places[provider, hit.provider_symbol] = place
                hits.append(hit)
        if names is not None:
            hits = [hit for hit in hits if hit.provider in names]
        hits.sort(key=lambda hit: hit.provider != "yahoo")  # the default source's words first
        return ranked(text, hits, identifier=identifier, places=places)[:limit]

    def _ask(
        self,
        written: str,
        text: str,
        identifier: Identifier | None,
        names: Sequence[str] | None,
        round_: _Round,
        *,
        refresh: bool,
    ) -> None:
        due: dict[str, Source] = {}
        for name, source in self._sources(names).items():
            if identifier is not None and not _resolves(source, identifier):
                continue
            if not refresh and self._is_known(name, source, text):
                round_.answered.append(name)
                continue
            until = self._index.paused_until(name)
            if until is not None and until > clock.real_now() and not refresh:
                round_.failures[name] = _left_alone(name, until)
                continue
            due[name] = source
        if identifier is not None and not due and not round_.answered and not round_.failures:
            kind = identifier.kind.upper()
            round_.notes.append(f"no provider in use can be asked for a {kind}")
        round_.asked += due
        with ThreadPoolExecutor(max_workers=max(1, len(due))) as pool:
            answers = {
                name: pool.submit(_asked, source, written, identifier)
                for name, source in due.items()
            }
        for name, answer in answers.items():
            error = answer.exception()
            if isinstance(error, TickerlakeError):
                round_.failures[name] = error
                if isinstance(error, UnreachableError):
                    pause = timedelta(minutes=self._settings.pause_minutes)
                    self._index.pause(name, clock.real_now() + pause)
                continue
            self._keep(name, due[name], text, answer.result())
            round_.answered.append(name)

    def _describe(
        self, matches: Sequence[Match], names: Sequence[str] | None, round_: _Round
    ) -> bool:
        """Whether anything more is known of these now."""
        lacking: dict[str, list[str]] = {}
        for match in matches:
            hit = match.hit
            if hit.currency is None or hit.first is None:
                lacking.setdefault(hit.provider, []).append(hit.provider_symbol)
        told = False
        for name, source in self._sources(names).items() if lacking else ():
            if name not in lacking or not isinstance(source, Describes):
                continue
            try:
                with self._asking:
                    self._index.note(source.describe(lacking[name]))
                told = True
            except TickerlakeError as error:  # the hits themselves are there
                round_.notes.append(f"{name} tells no details: {error.problem}")
        return told

    def _keep(self, name: str, source: Source, text: str, hits: Sequence[Hit]) -> None:
        if isinstance(source, Lists):
            self._index.remember_all(name, hits, at=clock.now())
        else:
            self._index.remember(name, text, hits, at=clock.now())

    def _is_known(self, name: str, source: Source, text: str) -> bool:
        fresh = timedelta(days=self._settings.fresh_days)
        if isinstance(source, Lists):
            return _is_within(self._index.listed_at(name), fresh)
        remembered = self._index.answer(name, text)
        if remembered is not None and not remembered.hits:
            fresh_empty = timedelta(hours=self._settings.empty_fresh_hours)
            if _is_within(remembered.at, fresh_empty):
                return True
        elif remembered is not None and _is_within(remembered.at, fresh):
            return True
        return _is_within(self._index.typed_towards(name, text), fresh)


@dataclass(slots=True)
class _Round:
    """What happened while providers were asked."""

    asked: list[str] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: dict[str, TickerlakeError] = field(default_factory=dict)


def _is_within(at: datetime | None, span: timedelta) -> bool:
    """A stored time in the future counts as now."""
    return at is not None and max(clock.now() - at, timedelta(0)) < span


def _may_be_right(identifier: Identifier | None) -> bool:
    return identifier is None or identifier.is_sound


def _resolves(source: Source, identifier: Identifier) -> bool:
    return isinstance(source, Lists) or identifier.kind in source.limits.identifiers


def _asked(source: Source, text: str, identifier: Identifier | None) -> Sequence[Hit]:
    """One provider's hits: its whole list, or those of one search."""
    if isinstance(source, Lists):
        return source.listing()
    if not isinstance(source, Searches):
        raise UsageError(
            f"The source {source.name!r} cannot be searched.",
            expected="a source that has a search or a list of symbols",
            found=source.name,
            todo="leave --source out, or name another one",
        )
    hits = source.search(text if identifier is None else identifier.text, limit=_HITS_ASKED)
    if identifier is not None and identifier.kind == "isin":
        # Whatever was found by its number has it.
        return [dataclasses.replace(hit, isin=hit.isin or identifier.text) for hit in hits]
    return hits


def _left_alone(name: str, until: datetime) -> UnreachableError:
    return UnreachableError(
        f"{name} did not answer and is left alone until {until:%H:%M:%S}Z.",
        expected="an answer",
        found="none, a while ago",
        todo="wait, or ask it all the same with --refresh",
    )


def _complain(identifier: Identifier | None, round_: _Round) -> None:
    if identifier is not None and not identifier.is_sound:
        raise UsageError(
            f"{identifier.text} has the shape of an {identifier.kind.upper()}, "
            "but its check digit is wrong.",
            expected="another last digit",
            found=identifier.text[-1],
            todo="look for a slip of the finger",
        )
    if round_.failures and not round_.answered:
        raise next(iter(round_.failures.values()))

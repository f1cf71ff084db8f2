"""All that a workspace knows of symbols: finding them, following them, remembering them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from datetime import date
from pathlib import Path
from typing import Any

from tickerlake.errors import ConfigError, StorageError
from tickerlake.search.following import Followed, SymbolChanges
from tickerlake.search.index import SymbolIndex
from tickerlake.search.search import Found, Mode, SymbolSearch
from tickerlake.search.settings import SearchSettings
from tickerlake.sources import About, Answer, Hit, Lists, Renames, Searches, Source
from tickerlake.sources.registry import names as every_name
from tickerlake.sources.registry import source_class
from tickerlake.sources.vault import with_secrets

__all__ = ["Symbols"]

#: What a page is given for one text.
_TYPED_MAX = 50
#: By its symbol; else by an identifier that is to be found first.
_CHANGE_REQUESTS_MAX = 3


class Symbols:
    """Opens providers only to ask them; shares one index."""

    def __init__(
        self,
        index: Path,
        settings: SearchSettings,
        *,
        provider: Callable[[str], Source],
        settings_of: Callable[[str], Mapping[str, Any]],
    ) -> None:
        """`provider(name)` opens a source; `settings_of(name)` is what is set of it."""
        self._index = SymbolIndex(index)
        self._settings = settings
        self._noted: dict[tuple[str, str], About] = {}
        # Each is opened once: a page that is served for weeks asks it again and again.
        # Others than those who publish: a source is used by one thread at a time.
        self._provider = functools.cache(provider)
        self._teller = functools.cache(provider)
        self._settings_of = settings_of
        self._search = SymbolSearch(self._index, self._searched, settings)

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
        """As `SymbolSearch.search`."""
        return self._search.search(
            text, limit=limit, mode=mode, names=names, refresh=refresh, details=details
        )

    def typed(self, text: str, *, ask: bool | None) -> list[dict[str, Any]]:
        """What a page's search box wants to know: providers are asked if nothing known fits.

        `ask` says whether they may be.
        """
        mode: Mode = "typing"
        if ask is not None:
            mode = "ask" if ask else "offline"
        try:
            return self._search.search(text, limit=_TYPED_MAX, mode=mode).rows()
        except StorageError:
            if ask:
                raise
            return []  # a page over a read-only folder still shows what the lake has

    def followed(self, source: Source, *, offline: bool = False) -> Followed:
        """The source, whose histories go on where a symbol has become another one."""
        tell: Callable[[], dict[str, Source]] = dict
        if not offline:
            tell = functools.partial(self._tellers, source.name)
        return Followed(source, SymbolChanges(self._index, tell))

    def may_ask_changes(self, source: str, symbol: str) -> int:
        """How many requests to the source it can take to learn what became of a symbol."""
        if source not in every_name() or not issubclass(source_class(source), Renames):
            return 0
        return 0 if SymbolChanges(self._index).is_known(symbol) else _CHANGE_REQUESTS_MAX

    def listed(self, source: str, symbol: str) -> date | None:
        """The first day of trading, by what is known; None where nothing is."""
        hits = self._index.of_symbol(symbol)
        days = [h.first for h in hits if h.provider == source and h.provider_symbol == symbol]
        return days[0] if days else None

    def note_about(self, source: str, symbol: str, answer: Answer) -> None:
        """Remember what an answer says about its instrument: searches find it from now on.

        So a currency that no search tells is known of whatever was fetched or published.
        """
        about = replace(answer.about, as_of=None, url=None)
        if self._noted.get((source, symbol)) == about:
            return  # who follows asks again and again
        self._noted[source, symbol] = about
        if about.name or about.exchange or about.listed:
            hit = Hit(
                symbol=symbol,
                name=about.name,
                type=about.instrument_type,
                exchange=about.exchange,
                currency=about.currency,
                provider=source,
                provider_symbol=symbol,
                isin=about.isin,
                figi=about.figi,
                first=about.listed,
            )
            self._index.note([hit])

    def _searched(self, names: Sequence[str] | None) -> dict[str, Source]:
        """Those to ask for symbols: the named ones, else the usual ones, yahoo first."""
        wanted = names or self._settings.sources
        if not wanted:
            kinds = {name: source_class(name) for name in self._in_use()}
            wanted = [n for n, kind in kinds.items() if issubclass(kind, Searches | Lists)]
        return {name: self._provider(name) for name in wanted}

    def _tellers(self, first: str) -> dict[str, Source]:
        """Those that tell which symbols became others: the source itself, then who is in use."""
        in_use = [first, *(name for name in self._in_use() if name != first)]
        known = every_name()
        told = [name for name in in_use if name in known]
        return {n: self._teller(n) for n in told if issubclass(source_class(n), Renames)}

    def _in_use(self) -> Iterator[str]:
        """Yahoo, sources that have their key, and others that have settings of their own."""
        for name in sorted(every_name(), key=lambda name: name != "yahoo"):
            settings = self._settings_of(name)
            with suppress(ConfigError):  # a keyring that is locked: then others are asked
                settings = with_secrets(name, settings)
            declared = {field.name for field in fields(source_class(name).settings_type)}
            needs_key = "api_key" in declared
            if name == "yahoo" or (settings.get("api_key") if needs_key else settings):
                yield name

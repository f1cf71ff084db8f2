"""Hits of several providers as one list, best first.

1. exact symbol (or the number that was asked for), then symbols that begin so, then names whose
   words begin so (of those: names that begin with the text, then whole words), then the rest of
   what providers found;
2. what is listed before what is delisted;
3. the home listing first: in the country of its ISIN where that is known, else on an exchange that
   is nobody's second address;
4. the provider's own order.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tickerlake.search.folding import fold, spellings
from tickerlake.search.identifiers import Identifier
from tickerlake.search.places import COUNTRIES, country_of, is_first_address
from tickerlake.sources import Hit

__all__ = ["Match", "ranked"]

#: Words that say how a company is made, not which one it is.
_FORMS: Final = frozenset(
    ("inc", "incorporated", "corp", "corporation", "co", "company", "ltd", "limited", "plc", "ag",
     "aktiengesellschaft", "se", "sa", "nv", "spa", "ab", "asa", "as", "oyj", "the", "adr", "ads")
)  # fmt: skip
#: Kinds that are never another kind by mistake.
_APART: Final = frozenset(("crypto", "currency", "future", "index", "option"))

_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Match:
    """One instrument: a hit, and by which other providers' symbols it can be had, too."""

    hit: Hit
    #: Provider and its symbol.
    also: tuple[_Key, ...] = ()


def ranked(
    text: str,
    hits: Sequence[Hit],
    *,
    identifier: Identifier | None = None,
    places: Mapping[_Key, int] | None = None,
) -> list[Match]:
    """Merge and sort.

    Args:
        text: What was asked for.
        hits: What was found, those of the provider to prefer first; one may come twice.
        identifier: What the text is, if it is no name and no symbol.
        places: The provider's own order, of what was found for just this text.
    """
    places = places or {}
    unique = list({(hit.provider, hit.provider_symbol): hit for hit in hits}.values())
    matches = _merged(unique)
    homes = _homes(unique)

    def key(match: Match) -> tuple[object, ...]:
        hit = match.hit
        own = [(hit.provider, hit.provider_symbol), *match.also]
        place = min((places[k] for k in own if k in places), default=None)
        named = identifier is not None and place is not None
        return (
            (0, 0) if named else _fit(hit, text),
            hit.listed is False,
            _away(hit, homes),
            10_000 if place is None else place,
            len(hit.symbol),
            hit.symbol,
        )

    return sorted(matches, key=key)


def _fit(hit: Hit, text: str) -> tuple[int, int]:
    """The rule of the ranking that applies, and how well inside it."""
    wanted = fold(text)
    symbols = [fold(symbol) for symbol in (hit.symbol, hit.provider_symbol)]
    if wanted in symbols or wanted in [fold(code) for code in (hit.isin, hit.figi) if code]:
        return 0, 0
    if any(symbol.startswith(wanted) for symbol in symbols):
        return 1, 0
    asked = re.findall(r"\w+", wanted)
    fits = [_fit_of_name(asked, re.findall(r"\w+", name)) for name in spellings(hit.name or "")]
    best = min(fits)
    return (2, best) if best < _NO_FIT else (3, 0)


_NO_FIT: Final = 3


def _fit_of_name(asked: Sequence[str], words: Sequence[str]) -> int:
    if not asked or not all(any(w.startswith(a) for w in words) for a in asked):
        return _NO_FIT
    if words[: len(asked)] == list(asked):
        return 0
    return 1 if set(asked) <= set(words) else 2


def _company(hit: Hit) -> str:
    words = re.findall(r"\w+", fold(hit.name or hit.symbol))
    return " ".join(word for word in words if word not in _FORMS)


def _homes(hits: Sequence[Hit]) -> dict[str, str]:
    """Each company's country by any ISIN that is known; elsewhere are only mailboxes."""
    return {_company(hit): hit.isin[:2] for hit in hits if hit.isin and hit.isin[:2] in COUNTRIES}


def _away(hit: Hit, homes: Mapping[str, str]) -> int:
    """0 at home on a first address; more, the further away."""
    home, here = homes.get(_company(hit)), country_of(hit)
    abroad = 2 if home is not None and here is not None and home != here else 0
    return abroad + (0 if is_first_address(hit) or hit.exchange is None else 1)


def _merged(hits: Sequence[Hit]) -> list[Match]:
    by_symbol: dict[str, list[Match]] = {}
    for hit in hits:
        same = by_symbol.setdefault(fold(hit.symbol), [])
        for at, match in enumerate(same):
            if _is_one(match, hit):
                same[at] = _joined(match, hit)
                break
        else:
            same.append(Match(hit))
    return [match for same in by_symbol.values() for match in same]


def _is_one(match: Match, other: Hit) -> bool:
    hit = match.hit
    if other.provider in {hit.provider, *(provider for provider, _ in match.also)}:
        return False
    if hit.isin and other.isin:
        return hit.isin == other.isin
    here, there = country_of(hit), country_of(other)
    if here and there and here != there:
        return False
    kinds = {kind for kind in (hit.type, other.type) if kind}
    return len(kinds) < 2 or not kinds & _APART


def _joined(match: Match, other: Hit) -> Match:
    """The first provider's words; what it does not say, the others may."""
    hit = match.hit
    told = {
        field.name: getattr(other, field.name)
        for field in dataclasses.fields(Hit)
        if getattr(hit, field.name) is None
    }
    also = (*match.also, (other.provider, other.provider_symbol))
    return Match(dataclasses.replace(hit, **told), also)

"""Which symbols there are: several providers' searches, ranked as one, and remembered."""

from tickerlake.search.identifiers import Identifier, identify
from tickerlake.search.index import SymbolIndex
from tickerlake.search.ranking import Match
from tickerlake.search.search import Found, SymbolSearch
from tickerlake.search.settings import SearchSettings

__all__ = [
    "Found",
    "Identifier",
    "Match",
    "SearchSettings",
    "SymbolIndex",
    "SymbolSearch",
    "identify",
]

"""Which symbols there are: several providers' searches, ranked as one, and remembered."""

from tickerlake.search.following import Followed, SymbolChanges
from tickerlake.search.identifiers import Identifier, identify
from tickerlake.search.index import SymbolIndex
from tickerlake.search.ranking import Match
from tickerlake.search.search import Found, SymbolSearch
from tickerlake.search.settings import SearchSettings
from tickerlake.search.symbols import Symbols
from tickerlake.search.universe import Wanted, read_list, wanted

__all__ = [
    "Followed",
    "Found",
    "Identifier",
    "Match",
    "SearchSettings",
    "SymbolChanges",
    "SymbolIndex",
    "SymbolSearch",
    "Symbols",
    "Wanted",
    "identify",
    "read_list",
    "wanted",
]

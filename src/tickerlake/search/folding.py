"""Names as they are compared: without case, accents and double blanks."""

from __future__ import annotations

import unicodedata
from typing import Final

__all__ = ["fold", "spellings"]

#: Letters that no decomposition takes apart.
_LETTERS: Final = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "þ": "th", "ð": "d", "\u0131": "i"}
)
#: As people write them who have no such key: Muenchener for Münchener.
_UMLAUTS: Final = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa"})


def fold(text: str) -> str:
    """`Société  Générale` and `societe generale` are one; so are ß and ss, ø and o."""
    parts = unicodedata.normalize("NFKD", text.casefold().translate(_LETTERS))
    bare = "".join(c for c in parts if not unicodedata.combining(c))
    return " ".join(bare.split())


def spellings(name: str) -> tuple[str, ...]:
    """How a name may be typed: without its accents, and with umlauts as two letters."""
    composed = unicodedata.normalize("NFC", name).casefold()
    return tuple(dict.fromkeys((fold(name), fold(composed.translate(_UMLAUTS)))))

"""ISIN, SEDOL, CUSIP and FIGI, recognised by their check digits.

ISIN: ISO 6166 (Luhn over letters as 10 to 35). SEDOL: weights 1 3 1 7 3 9 1, no vowels. CUSIP:
ANSI X9.6. FIGI: Luhn over every second character, the third one is G.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["Identifier", "identify"]

_ISIN: Final = re.compile(r"[A-Z]{2}[A-Z0-9]{9}[0-9]")
_SEDOL: Final = re.compile(r"[0-9BCDFGHJKLMNPQRSTVWXYZ]{6}[0-9]")
_CUSIP: Final = re.compile(r"[0-9]{3}[A-Z0-9]{5}[0-9]")
_FIGI: Final = re.compile(r"[BCDFGHJKLMNPQRSTVWXYZ]{2}G[BCDFGHJKLMNPQRSTVWXYZ0-9]{8}[0-9]")
_SEDOL_WEIGHTS: Final = (1, 3, 1, 7, 3, 9)


@dataclass(frozen=True, slots=True)
class Identifier:
    """A number that names one instrument: `kind` is isin, sedol, cusip or figi."""

    kind: str
    text: str
    #: Whether its check digit is right: a wrong one is a slip of the finger.
    is_sound: bool


def identify(text: str) -> Identifier | None:
    """What a text is by its shape, blanks and case aside; None for a name or a symbol.

    A text in the shape of an ISIN or a FIGI with a wrong check digit is told as not sound. The
    shapes of SEDOL and CUSIP are those of ordinary words and numbers: only sound ones count.
    """
    packed = re.sub(r"[\s-]", "", text).upper()
    if not packed.isascii():
        return None
    if _FIGI.fullmatch(packed):  # before ISIN, whose shape it has: GB, for one, never begins it
        sound = _figi_digit(packed) == int(packed[-1])
        if sound or not _luhn(packed):
            return Identifier("figi", packed, sound)
    if _ISIN.fullmatch(packed):
        return Identifier("isin", packed, _luhn(packed))
    if _SEDOL.fullmatch(packed) and _sedol_digit(packed) == int(packed[-1]):
        return Identifier("sedol", packed, True)
    if _CUSIP.fullmatch(packed) and _cusip_digit(packed) == int(packed[-1]):
        return Identifier("cusip", packed, True)
    return None


def _luhn(text: str) -> bool:
    digits = "".join(str(int(letter, 36)) for letter in text)
    doubled = (int(d) * (2 if at % 2 else 1) for at, d in enumerate(reversed(digits)))
    return sum(n // 10 + n % 10 for n in doubled) % 10 == 0


def _sedol_digit(text: str) -> int:
    weighed = (int(c, 36) * w for c, w in zip(text, _SEDOL_WEIGHTS, strict=False))
    return -sum(weighed) % 10


def _cusip_digit(text: str) -> int:
    values = (int(c, 36) * (2 if at % 2 else 1) for at, c in enumerate(text[:8]))
    return -sum(n // 10 + n % 10 for n in values) % 10


def _figi_digit(text: str) -> int:
    values = (int(c, 36) * (2 if at % 2 else 1) for at, c in enumerate(text[:11]))
    return -sum(n // 10 + n % 10 for n in values) % 10

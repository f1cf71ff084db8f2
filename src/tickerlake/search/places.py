"""Where a listing is: its country, and whether its exchange is a first address there.

From the exchange codes that providers write, through the calendar that such an exchange keeps.
"""

from __future__ import annotations

from typing import Final

from tickerlake.calendars import calendar_for
from tickerlake.sources import Hit

__all__ = ["COUNTRIES", "country_of", "is_first_address"]

_COUNTRIES: Final = {
    "XNYS": "US", "CMES": "US", "IEPA": "US", "XTSE": "CA", "XLON": "GB", "XETR": "DE",
    "XFRA": "DE", "XPAR": "FR", "XAMS": "NL", "XBRU": "BE", "XLIS": "PT", "XDUB": "IE",
    "XMIL": "IT", "XMAD": "ES", "XSWX": "CH", "XWBO": "AT", "XSTO": "SE", "XCSE": "DK",
    "XHEL": "FI", "XOSL": "NO", "XICE": "IS", "XWAR": "PL", "XPRA": "CZ", "XBUD": "HU",
    "ASEX": "GR", "XIST": "TR", "XTAE": "IL", "XSAU": "SA", "XJSE": "ZA", "XASX": "AU",
    "XNZE": "NZ", "XTKS": "JP", "XHKG": "HK", "XSHG": "CN", "XTAI": "TW", "XKRX": "KR",
    "XSES": "SG", "XKLS": "MY", "XBKK": "TH", "XIDX": "ID", "XBOM": "IN", "BVMF": "BR",
    "XMEX": "MX", "XBUE": "AR", "XSGO": "CL", "XLIM": "PE",
}  # fmt: skip
#: Those whose exchanges we can place.
COUNTRIES: Final = frozenset(_COUNTRIES.values())
#: Over the counter, regional exchanges, and those where others' shares trade too.
_SECOND: Final = frozenset(
    ("PNK", "OQB", "OQX", "OEM", "OBB", "OTC", "OPR", "CGI", "FRA", "XFRA", "BER", "DUS", "HAM",
     "HAN", "MUN", "STU", "IOB", "CXE", "TLO", "NEO", "VAN", "CNQ", "NSI", "FKA", "SAP", "TWO")
)  # fmt: skip


def country_of(hit: Hit) -> str | None:
    """The country of the exchange, two letters; None where nobody says."""
    if hit.country:
        return hit.country.upper()
    return _COUNTRIES.get(calendar_for(hit.exchange) or "")


def is_first_address(hit: Hit) -> bool:
    """Whether the exchange is one where a company of its country lists itself first."""
    code = (hit.exchange or "").upper()
    return bool(code) and code not in _SECOND and calendar_for(code) is not None

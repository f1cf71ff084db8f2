"""Names, numbers and the order of what was found."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from tickerlake.search import identify
from tickerlake.search.folding import fold, spellings
from tickerlake.search.ranking import ranked
from tickerlake.sources import Hit


def hit(symbol: str, name: str | None = None, provider: str = "yahoo", **told: Any) -> Hit:
    defaults = {"type": "equity", "exchange": None, "currency": None, "provider_symbol": symbol}
    return Hit(symbol=symbol, name=name, provider=provider, **(defaults | told))


def order(text: str, *hits: Hit, **more: Any) -> list[str]:
    return [match.hit.symbol for match in ranked(text, hits, **more)]


@pytest.mark.parametrize(
    ("text", "kind", "is_sound"),
    [
        ("US0378331005", "isin", True),
        ("us 0378 3310 05", "isin", True),
        ("US0378331006", "isin", False),
        ("NO0010123060", "isin", True),
        ("BJ0CDD2", "sedol", True),
        ("0263494", "sedol", True),
        ("037833100", "cusip", True),
        ("BBG000B9XRY4", "figi", True),
        ("BBG000B9XRY5", "figi", False),
    ],
)
def test_numbers_are_known_by_their_check_digits(text: str, kind: str, is_sound: bool) -> None:
    """Each kind of number is recognised, and a slip in one that has its shape is seen."""
    found = identify(text)
    assert found is not None
    assert (found.kind, found.is_sound) == (kind, is_sound)


@pytest.mark.parametrize("text", ["apple", "AAPL", "BMW.DE", "BJ0CDD3", "BTC-USD", "Ørsted", ""])
def test_names_and_symbols_are_no_numbers(text: str) -> None:
    """Ordinary words, and short numbers with a wrong check digit, are searched as text."""
    assert identify(text) is None


def test_accents_case_and_blanks_do_not_count() -> None:
    """Names are found however they are typed, umlauts as two letters included."""
    assert fold("  Société   GÉNÉRALE ") == "societe generale"
    assert fold("Ørsted Łódź Straße") == "orsted lodz strasse"
    assert spellings("Münchener Rück") == ("munchener ruck", "muenchener rueck")


def test_symbols_before_their_beginnings_before_names() -> None:
    """Exact symbol, then symbols that begin so, then words of names, then the rest."""
    found = [
        hit("XYZ", "Something else"),
        hit("APC.DE", "Apple Inc."),
        hit("APPLEX", "Fund"),
        hit("PEAR", "The Big Apple Tree"),
        hit("APPLE", "Apple Bank"),
        hit("HOSP", "Pineapple and Applesauce"),
    ]
    assert order("apple", *found) == ["APPLE", "APPLEX", "APC.DE", "PEAR", "HOSP", "XYZ"]


def test_listed_before_delisted_then_home_before_abroad() -> None:
    """What no longer trades comes after what does; over the counter and regional ones last."""
    name = "Bayerische Motoren Werke AG"
    found = [
        hit("BMW.OLD", name, listed=False, exchange="GER"),
        hit("BAMXF", name, exchange="PNK"),
        hit("BMW.SG", name, exchange="STU"),
        hit("BMWM5N.MX", name, exchange="MEX", isin="DE0005190003"),
        hit("BMW.DE", name, exchange="GER"),
    ]
    places = {("yahoo", h.symbol): n for n, h in enumerate(found)}
    expected = ["BMW.DE", "BMW.SG", "BMWM5N.MX", "BAMXF", "BMW.OLD"]
    assert order("Bayerische Motoren", *found, places=places) == expected


def test_what_a_number_found_is_exact() -> None:
    """A hit of an ISIN or a SEDOL stands first though no word of it fits."""
    found = [hit("BJX", "BJ0CDD2 look-alike"), hit("MNTN.L", "The Schiehallion Fund")]
    number = identify("BJ0CDD2")
    assert order("BJ0CDD2", *found, identifier=number, places={("yahoo", "MNTN.L"): 0}) == [
        "MNTN.L",
        "BJX",
    ]


def test_one_instrument_of_several_providers_is_one_hit() -> None:
    """The preferred provider's words count; the others add what it does not say."""
    mine = hit("AAPL", "Apple Inc.", exchange="NMS")
    theirs = hit("AAPL", "APPLE INC", "finnhub", currency="USD", first=date(1980, 12, 12))
    coin = hit("AAPL", "Apple token", "kraken", type="crypto")
    abroad = hit("AAPL", "Apple CDR", "acme", exchange="TOR")
    (one, *rest) = ranked("aapl", [mine, theirs, coin, abroad])
    assert (one.hit.name, one.hit.currency, one.also) == (
        "Apple Inc.",
        "USD",
        (("finnhub", "AAPL"),),
    )
    assert {match.hit.provider for match in rest} == {"kraken", "acme"}

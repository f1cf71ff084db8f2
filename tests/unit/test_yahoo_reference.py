"""Yahoo's search and quote answers: what symbols are, with cookie and crumb when asked."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import closing
from datetime import date

import pytest

from tickerlake.errors import ConfigError, MalformedError, UnreachableError
from tickerlake.sources import Describes, Searches, open_source
from tickerlake.sources.yahoo import YahooSettings, YahooSource
from tickerlake.testing.provider import (
    ProviderAnswer,
    ProviderRequest,
    ProviderServer,
    provider_server,
)
from yahoo_pricing import pricing

QUOTE = {
    "symbol": "OCDO.L",
    "longName": "Ocado Group plc",
    "quoteType": "EQUITY",
    "exchange": "LSE",
    "currency": "GBp",
    "firstTradeDateMilliseconds": 1279695600000,
}


class Yahoo:
    """Tells quotes to those who show its cookie and the crumb of the day."""

    def __init__(self) -> None:
        self.crumb = "aB.1/x"
        self.cookie_answer = ProviderAnswer(b"", 404, {"set-cookie": "A3=d=1&S=x; Path=/; Secure"})

    def __call__(self, request: ProviderRequest) -> ProviderAnswer:
        if request.path == "/":
            return self.cookie_answer
        if request.path == "/v1/test/getcrumb":
            known = "A3=d=1&S=x" in request.headers.get("cookie", "")
            return ProviderAnswer(self.crumb if known else "", 200, {"content-type": "text/plain"})
        if request.query.get("crumb") != self.crumb:
            told = {"finance": {"error": {"code": "Unauthorized", "description": "Invalid Crumb"}}}
            return ProviderAnswer(told, 401)
        known = [QUOTE] if "OCDO.L" in request.query["symbols"] else []
        return ProviderAnswer({"quoteResponse": {"result": known, "error": None}})


@pytest.fixture
def vendor() -> Yahoo:
    return Yahoo()


@pytest.fixture
def server(vendor: Yahoo) -> Iterator[ProviderServer]:
    with provider_server(vendor) as server:
        yield server


@pytest.fixture
def source(server: ProviderServer) -> Iterator[YahooSource]:
    url = server.base_url
    settings = YahooSettings(base_url=url, cookie_url=url, requests_per_second=None)
    with closing(YahooSource(settings)) as source:
        yield source


def test_a_crumb_is_fetched_when_it_is_asked_for_and_kept(
    source: YahooSource, server: ProviderServer
) -> None:
    """Plainly first; then cookie, crumb and the same again; the next time at once. Pence stay."""
    (hit,) = source.describe(["OCDO.L", "NONE"])
    assert (hit.name, hit.currency, hit.type) == ("Ocado Group plc", "GBp", "equity")
    assert hit.first == date(2010, 7, 21)
    assert [r.path for r in server.requests] == [
        "/v7/finance/quote",
        "/",
        "/v1/test/getcrumb",
        "/v7/finance/quote",
    ]
    source.describe(["OCDO.L"])
    assert len(server.requests) == 5


def test_a_crumb_that_grew_stale_is_renewed_once(
    source: YahooSource, server: ProviderServer, vendor: Yahoo
) -> None:
    """Yahoo changes its crumb: cookie and crumb are dropped and fetched anew, once."""
    source.describe(["OCDO.L"])
    vendor.crumb = "another"
    assert [hit.symbol for hit in source.describe(["OCDO.L"])] == ["OCDO.L"]
    assert server.count("/v1/test/getcrumb") == 2


@pytest.mark.parametrize("crumb", ["", "Too Many Requests", "<html></html>", '{"error": 1}'])
def test_what_is_no_crumb_is_not_taken_for_one(
    source: YahooSource, vendor: Yahoo, crumb: str
) -> None:
    """Sentences, pages and JSON in a crumb's place: a clear error."""
    vendor.crumb = crumb
    with pytest.raises(UnreachableError, match="no crumb"):
        source.describe(["OCDO.L"])


def test_a_page_of_consent_is_left_to_a_person(source: YahooSource, vendor: Yahoo) -> None:
    """Redirected to a consent page, or without a cookie: nobody consents in the user's place."""
    vendor.cookie_answer = ProviderAnswer(b"", 302, {"location": "https://consent.example/"})
    with pytest.raises(ConfigError, match="consent"):
        source.describe(["OCDO.L"])


def test_yahoo_says_what_it_can() -> None:
    """It can be searched and asked for details, and resolves ISIN and SEDOL."""
    source = open_source("yahoo")
    assert isinstance(source, Searches)
    assert isinstance(source, Describes)
    assert source.limits.identifiers == ("isin", "sedol")


def test_recorded_answers_are_told_in_words() -> None:
    """A search or a quote answer holds no records; its symbols are notes."""
    for body in (
        {"count": 2, "quotes": [{"symbol": "AAPL", "shortname": "Apple  Inc."}, {"name": "x"}]},
        {"quoteResponse": {"result": [{"symbol": "AAPL", "longName": "Apple Inc."}]}},
    ):
        answer = open_source("yahoo").parse(json.dumps(body).encode())
        assert not answer.tables()
        assert answer.notes[1] == "AAPL Apple Inc."


def test_packed_recordings_are_what_they_hold() -> None:
    """Gzip around an answer, a wrapper or a frame, and a VCR cassette: read as without it."""
    source = open_source("yahoo")
    body = {"count": 1, "quotes": [{"symbol": "AAPL", "shortname": "Apple Inc."}]}
    plain = json.dumps(body).encode()
    url = "https://query2.finance.yahoo.com/v1/finance/search?q=AAPL"
    wrapped = json.dumps({"request": {"url": url}, "response": {"bodyJson": body}}).encode()
    response = {"status": {"code": 200}, "headers": {}, "body": {"string": plain.decode()}}
    cassette = {"interactions": [{"request": {"uri": url}, "response": response}], "version": 1}
    for payload in (gzip.compress(plain), gzip.compress(wrapped), json.dumps(cassette).encode()):
        assert source.parse(payload).notes[1] == "AAPL Apple Inc."
    frame = pricing(id="ACME", price=1.5, time_ms=1704207600000).encode()
    assert source.parse(gzip.compress(frame)).ticks["trade"].num_rows == 1
    with pytest.raises(MalformedError):
        source.parse(gzip.compress(plain)[:-20])


def test_an_answer_of_another_shape_is_malformed(source: YahooSource, vendor: Yahoo) -> None:
    """JSON that is no search answer is not taken for an empty one."""
    with pytest.raises(MalformedError, match="something else"):
        open_source("yahoo").parse(b'{"quotes": 7}')

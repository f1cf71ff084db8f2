"""A provider whose pages lead back to themselves is not followed for ever."""

from __future__ import annotations

from datetime import date

import pytest

from tickerlake.errors import MalformedError
from tickerlake.sources import BarsRequest, open_source
from tickerlake.testing.provider import Handler, ProviderAnswer, ProviderRequest, provider_server

ALPACA = {"t": "2024-01-02T05:00:00Z", "o": 10, "h": 11, "l": 9, "c": 10.5, "v": 9, "n": 2}
MASSIVE = {"t": 1704171600000, "o": 10, "h": 11, "l": 9, "c": 10.5, "v": 9}
DAYS = BarsRequest("ACME", "1d", date(2024, 1, 2), date(2024, 1, 3))


def alpaca(request: ProviderRequest) -> ProviderAnswer:
    if "corporate-actions" in request.path:
        return ProviderAnswer({"corporate_actions": {}, "next_page_token": None})
    other = {"A": "B"}.get(request.query.get("page_token", ""), "A")
    return ProviderAnswer({"bars": {"ACME": [ALPACA]}, "next_page_token": other})


def massive(request: ProviderRequest) -> ProviderAnswer:
    if "/aggs/" not in request.path:
        return ProviderAnswer({"status": "OK", "results": []})
    address = f"http://{request.headers['host']}{request.path}?cursor=same"
    rows = {"ticker": "ACME", "status": "OK", "resultsCount": 1, "results": [MASSIVE]}
    return ProviderAnswer(rows | {"next_url": address})


KEYS = {
    "alpaca": {"api_key": "PKOURS", "api_secret": "ours-alone"},
    "massive": {"api_key": "ours-alone"},
}


@pytest.mark.parametrize(("name", "handler"), [("alpaca", alpaca), ("massive", massive)])
def test_a_page_that_comes_again_ends_it(name: str, handler: Handler) -> None:
    """What came once is kept, the rest is missing, and nothing more is asked."""
    with provider_server(handler) as server:
        told = {"base_url": server.base_url, "requests_per_second": None}
        answer = open_source(name, settings=told | KEYS[name]).bars(DAYS)
        assert answer.bars.num_rows == 1
        assert any("than it should be in its pages" in part for part in answer.missing)
        assert server.count() <= 12


def test_an_answer_of_another_kind_is_malformed() -> None:
    """Trades where bars were asked for are no bars."""
    trades = {"trades": [{"t": "2024-01-02T15:00:00Z", "p": 1, "s": 1}], "symbol": "ACME"}

    def confused(request: ProviderRequest) -> ProviderAnswer:
        return alpaca(request) if "corporate" in request.path else ProviderAnswer(trades)

    with provider_server(confused) as server:
        settings = {"base_url": server.base_url} | KEYS["alpaca"]
        with pytest.raises(MalformedError, match="expected: what /v2/stocks/bars"):
            open_source("alpaca", settings=settings).bars(DAYS)

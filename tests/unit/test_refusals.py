"""What a status means is the same of every provider, and a page says nothing of a symbol."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tickerlake.errors import (
    ConfigError,
    MalformedError,
    NotFoundError,
    RateLimitedError,
    TickerlakeError,
    UnreachableError,
    hide,
)
from tickerlake.sources import open_source
from tickerlake.sources.refusals import refusal

PROVIDERS = ("yahoo", "alpaca", "massive", "tiingo", "alphavantage", "stooq", "finnhub", "binance",
             "coinbase", "kraken", "bitfinex")  # fmt: skip
PAGE = "<html><title>404 Not Found</title>no such symbol, pair or token</html>"


def told(name: str, status: int, body: str) -> TickerlakeError:
    """The error that a recorded answer tells."""
    response: dict[str, Any] = {"status": status, "body": body}
    wrapped = {"request": {"url": "https://x.example/a"}, "response": response}
    with pytest.raises(TickerlakeError) as caught:
        open_source(name).parse(json.dumps(wrapped).encode(), symbol="tACMEUSD", interval="1d")
    return caught.value


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize("body", ["", PAGE])
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (402, ConfigError), (404, MalformedError), (410, MalformedError), (451, ConfigError),
        (418, RateLimitedError), (429, RateLimitedError), (302, UnreachableError),
        (500, UnreachableError), (502, UnreachableError), (520, UnreachableError),
    ],
)  # fmt: skip
def test_a_status_without_words(
    name: str, body: str, status: int, error: type[TickerlakeError]
) -> None:
    """Gateways answer with nothing or with pages: above all, never that there is no such symbol.

    That would be remembered, of every symbol that is asked for at a wrong address.
    """
    assert isinstance(told(name, status, body), error)


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize("body", ["", PAGE, "null", '"x"', '{"error": "new words"}'])
def test_a_good_status_without_data(name: str, body: str) -> None:
    """HTTP 200 with another shape creates nothing: no coverage, and no unknown symbol."""
    assert isinstance(told(name, 200, body), MalformedError)


@pytest.mark.parametrize("name", PROVIDERS[:7])
def test_a_gateways_words_with_a_good_status(name: str) -> None:
    """Too Many Requests is what it says, whatever the status."""
    assert isinstance(told(name, 200, "Too Many Requests"), RateLimitedError)


def test_a_status_comes_before_the_body() -> None:
    """An empty object means an unknown symbol only where the status is good."""
    assert isinstance(told("alphavantage", 403, "{}"), ConfigError)
    assert isinstance(told("alphavantage", 200, "{}"), NotFoundError)


def test_keys_are_masked_before_a_text_is_cut() -> None:
    """Half a key is shown nowhere."""
    key = "k-0815-" + "long" * 60
    hide([key])
    error = refusal(
        (), provider="Acme", status=401, text=f"we see {key}", symbol=None, expected="data"
    )
    assert error is not None
    assert "k-0815" not in str(error)

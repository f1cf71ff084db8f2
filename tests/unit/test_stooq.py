"""Stooq: CSV in two languages, and what else comes in its place with HTTP 200."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest

from tickerlake.errors import (
    ConfigError,
    MalformedError,
    NotFoundError,
    RangeError,
    RateLimitedError,
    TickerlakeError,
    UnreachableError,
)
from tickerlake.sources import BarsRequest
from tickerlake.sources.stooq import StooqSettings, StooqSource
from tickerlake.testing.provider import ProviderAnswer, ProviderServer, provider_server

ROWS = ("2024-01-02,10,12,9,11,500.5", "2024-01-03,11,13,10,12,600")
ENGLISH = "\r\n".join(["Date,Open,High,Low,Close,Volume", *ROWS, ""])
POLISH = "\n".join(["Data,Otwarcie,Najwyzszy,Najnizszy,Zamkniecie,Wolumen", *ROWS, ""])
CHALLENGE = (
    "<!DOCTYPE html><html><body><noscript>This site requires JavaScript to verify your browser."
    "</noscript><script>crypto.subtle.digest('SHA-256', …); fetch('/__verify', {method: 'POST'})"
    "</script></body></html>"
)
LATER = datetime(2024, 3, 1, tzinfo=UTC)


def parsed(text: str, symbol: str | None = "acme.us", at: datetime | None = LATER) -> Any:
    return StooqSource().parse(text.encode(), symbol=symbol, received_at=at)


def answering(body: str, status: int = 200) -> Any:
    return lambda _: ProviderAnswer(body, status, {"content-type": "text/html; charset=UTF-8"})


def source(server: ProviderServer, **settings: Any) -> StooqSource:
    return StooqSource(
        StooqSettings(base_url=server.base_url, requests_per_second=None, **settings)
    )


@pytest.mark.parametrize(
    "text",
    [
        POLISH,
        POLISH.replace("Najwyzszy", "Najwyższy").replace("Najnizszy", "Najniższy"),
        "\ufeff" + ENGLISH,
        ENGLISH.replace(",", ";"),
        "Data,Otwarcie,Najw\ufffdszy,Najni\ufffdszy,Zamkni\ufffdcie,Wolumen\n" + "\n".join(ROWS),
        ENGLISH.partition("\r\n")[2],
        ENGLISH.replace("2024-01-0", "2024010"),
        "<br />\n<b>Warning</b>:  Division by zero in <b>/q/d/l/index.php</b> on line <b>7</b>\n"
        + ENGLISH,
        "\n".join(["Date,Open,High,Low,Close,Volume", *reversed(ROWS)]),
    ],
)
def test_all_its_forms_are_the_same_bars(text: str) -> None:
    """Either language, no header, no dashes, warnings before it, another order: the same days."""
    assert parsed(text).bars.equals(parsed(ENGLISH).bars)


def test_its_prices_are_adjusted_as_of_the_answer() -> None:
    """A row is the day of its date; its splits are those up to the answer, not up to the day."""
    bars = parsed(ENGLISH).bars.to_pylist()
    assert [bar["session_date"] for bar in bars] == [date(2024, 1, 2), date(2024, 1, 3)]
    assert [bar["volume"] for bar in bars] == [500.5, 600.0]
    assert {bar["split_basis"] for bar in bars} == {date(2024, 2, 29)}  # in New York
    assert StooqSource.limits.price_basis == "all"


@pytest.mark.parametrize(
    ("symbol", "exchange", "kind"),
    [("acme.us", "US", None), ("^spx", None, "index"), ("eurusd", "FX", "currency"),
     ("btc.v", "CRYPTO", "crypto"), ("cl.f", None, "future"), ("pkn", "WSE", None)],
)  # fmt: skip
def test_indices_and_currencies_have_no_volume(
    symbol: str, exchange: str | None, kind: str | None
) -> None:
    """What it is follows from the form of the symbol; a header without volume is sound."""
    told = parsed("Date,Open,High,Low,Close\n2024-01-02,10,12,9,11\n", symbol)
    (bar,) = told.bars.to_pylist()
    assert (bar["volume"], bar["instrument_type"], told.about.exchange) == (None, kind, exchange)


def test_todays_row_is_forming() -> None:
    """The live row of a running session is told as such, whatever Stooq calls it."""
    running = parsed(ENGLISH, at=datetime(2024, 1, 3, 18, tzinfo=UTC))
    assert running.bars["state"].to_pylist() == ["provisional", "forming"]


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (CHALLENGE, 200, ConfigError),
        ("Get your apikey: https://stooq.com/q/d/?s=spy.us&get_apikey", 200, ConfigError),
        ("No data", 200, NotFoundError),
        ("Brak danych\r\n", 200, NotFoundError),
        ("Exceeded the daily hits limit", 200, RateLimitedError),
        ("<html><body>Welcome</body></html>", 200, MalformedError),
        ("Date,Open,High\n2024-01-02,10,12\n", 200, MalformedError),
        ("Date,Open,High,Low,Close\n2024-01-02,10,12,9,much\n", 200, MalformedError),
        ("Date,Open,High,Low,Close\n2024-01-02,10,12,9,1e999\n", 200, MalformedError),
        ("Date,Open,High,Low,Close\n2024-01-02,10,12\n", 200, MalformedError),
        ("Date,Open,High,Low,Close\n2024-02-31,10,12,9,11\n", 200, MalformedError),
        ("", 200, MalformedError),
        ("gone", 404, NotFoundError),
        ("down", 503, UnreachableError),
    ],
)
def test_what_is_no_day_is_told_for_what_it_is(
    body: str, status: int, error: type[TickerlakeError]
) -> None:
    """A check of the browser, no data and a limit are three different things, all with HTTP 200."""
    with (
        provider_server(answering(body, status)) as server,
        pytest.raises(TickerlakeError) as told,
    ):
        source(server, attempts_max=1).bars(BarsRequest("acme.us"))
    assert type(told.value) is error
    assert told.value.todo
    assert len(server.requests) == 1


def test_a_header_alone_is_no_bar() -> None:
    """A header without rows is noted, and nothing more is concluded from it."""
    told = parsed("Date,Open,High,Low,Close,Volume\n")
    assert (told.bars.num_rows, told.notes) == (0, ("acme.us: Stooq answered without bars",))


def test_no_data_in_a_range_does_not_deny_the_symbol() -> None:
    """Stooq says the same of an unknown symbol and of days without trade."""
    with provider_server(answering("No data")) as server:
        ranged = BarsRequest("acme.us", "1d", date(2024, 1, 6), date(2024, 1, 7))
        with pytest.raises(RangeError, match="or does not know it"):
            source(server).bars(ranged)
        with pytest.raises(NotFoundError):
            source(server).bars(BarsRequest("acme.us"))


def test_one_request_and_its_key() -> None:
    """Any range is one request in Stooq's own way; the key is in it, and nowhere else."""
    request = BarsRequest("ACME.US", "1d", date(1990, 1, 1), date(2024, 1, 31))
    with provider_server(answering(ENGLISH)) as server:
        told = source(server, api_key="k3y").bars(request)
        assert source(server).requests(request) == 1
        source(server).bars(BarsRequest("ACME.US"))
    first, second = server.requests
    assert first.path == "/q/d/l/"
    assert first.query == {
        "s": "acme.us", "i": "d", "d1": "19900101", "d2": "20240131", "apikey": "k3y",
    }  # fmt: skip
    assert second.query == {"s": "acme.us", "i": "d"}
    assert set(told.bars["symbol"].to_pylist()) == {"ACME.US"}
    assert "k3y" not in str(told)


def test_a_range_of_the_future_asks_nobody() -> None:
    """What cannot be there yet costs no hit."""
    with provider_server(answering(ENGLISH)) as server:
        told = source(server).bars(BarsRequest("acme.us", "1d", date(2999, 1, 1)))
    assert not server.requests
    assert "future" in told.notes[0]


def test_a_recorded_request_names_the_symbol() -> None:
    """A wrapper's address says whose days these are; weeks are none."""
    url = "https://stooq.com/q/d/l/?s=acme.us&i=d"
    told = {"request": {"url": url}, "response": {"status": 200, "body": ENGLISH}}
    bars = StooqSource().parse(json.dumps(told).encode()).bars
    assert set(bars["symbol"].to_pylist()) == {"acme.us"}
    told["request"] = {"url": url.replace("i=d", "i=w")}
    with pytest.raises(MalformedError, match="days"):
        StooqSource().parse(json.dumps(told).encode())

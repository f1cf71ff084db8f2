"""The contract suites over tiingo, alphavantage and stooq, played by a server on this machine."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import date, timedelta
from typing import ClassVar

import pytest

from tickerlake.errors import RateLimitedError
from tickerlake.sources import BarsRequest, Live, Source, open_source
from tickerlake.testing.dialect_suite import SECRET, DialectSuite
from tickerlake.testing.provider import ProviderAnswer, ProviderRequest, provider_server
from tickerlake.testing.source_suite import SourceSuite

JANUARY = BarsRequest("ACME", "1d", date(2024, 1, 5), date(2024, 1, 31))


def weekdays(first: date, last: date) -> list[date]:
    days = (date(2024, 1, 1) + timedelta(days=n) for n in range(60))
    return [day for day in days if day.weekday() < 5 and first <= day <= last]


def tiingo(request: ProviderRequest) -> ProviderAnswer:
    """ACME trades on every weekday."""
    if request.path != "/tiingo/daily/ACME/prices":
        return ProviderAnswer({"detail": "Not found."}, 404)
    days = weekdays(*(date.fromisoformat(request.query[n]) for n in ("startDate", "endDate")))
    row = {"close": 10.5, "high": 11.0, "low": 9.0, "open": 10.0, "volume": 100, "adjClose": 5.2}
    return ProviderAnswer([{"date": f"{day}T00:00:00.000Z", **row} for day in days])


class TestTiingo(SourceSuite):
    """Tiingo keeps the contract, over HTTP."""

    request_ = JANUARY

    @pytest.fixture
    def source(self) -> Iterator[Source]:
        with provider_server(tiingo) as server:
            yield open_source("tiingo", settings=keyed(server.base_url))


def alphavantage(request: ProviderRequest) -> ProviderAnswer:
    """The same ACME, with a premium key; newest first, all values texts."""
    if request.query["function"] == "SYMBOL_SEARCH":
        return ProviderAnswer({"bestMatches": []})
    if request.query["symbol"] != "ACME":
        return ProviderAnswer({"Error Message": "Invalid API call. Please retry or visit …"})
    row = {"1. open": "10", "2. high": "11", "3. low": "9", "4. close": "10.5",
           "5. adjusted close": "5.2", "6. volume": "100", "7. dividend amount": "0.0000",
           "8. split coefficient": "1.0"}  # fmt: skip
    days = weekdays(date(2024, 1, 1), date(2024, 2, 29))
    return ProviderAnswer(
        {
            "Meta Data": {"2. Symbol": "ACME", "5. Time Zone": "US/Eastern"},
            "Time Series (Daily)": {str(day): row for day in reversed(days)},
        }
    )


class TestAlphaVantage(SourceSuite):
    """Alpha Vantage keeps the contract, over HTTP."""

    request_ = JANUARY

    @pytest.fixture
    def source(self) -> Iterator[Source]:
        with provider_server(alphavantage) as server:
            settings = keyed(server.base_url) | {"premium": True}
            yield open_source("alphavantage", settings=settings)


def stooq(request: ProviderRequest) -> ProviderAnswer:
    """The same ACME, in CSV of Windows' line ends."""
    if request.query["s"] != "acme.us":
        return ProviderAnswer("No data", headers={"content-type": "text/plain"})
    first, last = (
        date.fromisoformat(request.query.get(name, default))
        for name, default in (("d1", "20240101"), ("d2", "20241231"))
    )
    lines = ["Date,Open,High,Low,Close,Volume"]
    lines += [f"{day},10,11,9,10.5,100" for day in weekdays(first, last)]
    return ProviderAnswer("\r\n".join(lines) + "\r\n", headers={"content-type": "text/csv"})


class TestStooq(SourceSuite):
    """Stooq keeps the contract, over HTTP."""

    request_ = dataclasses.replace(JANUARY, symbol="acme.us")

    @pytest.fixture
    def source(self) -> Iterator[Source]:
        with provider_server(stooq) as server:
            yield open_source("stooq", settings=keyed(server.base_url))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tiingo", "You have run over your hourly request allocation. Please upgrade."),
        ("alphavantage", {"Information": "our standard API rate limit is 25 requests per day"}),
        ("stooq", "Exceeded the daily hits limit"),
    ],
)
def test_a_limit_is_told_to_all(name: str, said: object) -> None:
    """A limit that comes with HTTP 200 is remembered: the next symbol costs no request."""
    with provider_server(lambda _: ProviderAnswer(said)) as server:
        for symbol in ("acme.us", "other.us"):
            source = open_source(name, settings=keyed(server.base_url))
            with pytest.raises(RateLimitedError):
                source.bars(dataclasses.replace(JANUARY, symbol=symbol, start=None, end=None))
    assert len(server.requests) == 1


def keyed(base_url: str) -> dict[str, object]:
    return {"base_url": base_url, "requests_per_second": None, "api_key": SECRET}


def _data(*items: object) -> str:
    return json.dumps({"messageType": "A", "service": "iex", "data": items})


_WELCOME = (
    '{"messageType":"I","data":{"subscriptionId":61},"response":{"code":200,"message":"Success"}}'
)
_HEARTBEAT = '{"messageType":"H","response":{"code":200,"message":"HeartBeat"}}'
_AT = "2024-01-02T10:00:00.123456789-05:00"


class TestTiingoReferences(DialectSuite):
    """Level 6: reference prices, which are quotes."""

    symbols = ("ACME",)
    frames = (_WELCOME, _HEARTBEAT, _data(_AT, "acme", 10.25), _data(_AT, "brk-b", 400))
    records: ClassVar = {"quote": 2}
    refusals = (
        '{"messageType":"E","response":{"code":401,"message":"authorization failed"}}',
        '{"messageType":"E","response":{"code":400,"message":"thresholdLevel not valid"}}',
    )

    @pytest.fixture
    def live(self) -> Live:
        return live("tiingo")


class TestTiingoBooks(DialectSuite):
    """Levels 0 and 5: quotes, trades and breaks of sixteen items."""

    symbols = ("ACME",)
    frames = (
        _WELCOME,
        _data("Q", _AT, 1704207600123456789, "acme", 100, 10.2, 10.25, 10.3, 200, *[None] * 2,
              0, 0, None, None, None),
        _data("T", _AT, 1704207600123456789, "acme", *[None] * 5, 10.25, 50, None, 1, 0, 1, 0),
        _HEARTBEAT,
        _data("B", _AT, 1704207600123456789, "acme", *[None] * 5, 10.25, 50, None, 0, 0, 0, 0),
    )  # fmt: skip
    records: ClassVar = {"trade": 2, "quote": 1}
    settings: ClassVar = {"threshold_level": 5}

    @pytest.fixture
    def live(self) -> Live:
        return live("tiingo", **self.settings)


def live(name: str, **settings: object) -> Live:
    source = open_source(name, settings={"api_key": SECRET, **settings})
    assert isinstance(source, Live)
    return source

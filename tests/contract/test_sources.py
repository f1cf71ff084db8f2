"""The contract suite over our sources; Yahoo is played by a server on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from alpaca_double import Alpaca, alpaca_server
from alpaca_double import weekdays as alpaca_weekdays
from massive_double import Massive, massive_server
from massive_double import weekdays as massive_weekdays
from tickerlake.sources import BarsRequest, Source, open_source
from tickerlake.testing.source_suite import SourceSuite
from yahoo_double import Answer, at, chart, encoded, error, yahoo_server

CSV = """Ticker,Date,Open,High,Low,Close,Adj Close,Volume
AAA,2024-01-04,11,12.5,10,12,11.9,700
AAA,2024-01-02,10,11,9,10.5,10.4,500
AAA,2024-01-03,10.5,11.5,10,11,10.9,600
BBB,2024-01-02,1,1,1,1,1,
"""


class TestSample(SourceSuite):
    """The bundled sample keeps the contract."""

    request_ = BarsRequest("IBM", "1d", date(2013, 1, 2), date(2013, 1, 31))

    @pytest.fixture
    def source(self) -> Source:
        return open_source("sample")


class TestFiles(SourceSuite):
    """A folder of files keeps the contract."""

    request_ = BarsRequest("AAA", "1d", date(2024, 1, 1), date(2024, 1, 31))

    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        (tmp_path / "bars.csv").write_text(CSV)
        return open_source("files", settings={"path": str(tmp_path)})


def weekdays(symbol: str, query: dict[str, str]) -> Answer:
    """A Yahoo whose stocks trade on every weekday from 14:30 to 21:00 UTC."""
    if symbol != "ACME":
        return Answer(encoded(error("Not Found", "No data found, symbol may be delisted")), 404)
    first, end = int(query["period1"]), int(query["period2"])
    days = (date(2024, 1, 1) + timedelta(days=n) for n in range(60))
    stamps = (f"{day.isoformat()}T14:30" for day in days if day.weekday() < 5)
    rows = [(s, (10.0, 11.0, 9.0, 10.5, 100.0)) for s in stamps if first <= at(s) < end]
    return Answer(encoded(chart(rows)))


class TestYahoo(SourceSuite):
    """Yahoo keeps the contract, over HTTP."""

    request_ = BarsRequest("ACME", "1d", date(2024, 1, 5), date(2024, 1, 31))

    @pytest.fixture
    def source(self) -> Iterator[Source]:
        with yahoo_server(weekdays) as server:
            yield open_source(
                "yahoo", settings={"base_url": server.base_url, "requests_per_second": None}
            )


class TestAlpaca(SourceSuite):
    """Alpaca keeps the contract, over HTTP."""

    request_ = BarsRequest("ACME", "1d", date(2024, 1, 5), date(2024, 1, 31))

    @pytest.fixture
    def source(self) -> Iterator[Source]:
        alpaca = Alpaca({"ACME": alpaca_weekdays(date(2024, 1, 1), 60)}, rows_per_page=7)
        with alpaca_server(alpaca) as (source, _):
            yield source


class TestMassive(SourceSuite):
    """Massive keeps the contract, over HTTP."""

    request_ = BarsRequest("ACME", "1d", date(2024, 1, 5), date(2024, 1, 31))

    @pytest.fixture
    def source(self) -> Iterator[Source]:
        massive = Massive({"ACME": massive_weekdays(date(2024, 1, 1), 60)}, rows_per_page=7)
        with massive_server(massive) as (source, _):
            yield source

"""The contract suite over the crypto exchanges, each played by a server on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pytest

import crypto_doubles as doubles
from tickerlake.sources import BarsRequest, Source
from tickerlake.testing.source_suite import SourceSuite


class TestBinance(SourceSuite):
    """Binance keeps the contract."""

    request_ = BarsRequest("ACMEUSDT", "1d", date(2024, 1, 5), date(2024, 1, 31))

    @pytest.fixture
    def source(self) -> Iterator[Source]:
        with doubles.played("binance", doubles.binance) as (source, _):
            yield source


class TestBinanceUs(SourceSuite):
    """Binance.US keeps the contract, for it is Binance at another address."""

    request_ = BarsRequest("ACMEUSDT", "1d", date(2024, 1, 5), date(2024, 1, 31))

    @pytest.fixture
    def source(self) -> Iterator[Source]:
        with doubles.played("binance_us", doubles.binance) as (source, _):
            yield source

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


class TestCoinbase(SourceSuite):
    """Coinbase keeps the contract."""

    request_ = BarsRequest("ACME-USD", "1d", date(2024, 1, 5), date(2024, 1, 31))
    unknown_symbol = "NO-SUCH"

    @pytest.fixture
    def source(self) -> Iterator[Source]:
        with doubles.played("coinbase", doubles.coinbase) as (source, _):
            yield source


class TestKraken(SourceSuite):
    """Kraken keeps the contract, whose range lies in its look-back."""

    request_ = BarsRequest("ACME/USD", "1d", date(2024, 1, 25), date(2024, 2, 28))
    unknown_symbol = "NO/SUCH"

    @pytest.fixture
    def source(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Source]:
        monkeypatch.setenv("TICKERLAKE_NOW", "2024-03-01T12:30:20Z")
        with doubles.played("kraken", doubles.kraken) as (source, _):
            yield source


class TestBitfinex(SourceSuite):
    """Bitfinex keeps the contract."""

    request_ = BarsRequest("tACMEUSD", "1d", date(2024, 1, 5), date(2024, 1, 31))

    @pytest.fixture
    def source(self) -> Iterator[Source]:
        with doubles.played("bitfinex", doubles.bitfinex) as (source, _):
            yield source

"""The exchanges behind the cache: what the plan says is what their server hears, and once."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

import crypto_doubles as doubles
from tickerlake import clock
from tickerlake.cache import CachedSource, known_series
from tickerlake.errors import NotFoundError
from tickerlake.sources import BarsRequest


@pytest.fixture(autouse=True)
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKERLAKE_NOW", "2024-03-01T12:34:56Z")
    clock._offset.cache_clear()


def test_pages_are_counted_once(tmp_path: Path) -> None:
    """The most that a plan tells of pages is what they need, and what comes: three of 1,000."""
    minutes = BarsRequest(
        "ACMEUSDT", "1m", datetime(2024, 2, 1, tzinfo=UTC), datetime(2024, 2, 3, tzinfo=UTC)
    )
    with doubles.played("binance", doubles.binance) as (source, server):
        cached = CachedSource(source, tmp_path)
        (item,) = cached.plan([minutes]).items
        assert (item.requests_min, item.requests_max) == (1, 3)
        assert cached.bars(minutes).bars.num_rows == 2880
        assert server.count() == 3


def test_what_lies_before_the_look_back_is_asked_for_by_nobody(tmp_path: Path) -> None:
    """Kraken's 720 days begin within a day that it has no bar of: asking twice asks once."""
    days = BarsRequest("ACME/USD", "1d", date(2020, 1, 1))
    with doubles.played("kraken", doubles.kraken) as (source, server):
        cached = CachedSource(source, tmp_path)
        first = cached.bars(days)
        (item,) = cached.plan([days]).items
        assert item.requests_max == 0
        assert cached.bars(days).missing == first.missing
        assert server.count() == 1
    (part,) = first.missing
    assert part == (
        "ACME/USD 1d from 2020-01-01 00:00Z to 2022-03-13 00:00Z: kraken keeps 720 days"
    )


def test_a_symbol_stays_spelled_as_its_exchange_spells_it(tmp_path: Path) -> None:
    """Bitfinex tells `t` and `T` apart: a wrong one closes no door, and `--since last` goes on."""
    with doubles.played("bitfinex", doubles.bitfinex) as (source, server):
        cached = CachedSource(source, tmp_path)
        with pytest.raises(NotFoundError, match="write the t"):
            cached.bars(BarsRequest("TACMEUSD", "1d", date(2024, 2, 1)))
        assert cached.bars(BarsRequest("tACMEUSD", "1d", date(2024, 2, 1))).bars.num_rows > 20
        (known,) = known_series(tmp_path)
        assert known.symbol == "tACMEUSD"
        assert server.count() == 1

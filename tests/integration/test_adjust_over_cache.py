"""Adjusted prices out of a cache whose bars came before and after a split."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from adjusting import bases
from stock_double import Stock
from tickerlake.adjust import Adjust, Basis, daily_request, derive, known_of
from tickerlake.cache import CachedSource
from tickerlake.sources import BarsRequest

SPLIT, PAID = date(2024, 4, 16), date(2024, 3, 14)
BASIS = Basis("splits", "raw", tells_events=True)
DAYS = BarsRequest("ACME", "1d", date(2024, 3, 1), date(2024, 4, 30))


def told_at(monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    monkeypatch.setenv("TICKERLAKE_NOW", when)


def derived(source: CachedSource, request: BarsRequest, how: Adjust) -> dict[date, float]:
    answer, days = source.bars(request), source.bars(daily_request(request))
    known = known_of(days, request)
    found = derive(
        answer.bars, days.actions, days.bars, how=how, known=known, bases=bases(BASIS)
    ).bars
    return dict(zip(found["session_date"].to_pylist(), found["close"].to_pylist(), strict=True))


def test_bars_of_before_and_after_a_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was cached before the split is not fetched again, and comes out on one basis."""
    stock = Stock(splits={SPLIT: 4.0}, dividends={PAID: 2.0})
    source = CachedSource(stock, tmp_path)
    told_at(monkeypatch, "2024-04-05T22:00:00Z")
    before = {day: price for day, price in derived(source, DAYS, "none").items() if day < SPLIT}
    told_at(monkeypatch, "2024-05-03T22:00:00Z")
    traded = derived(source, DAYS, "none")
    split = derived(source, DAYS, "splits")
    paid = derived(source, DAYS, "all")
    asked = len(stock.asked)
    assert all(99 < price < 107 for price in before.values())
    assert {day: traded[day] for day in before} == pytest.approx(before)
    for day, price in traded.items():
        ratio = 4.0 if day < SPLIT else 1.0
        assert split[day] == pytest.approx(price / ratio)
    closes = [price for day, price in traded.items() if day < PAID]
    share = 2.0 / closes[-1]
    for day, price in split.items():
        assert paid[day] == pytest.approx(price * (1 - share if day < PAID else 1))
    assert len(stock.asked) == asked


def test_minutes_beside_their_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours are adjusted by days of the same cache, which are fetched once for all."""
    stock = Stock(splits={SPLIT: 4.0}, dividends={date(2024, 4, 18): 1.0})
    source = CachedSource(stock, tmp_path)
    told_at(monkeypatch, "2024-05-03T22:00:00Z")
    hours = BarsRequest("ACME", "1h", date(2024, 4, 12), date(2024, 4, 19))
    traded = derived(source, hours, "none")
    asked = len(stock.asked)
    paid = derived(source, hours, "all")
    assert len(stock.asked) == asked
    assert all(99 < price < 107 for day, price in traded.items() if day < SPLIT)
    share = 1.0 / derived(source, DAYS, "none")[date(2024, 4, 17)]
    for day, price in traded.items():
        factor = (1 - share) / (4.0 if day < SPLIT else 1.0)
        assert paid[day] == pytest.approx(price * (factor if day < date(2024, 4, 18) else 1))

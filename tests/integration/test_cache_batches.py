"""Many symbols with one request: the cache asks together for what they lack alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from alpaca_double import Alpaca, alpaca_server, bar, weekdays
from tickerlake import clock
from tickerlake.cache import CachedSource
from tickerlake.errors import NotFoundError, UnreachableError
from tickerlake.records import conform
from tickerlake.sources import About, Answer, BarsRequest, Limits, empty_answer, select

ASKED = BarsRequest("", "1d", date(2024, 1, 8), date(2024, 1, 31))


class Vendor:
    """Days of any symbol but NONE; at most three a request."""

    name = "vendor"
    limits = Limits(symbols_per_request=3, requests_per_second=1.0)
    is_down = False

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.singles: list[str] = []

    def bars(self, request: BarsRequest) -> Answer:
        self.singles.append(request.symbol)
        return self._answer(request)

    def bars_of(
        self, symbols: Sequence[str], request: BarsRequest
    ) -> Mapping[str, Answer | Exception]:
        self.batches.append(list(symbols))
        return {s: self._answer(dataclasses.replace(request, symbol=s)) for s in symbols}

    def _answer(self, request: BarsRequest) -> Answer:
        if self.is_down:
            raise UnreachableError("the vendor is down")
        if request.symbol == "NONE":
            raise NotFoundError("NONE is no symbol")
        days = [date(2024, 1, 2) + timedelta(days=n) for n in range(40)]
        told = {
            "provider": "vendor", "symbol": request.symbol, "interval": "1d", "state": "final",
            "session": "regular", "open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0,
            "volume": 1.0, "currency": "USD", "fetched_at": clock.now(),
        }  # fmt: skip
        rows = [
            {**told, "ts": datetime(d.year, d.month, d.day, tzinfo=UTC), "session_date": d,
             "split_basis": d}
            for d in days if d.weekday() < 5
        ]  # fmt: skip
        bars = conform(pa.Table.from_pylist(rows), "bar")
        about = About(exchange="NYQ", currency="USD", instrument_type="equity", as_of=clock.now())
        return dataclasses.replace(empty_answer(), bars=select(bars, request), about=about)

    def symbols(self) -> Any:
        return iter(())

    def parse(self, payload: bytes, **_: Any) -> Answer:
        raise NotFoundError(str(payload))


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> Vendor:
    monkeypatch.setenv("TICKERLAKE_NOW", "2024-02-20T23:00:00Z")
    return Vendor()


def test_what_symbols_lack_alike_is_asked_for_together(vendor: Vendor, tmp_path: Path) -> None:
    """As many requests as the plan says, and none the second time; each symbol's bars are its."""
    cached = CachedSource(vendor, tmp_path)
    symbols = ["A", "B", "C", "D"]
    requests = [dataclasses.replace(ASKED, symbol=symbol) for symbol in symbols]
    plan = cached.plan(requests)
    assert [item.requests_max for item in plan.items] == [1, 0, 0, 1]
    assert (plan.requests_min, plan.requests_max) == (2, 2)
    for _ in range(2):
        found = cached.bars_of(symbols, ASKED)
        for symbol in symbols:
            answer = found[symbol]
            assert isinstance(answer, Answer)
            assert set(answer.bars["symbol"].to_pylist()) == {symbol}
            assert answer.bars.num_rows == 18
    assert vendor.batches == [["A", "B", "C"]]
    assert vendor.singles == ["D"]
    cached.close()


def test_a_symbol_that_has_more_than_the_others_is_asked_for_by_itself(
    vendor: Vendor, tmp_path: Path
) -> None:
    """One that is cached asks for nothing; those that lack the same are one request."""
    cached = CachedSource(vendor, tmp_path)
    cached.bars(dataclasses.replace(ASKED, symbol="A"))
    cached.bars_of(["A", "B", "C"], ASKED)
    assert vendor.singles == ["A"]
    assert vendor.batches == [["B", "C"]]
    cached.close()


def test_one_bad_name_does_not_cost_the_others(vendor: Vendor, tmp_path: Path) -> None:
    """A name that fails the whole batch is told; each of the others is asked for by itself."""
    cached = CachedSource(vendor, tmp_path)
    found = cached.bars_of(["A", "NONE", "B"], ASKED)
    assert isinstance(found["NONE"], NotFoundError)
    assert isinstance(found["A"], Answer)
    assert isinstance(found["B"], Answer)
    cached.close()


def test_a_batch_that_fails_serves_what_is_held(vendor: Vendor, tmp_path: Path) -> None:
    """One request finds out that nobody answers; what was cached before is served, marked stale."""
    cached = CachedSource(vendor, tmp_path)
    cached.bars_of(["A", "B"], ASKED)
    vendor.is_down = True
    longer = dataclasses.replace(ASKED, end=date(2024, 2, 9))
    found = cached.bars_of(["A", "B", "C"], longer)
    assert isinstance(found["A"], Answer)
    assert found["A"].stale
    assert found["A"].bars.num_rows == 18
    assert isinstance(found["C"], UnreachableError)
    assert vendor.batches[1:] == [["A", "B"]]
    cached.close()


def test_a_plan_of_pages_over_a_batch_holds_what_the_server_counts(tmp_path: Path) -> None:
    """Pages are of the whole batch: hundreds of symbols are not told to take hundreds of them."""
    symbols = [f"S{n}" for n in range(120)]
    alpaca = Alpaca(dict.fromkeys(symbols, weekdays(date(2023, 1, 2), 180)), rows_per_page=10_000)
    told: list[BarsRequest] = []
    with alpaca_server(alpaca) as (source, server):
        cached = CachedSource(source, tmp_path, on_ask=told.append)
        request = BarsRequest("", "1d", date(2023, 1, 2), date(2023, 6, 30))
        plan = cached.plan([dataclasses.replace(request, symbol=symbol) for symbol in symbols])
        for at in (0, 100):
            cached.bars_of(symbols[at : at + 100], request)
        assert (plan.requests_min, server.count("/v2/stocks/bars")) == (2, 3)
        assert server.count("/v1/corporate-actions") == 2
        assert server.count() <= plan.requests_max <= server.count() + 4
        # A request for many is one request, told when all of it is kept.
        assert len(told) == 2
        assert cached.plan([dataclasses.replace(request, symbol="S7")]).requests_max == 0
        cached.close()


def test_ranges_that_end_now_go_together_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """While a session runs, each look is a little later than the one before: one moment counts."""
    monkeypatch.setenv("TICKERLAKE_NOW", "2024-01-03T16:00:00Z")
    bars = {name: [bar(f"2024-01-03T14:{minute}:00Z") for minute in (44, 45)] for name in "ABC"}
    with alpaca_server(Alpaca(bars)) as (source, server):
        cached = CachedSource(source, tmp_path)
        request = BarsRequest("", "1m", datetime(2024, 1, 3, 14, 30, tzinfo=UTC), None)
        requests = [dataclasses.replace(request, symbol=name) for name in bars]
        assert [item.requests_max for item in cached.plan(requests).items] == [1, 0, 0]
        found = cached.bars_of(list(bars), request)
        assert [getattr(found[name], "bars", pa.table({})).num_rows for name in bars] == [2, 2, 2]
        assert server.count() == 1
        cached.bars_of(list(bars), request)
        assert server.count() == 1
        cached.close()
        # Another process, whose clock begins anew at that time.
        monkeypatch.setenv("TICKERLAKE_NOW", "2024-01-03T15:59:58Z")
        cached = CachedSource(source, tmp_path)
        cached.bars_of(list(bars), request)
        assert server.count() == 1
        cached.close()

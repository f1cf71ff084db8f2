"""Several at work on one cache: who waits for whom, and what who does not wait may see."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pretended_time import Now
from stock_double import Stock, values
from tickerlake.cache import CacheCare, CachedSource
from tickerlake.cli import main
from tickerlake.sources import Answer as Told
from tickerlake.sources import BarsRequest
from yahoo_double import Answer, chart, encoded, yahoo_server
from yahoo_double import environment as yahoo_environment

DAYS = BarsRequest("ACME", "1d", date(2024, 1, 2))
SECONDS_MAX = 60


class Meeting(Stock):
    """Answers only when another is asked at the same time."""

    barrier: threading.Barrier

    def bars(self, request: BarsRequest) -> Told:
        self.barrier.wait(SECONDS_MAX)
        return super().bars(request)


@pytest.mark.parametrize(
    ("names", "symbols"),
    [(("acme", "acme"), ("ACME", "OTHER")), (("acme", "other"), ("ACME", "ACME"))],
    ids=["symbols", "providers"],
)
def test_what_is_not_the_same_goes_at_once(
    now: Now, tmp_path: Path, names: tuple[str, str], symbols: tuple[str, str]
) -> None:
    """Two symbols, or two providers: neither waits for the other's answer."""
    now("2024-03-01T22:00:00Z")
    barrier = threading.Barrier(2)
    sources = [Meeting(name=name) for name in names]
    for source in sources:
        source.barrier = barrier
    with ThreadPoolExecutor(2) as threads:
        found = [
            threads.submit(
                CachedSource(source, tmp_path).bars, dataclasses.replace(DAYS, symbol=symbol)
            )
            for source, symbol in zip(sources, symbols, strict=True)
        ]
    assert [one.result().bars.num_rows for one in found] == [42, 42]


@pytest.mark.slow
def test_who_waits_for_another_process_says_so(tmp_path: Path) -> None:
    """A slow provider holds up the second `fetch` of a symbol: that one names the first."""
    asked, go_on = threading.Event(), threading.Event()

    def slow(symbol: str, _: dict[str, str]) -> Answer:
        asked.set()
        assert go_on.wait(SECONDS_MAX)
        rows = {"2024-01-09T14:30": (10.0, 11.0, 9.0, 10.0, 100.0)}
        return Answer(
            encoded(chart(rows, symbol=symbol, regular=("2024-01-09T14:30", "2024-01-09T21:00")))
        )

    assert main(["init", str(tmp_path / "w")]) == 0
    words = [sys.executable, "-m", "tickerlake", "fetch", "ACME", "--start", "2024-01-09"]
    words += ["--end", "2024-01-09", "--workspace", str(tmp_path / "w")]
    with yahoo_server(slow) as server:
        environment = yahoo_environment(server, "2024-01-12T22:00:00Z")

        def begin() -> subprocess.Popen[str]:
            return subprocess.Popen(
                words, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )

        first = begin()
        assert asked.wait(SECONDS_MAX)
        second = begin()
        assert second.stderr
        line = second.stderr.readline()
        go_on.set()
        first.communicate()
        second.communicate()
        assert line == (
            f"warning: process {first.pid} is fetching yahoo ACME 1d regular:"
            " waiting until it has ended\n"
        )
        assert (first.returncode, second.returncode) == (0, 0)
        assert len(server.requests) == 1


class Between(dict[str, Any]):
    """Limits that are looked up after the series was, and before its rows are read."""

    def __init__(self, then: Callable[[], object]) -> None:
        super().__init__()
        self._then: list[Callable[[], object]] = [then]

    def get(self, key: str, default: Any = None) -> Any:
        while self._then:
            self._then.pop()()
        return super().get(key, default)


@pytest.mark.parametrize("what", ["prune", "repair"])
def test_what_goes_between_look_and_reading_is_fetched_again(
    now: Now, tmp_path: Path, what: str
) -> None:
    """Another process prunes, or sets damage aside, just then: never an answer without its rows."""
    now("2024-03-01T22:00:00Z")
    stock = Stock()
    good = CachedSource(stock, tmp_path).bars(DAYS)

    def meanwhile() -> None:
        if what == "prune":
            CacheCare(tmp_path).prune(symbol="ACME")
            return
        for file in (tmp_path / "rows").iterdir():
            file.write_bytes(b"oops")
        CacheCare(tmp_path).repair()

    stock.limits = dataclasses.replace(stock.limits, look_back_days=Between(meanwhile))
    assert values(CachedSource(stock, tmp_path).bars(DAYS).bars) == values(good.bars)
    assert len(stock.asked) == 2


def test_care_beside_fetches(now: Now, tmp_path: Path) -> None:
    """Prune, verify, repair, export and status while threads fetch: nothing is wrong or lost."""
    now("2024-03-01T22:00:00Z")
    ended = threading.Event()
    truth = values(Stock().bars(DAYS).bars)
    symbols = [f"S{number}" for number in range(3)]

    def fetch(symbol: str) -> int:
        rounds = 0
        while not ended.is_set():
            cached = CachedSource(Stock(), tmp_path)
            rows = cached.bars(dataclasses.replace(DAYS, symbol=symbol)).bars
            cached.close()
            assert values(rows) == truth
            rounds += 1
        return rounds

    with ThreadPoolExecutor(len(symbols)) as threads:
        fetches = [threads.submit(fetch, symbol) for symbol in symbols]
        care = CacheCare(tmp_path)
        try:
            for number in range(15):
                assert care.verify() == []
                assert care.repair() == []
                care.prune(symbol=symbols[number % 3])
                care.prune()
                for holding in care.holdings(symbol="S1"):
                    assert holding.rows in (0, 42)
        finally:
            ended.set()
    assert all(one.result() for one in fetches)
    assert care.verify() == []
    care.close()

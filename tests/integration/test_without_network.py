"""A machine without network: said plainly and soon, with a way on."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from command import tickerlake
from yahoo_double import Answer, at, chart, encoded, yahoo_server

#: A name that no network ever knows (RFC 6761).
NOWHERE = "https://no-such-host.invalid"
NOW = "2024-01-20T12:00:00Z"


def weekdays(symbol: str, query: dict[str, str]) -> Answer:
    """Days of January 2024."""
    first, end = int(query["period1"]), int(query["period2"])
    days = (date(2024, 1, 1) + timedelta(days=n) for n in range(31))
    stamps = (f"{day.isoformat()}T14:30" for day in days if day.weekday() < 5)
    rows = [(s, (10.0, 11.0, 9.0, 10.5, 100.0)) for s in stamps if first <= at(s) < end]
    return Answer(encoded(chart(rows, symbol=symbol, regular=("2024-01-19T14:30",
                                                              "2024-01-19T21:00"))))  # fmt: skip


@pytest.mark.slow
def test_the_host_cannot_be_reached_and_what_is_cached_can(tmp_path: Path) -> None:
    """Exit 4 with the host's name and the way to what is cached; offline gives just that."""
    tickerlake("init", ".", cwd=tmp_path)
    fetch = ("fetch", "AAPL", "--source", "yahoo", "--start", "2024-01-02", "--end", "2024-01-12")
    away = {"TICKERLAKE_SOURCES_YAHOO_BASE_URL": NOWHERE, "TICKERLAKE_NOW": NOW}
    first = tickerlake(*fetch, cwd=tmp_path, expect=4, **away)
    assert f"Yahoo cannot be reached at {NOWHERE}" in first.err
    assert "--offline" in first.err
    assert "AAPL" not in first.out

    nothing = tickerlake(*fetch, "--offline", cwd=tmp_path, expect=None, **away)
    assert nothing.code not in (0, 4)
    assert "fetch once without --offline" in nothing.err

    with yahoo_server(weekdays) as server:
        there = {"TICKERLAKE_SOURCES_YAHOO_BASE_URL": server.base_url, "TICKERLAKE_NOW": NOW}
        tickerlake(*fetch, cwd=tmp_path, **there)
    said = tickerlake(*fetch, "--offline", "--json", cwd=tmp_path, **away).json
    assert said["symbols"][0]["bars"] == 9


@pytest.mark.slow
def test_many_symbols_do_not_wait_one_by_one(tmp_path: Path) -> None:
    """Five failures in a row are enough: the other symbols are told at once, and named."""
    tickerlake("init", ".", cwd=tmp_path)
    symbols = [f"S{n}" for n in range(20)]
    env = {
        "TICKERLAKE_SOURCES_YAHOO_BASE_URL": NOWHERE,
        "TICKERLAKE_SOURCES_YAHOO_BACKOFF_SECONDS": "0.01",
        "TICKERLAKE_SOURCES_YAHOO_CIRCUIT_SECONDS": "300",
    }
    said = tickerlake("fetch", *symbols, "--log-level", "debug", cwd=tmp_path, expect=4, **env)
    asked = [line for line in said.err.splitlines() if line.startswith("GET ")]
    assert len(asked) == 5
    assert f"{', '.join(symbols[2:])}: Yahoo cannot be reached" in said.err
    assert "again and again; not asked before" in said.err

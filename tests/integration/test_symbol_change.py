"""FB became META: followed through the real chain, and recorded in the lake."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from massive_double import KEY, Massive, weekdays
from tickerlake.cli import main
from tickerlake.testing.provider import provider_server

EVENTS = {
    "name": "Meta Platforms",
    "composite_figi": "BBG000MM2P62",
    "events": [
        {"type": "ticker_change", "date": "2022-06-09", "ticker_change": {"ticker": "META"}},
        {"type": "ticker_change", "date": "2012-05-18", "ticker_change": {"ticker": "FB"}},
    ],
}
RANGE = ("--source", "massive", "--start", "2022-05-02", "--end", "2022-07-20")


@pytest.mark.slow
def test_a_fetch_of_fb_goes_on_as_meta_and_the_lake_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One command for FB: both symbols' bars, a symbol_change, and nothing is asked for twice."""
    massive = Massive(
        bars={"FB": weekdays(date(2022, 5, 2), 38), "META": weekdays(date(2022, 6, 9), 60)}
    )
    massive.results["/vX/reference/tickers/BBG000MM2P62/events"] = EVENTS
    massive.results["/v3/reference/tickers"] = [
        {"ticker": "FB", "name": "Facebook", "active": False, "composite_figi": "BBG000MM2P62"}
    ]
    (tmp_path / "tickerlake.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TICKERLAKE_NOW", "2022-08-05T23:00:00Z")

    def run(*words: str) -> Any:
        capsys.readouterr()
        assert main([*words, "--json"]) == 0
        out = capsys.readouterr().out
        return json.loads(out) if words[0] in ("fetch", "sql") else out

    with provider_server(massive.answer) as server:
        monkeypatch.setenv("TICKERLAKE_SOURCES_MASSIVE_BASE_URL", server.base_url)
        monkeypatch.setenv("TICKERLAKE_SOURCES_MASSIVE_API_KEY", KEY)
        monkeypatch.setenv("TICKERLAKE_SOURCES_MASSIVE_REQUESTS_PER_SECOND", "none")
        (plan,) = run("fetch", "FB", *RANGE, "--plan")
        assert plan["requests_max"] - plan["requests_min"] >= 3
        told = run("fetch", "FB", *RANGE)
        rows = {row["symbol"]: (row["first"], row["last"]) for row in told["symbols"]}
        assert rows == {"FB": ("2022-05-02", "2022-06-08"), "META": ("2022-06-09", "2022-07-20")}
        assert "FB became META on 2022-06-09: followed" in told["notes"]
        assert sum("/reference/tickers" in r.path for r in server.requests) == 3
        sent = server.count()
        run("publish", "FB", *RANGE)
        run("publish", "FB", *RANGE)
        assert server.count() == sent
    run("deliver", "--once")
    actions = run("sql", "select symbol, action, ex_date, new_symbol from corporate_actions")
    change = {"symbol": "FB", "action": "symbol_change", "ex_date": "2022-06-09"}
    assert actions == [{**change, "new_symbol": "META"}]
    bars = run("sql", "select symbol, count(*) as n from bars group by 1 order by 1")
    assert bars == [{"symbol": "FB", "n": 28}, {"symbol": "META", "n": 30}]

"""`fetch`: what its plan says is what the provider is sent, counted at a server on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from command import environment
from tickerlake.cli import main
from yahoo_double import Answer, YahooServer, at, chart, encoded, error, yahoo_server

SYMBOLS = ("ACME", "BETA", "CITY")
ROW = (10.0, 11.0, 9.0, 10.5, 100.0)


def exchange(symbol: str, query: dict[str, str]) -> Answer:
    """Three stocks that trade on every weekday of the winter of 2023/24 from 14:30 to 21:00."""
    if symbol not in SYMBOLS:
        return Answer(encoded(error("Not Found", "No data found, symbol may be delisted")), 404)
    first, end = int(query["period1"]), int(query["period2"])
    days = [date(2023, 12, 1) + timedelta(days=n) for n in range(120)]
    step = 86_400 if query["interval"] == "1d" else 3600
    stamps = [
        f"{day.isoformat()}T{14 + hour}:30"
        for day in days
        if day.weekday() < 5
        for hour in range(1 if step == 86_400 else 6)
    ]
    rows = [(stamp, ROW) for stamp in stamps if first <= at(stamp) < end]
    meta = {"symbol": symbol, "firstTradeDate": at("2023-12-01T14:30"), "longName": symbol}
    return Answer(encoded(chart(rows, dataGranularity=query["interval"], **meta)))


@dataclass
class Desk:
    """A workspace, a provider, and the command line."""

    server: YahooServer
    run: Callable[..., Any]

    @property
    def count(self) -> int:
        return len(self.server.requests)


@pytest.fixture
def server() -> Iterator[YahooServer]:
    with yahoo_server(exchange) as server:
        yield server


@pytest.fixture
def desk(
    server: YahooServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Desk:
    (tmp_path / "tickerlake.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TICKERLAKE_SOURCES_YAHOO_BASE_URL", server.base_url)
    monkeypatch.setenv("TICKERLAKE_SOURCES_YAHOO_REQUESTS_PER_SECOND", "none")
    monkeypatch.setenv("TICKERLAKE_NOW", "2024-02-05T23:00:00Z")

    def run(*words: str, expect: int = 0) -> Any:
        capsys.readouterr()
        code = main([*words])
        out, err = capsys.readouterr()
        assert code == expect, err
        return json.loads(out) if "--json" in words and out else (out, err)

    return Desk(server, run)


def test_the_plan_says_what_will_be_sent(desk: Desk) -> None:
    """As many requests as the server counts, to its host; then nothing; a later day what is new."""
    words = ("fetch", "ACME", "BETA", "--start", "2024-01-02", "--json")
    plan = desk.run(*words, "--plan")
    assert desk.count == 0
    assert [item["symbol"] for item in plan] == ["ACME", "BETA"]
    assert all(item["host"] in desk.server.base_url and item["bytes"] > 0 for item in plan)
    told = desk.run(*words)
    assert desk.count == sum(item["requests"] for item in plan) == 2
    assert [row["bars"] for row in told["symbols"]] == [25, 25]
    again = desk.run(*words, "--plan")
    assert [item["requests"] for item in again] == [0, 0]
    assert again[0]["cached"][0]["start"] == "2024-01-02T00:00:00Z"
    desk.run(*words)
    assert desk.count == 2


def test_since_last_tops_up_all_that_is_cached(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Days later: one request for each series, from where it ended; asked again: none."""
    desk.run("fetch", "ACME", "BETA", "--start", "2024-01-02")
    desk.run("fetch", "ACME", "--interval", "1h", "--start", "2024-02-01")
    before = desk.count
    assert desk.run("fetch", "--since", "last", "--json")["failed"] == {}
    assert desk.count == before
    monkeypatch.setenv("TICKERLAKE_NOW", "2024-02-13T23:00:00Z")
    told = desk.run("fetch", "--since", "last", "--json")
    assert {(row["symbol"], row["interval"]) for row in told["symbols"]} == {
        ("ACME", "1d"),
        ("BETA", "1d"),
        ("ACME", "1h"),
    }
    assert {row["last"] for row in told["symbols"]} == {"2024-02-13"}
    assert desk.count == before + 3
    first_asked = min(int(query["period1"]) for _, query in desk.server.requests[before:])
    assert first_asked > at("2024-01-20T00:00"), "old bars were asked for again"
    desk.run("fetch", "BETA", "--since", "last")
    assert desk.count == before + 3
    desk.run("fetch", "CITY", "--since", "last", expect=1)
    desk.run("fetch", "--since", "last", "--start", "2024-01-01", expect=2)


def test_lists_bound_each_symbol_and_failures_are_told_by_symbol(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list with dates and comments; what one symbol lacks leaves the others, with exit code 3."""
    (tmp_path / "some.txt").write_text("# mine\nACME 2024-01-15\nBETA, 2023-12-01, 2024-01-05\n")
    words = ("fetch", "@some.txt", "NONE", "--start", "2024-01-02", "--end", "2024-01-31")
    told = desk.run(*words, "--json", expect=3)
    rows = {row["symbol"]: (row["first"], row["last"]) for row in told["symbols"]}
    assert rows == {"ACME": ("2024-01-15", "2024-01-31"), "BETA": ("2024-01-02", "2024-01-05")}
    assert list(told["failed"]) == ["NONE"]
    (_, err) = desk.run("fetch", "@some.txt", "--end", "2024-01-10", "--plan")
    assert "ACME: listed on 2024-01-15, after the asked range" in err
    (_, err) = desk.run("fetch", "@none.txt", expect=1)
    assert "no file" in err


def test_a_listing_that_is_known_bounds_the_plan(desk: Desk) -> None:
    """Nothing is asked from before the first day of trading, once an answer has told it."""
    desk.run("fetch", "ACME", "--start", "2024-01-02")
    before = desk.count
    (_, err) = desk.run("fetch", "ACME", "--end", "2020-01-31", expect=2)
    assert "listed on 2023-12-01" in err
    (item,) = desk.run("fetch", "ACME", "--interval", "1h", "--start", "2020-01-01", "--plan",
                       "--json")  # fmt: skip
    assert item["start"] == "2023-11-24"
    assert item["out_of_reach"] == []
    assert desk.count == before


def test_what_is_out_of_reach_is_in_the_plan_and_missing_in_the_end(desk: Desk) -> None:
    """The plan says from when and why; the fetch brings the rest, with exit code 3."""
    words = ("fetch", "BETA", "--interval", "1m", "--start", "2023-12-20", "--end", "2024-01-19")
    (out, err) = desk.run(*words, "--plan")
    assert "out of reach" in err
    assert "keeps 30 days" in err
    assert "Nothing was asked for" in err
    assert "BETA" in out


@pytest.mark.slow
def test_ctrl_c_loses_nothing_and_the_next_run_goes_on(tmp_path: Path) -> None:
    """Stopped in the middle of a symbol, what came is kept and not asked for again."""
    third, go_on = threading.Event(), threading.Event()
    asked: list[tuple[str, str]] = []

    def answer(symbol: str, query: dict[str, str]) -> Answer:
        asked.append((symbol, query["period1"]))
        if len(asked) == 3:
            third.set()
            go_on.wait(30)
        return exchange(symbol, query)

    with yahoo_server(answer) as server:
        (tmp_path / "tickerlake.toml").write_text("")
        env = environment(
            TICKERLAKE_SOURCES_YAHOO_BASE_URL=server.base_url,
            TICKERLAKE_SOURCES_YAHOO_REQUESTS_PER_SECOND="none",
            TICKERLAKE_NOW="2024-02-05T23:00:00Z",
            TICKERLAKE_STATE=os.environ.get("TICKERLAKE_STATE", str(tmp_path / "state")),
        )
        words = ["fetch", "ACME", "BETA", "--interval", "1m", "--start", "2024-01-08", "--json"]
        command = [sys.executable, "-m", "tickerlake", *words]
        whole = json.loads(
            subprocess.run(
                [*command, "--plan"], cwd=tmp_path, env=env, capture_output=True, check=True
            ).stdout
        )
        running = subprocess.Popen(
            command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            assert third.wait(60)
            running.send_signal(signal.SIGINT)
        finally:
            go_on.set()
            out, _ = running.communicate(timeout=60)
        assert running.returncode == 130
        assert json.loads(out)["left"] == ["ACME", "BETA"]
        came = asked[:]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, check=True)
        assert json.loads(done.stdout)["failed"] == {}
    assert len(came) == 3
    assert not set(came) & set(asked[3:])
    # The seam is overlapped by some bars, which may take one request more.
    assert len(asked) <= sum(item["requests"] for item in whole) + 1

"""`fetch` and `publish` of many symbols: few requests, and a refused key is not sent for each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from alpaca_double import KEYS, Alpaca, alpaca_server, weekdays
from massive_double import Massive, massive_server
from tickerlake.cli import main
from tickerlake.config import make_workspace
from tickerlake.sources import BarsRequest, Limits, batched
from tickerlake.testing.provider import ProviderServer

SYMBOLS = ["AAA", "BBB", "CCC", "DDD"]
RANGE = ["--start", "2024-01-02", "--end", "2024-01-26"]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder, _ = make_workspace(tmp_path / "one")
    monkeypatch.chdir(folder)
    for name, secret in KEYS.items():
        monkeypatch.setenv(f"TICKERLAKE_SOURCES_ALPACA_{name.upper()}", secret)
    return folder


@pytest.fixture
def alpaca(workspace: Path) -> Iterator[ProviderServer]:
    bars = dict.fromkeys(SYMBOLS, weekdays(date(2024, 1, 1), 28))
    with alpaca_server(Alpaca(bars)) as (_, server):
        urls = f'base_url = "{server.base_url}"\ntrading_url = "{server.base_url}"\n'
        pace = "requests_per_second = 1000\n"
        (workspace / "tickerlake.toml").write_text(f"[sources.alpaca]\n{urls}{pace}")
        yield server


def test_publish_asks_for_many_symbols_at_once(
    alpaca: ProviderServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two requests bring four symbols (bars, and events), and none are needed again."""
    for _ in range(2):
        assert main(["publish", *SYMBOLS, "--source", "alpaca", *RANGE]) == 0
    assert alpaca.count() == 2
    assert "DDD 1d: 19 bars, 19 new" in capsys.readouterr().out


def test_the_plan_is_what_the_server_counts(
    alpaca: ProviderServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of four symbols the first one counts what all of them take."""
    assert main(["fetch", *SYMBOLS, "--source", "alpaca", *RANGE, "--plan", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [item["requests_max"] for item in plan] == [2, 0, 0, 0]
    assert main(["fetch", *SYMBOLS, "--source", "alpaca", *RANGE]) == 0
    assert alpaca.count() == 2


def test_a_refused_key_is_told_once_and_not_sent_for_each_symbol(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Five hundred symbols would be five hundred refusals, and as many messages."""
    monkeypatch.setenv("TICKERLAKE_SOURCES_MASSIVE_API_KEY", "somebody-elses")
    with massive_server(Massive()) as (_, server):
        text = f'base_url = "{server.base_url}"\ncorporate_actions = false\n'
        (workspace / "tickerlake.toml").write_text(f"[sources.massive]\n{text}")
        many = [f"S{n}" for n in range(20)]
        for asked, verb in enumerate(("fetch", "publish"), start=1):
            assert main([verb, *many, "--source", "massive", *RANGE]) == 2
            assert server.count() == 3 * asked
            said = capsys.readouterr().err
            assert said.count("does not accept the key") == 1, said


def test_long_ranges_of_minutes_go_in_smaller_batches() -> None:
    """All answers of a batch are in memory at once; where there are no batches each goes alone."""
    limits = Limits(intervals=("1d", "1m"), symbols_per_request=100)
    names = [f"S{n}" for n in range(250)]

    def sizes(limits: Limits, interval: str, start: date | None) -> list[int]:
        asks = [BarsRequest(name, interval, start, date(2024, 1, 31)) for name in names]
        return [len(group) for group in batched(asks, limits)]

    assert sizes(limits, "1d", None) == [100, 100, 50]
    assert sizes(limits, "1m", date(2024, 1, 31)) == [100, 100, 50]
    assert max(sizes(limits, "1m", date(2023, 2, 1))) == 5
    assert sizes(limits, "1m", None) == [1] * 250
    assert sizes(Limits(), "1d", None) == [1] * 250

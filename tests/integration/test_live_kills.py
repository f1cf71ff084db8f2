"""A process that listens is killed without a word: the next one tells the gap and fills it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import pytest

import tickerlake
from command import running
from tickerlake import clock
from tickerlake.cli import main
from tickerlake.testing.provider import ProviderAnswer, ProviderRequest, provider_server
from tickerlake.testing.socket_provider import Say, Step, socket_provider

WORDS = ("publish", "ACMEUSDT", "--source", "binance", "--live", "--kinds", "trade", "--json")
QUICK = {
    "TICKERLAKE_LIVE_BATCH_SECONDS": "0.02",
    "TICKERLAKE_LIVE_BACKFILL_SETTLE_SECONDS": "0",
}


class Market:
    """Thirty trades, a tenth of a second apart, all of them over."""

    def __init__(self) -> None:
        self.began = clock.now() - timedelta(seconds=30)

    def row(self, number: int) -> dict[str, Any]:
        at = self.began + timedelta(milliseconds=100 * number)
        return {
            "a": number, "p": f"{10 + number}.50", "q": "0.25", "f": number, "l": number,
            "T": int(at.timestamp() * 1000), "m": True, "M": True,
        }  # fmt: skip

    def says(self, *numbers: int) -> Step:
        rows = [self.row(n) | {"e": "aggTrade", "E": 1, "s": "ACMEUSDT"} for n in numbers]
        return Say(*(json.dumps({"stream": "acmeusdt@aggTrade", "data": row}) for row in rows))

    def history(self, request: ProviderRequest) -> ProviderAnswer:
        start = int(request.query["startTime"])
        return ProviderAnswer([row for row in map(self.row, range(30)) if row["T"] >= start])


def until(out: IO[str] | None, event: str, records: int = 0) -> None:
    """Read a process's events up to one, or up to so many trades."""
    assert out is not None
    sent = 0
    for line in out:
        told = json.loads(line)
        sent += told["records"] if told.get("topic") == "trades" else 0
        if told["event"] == event or (records and sent >= records):
            return
    pytest.fail(f"it ended before {event}")


@pytest.mark.slow
def test_a_killed_listener_s_gap_is_told_and_filled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten trades, SIGKILL, ten that nobody hears, ten more: thirty in the lake, and one gap."""
    monkeypatch.chdir(tmp_path)
    assert main(["init", "."]) == 0
    market = Market()
    first, second = [market.says(*range(10))], [market.says(*range(20, 30))]
    with provider_server(market.history) as rest, socket_provider(first, second) as server:
        env = QUICK | {
            "TICKERLAKE_SOURCES_BINANCE_BASE_URL": rest.base_url,
            "TICKERLAKE_SOURCES_BINANCE_SOCKET_URL": server.url,
        }
        with running(*WORDS, cwd=tmp_path, **env) as process:
            until(process.stdout, "never", records=10)
            process.kill()
            process.communicate(timeout=60)
        with running(*WORDS, cwd=tmp_path, **env) as process:
            until(process.stdout, "filled")
            process.terminate()
            _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    with tickerlake.open(tmp_path) as opened:
        opened.deliver(once=True)
        trades = opened.sql("select trade_id::int as n from trades order by n").table.to_pylist()
        gaps = opened.sql("select * from gaps").table.to_pylist()
    assert [row["n"] for row in trades] == list(range(30))
    [gap] = gaps
    assert gap["filled"]
    assert "ended without a word" in gap["reason"]
    assert gap["ts"] < market.began + timedelta(seconds=1) < gap["to_ts"]
    assert not [path for path in (tmp_path / "live").iterdir() if path.suffix == ".json"]

"""A provider that cannot be asked: what is served from the cache is marked wherever it shows."""

from __future__ import annotations

import contextlib
import json
import threading
from datetime import date
from functools import partial
from pathlib import Path

import pytest

import tickerlake
from pretended_time import Now
from stock_double import Stock
from tickerlake import config
from tickerlake.cache import CachedSource, CacheSettings
from tickerlake.cli import main
from tickerlake.cli.output import Output
from tickerlake.cli.publishing import follow
from tickerlake.errors import UnreachableError
from tickerlake.publish import Publisher
from tickerlake.query.known import known_actions, known_bars
from tickerlake.sources import Answer, BarsRequest
from yahoo_double import Answer as Reply
from yahoo_double import chart, encoded, yahoo_server


def test_fetch_says_stale(
    tmp_path: Path,
    now: Now,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A warning, a key in `--json`, exit code 3; the old bars are there, and in Python too."""
    rows = {"2024-01-09T14:30": (10.0, 11.0, 9.0, 10.0, 100.0)}
    good = Reply(encoded(chart(rows, regular=("2024-01-09T14:30", "2024-01-09T21:00"))))
    page = Reply(b"<html>Please consent</html>", headers={"Content-Type": "text/html"})
    replies = [good]
    workspace, _ = config.make_workspace(tmp_path / "w")
    with yahoo_server(lambda *_: replies[-1]) as server:
        monkeypatch.setenv("TICKERLAKE_SOURCES_YAHOO_BASE_URL", server.base_url)
        monkeypatch.setenv("TICKERLAKE_SOURCES_YAHOO_REQUESTS_PER_SECOND", "none")
        words = ["fetch", "ACME", "--start", "2024-01-09", "--workspace", str(workspace)]
        now("2024-01-09T22:00:00Z")
        assert main([*words, "--json"]) == 0
        assert json.loads(capfd.readouterr().out)["stale"] == []
        now("2024-01-10T22:00:00Z")
        replies.append(page)
        assert main([*words, "--json"]) == 3
        out, err = capfd.readouterr()
        assert json.loads(out)["stale"] == ["ACME 1d"]
        assert json.loads(out)["symbols"][0]["bars"] == 1
        assert "warning: ACME 1d is stale" in err
        with tickerlake.open(workspace) as opened:
            answer = opened.source("yahoo").bars(BarsRequest("ACME", "1d", date(2024, 1, 9)))
        assert answer.stale
        assert answer.bars.num_rows == 1


class Ailing(Stock):
    """Cannot be asked in its second and third round; after the fourth the story ends."""

    rounds = 0
    stop = threading.Event()

    def bars(self, request: BarsRequest) -> Answer:
        self.rounds += 1
        if self.rounds in (2, 3):
            raise UnreachableError("acme cannot be reached.", todo="check the network")
        if self.rounds == 4:
            self.stop.set()
        return super().bars(request)


def test_who_follows_is_told_when_a_source_ails_and_when_it_is_well(
    tmp_path: Path, now: Now, capfd: pytest.CaptureFixture[str]
) -> None:
    """Once each, not in every round: what goes on being published is from the cache alone."""
    now("2024-03-01T16:00:00Z")  # a session runs: each round asks
    source = Ailing()
    settings = CacheSettings(live_seconds=0.0)
    workspace, _ = config.make_workspace(tmp_path / "w")
    with (
        tickerlake.open(workspace) as opened,
        contextlib.closing(CachedSource(source, tmp_path, settings=settings)) as cached,
    ):
        publisher = Publisher(
            cached,
            opened.stream,
            known=partial(known_bars, opened.lake, opened.stream),
            known_actions=partial(known_actions, opened.lake, opened.stream),
        )
        follow(
            publisher,
            [BarsRequest("ACME", "1d", date(2024, 2, 1))],
            Output(json_mode=False),
            poll_seconds=0.001,
            stop=source.stop,
        )
    told = capfd.readouterr().err
    assert told.count("ACME: stale: the source cannot be asked") == 1
    assert told.count("ACME: no longer stale") == 1

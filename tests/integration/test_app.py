"""The one place that opens things: from a workspace's settings to its parts."""

from __future__ import annotations

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest

import tickerlake
from tickerlake import app, config
from tickerlake.cli import main
from tickerlake.cli.output import Output
from tickerlake.cli.publishing import follow
from tickerlake.errors import ConfigError, NotFoundError, WorkspaceMovedError
from tickerlake.records import with_event_ids
from tickerlake.sources import BarsRequest
from tickerlake.web import Hop, WebSettings
from tickerlake.web.reader import Reader


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder, _ = config.make_workspace(tmp_path / "one")
    return folder


def published(folder: Path) -> None:
    with tickerlake.open(folder) as opened:
        opened.publisher("sample").publish([BarsRequest("FB")])


def test_the_flow_adds_up_before_and_after_delivery(workspace: Path) -> None:
    """What is published and not delivered is the lag, of each topic and of the page's hops."""
    published(workspace)
    with tickerlake.open(workspace) as opened:
        bars = opened.flow.topics()[0]
        assert (bars.end, bars.lag, bars.committed_at) == (196, 196, None)
        opened.deliver(once=True)
        bars = opened.flow.topics()[0]
        assert (bars.end, bars.lag) == (196, 0)
        assert bars.committed_at is not None
        hops = {hop.name: hop for hop in opened.flow.pipeline().hops}
    assert hops["stream"].count == hops["lake"].count == 196
    assert hops["delivery"].lag_records == 0
    assert hops["delivery"].lag_seconds == 0.0


def test_the_strip_begins_with_the_source(workspace: Path) -> None:
    """Where this process publishes, the first hop says what it fetched; else that others do."""

    def source() -> Hop:
        (hop,) = (hop for hop in opened.flow.pipeline().hops if hop.name == "source")
        return hop

    with tickerlake.open(workspace) as opened:
        opened.publisher("sample").publish([BarsRequest("FB")])
        opened.publisher("sample").publish([BarsRequest("FB")])
        here = source()
    with tickerlake.open(workspace) as opened:
        elsewhere = source()
    assert (here.count, here.state, here.detail) == (196, "ok", "sample: 392 fetched here")
    assert (elsewhere.count, elsewhere.state) == (196, "unknown")
    assert "other processes" in elsewhere.detail


def test_an_old_record_that_nobody_delivers_is_behind(workspace: Path) -> None:
    """The page's strip says how old the oldest undelivered record is."""
    published(workspace)
    with tickerlake.open(workspace) as opened:
        delivery = next(h for h in opened.flow.pipeline().hops if h.name == "delivery")
    assert delivery.lag_records == 196
    assert delivery.lag_seconds is not None
    assert delivery.lag_seconds > 0


def test_a_hole_in_the_log_is_said_and_not_stumbled_over(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where retention dropped what was not delivered, the strip says stopped and still shows."""
    settings = {
        "streams.retention_hours": 0.0,
        "streams.retention_drops_undelivered": True,
    }
    with tickerlake.open(workspace) as opened:
        opened.publisher("sample").publish([BarsRequest("FB")], limit=5)
        opened.deliver(once=True)
        opened.publisher("sample").publish([BarsRequest("FB")])
    with tickerlake.open(workspace, settings=settings) as opened:
        opened.stream.join("bar", "test", alone=True).acknowledge(
            {}
        )  # retention works at every acknowledgement
        assert sum(p.lost for p in opened.flow.topics()[0].positions) == 191
        delivery = next(h for h in opened.flow.pipeline().hops if h.name == "delivery")
    assert delivery.state == "stopped"
    assert main(["status", "--workspace", str(workspace)]) == 0
    assert "191 positions went before the lake had them" in capsys.readouterr().err


def test_a_moved_workspace_is_refused_and_mended(workspace: Path, tmp_path: Path) -> None:
    """Iceberg's paths are absolute: a moved lake says so, and `relocate` mends it."""
    published(workspace)
    with tickerlake.open(workspace) as opened:
        opened.deliver(once=True)
    moved = workspace.rename(tmp_path / "two")
    with tickerlake.open(moved) as opened:
        with pytest.raises(WorkspaceMovedError, match="lake relocate"):
            opened.sql("select 1")
        assert opened.relocate().tables
        assert opened.sql("select count(*) as n from bars").table["n"].to_pylist() == [196]


def test_settings_given_in_python_win_and_wrong_ones_are_refused(workspace: Path) -> None:
    """`settings=` takes dotted names, checks their types, and names the nearest for a typo."""
    with tickerlake.open(workspace, settings={"query.rows_max": 2}) as opened:
        assert opened.sql("select * from range(5)").truncated
    with pytest.raises(ConfigError, match=r"did you mean 'query\.rows_max'"):
        tickerlake.open(workspace, settings={"query.row_max": 2})
    with pytest.raises(ConfigError, match="a whole number"):
        tickerlake.open(workspace, settings={"query.rows_max": "two"})


def test_a_source_of_another_package_gets_its_key_from_the_keyring(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outside source is found by its entry point; its secret is neither argument nor file."""
    site = tmp_path / "site"
    info = site / "acme-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tickerlake.sources]\nacme = acme_prices:Acme\n")
    (site / "acme_prices.py").write_text(
        "from dataclasses import dataclass\n"
        "@dataclass(frozen=True)\n"
        "class AcmeSettings:\n"
        "    api_key: str | None = None\n"
        "    base_url: str = 'http://acme.example'\n"
        "class Acme:\n"
        "    name, settings_type = 'acme', AcmeSettings\n"
        "    def __init__(self, settings): self.settings = settings\n"
        "    def symbols(self): return iter([self.settings.api_key, self.settings.base_url])\n"
    )
    # A keyring as the real package answers: by service and name.
    (site / "keyring.py").write_text(
        "def get_password(service, name):\n"
        "    return 'hush' if (service, name) == ('tickerlake', 'sources.acme.api_key') else None\n"
    )
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "keyring", raising=False)
    monkeypatch.setenv("TICKERLAKE_SOURCES_ACME_BASE_URL", "http://localhost:1")
    with app.open(workspace) as opened:
        assert list(opened.source("acme").symbols()) == ["hush", "http://localhost:1"]
        assert "hush" not in str(list(opened.config.shown()))
    monkeypatch.setenv("TICKERLAKE_SOURCES_ACME_API_KEY", "louder")
    with app.open(workspace) as opened:
        assert next(opened.source("acme").symbols()) == "louder"
        assert "louder" not in str(list(opened.config.shown()))


def test_one_window_drops_repeats_in_the_tail_and_in_the_lake(workspace: Path) -> None:
    """What a query shows before a delivery it shows after it, whatever the window."""
    count = "select count(*) as n from bars_history"
    with tickerlake.open(workspace, settings={"delivery.repeat_window": 0}) as opened:
        bars = with_event_ids(opened.source("sample").bars(BarsRequest("FB")).bars, "bar")
        for _ in range(2):
            opened.stream.topic("bar").publish(bars)
        before = opened.sql(count).table["n"].to_pylist()
        opened.deliver(once=True)
        after = opened.sql(count).table["n"].to_pylist()
    assert before == after == [2 * 196]


def test_the_page_lists_newest_closes_of_more_bars_than_an_answer_holds(workspace: Path) -> None:
    """The list asks for two closes a symbol: the row limit cannot cut off the newest."""
    with tickerlake.open(workspace, settings={"query.rows_max": 20}) as opened:
        names = list(opened.source("sample").symbols())
        opened.publisher("sample").publish([BarsRequest(name) for name in names])
        reader = Reader(opened.engine, WebSettings())
        with ThreadPoolExecutor(1) as apart:
            rows = apart.submit(lambda: asyncio.run(reader.symbols())).result().to_pylist()
    assert {row["symbol"]: row["ts"].date() for row in rows} == dict.fromkeys(
        names, date(2013, 3, 1)
    )
    assert all(row["previous"] for row in rows)


def test_a_feed_goes_on_without_a_symbol_that_nobody_knows(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only when every symbol fails, and waiting cannot help, does following end."""
    stop = threading.Event()
    with tickerlake.open(workspace) as opened:
        publisher = opened.publisher("sample")
        output = Output(json_mode=False)
        both = [BarsRequest("NOPE"), BarsRequest("FB")]
        follow(publisher, both, output, poll_seconds=0.001, stop=stop, limit=196)
        assert "NOPE" in capsys.readouterr().err
        with pytest.raises(NotFoundError):
            follow(publisher, both[:1], output, poll_seconds=0.001, stop=stop)

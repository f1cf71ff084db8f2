"""`tickerlake demo`: the whole chain on the sample, again and again, whatever ends it."""

from __future__ import annotations

import csv
import gzip
import json
import signal
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

from command import running, tickerlake

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cli_demo")]

COUNTS = (
    "select symbol, count(*) as n, min(session_date) as first, max(session_date) as last "
    "from bars group by 1 order by 1"
)


@pytest.fixture(scope="module")
def sample() -> list[dict[str, str]]:
    """The sample's rows, read by nothing of ours."""
    spec = find_spec("bokeh_sampledata")
    assert spec is not None
    assert spec.origin is not None
    with gzip.open(Path(spec.origin).parent / "_data" / "stocks.csv.gz", "rt") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the demo was run once."""
    folder = tmp_path_factory.mktemp("demo")
    tickerlake("demo", "--once", cwd=folder)
    return folder


def counts(folder: Path) -> dict[str, object]:
    """What both views hold."""
    words = ("--workspace", "tickerlake-demo", "--json")
    history = tickerlake("sql", "select count(*) as n from bars_history", *words, cwd=folder).json
    return {"bars": tickerlake("sql", COUNTS, *words, cwd=folder).json, "history": history}


def test_what_comes_out_is_what_the_sample_holds(
    folder: Path, sample: list[dict[str, str]]
) -> None:
    """Every bar by day and symbol, with the prices that the sample gives, and nothing else."""
    rows = tickerlake(
        "sql", "select symbol, session_date, open, high, low, close, volume, state from bars",
        "--workspace", "tickerlake-demo", "--json", cwd=folder,
    ).json  # fmt: skip
    assert {row["state"] for row in rows} == {"final"}
    found = Counter(
        (
            row["symbol"],
            row["session_date"],
            *(row[n] for n in ("open", "high", "low", "close", "volume")),
        )
        for row in rows
    )
    wanted = Counter(
        (
            row["Ticker"],
            row["Date"],
            *(float(row[n]) for n in ("Open", "High", "Low", "Close", "Volume")),
        )
        for row in sample
    )
    assert found == wanted
    assert sum(wanted.values()) == 12_154


def test_a_replayed_session_was_forming_before_it_was_final(folder: Path) -> None:
    """At its open a bar has one price and no volume; nothing is invented between."""
    states = tickerlake(
        "sql",
        "select session_date, state, open = high and high = low and low = close as flat, "
        "volume is null as mute from bars_history where symbol = 'IBM' "
        "and session_date >= '2013-01-01' order by session_date, state desc",
        "--workspace", "tickerlake-demo", "--json", cwd=folder,
    ).json  # fmt: skip
    assert len(states) > 60
    assert Counter((s["state"], s["mute"]) for s in states) == {
        ("forming", True): len(states) // 2,
        ("final", False): len(states) // 2,
    }
    assert all(s["flat"] for s in states if s["state"] == "forming")


def test_the_second_run_adds_nothing(folder: Path) -> None:
    """It goes on where it stopped: the same bars, and the same states of them."""
    before = counts(folder)
    said = tickerlake("demo", "--once", "--json", cwd=folder).json
    assert said["history"]["records"] == said["replay"]["records"] == 0
    assert said["page_status"] == 200
    assert counts(folder) == before


@pytest.mark.parametrize("line", ["history", "replay"])
def test_whatever_ends_it_the_next_run_finishes_it(folder: Path, tmp_path: Path, line: str) -> None:
    """Killed after any of its lines and run again, it comes to the same end."""
    with running("demo", "--once", cwd=tmp_path) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith(line):
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    tickerlake("demo", "--once", cwd=tmp_path)
    assert counts(tmp_path) == counts(folder)


def test_ctrl_c_ends_the_live_demo(tmp_path: Path) -> None:
    """Without `--once` it replays at a human pace until Ctrl-C, which is said and exits 130."""
    with running("demo", "--json", cwd=tmp_path) as process:
        assert process.stderr is not None
        while "Replaying" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "run it again" in err.lower()
    assert "Traceback" not in err
    assert out == ""
    assert json.loads(tickerlake("demo", "--once", "--json", cwd=tmp_path).out)["bars"]["FB"] == 196

"""Bad input gets words, what to do, and the right exit code; what was acknowledged stays."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from command import environment, tickerlake
from tickerlake.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cli_bad_input")]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that nothing was published to."""
    folder = tmp_path_factory.mktemp("bad") / "lake"
    tickerlake("init", folder, cwd=folder.parent)
    return folder


@pytest.fixture
def in_empty(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in the empty workspace."""
    monkeypatch.chdir(empty)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["publish", "NOPE", "--source", "sample"], 1, ["NOPE", "AAPL"]),
        (["publish", "AAPL", "--source", "sample", "--interval", "7m"], 2, ["7m", "1d"]),
        (["publish", "AAPL", "--source", "sampel"], 2, ["sampel", "sample"]),
        (["sql", "select nope from bars"], 1, ["nope"]),
        (["sql", "select * from barz"], 1, ["barz"]),
        (["sql", "drop table bars"], 2, ["SELECT"]),
        (
            [
                "publish",
                "AAPL",
                "--source",
                "sample",
                "--start",
                "2013-01-02",
                "--end",
                "2012-01-02",
            ],
            2,
            ["ends before it starts", "2013-01-02"],
        ),
        (
            ["fetch", "AAPL", "--source", "sample", "--start", "2013-01-02T10:00:00"],
            2,
            ["no time zone", "2013-01-02T10:00:00Z"],
        ),
        (["sql", "--as-of", "2013-01-02T10:00:00", "select 1"], 2, ["no time zone"]),
        (["publish", "AAPL", "--source", "sample", "--every", "fast"], 2, ["fast", "0.8s"]),
        (["publish", "--file", "nowhere.csv"], 1, ["nowhere.csv"]),
        (["publish"], 2, ["SYMBOL", "--file"]),
        (["dead-letters", "show", "a/b/c/d"], 1, ["a/b/c/d", "dead-letters list"]),
        (["serve", "--host", "0.0.0.0"], 2, ["0.0.0.0", "token"]),  # noqa: S104
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else str(value),
)
@pytest.mark.usefixtures("in_empty")
def test_wrong_words(
    words: list[str], code: int, said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each mistake names the thing, says what would be right, and has its exit code."""
    assert main(words) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    for text in said:
        assert text in captured.err


def test_nothing_of_a_malformed_file_is_published(empty: Path, tmp_path: Path) -> None:
    """A row that cannot be read is named by file and line, and its neighbours stay out too."""
    path = tmp_path / "prices.csv"
    path.write_text(
        "Date,Symbol,Open,High,Low,Close,Volume\n"
        "2012-12-28,ACME,10.0,10.5,9.8,10.2,1200\n"
        "2012-12-31,ACME,ten,10.5,9.8,10.2,1200\n"
    )
    answer = tickerlake("publish", "--file", path, cwd=empty, expect=1)
    assert "prices.csv" in answer.err
    assert "line 3" in answer.err
    assert tickerlake("status", "--json", cwd=empty).json["topics"][0]["published"] == 0


def test_an_unknown_key_of_the_configuration(tmp_path: Path) -> None:
    """The message names the file, the key and the nearest known one, whatever the verb."""
    tickerlake("init", ".", cwd=tmp_path)
    (tmp_path / "tickerlake.toml").write_text("[delivery]\nflush_row = 10\n")
    for words in (["status"], ["config", "show"], ["sql", "select 1"]):
        answer = tickerlake(*words, cwd=tmp_path, expect=2)
        assert "tickerlake.toml" in answer.err
        assert "'flush_row'" in answer.err
        assert "flush_rows" in answer.err


def test_value_errors_become_dead_letters(tmp_path: Path) -> None:
    """Impossible prices are no failure: counted, kept with their reason, and not in bars."""
    tickerlake("init", ".", cwd=tmp_path)
    (tmp_path / "prices.csv").write_text(
        "Date,Symbol,Open,High,Low,Close,Volume,instrument_type\n"
        "2012-12-27,ACME,10.0,10.5,9.8,10.2,1200,equity\n"
        "2012-12-28,ACME,-10.0,10.5,-11,10.2,1200,equity\n"
        "2012-12-31,ACME,10.2,10.1,10.3,10.2,900,equity\n"
        "2012-12-31,CL,-10.2,-9.1,-37.3,-36.2,900,future\n"
    )
    published = tickerlake("publish", "--file", "prices.csv", "--json", cwd=tmp_path).lines[-1]
    assert published["records"] == 4
    done = tickerlake("deliver", "--once", "--json", cwd=tmp_path).lines[-1]
    assert (done["rows"], done["dead_letters"]) == (4, 2)
    letters = tickerlake("dead-letters", "list", "--json", cwd=tmp_path).json
    assert sorted(letter["symbol"] for letter in letters) == ["ACME", "ACME"]
    assert all(letter["reason"] for letter in letters)
    rows = tickerlake("sql", "select symbol, close from bars order by 1", "--json", cwd=tmp_path)
    assert rows.json == [{"symbol": "ACME", "close": 10.2}, {"symbol": "CL", "close": -36.2}]
    assert tickerlake("deliver", "--once", "--json", cwd=tmp_path).lines[-1]["rows"] == 0

    high = next(x for x in letters if "2012-12-31" in x["ts"])["id"]
    tickerlake(
        "dead-letters", "requeue", high, "--set", "high=10.4", "--set", "low=10", cwd=tmp_path
    )
    tickerlake("deliver", "--once", cwd=tmp_path)
    other = next(x for x in letters if x["id"] != high)["id"]
    tickerlake("dead-letters", "discard", other, "--why", "a typing error", cwd=tmp_path)
    after = tickerlake("dead-letters", "list", "--json", cwd=tmp_path).json
    assert {x["id"]: x["status"] for x in after} == {high: "requeued", other: "discarded"}
    count = tickerlake("sql", "select count(*) as n from bars", "--json", cwd=tmp_path).json
    assert count == [{"n": 3}]


def test_a_lake_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """An older tickerlake writes nothing into a newer one's lake, and names the version to get."""
    publish_and_deliver(tmp_path)
    marker = next((tmp_path / "lake").glob("*.json"))
    newer = json.loads(marker.read_text()) | {"format": 99, "written_by": "9.9.9"}
    marker.write_text(json.dumps(newer))
    for words in (["deliver", "--once"], ["sql", "select 1"], ["lake", "verify"]):
        answer = tickerlake(*words, cwd=tmp_path, expect=1)
        assert "9.9.9" in answer.err
    assert json.loads(marker.read_text()) == newer


@pytest.mark.parametrize("damage", ["overwritten", "truncated"])
def test_a_damaged_log_is_said_and_the_lake_stays(tmp_path: Path, damage: str) -> None:
    """A log file that is not what it was ends with exit 5 and its path; the lake can be read."""
    publish_and_deliver(tmp_path)
    tickerlake("publish", "IBM", "--source", "sample", "--start", "2013-02-01", cwd=tmp_path)
    for path in (tmp_path / "stream").glob("bars*"):
        if not path.name.endswith(".sqlite"):
            path.unlink()
        elif damage == "truncated":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
        else:
            data = bytearray(path.read_bytes())
            data[200:] = os.urandom(len(data) - 200)
            path.write_bytes(data)
    answer = tickerlake("deliver", "--once", cwd=tmp_path, expect=5)
    assert "stream" in answer.err
    assert "what to do" in answer.err


def test_a_port_in_use(empty: Path) -> None:
    """Somebody else's port is said, with the way around it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = tickerlake("serve", "--port", str(port), cwd=empty, expect=4)
    assert str(port) in answer.err
    assert "--port 0" in answer.err


def test_a_full_disk_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """A publish that finds no room fails clearly; what was published before is all there."""
    tickerlake("init", ".", cwd=tmp_path)
    before = tickerlake(
        "publish", "IBM", "--source", "sample", "--start", "2012-06-01", "--json", cwd=tmp_path
    ).lines[-1]["records"]
    # No file of the process may grow beyond this: what a full disk looks like to SQLite.
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))\n"
        "from tickerlake.cli import main\n"
        "sys.exit(main(['publish', 'AAPL', 'MSFT', 'GOOG', '--source', 'sample']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment(PYTHONDONTWRITEBYTECODE="1"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "what to do" in done.stderr
    assert "Traceback" not in done.stderr
    rows = tickerlake(
        "sql", "select symbol, count(*) as n from bars group by 1", "--json", cwd=tmp_path
    ).json
    assert {"symbol": "IBM", "n": before} in rows


def publish_and_deliver(folder: Path) -> None:
    tickerlake("init", ".", cwd=folder)
    tickerlake("publish", "AAPL", "--source", "sample", "--start", "2013-02-01", cwd=folder)
    tickerlake("deliver", "--once", cwd=folder)

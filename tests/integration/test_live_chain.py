"""From a provider's socket into the lake, by the command line, and from captures of it."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tickerlake
from command import running
from tickerlake import clock
from tickerlake.cli import main
from tickerlake.testing.socket_provider import Cut, Hear, Say, Step, socket_provider

KEY = "5ecret-Key-0f-Nobody"
QUICK = {
    "TICKERLAKE_LIVE_BATCH_SECONDS": "0.02",
    "TICKERLAKE_LIVE_RECONNECT_SECONDS": "0.05",
    "TICKERLAKE_SOURCES_FINNHUB_API_KEY": KEY,
}


def trade(number: int) -> str:
    ms = int(clock.now().timestamp() * 1000)
    rows = [{"c": None, "p": 10.0 + number, "s": symbol, "t": ms, "v": 1} for symbol in ("A", "B")]
    return json.dumps({"data": rows, "type": "trade"})


def connections() -> list[list[Step]]:
    """Five trades a symbol, a cut, and five more on the next connection."""
    first, second = ([trade(n) for n in range(start, start + 5)] for start in (0, 5))
    return [[Hear(2), Say(*first), Cut()], [Hear(2), Say(*second)]]


Verb = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, value in QUICK.items():
        monkeypatch.setenv(name, value)
    assert main(["init", "."]) == 0
    return tmp_path


@pytest.fixture
def verb(workspace: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Verb]:
    """Runs a verb with `--json` in this process: a new one costs seconds."""
    before = signal.getsignal(signal.SIGTERM)

    def run(*words: str, expect: int = 0) -> list[dict[str, Any]]:
        capsys.readouterr()
        code = main([*words, "--json"])
        said = capsys.readouterr()
        assert code == expect, said.err
        return [json.loads(line) for line in said.out.splitlines()]

    yield run
    signal.signal(signal.SIGTERM, before)


def asked(query: str, workspace: Path) -> list[dict[str, Any]]:
    with tickerlake.open(workspace) as opened:
        rows: list[dict[str, Any]] = opened.sql(query).table.to_pylist()
    return rows


def delivered(workspace: Path) -> list[tuple[str, float]]:
    """What the lake holds after a delivery: symbol and price of each trade."""
    with tickerlake.open(workspace) as opened:
        opened.deliver(once=True)
    rows = asked("select symbol, price from trades", workspace)
    return sorted((row["symbol"], row["price"]) for row in rows)


ALL = sorted((symbol, 10.0 + n) for symbol in ("A", "B") for n in range(10))


@pytest.mark.slow
def test_a_socket_fills_the_lake_and_ctrl_c_loses_nothing(workspace: Path) -> None:
    """Trades over a cut are in the lake once, the gap is told; the key is written nowhere."""
    with socket_provider(*connections()) as server:
        env = QUICK | {"TICKERLAKE_SOURCES_FINNHUB_SOCKET_URL": server.url}
        words = ("publish", "A", "B", "--source", "finnhub", "--live", "--json", "--log-level")
        with running(*words, "debug", cwd=workspace, **env) as process:
            assert process.stdout is not None
            lines, sent = [], 0
            while sent < 20:
                lines.append(process.stdout.readline())
                event = json.loads(lines[-1])
                sent += event["records"] if event.get("topic") == "trades" else 0
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    done = json.loads(out.splitlines()[-1])
    assert done["by_kind"]["trade"] == 20
    assert KEY not in "".join(lines) + out + err
    assert delivered(workspace) == ALL
    gaps = asked("select symbol, gap_kind, filled, ts < to_ts as long from gaps", workspace)
    assert sorted(gaps, key=lambda gap: gap["symbol"]) == [
        {"symbol": symbol, "gap_kind": "trade", "filled": False, "long": True}
        for symbol in ("A", "B")
    ]
    held = [p for p in workspace.rglob("*") if p.is_file() and KEY.encode() in p.read_bytes()]
    assert not held


@pytest.mark.slow
def test_run_listens_delivers_and_serves(workspace: Path) -> None:
    """`run` of a live source brings its trades into the lake; SIGTERM ends all politely."""
    with socket_provider(*connections()) as server:
        env = QUICK | {"TICKERLAKE_SOURCES_FINNHUB_SOCKET_URL": server.url}
        env["TICKERLAKE_DELIVERY_FLUSH_SECONDS"] = "0.1"
        words = ("run", "A", "B", "--source", "finnhub", "--kinds", "trades", "--port", "0")
        with running(*words, "--json", cwd=workspace, **env) as process:
            assert process.stdout is not None
            rows = 0
            while rows < 20:
                event = json.loads(process.stdout.readline())
                if event["event"] == "delivered" and event["table"] == "trades_log":
                    rows += event["rows"]
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert delivered(workspace) == ALL


def test_a_capture_is_recorded_and_replayed(
    workspace: Path, verb: Verb, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file holds all frames and no key; replayed twice it is in the lake once."""
    words = ("capture", "record", "A", "B", "--source", "finnhub", "--output", "frames.jsonl")
    with socket_provider(*connections()) as server:
        monkeypatch.setenv("TICKERLAKE_SOURCES_FINNHUB_SOCKET_URL", server.url)
        # Two subscriptions and five frames on each connection.
        assert verb(*words, "--limit", "14")[-1]["frames"] == 14
    text = (workspace / "frames.jsonl").read_text()
    assert KEY not in text
    frames = [json.loads(line) for line in text.splitlines()]
    assert [frame["direction"] for frame in frames].count("out") == 4
    assert {frame["connection"] for frame in frames} == {0, 1}
    verb(*words, expect=1)  # never over a file that is there

    replay = ("capture", "replay", "frames.jsonl", "--source", "finnhub", "--speed", "max")
    for _ in range(2):
        assert verb(*replay)[-1]["by_kind"] == {"trade": 20, "gap": 2}
    assert delivered(workspace) == ALL
    [dropped] = asked("select sum(dropped)::int as n from deliveries", workspace)
    assert dropped == {"n": 22}
    received = {clock.parse_instant(frame["received_at"]) for frame in frames}
    fetched = asked("select distinct fetched_at from trades", workspace)
    assert {row["fetched_at"] for row in fetched} <= received
    assert len(verb("sources", "parse", "finnhub", "frames.jsonl")) == 20


def test_a_replay_keeps_the_pace_of_its_recording(workspace: Path, verb: Verb) -> None:
    """At speed 3000 an hour takes 1.2 s: the last trade comes not before its time."""
    lines = []
    for number, minute in enumerate((0, 30, 59)):
        frame = {"received_at": f"2024-01-02T15:{minute:02}:00Z", "direction": "in", "url": ""}
        lines.append(json.dumps(frame | {"frame": trade(number)}))
    (workspace / "slow.jsonl").write_text("\n".join(lines))
    began = clock.monotonic_seconds()
    done = verb("capture", "replay", "slow.jsonl", "--source", "finnhub", "--speed", "3000")[-1]
    assert clock.monotonic_seconds() - began >= 59 * 60 / 3000
    assert done["records"] == 6
    limited = ("capture", "replay", "slow.jsonl", "--source", "finnhub", "--speed", "max")
    assert verb(*limited, "--limit", "3")[-1]["records"] == 3


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("publish", "A", "--source", "sample", "--live", "--kinds", "trade"), "by itself"),
        (("publish", "A", "--source", "finnhub", "--live"), "FINNHUB_API_KEY"),
        (("publish", "A", "--source", "finnhub", "--live", "--kinds", "gap"), "no kinds"),
        (("publish", "A", "--source", "finnhub", "--kinds", "trade"), "--live"),
        (("publish", "A", "--live", "--kinds", "trade", "--interval", "1m"), "--interval"),
        (("capture", "replay", "none.jsonl", "--source", "sample"), "no socket"),
        (("capture", "replay", "none.jsonl", "--source", "finnhub", "--speed", "0"), "no speed"),
    ],
)
@pytest.mark.usefixtures("workspace")
def test_wrong_use(
    words: tuple[str, ...],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What cannot be listened to or replayed is wrong use, and the words say what to do."""
    monkeypatch.delenv("TICKERLAKE_SOURCES_FINNHUB_API_KEY")
    assert main(list(words)) == 2
    assert told in capsys.readouterr().err

"""The verbs one after the other, as users and scripts call them."""

from __future__ import annotations

import csv
import json
import signal
import urllib.request
from pathlib import Path

import pytest

from command import running, tickerlake
from tickerlake.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cli_chain")]

START = ("--source", "sample", "--start", "2013-02-01")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """AAPL and IBM from February 2013 on: delivered; MSFT: still on the stream only."""
    folder = tmp_path_factory.mktemp("chain")
    tickerlake("init", ".", cwd=folder)
    tickerlake("publish", "AAPL", "IBM", *START, cwd=folder)
    tickerlake("deliver", "--once", cwd=folder)
    tickerlake("publish", "MSFT", *START, cwd=folder)
    return folder


def test_publishing_again_adds_nothing(workspace: Path) -> None:
    """What lake and stream hold unchanged is not sent again."""
    again = tickerlake("publish", "AAPL", "MSFT", *START, "--json", cwd=workspace).lines[-1]
    assert again["records"] == 0
    assert again["unchanged"] > 0


def test_sql_sees_the_lake_and_the_fresh_tail(workspace: Path) -> None:
    """`bars` holds delivered and not yet delivered records alike, each once."""
    rows = tickerlake(
        "sql", "select symbol, count(*) as n from bars group by 1 order by 1", "--json",
        cwd=workspace,
    ).json  # fmt: skip
    assert [row["symbol"] for row in rows] == ["AAPL", "IBM", "MSFT"]
    assert len({row["n"] for row in rows}) == 1


def test_every_format_holds_the_same_rows(workspace: Path) -> None:
    """CSV, JSON lines and Arrow carry what the table shows."""
    import pyarrow as pa

    query = "select symbol, session_date, close from bars order by 1, 2"
    rows = tickerlake("sql", query, "--json", cwd=workspace).json
    lines = tickerlake("sql", query, "--format", "jsonl", cwd=workspace).lines
    assert lines == rows
    table = list(
        csv.DictReader(tickerlake("sql", query, "--format", "csv", cwd=workspace).out.splitlines())
    )
    assert [(r["symbol"], r["session_date"], float(r["close"])) for r in table] == [
        (r["symbol"], r["session_date"], r["close"]) for r in rows
    ]
    with running("sql", query, "--format", "arrow", cwd=workspace) as process:
        assert process.stdout is not None
        arrow = pa.ipc.open_stream(process.stdout.buffer.read()).read_all()
    assert arrow.column("close").to_pylist() == [row["close"] for row in rows]


def test_a_script_of_queries_comes_through_a_pipe(workspace: Path) -> None:
    """Without a query a pipe is read as a script; `;` in quotes and comments ends nothing."""
    script = "-- don't; stop\nselect ';' as a; select 2 /* it's; b */ as b; -- the end"
    said = tickerlake("sql", "--format", "jsonl", cwd=workspace, stdin=script)
    assert said.lines == [{"a": ";"}, {"b": 2}]


def test_status_says_what_is_not_in_the_lake_yet(workspace: Path) -> None:
    """End, lake position and lag add up; a pinned clock is shown."""
    said = tickerlake("status", "--json", cwd=workspace, TICKERLAKE_NOW="2013-03-02T00:00:00Z").json
    bars = said["topics"][0]
    assert bars["lag"] == sum(p["end"] - p["lake"] for p in bars["partitions"]) > 0
    assert bars["published"] == sum(p["end"] for p in bars["partitions"])
    assert said["clock_starts_at"] == "2013-03-02T00:00:00Z"
    plain = tickerlake("status", cwd=workspace, TICKERLAKE_NOW="2013-03-02T00:00:00Z").out
    assert "TICKERLAKE_NOW=2013-03-02T00:00:00Z" in plain


@pytest.mark.parametrize(
    "words",
    [
        ["sources"],
        ["config", "show"],
        ["doctor"],
        ["stream", "list"],
        ["dead-letters", "list"],
        ["lake", "status"],
        ["lake", "verify"],
        ["fetch", "AAPL", "--source", "sample", "--plan"],
        ["cache", "status"],
        ["cache", "verify"],
        ["cache", "repair"],
    ],
    ids=" ".join,
)
def test_json_is_one_document(
    workspace: Path,
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With `--json` stdout is one JSON document; without it, lines for people."""
    monkeypatch.chdir(workspace)
    assert main([*words, "--json"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), dict | list)
    assert main(words) == 0
    assert capsys.readouterr().out.strip()


def test_the_verbs_of_the_cache(
    workspace: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`export` writes what is held; `verify` exits with 1 over damage, `repair` mends; `prune`."""
    monkeypatch.chdir(workspace)
    table = tmp_path / "ibm.csv"
    choice = ["--source", "sample", "--symbol", "ibm", "--interval", "1d"]
    assert main(["fetch", "IBM", *START]) == 0
    assert main(["cache", "export", *choice, "--output", str(table)]) == 0
    lines = table.read_text().splitlines()
    capsys.readouterr()
    assert main(["cache", "status", *choice, "--json"]) == 0
    (held,) = json.loads(capsys.readouterr().out)
    assert held["rows"] == len(lines) - 1
    for file in (workspace / "cache" / "rows").iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    assert main(["cache", "verify"]) == 1
    assert main(["cache", "export", *choice, "--output", str(table)]) == 1
    assert main(["cache", "repair"]) == 0
    assert main(["cache", "verify"]) == 0
    assert main(["cache", "prune", *choice]) == 0
    capsys.readouterr()
    assert main(["cache", "status", *choice, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_fetch_writes_a_file_and_publishes_nothing(workspace: Path, tmp_path: Path) -> None:
    """`fetch` leaves the stream as it was; `--offline` gives the same prices from the cache."""
    before = tickerlake("stream", "list", "--json", cwd=workspace).json

    def fetched(name: str, *more: str) -> list[tuple[str, float]]:
        words = ("fetch", "GOOG", *START, *more, "--output", tmp_path / name)
        tickerlake(*words, cwd=workspace)
        lines = (tmp_path / name).read_text().splitlines()
        return [(row["session_date"], row["close"]) for row in map(json.loads, lines)]

    online = fetched("a.jsonl")
    assert len(online) > 10
    assert fetched("b.jsonl", "--offline") == online
    assert tickerlake("stream", "list", "--json", cwd=workspace).json == before


def test_some_symbols_unknown_is_partly_done(workspace: Path) -> None:
    """The known symbol is published; the exit code and the words say that the other was not."""
    said = tickerlake("publish", "GOOG", "NOPE", *START, "--json", cwd=workspace, expect=3)
    assert "NOPE" in said.err
    assert said.lines[-1]["records"] > 0


def test_ctrl_c_finishes_what_was_begun(workspace: Path) -> None:
    """Ctrl-C of a paced publish: what was printed as put is there, the sum is said, exit 130."""
    words = ("publish", "FB", "--source", "sample", "--every", "50ms", "--json")
    with running(*words, cwd=workspace) as process:
        assert process.stdout is not None
        puts = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    rest = [json.loads(line) for line in out.splitlines()]
    assert rest[-1]["event"] == "done"
    puts += [line for line in rest if line["event"] == "put"]
    assert rest[-1]["records"] == len(puts)
    assert {"partition", "position", "status", "symbol", "ts"} <= set(puts[0])
    count = tickerlake(
        "sql", "select count(*) as n from bars where symbol = 'FB'", "--json", cwd=workspace
    ).json
    assert count == [{"n": len(puts)}]


def test_deliver_ends_politely(workspace: Path) -> None:
    """SIGTERM of an endless delivery commits what was read, says the sum, and exits 0."""
    with running(
        "deliver", "--json", cwd=workspace, TICKERLAKE_DELIVERY_FLUSH_SECONDS="0.1"
    ) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert first["event"] == "delivered"
    assert json.loads(out.splitlines()[-1])["event"] == "done"


def test_run_does_it_all_in_one_process(tmp_path: Path) -> None:
    """`run` publishes, delivers and serves; its page answers; Ctrl-C ends all with 130."""
    tickerlake("init", ".", cwd=tmp_path)
    words = ("run", "AAPL", *START, "--port", "0", "--json")
    with running(*words, cwd=tmp_path, TICKERLAKE_DELIVERY_FLUSH_SECONDS="0.1") as process:
        assert process.stdout is not None
        seen: dict[str, dict[str, object]] = {}
        while not {"serving", "published", "delivered"} <= set(seen):
            event = json.loads(process.stdout.readline())
            seen[event["event"]] = event
        address = f"{seen['serving']['url']}chart/AAPL.json"
        with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310 - our own server
            assert json.load(answer)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Traceback" not in err


def test_a_reader_that_goes_away_is_no_error(workspace: Path) -> None:
    """`tickerlake sql … | head -1` ends quietly."""
    query = "select * from range(200000)"
    with running("sql", query, "--format", "csv", cwd=workspace) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(timeout=30) == 0


def test_python_opens_the_same_workspace(workspace: Path) -> None:
    """`tickerlake.open` gives the views as Arrow, pandas and polars."""
    import tickerlake as package

    with package.open(workspace) as opened:
        answer = opened.sql("select symbol, close from bars where symbol = 'IBM' order by ts")
        assert answer.to_arrow().num_rows == len(answer.to_pandas()) == answer.to_polars().height
        assert len(opened.sql("select 1 where false", as_of="2013-01-01T00:00:00Z")) == 0


def test_a_file_of_many_symbols_is_told_in_few_lines(tmp_path: Path) -> None:
    """Nobody reads a line for each of hundreds of symbols: some are told, then the sum."""
    rows = "".join(f"2024-01-02,S{number:03},1,2,1,1.5,10\n" for number in range(60))
    (tmp_path / "many.csv").write_text(f"Date,Symbol,Open,High,Low,Close,Volume\n{rows}")
    tickerlake("init", ".", cwd=tmp_path)
    done = tickerlake("publish", "--file", "many.csv", cwd=tmp_path)
    assert done.out.count("1d: 1 bar") == 20
    assert "Published 60 records." in done.out
    assert "and more symbols" in done.err

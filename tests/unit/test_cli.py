"""The command line's own work: arguments, help, and words for mistakes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from tickerlake.cli import arguments, main
from tickerlake.cli.answers import write_table
from tickerlake.cli.output import Output
from tickerlake.cli.parser import build_parser
from tickerlake.cli.registry import VERBS
from tickerlake.errors import RangeError, TickerlakeError, UsageError

ROOT = Path(__file__).resolve().parents[2]
NAMES = [verb.name for verb in VERBS]


@pytest.mark.parametrize("name", NAMES)
def test_every_verb_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`tickerlake VERB --help` says what it does, and every verb takes the global flags."""
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    assert f"tickerlake {name}" in said
    assert "--workspace" in said


@pytest.mark.parametrize("name", NAMES)
def test_every_verb_is_documented(name: str) -> None:
    """docs/cli.md has a section for each verb."""
    assert f"\n## {name}\n" in (ROOT / "docs" / "cli.md").read_text()


def test_global_flags_stand_before_or_after_the_verb() -> None:
    """`--workspace W config show` and `config show --workspace W` are the same."""
    parser = build_parser({"config"})
    before = parser.parse_args(["--workspace", "w", "--json", "config", "show"])
    middle = parser.parse_args(["config", "--workspace", "w", "--json", "show"])
    after = parser.parse_args(["config", "show", "--workspace", "w", "--json"])
    assert vars(before) == vars(middle) == vars(after)


@pytest.mark.parametrize("verb", ["publish", "fetch", "run"])
def test_symbols_may_stand_apart(verb: str) -> None:
    """`AAPL --source sample MSFT` names two symbols, wherever flags stand between them."""
    parser = build_parser({verb})
    words = [verb, "AAPL", "--source", "sample", "MSFT", "--json", "IBM"]
    arguments, unknown = parser.parse_known_args(words)
    assert (arguments.symbols, unknown) == (["AAPL", "MSFT", "IBM"], [])
    assert (arguments.source, arguments.json) == ("sample", True)
    assert parser.parse_known_args([verb, "AAPL"])[0].symbols == ["AAPL"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["confg"], "did you mean 'config'?"),
        (["config", "shwo"], "did you mean 'show'?"),
        (["config"], "tickerlake config --help"),
        (["config", "show", "--loud"], "tickerlake config --help"),
        (["config", "show", "--workspace", "/nowhere/at/all"], "tickerlake init"),
    ],
)
def test_wrong_use_says_what_to_do(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong use exits 2, says what to do on stderr, and leaves stdout empty."""
    assert main(words) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    ("text", "seconds"), [("0.8s", 0.8), ("500ms", 0.5), ("2m", 120.0), ("1h", 3600.0)]
)
def test_spans_have_a_unit(text: str, seconds: float) -> None:
    """A span is a number and its unit."""
    assert arguments.duration_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["0.8", "fast", "0s", "-1s", ""])
def test_a_span_without_unit_is_refused(text: str) -> None:
    """A bare number does not say of what."""
    with pytest.raises(UsageError):
        arguments.duration_seconds(text)


def test_a_date_is_a_session_date_and_a_time_needs_its_zone() -> None:
    """Dates stay dates; a naive timestamp and a day that never was are refused."""
    assert arguments.day_or_instant("2013-03-01") == date(2013, 3, 1)
    assert (
        arguments.day_or_instant("2013-03-01T10:00+01:00").isoformat().startswith("2013-03-01T09")
    )
    for text in ("2013-03-01T10:00", "2013-02-30", "yesterday"):
        with pytest.raises(RangeError):
            arguments.day_or_instant(text)


def test_config_show_is_one_json_document(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """With `--json` stdout is one document, and each setting names its origin."""
    main(["init", str(tmp_path)])
    capsys.readouterr()
    assert main(["config", "show", "--workspace", str(tmp_path), "--stream", "x:", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["stream"] == {"value": "x:", "origin": "--stream"}
    assert said["lake"]["origin"] == "default"


def test_tables_in_a_pipe_are_plain(capsys: pytest.CaptureFixture[str]) -> None:
    """No colour codes and no frames in a pipe; numbers stand to the right, nulls are empty."""
    Output(json_mode=False).table(("name", "count"), [("a", 1), ("bcd", 1000), (None, None)])
    assert capsys.readouterr().out == "name  count\na         1\nbcd    1000\n\n"


def test_sums_and_spans_have_words_in_every_form() -> None:
    """A sum is a number, exact if whole; the difference of two times is ISO 8601."""
    sums = pa.array([Decimal(10**20)], pa.decimal128(38, 0))
    table = pa.table({"sum": sums, "span": pa.array([pa.MonthDayNano([0, 3, 0])])})
    said = {}
    for form in ("json", "csv"):
        write_table(table, form, sink := io.BytesIO())
        said[form] = sink.getvalue().decode()
    assert json.loads(said["json"]) == [{"sum": 10**20, "span": "P0M3DT0S"}]
    assert said["csv"].splitlines()[1] == f'{10**20},"P0M3DT0S"'


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_every_verb(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The script that a shell reads names all verbs."""
    assert main(["completion", shell]) == 0
    said = capsys.readouterr().out
    assert main(["--print-completion", shell]) == 0
    assert capsys.readouterr().out == said
    assert all(name in said for name in NAMES)


def test_a_workspace_opens_without_the_heavy_packages() -> None:
    """Settings and a source are read without Iceberg's library, DuckDB or pandas: a second less."""
    code = "import sys, tickerlake.app, tickerlake.sources.yahoo; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT / "src"
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"pyiceberg", "duckdb", "pandas", "exchange_calendars", "httpx"}


def test_help_imports_no_room() -> None:
    """`--help` answers without importing any room or heavy package."""
    code = (
        "import sys; from tickerlake.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, sep='\\n', file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT / "src"
    )
    loaded = {name for name in done.stderr.split() if name.startswith("tickerlake.")}
    assert all(
        name in {"tickerlake.errors", "tickerlake.clock"} or name.startswith("tickerlake.cli")
        for name in loaded
    )
    assert not {"pyarrow", "rich", "duckdb", "numpy", "json"} & set(done.stderr.split())


def test_an_unexpected_error_is_called_a_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What nobody foresaw is one clear line and exit 1; `--debug` shows the traceback."""
    from tickerlake.cli.verbs import completion

    def explode(*_: object) -> int:
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr(completion, "run", explode)
    assert main(["completion", "bash"]) == 1
    assert "This is a bug in tickerlake: ZeroDivisionError: by nought" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError):
        main(["completion", "bash", "--debug"])


@pytest.mark.parametrize("text", ["yesterday", "2013-03-01T00:00:00"])
def test_a_clock_that_cannot_start_stops_the_verb(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A `TICKERLAKE_NOW` that is no instant with a zone is wrong use, whatever the verb."""
    monkeypatch.setenv("TICKERLAKE_NOW", text)
    assert main(["completion", "bash"]) == 2
    assert "TICKERLAKE_NOW" in capsys.readouterr().err


def test_every_error_has_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each error of the tree ends the command with its own exit code and its own words."""
    from tickerlake import errors
    from tickerlake.cli.verbs import completion

    for name in errors.__all__:
        if not name.endswith("Error"):
            continue
        error: type[TickerlakeError] = getattr(errors, name)
        if not isinstance(error, type):
            continue  # what takes secrets out of messages

        def fail(*_: object, error: type[TickerlakeError] = error) -> int:
            raise error("No.", todo="this")

        monkeypatch.setattr(completion, "run", fail)
        assert main(["completion", "bash"]) == error.exit_code
        assert "what to do: this" in capsys.readouterr().err

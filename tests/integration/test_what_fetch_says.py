"""What people read while they fetch: the plan's words, empty ranges, a symbol's own spelling."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tickerlake.cli import main
from tickerlake.config import make_workspace
from tickerlake.testing.provider import ProviderAnswer, ProviderRequest, provider_server

DAYS = "Date,Open,High,Low,Close,Volume\r\n2024-01-03,10,11,9,10.5,100\r\n"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder, _ = make_workspace(tmp_path / "one")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def stooq(workspace: Path) -> Iterator[None]:
    def answer(request: ProviderRequest) -> ProviderAnswer:
        body = DAYS if request.query["s"] == "acme.us" else "No data"
        return ProviderAnswer(body, headers={"content-type": "text/plain"})

    with provider_server(answer) as server:
        text = f'base_url = "{server.base_url}"\nrequests_per_second = 1000\n'
        (workspace / "tickerlake.toml").write_text(f"[sources.stooq]\n{text}")
        yield


def fetch(symbol: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    words = ["fetch", symbol, "--source", "stooq", "--start", "2024-01-02", "--end", "2024-01-05"]
    code = main(words)
    told = capsys.readouterr()
    return code, told.out, told.err


@pytest.mark.usefixtures("workspace")
def test_the_plan_says_pace_and_instants_as_people_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No 0.0138889 a second, and no +00:00 behind a time."""
    monkeypatch.setenv("TICKERLAKE_SOURCES_TIINGO_API_KEY", "nobodys")
    start = ["--start", "2024-01-02T16:30:00+02:00", "--interval", "5m"]
    assert main(["fetch", "ACME", "--source", "tiingo", *start, "--plan"]) == 0
    told = capsys.readouterr()
    assert "at most 50 an hour" in told.err
    assert "2024-01-02 14:30Z … now" in told.out


@pytest.mark.usefixtures("stooq")
def test_an_empty_range_is_told_the_second_time_too(capsys: pytest.CaptureFixture[str]) -> None:
    """In the provider's words and with its exit code: never an empty table alone."""
    for known in ("", "said before; asked again after"):
        code, table, said = fetch("none.us", capsys)
        assert (code, table) == (2, "")
        assert "Stooq has no days of none.us in this range" in said
        assert "check the spelling" in said
        assert known in said


@pytest.mark.usefixtures("stooq")
def test_a_symbol_in_other_letters_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """ACME.US is the acme.us that was fetched before, not an empty symbol beside it."""
    assert fetch("acme.us", capsys)[0] == 0
    code, table, _ = fetch("ACME.US", capsys)
    assert code == 0
    assert [line.split()[:3] for line in table.splitlines()[1:]] == [["acme.us", "1d", "1"]]

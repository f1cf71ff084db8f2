"""`--adjust` and `--repair` on the command line."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from adjusting import Model, as_yahoo, weekdays
from command import Said
from command import tickerlake as command
from yahoo_double import yahoo_server

#: Each command is a process of its own.
pytestmark = pytest.mark.slow

DAYS = weekdays(date(2024, 4, 1), 45)
MODEL = Model(
    {day: 400.0 + 3 * n if n < 30 else 101.0 + n / 2 for n, day in enumerate(DAYS)},
    splits={DAYS[30]: 4.0},
    dividends={DAYS[10]: 0.82, DAYS[38]: 0.205},
)
RANGE = ("--start", str(DAYS[2]), "--end", str(DAYS[20]))


class Desk:
    """A workspace, and a Yahoo that it asks."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url

    def run(self, *words: str, expect: int = 0) -> Said:
        told = {"TICKERLAKE_NOW": f"{DAYS[-1]}T22:00:00Z"}
        told["TICKERLAKE_SOURCES_YAHOO_BASE_URL"] = self.url
        return command(*words, cwd=self.folder, expect=expect, **told)

    def rows(self, name: str) -> list[dict[str, Any]]:
        with (self.folder / name).open() as file:
            return list(csv.DictReader(file))

    def closes(self, name: str) -> list[float]:
        return [float(row["close"]) for row in self.rows(name)]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """All days of one share are in the cache; one of them a hundred times too large."""
    folder = tmp_path_factory.mktemp("desk")
    with yahoo_server(as_yahoo(MODEL, minutes=DAYS[28:32], bent={DAYS[7]: 100.0})) as server:
        desk = Desk(folder, server.base_url)
        desk.run("init", ".")
        desk.run("fetch", "AAA", "--start", str(DAYS[0]))
        yield desk


def test_an_export_is_adjusted_and_explained(desk: Desk) -> None:
    """What is written is adjusted and mended, what is cached is not; each change is told."""
    choice = ("--source", "yahoo", "--symbol", "AAA", "--interval", "1d")
    said = desk.run(
        "cache", "export", *choice, "--adjust", "all", "--repair", "--output", "all.csv", "--json"
    )
    assert desk.closes("all.csv") == pytest.approx(MODEL.adjusted(DAYS[-1]), rel=2e-6)
    assert {row["rule"] for row in said.json["repairs"]} == {"unit"}
    assert {row["session_date"] for row in said.json["repairs"]} == {str(DAYS[7])}
    told = [row["repaired"] for row in desk.rows("all.csv")]
    assert [n for n, text in enumerate(told) if text] == [7]
    desk.run("cache", "export", *choice, "--output", "given.csv")
    assert desk.closes("given.csv")[7] == pytest.approx(
        100 * MODEL.at_basis(421.0, DAYS[7], DAYS[-1])
    )
    assert "repaired" not in desk.rows("given.csv")[0]


def test_an_export_that_cannot_be_derived(desk: Desk) -> None:
    """The typed error, exit code 2, and no file."""
    desk.run("fetch", "IBM", "--source", "sample", "--start", "2013-02-01")
    said = desk.run(
        "cache", "export", "--source", "sample", "--adjust", "splits", "--output", "no.csv",
        expect=2,
    )  # fmt: skip
    assert "sample tells no splits and dividends" in said.err
    said = desk.run("fetch", "IBM", "--source", "sample", "--adjust", "all", expect=2)
    assert "sample tells no splits and dividends" in said.err
    desk.run("fetch", "IBM", "--source", "sample", "--adjust", "none", "--output", "yes.csv")
    assert len(desk.rows("yes.csv")) > 1000
    assert not (desk.folder / "no.csv").exists()


@pytest.mark.parametrize("how", ["none", "all"])
def test_a_fetch_is_adjusted_as_it_is_written(desk: Desk, how: str) -> None:
    """A range of before the split: events after it count; the day's mistake is mended, too."""
    name = f"{how}.csv"
    desk.run("fetch", "AAA", *RANGE, "--adjust", how, "--repair", "--output", name)
    wanted = {
        "none": [*MODEL.traded.values()],
        "all": MODEL.adjusted(DAYS[-1]),
    }[how]
    assert desk.closes(name) == pytest.approx(wanted[2:21], rel=2e-6)
    basis = [row["split_basis"] for row in desk.rows(name)]
    assert basis == [str(day) if how == "none" else str(DAYS[-1]) for day in DAYS[2:21]]


def test_minutes_are_adjusted_by_days_that_are_fetched_with_them(tmp_path: Path) -> None:
    """Nothing is cached: the plan counts minutes and days, and so many requests are made."""
    minutes = ("fetch", "AAA", "--interval", "1m", "--start", str(DAYS[28]), "--end", str(DAYS[31]))
    with yahoo_server(as_yahoo(MODEL, minutes=DAYS[28:32])) as server:
        desk = Desk(tmp_path, server.base_url)
        desk.run("init", ".")
        asked = (*minutes, "--adjust", "all", "--output", "minutes.csv", "--json")
        plan = desk.run(*asked, "--plan").json
        assert server.requests == []
        desk.run(*asked)
        made = len(server.requests)
        assert desk.closes("minutes.csv") == pytest.approx(
            MODEL.adjusted(DAYS[-1])[28:32], rel=2e-6
        )
        assert sum(one["requests"] for one in plan) == made
        desk.run(*asked)
        assert len(server.requests) == made


def test_one_symbol_that_cannot_be_derived_stops_no_other(desk: Desk) -> None:
    """Offline, of one symbol only minutes' worth is known: the other is written, exit code 3."""
    desk.run("fetch", "BBB", "--interval", "1m", "--start", str(DAYS[29]), "--end", str(DAYS[30]))
    said = desk.run(
        "fetch", "BBB", "--interval", "1m", "--start", str(DAYS[29]), "--end", str(DAYS[30]),
        "--adjust", "all", "--offline", "--output", "never.csv", expect=2,
    )  # fmt: skip
    assert "Splits and dividends of BBB (yahoo) are not known" in said.err
    assert not (desk.folder / "never.csv").exists()
    said = desk.run(
        "fetch", "AAA", "NONE", *RANGE, "--adjust", "all", "--offline", "--output", "some.csv",
        expect=3,
    )  # fmt: skip
    assert len(desk.rows("some.csv")) == 19

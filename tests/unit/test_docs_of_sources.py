"""The pages about sources say what the sources say themselves."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tickerlake.sources import Limits, names, open_source
from tickerlake.sources.http import HttpSettings
from tickerlake.sources.registry import settings_type

ROOT = Path(__file__).resolve().parents[2]
INDEX = ROOT / "docs" / "sources.md"
HEADING = "| interval | days per request | days back | rows per page |"
PRICES = {"raw": "as traded", "splits": "adjusted for splits", "all": "adjusted for all events"}


def page(name: str) -> str:
    path = ROOT / "docs" / "sources" / f"{name}.md"
    assert path.exists(), f"docs/sources/{name}.md is missing: scripts/settings.py begins it"
    return path.read_text()


def table(text: str, heading: str) -> list[list[str]]:
    """The cells of the table below a heading row."""
    assert heading in text, f"no table {heading}"
    rows = []
    for line in text.partition(heading)[2].splitlines()[2:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def shown(number: int | None) -> str:
    return "any" if number is None else f"{number:,}"


@pytest.mark.parametrize("name", names())
def test_the_table_of_limits_is_the_data(name: str) -> None:
    """Each interval stands once on the source's page, with the numbers that we plan by."""
    limits: Limits = open_source(name).limits
    told = {
        interval: numbers
        for intervals, *numbers in table(page(name), HEADING)
        for interval in intervals.split()
    }
    numbers = (limits.span_days, limits.look_back_days, limits.rows_per_page)
    assert told == {
        interval: [shown(number.get(interval)) for number in numbers]
        for interval in limits.intervals
    }


@pytest.mark.parametrize("name", names())
def test_what_holds_for_all_intervals_is_the_data(name: str) -> None:
    """Price basis, pace, delay, kinds and the key stand on the source's page as they are."""
    limits: Limits = open_source(name).limits
    told = dict(table(page(name), "| for all intervals | |"))
    assert told["prices"] == PRICES[limits.price_basis]
    assert told["history"].replace("none", "").split() == list(limits.history)
    assert told["live"].replace("none", "").split() == list(limits.live)
    assert told["needs a key"] == ("yes" if limits.needs_key else "no")
    assert told.get("requests at once", "1") == str(limits.requests_burst)
    assert told["symbols per request"] == str(limits.symbols_per_request)
    assert float(told["delay of the newest bars"].split()[0].replace(",", "")) == (
        limits.delay_seconds
    )
    pace = told["pace"].split()
    if limits.requests_per_second is None:
        assert pace[0] == "none"
    else:
        seconds = {"second": 1, "minute": 60, "hour": 3600}[pace[-1]]
        assert float(pace[0]) / seconds == pytest.approx(limits.requests_per_second)


@pytest.mark.parametrize("name", names())
def test_every_setting_is_documented(name: str) -> None:
    """Each key of [sources.NAME] stands on its page with its default, or among the common ones."""
    kind: type[Any] = settings_type(name)
    heading = f"| key of `[sources.{name}]` | variable | default | meaning |"
    text = page(name)
    told = {row[0] for row in table(text, heading)} if heading in text else set()
    if issubclass(kind, HttpSettings):
        assert "../sources.md#settings-common-to-all" in text
        told |= {row[0] for row in table(INDEX.read_text(), "| key | default | meaning |")}
    assert {f"`{field.name}`" for field in dataclasses.fields(kind)} <= told
    assert "|  |" not in text, "a setting without a comment"


@pytest.mark.parametrize("name", names())
def test_the_way_to_the_first_bars_is_shown(name: str) -> None:
    """A page leads from the key, where one is needed, to bars that are in the lake."""
    text = page(name)
    assert text.startswith(f"# {name}\n")
    way = text.partition("\n## First bars\n")[2]
    for step in ("tickerlake publish", "tickerlake deliver --once", "tickerlake sql"):
        assert step in way, f"docs/sources/{name}.md does not show: {step}"
    if open_source(name).limits.needs_key:
        assert f"TICKERLAKE_SOURCES_{name.upper()}_API_KEY" in way


def test_every_source_is_in_the_list() -> None:
    """The index leads to the page of each source that is registered here."""
    text = INDEX.read_text()
    for name in names():
        row = f"| [{name}](sources/{name}.md) |"
        assert row in text, f"the list in docs/sources.md has no row that begins {row}"


def test_the_pages_are_current() -> None:
    """`scripts/settings.py` would change no page; the pages say everything else by hand."""
    script = [sys.executable, ROOT / "scripts" / "settings.py", "--check"]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_table_of_filled_gaps_is_the_data() -> None:
    """Every source with a socket stands once, with the kinds that its history has and has not."""
    told = {
        name.strip("`"): [set(cell.replace(",", " ").split()) for cell in cells]
        for names_, *cells in table(
            (ROOT / "docs" / "capture.md").read_text(), "| source | filled | told, never filled |"
        )
        for name in names_.split(", ")
    }
    found = {}
    for name in names():
        limits: Limits = open_source(name).limits
        if limits.live:
            past = set(limits.history)
            found[name] = [set(limits.live) & past, set(limits.live) - past]
    assert told == found

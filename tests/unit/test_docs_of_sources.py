"""The page about sources says what the sources say themselves."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from tickerlake.sources import names, open_source
from tickerlake.sources.yahoo import YahooSettings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "sources.md"


def test_the_table_of_limits_is_the_data() -> None:
    """Each interval stands in the table with the days per request and back that we plan by."""
    lines = []
    for name in ("sample", "files", "yahoo"):
        limits = open_source(name).limits
        by_days: dict[tuple[object, object], list[str]] = {}
        for interval in limits.intervals:
            days = (limits.span_days.get(interval), limits.look_back_days.get(interval))
            by_days.setdefault(days, []).append(interval)
        lines += [
            f"| {name} | {' '.join(intervals)} | {span or 'any'} | {back or 'any'} |"
            for (span, back), intervals in by_days.items()
        ]
    heading = "| source | interval | days per request | days back |\n|---|---|---|---|\n"
    assert heading + "\n".join(lines) in PAGE.read_text()


def test_every_source_of_ours_has_a_section() -> None:
    """A source that is registered here is documented here."""
    text = PAGE.read_text()
    for name in names():
        assert f"\n## {name}\n" in text


def test_every_setting_of_yahoo_is_documented() -> None:
    """Each key of [sources.yahoo] stands on the page."""
    text = PAGE.read_text()
    for field in dataclasses.fields(YahooSettings):
        assert f"`{field.name}`" in text, field.name

"""Where a hole in the records of a symbol begins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa

from tickerlake.records import SCHEMAS, Kind, conform
from tickerlake.sources.reach import Reach, Series

NOW = datetime(2024, 3, 5, 15, 30, tzinfo=UTC)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def came(
    reach: Reach, symbol: str, *back: float, kind: Kind = "trade", interval: str = "1m"
) -> None:
    """Records of a symbol, so many minutes before now, that came now."""
    rows = [
        {"provider": "p", "symbol": symbol, "ts": NOW - minutes(n), "fetched_at": NOW} for n in back
    ]
    if kind == "bar":
        rows = [row | {"interval": interval} for row in rows]
    schema = pa.schema([SCHEMAS[kind].field(name) for name in rows[0]])
    reach.take(kind, conform(pa.Table.from_pylist(rows, schema=schema), kind), NOW)


def starts(reach: Reach) -> dict[str, datetime]:
    return {hole.symbol: hole.start for hole in reach.holes(NOW, NOW + minutes(1), "a cut")}


def test_a_feed_that_lags_more_than_it_says_loses_nothing() -> None:
    """Ten minutes behind, with no stated delay: what is missing begins ten minutes ago."""
    reach = Reach(["ACME"], ["trade"])
    came(reach, "ACME", 14, 10)
    assert NOW - minutes(10.1) < starts(reach)["ACME"] <= NOW - minutes(10)


def test_one_symbol_s_records_say_nothing_of_another_s() -> None:
    """The newest record of a busy symbol hides no hole of one that lags."""
    reach = Reach(["ACME", "BETA"], ["trade"])
    came(reach, "ACME", 9, 8)
    came(reach, "BETA", 1, 0)
    assert starts(reach)["ACME"] <= NOW - minutes(8)
    assert starts(reach)["BETA"] >= NOW - minutes(0.2)


def test_a_symbol_that_is_seldom_traded_is_not_asked_for_from_its_last_trade_on() -> None:
    """Its last trade was hours ago: the hole begins where the line was last heard, less a lag."""
    reach = Reach(["ACME", "NEVER"], ["trade"], delay_seconds=900)
    came(reach, "ACME", 700, 600)
    assert starts(reach) == dict.fromkeys(["ACME", "NEVER"], NOW - minutes(30))


def test_what_came_before_the_first_record_was_never_listened_to() -> None:
    """The margin for records out of order does not reach before the first one."""
    reach = Reach(["ACME"], ["trade"])
    came(reach, "ACME", 0.02, 0.01)
    assert starts(reach)["ACME"] == NOW - minutes(0.02)


def test_a_bar_that_ran_is_asked_for_again() -> None:
    """An hour's bar began long before the line was last heard; bars of each length are a hole."""
    reach = Reach(["ACME"], ["bar"])
    came(reach, "ACME", 90, 30, kind="bar", interval="1h")
    came(reach, "ACME", 5, 1, kind="bar")
    holes = {hole.interval: hole for hole in reach.holes(NOW, NOW + minutes(40), "a cut")}
    assert set(holes) == {"1h", "1m"}
    assert holes["1h"].start <= NOW - minutes(30)
    assert holes["1m"].start == NOW - minutes(4)


def test_a_clock_that_is_ahead_hides_nothing() -> None:
    """A record of next year moves no hole's start beyond its end; its end follows the clock."""
    reach = Reach(["ACME"], ["trade"])
    came(reach, "ACME", -0.5, -600_000)
    [hole] = reach.holes(NOW, NOW + minutes(1), "a cut")
    assert hole.start <= NOW + minutes(1) <= hole.end <= NOW + minutes(2)


def test_what_an_earlier_run_heard_bounds_a_hole() -> None:
    """A second kill in the first seconds asks from the newest record that the first run had."""
    reach = Reach(["ACME", "BETA"], ["trade"])
    came(reach, "BETA", 0)
    earlier = dict.fromkeys([Series("trade", "ACME"), Series("trade", "BETA")], NOW - minutes(2))
    reach.learn(earlier)
    assert NOW - minutes(2.1) < starts(reach)["ACME"] <= NOW - minutes(2)
    assert starts(reach)["BETA"] == NOW


def test_symbols_are_those_that_were_asked_for_or_met() -> None:
    """All are met where `*` was asked for; letters' case makes no other symbol."""
    reach = Reach(["*"], ["trade", "quote"])
    assert not starts(reach)
    came(reach, "ACME", 1)
    assert set(starts(reach)) == {"ACME"}
    lower = Reach(["acme", "beta"], ["trade"])
    came(lower, "ACME", 1)
    assert set(lower.series()) == {Series("trade", "ACME"), Series("trade", "beta")}

"""Value rules: what becomes a dead letter, and why."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest

from tickerlake.records import KINDS, SCHEMAS, Kind, dead_reasons

NOON = datetime(2013, 3, 1, 12, tzinfo=UTC)
HEAD = {"provider": "sample", "symbol": "AAPL", "ts": NOON, "fetched_at": NOON}
SOUND: dict[Kind, dict[str, Any]] = {
    "bar": HEAD
    | {"kind": "bar", "interval": "1d", "session": "regular", "state": "final"}
    | {"open": 2.0, "high": 3.0, "low": 1.0, "close": 2.5, "volume": 7.0},
    "trade": HEAD | {"kind": "trade", "price": 2.0, "size": 1.0, "ts_ns": 1},
    "quote": HEAD | {"kind": "quote", "bid": 2.0, "ask": 2.1, "ts_ns": 1},
    "price_band": HEAD
    | {"kind": "price_band", "lower": 2.0, "upper": 3.0, "indicators": "15,22", "ts_ns": 1},
    "corporate_action": HEAD
    | {"kind": "corporate_action", "action": "dividend", "ex_date": date(2013, 3, 1)}
    | {"amount": 0.5},
    "gap": HEAD
    | {"kind": "gap", "gap_kind": "bar", "interval": "1m"}
    | {"to_ts": NOON.replace(hour=13)},
}


def judge(kind: Kind, *changes: dict[str, Any]) -> list[str | None]:
    rows = [SOUND[kind] | change for change in changes]
    return dead_reasons(pa.Table.from_pylist(rows, SCHEMAS[kind]), kind).to_pylist()


@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_record_of_every_kind_passes(kind: Kind) -> None:
    """Null says sound; and an empty table has nothing to judge."""
    assert judge(kind, {}) == [None]
    assert dead_reasons(SCHEMAS[kind].empty_table(), kind).to_pylist() == []


@pytest.mark.parametrize(
    ("kind", "change", "reason"),
    [
        ("bar", {"high": 0.5}, "high is below low (high=0.5, low=1.0)"),
        ("bar", {"open": 3.1}, "open is above high"),
        ("bar", {"close": 0.9}, "close is below low"),
        ("bar", {"low": -1.0}, "low is negative"),
        ("bar", {"volume": -1.0}, "volume is negative"),
        ("bar", {"state": "done"}, "state is none of forming provisional final revised"),
        ("bar", {"state": None}, "state is missing"),
        ("bar", {"session": "night"}, "session is none of regular extended (session=night)"),
        ("bar", {"interval": "7m"}, "interval is none of 1s 1m"),
        ("bar", {"kind": "trade"}, "this topic holds records of kind bar (kind=trade)"),
        ("bar", {"symbol": None}, "symbol is missing"),
        ("bar", {"symbol": ""}, "symbol is missing"),
        ("bar", {"ts": None}, "ts is missing"),
        ("bar", {"fetched_at": None}, "fetched_at is missing"),
        ("bar", {"close": float("nan")}, "close is not a finite number"),
        ("bar", {"volume": float("inf")}, "volume is not a finite number"),
        ("trade", {"price": None}, "price is missing"),
        ("trade", {"price": -2.0}, "price is negative"),
        ("trade", {"size": -1.0}, "size is negative"),
        ("quote", {"ask": -0.1}, "ask is negative"),
        ("quote", {"ts_ns": None}, "ts_ns is missing"),
        ("price_band", {"ts_ns": None}, "ts_ns is missing"),
        ("price_band", {"lower": -0.1}, "lower is negative"),
        ("price_band", {"upper": float("inf")}, "upper is not a finite number"),
        ("corporate_action", {"action": "merger"}, "action is none of split"),
        ("corporate_action", {"amount": None}, "a dividend needs amount"),
        ("corporate_action", {"action": "split"}, "a split needs numerator and denominator"),
        (
            "corporate_action",
            {"action": "split", "numerator": 0.0, "denominator": 1.0},
            "numerator of a split is not above zero",
        ),
        ("corporate_action", {"action": "symbol_change"}, "a symbol_change needs new_symbol"),
        ("gap", {"to_ts": NOON}, "the gap ends before it starts"),
        ("gap", {"interval": None}, "interval is none of"),
    ],
)
def test_each_broken_rule_is_named_and_harms_no_neighbour(
    kind: Kind, change: dict[str, Any], reason: str
) -> None:
    """The reason says which rule, with the values that broke it; the record beside it is sound."""
    before, found, after = judge(kind, {}, change, {})
    assert (before, after) == (None, None)
    assert found is not None
    assert found.startswith(reason)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("bar", {"open": None, "high": None, "low": None, "close": None, "volume": None}),
        ("bar", {"open": 3.0 * (1 + 4e-7), "close": 1.0 * (1 - 4e-7)}),
        ("bar", {"open": 0.0, "high": 0.0, "low": 0.0, "close": 0.0}),
        ("quote", {"bid": 2.2, "ask": 2.1}),
        ("quote", {"bid": None, "bid_size": None}),
        ("price_band", {"lower": 2.0, "upper": 0.0}),
        ("price_band", {"lower": None, "indicators": None}),
        ("trade", {"venue": None, "trade_id": None, "size": None}),
        ("gap", {"gap_kind": "trade", "interval": None}),
        ("gap", {"gap_kind": "price_band", "interval": None}),
    ],
)
def test_what_only_looks_odd_passes(kind: Kind, change: dict[str, Any]) -> None:
    """Nulls as given, rounding of 32-bit floats, crossed prices and zeros are no errors."""
    assert judge(kind, change) == [None]


@pytest.mark.parametrize(
    ("symbol", "instrument", "sound"),
    [
        ("CL=F", None, True),
        ("CLK20", "future", True),
        ("^TNX", "index", True),
        ("AAPL", None, False),
        ("SPY", "etf", False),
        ("CL=F", "equity", False),
    ],
)
def test_only_what_can_be_negative_may_be(symbol: str, instrument: str | None, sound: bool) -> None:
    """Oil closed at -37.63 on 2020-04-20; a share never does."""
    prices = {"open": -1.0, "high": -0.5, "low": -40.32, "close": -37.63}
    found = judge("bar", prices | {"symbol": symbol, "instrument_type": instrument})[0]
    assert (found is None) == sound


def test_the_first_broken_rule_is_the_reason() -> None:
    """A record that breaks several rules has one reason, always the same."""
    assert judge("bar", {"ts": None, "high": 0.1, "volume": -1.0}) == ["ts is missing"]

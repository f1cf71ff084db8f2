"""Superseded marks: what a scan with marks sees is what a window over everything would see."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tickerlake.lake.maintenance.superseded import in_order_with_marks
from tickerlake.records import KEYS, STATE_RANK, lake_schema

START = datetime(2013, 3, 1, tzinfo=UTC)

records = st.builds(
    dict,
    provider=st.sampled_from(["a", "b"]),
    symbol=st.sampled_from(["X", "Y"]),
    interval=st.just("1d"),
    session=st.sampled_from(["regular", "extended"]),
    ts=st.sampled_from([START, START + timedelta(days=1)]),
    state=st.sampled_from(list(STATE_RANK)),
    fetched_at=st.integers(0, 5).map(lambda hours: START + timedelta(hours=hours)),
    event_id=st.integers(-3, 3),
    dead_reason=st.sampled_from([None, None, None, "high < low"]),
)


def newness(row: dict[str, Any]) -> tuple[Any, ...]:
    return (STATE_RANK[row["state"]], row["fetched_at"], row["event_id"])


def winners(rows: list[dict[str, Any]]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    best: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for row in rows:
        key = tuple(row[name] for name in KEYS["bar"])
        best[key] = max(best.get(key, newness(row)), newness(row))
    return best


@given(st.lists(records, max_size=25))
def test_marks_agree_with_the_window(drawn: list[dict[str, Any]]) -> None:
    """Now, and as of every hour: the rows that marks let through hold each key's newest."""
    marked = in_order_with_marks(pa.Table.from_pylist(drawn, schema=lake_schema("bar")))
    rows = marked.to_pylist()
    sound = [row for row in rows if row["dead_reason"] is None]
    current = [row for row in sound if row["_superseded_at"] is None]
    assert winners(current) == winners(sound)
    per_key: dict[tuple[Any, ...], int] = defaultdict(int)
    for row in current:
        per_key[tuple(row[name] for name in KEYS["bar"])] += 1
    assert set(per_key.values()) <= {1}
    assert all(row["_superseded_at"] is None for row in rows if row["dead_reason"] is not None)
    for hours in range(6):
        then = START + timedelta(hours=hours)
        known = [row for row in sound if row["fetched_at"] <= then]
        passed = [
            row for row in known if row["_superseded_at"] is None or row["_superseded_at"] > then
        ]
        assert winners(passed) == winners(known)


@given(st.lists(records, max_size=25))
def test_rows_are_sorted_and_none_is_lost(drawn: list[dict[str, Any]]) -> None:
    """The table that comes back has the same rows, by symbol and time."""
    rows = pa.Table.from_pylist(drawn, schema=lake_schema("bar"))
    marked = in_order_with_marks(rows)
    places = [(row["symbol"], row["ts"]) for row in marked.to_pylist()]
    assert places == sorted(places)
    names = [name for name in rows.column_names if name != "_superseded_at"]
    order = [(name, "ascending") for name in ("symbol", "ts", "event_id", "state", "fetched_at")]
    order += [(name, "ascending") for name in ("provider", "session", "dead_reason")]
    assert marked.select(names).sort_by(order).equals(rows.select(names).sort_by(order))

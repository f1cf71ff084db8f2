"""Which live records are the same event."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from tickerlake.publish import with_lasting_ids
from tickerlake.records import SCHEMAS, Kind, conform

AT = datetime(2024, 1, 2, 15, 0, tzinfo=UTC)
LATER = AT + timedelta(minutes=1)


def told(kind: Kind, *rows: dict[str, Any]) -> pa.Table:
    same = {"provider": "acme", "symbol": "A", "ts": AT, "fetched_at": AT}
    same |= {"bar": {"interval": "1m"}, "gap": {}}.get(kind, {"ts_ns": 1})
    names = list(dict.fromkeys([*same, *(name for row in rows for name in row)]))
    schema = pa.schema([SCHEMAS[kind].field(name) for name in names])
    return conform(pa.Table.from_pylist([same | row for row in rows], schema=schema), kind)


def ids(kind: Kind, *rows: dict[str, Any]) -> list[int]:
    found: list[int] = with_lasting_ids(told(kind, *rows), kind)["event_id"].to_pylist()
    return found


def test_a_numbered_trade_that_comes_again_is_the_same() -> None:
    """Whenever it comes; another price under its id is another event."""
    trade = {"trade_id": "7", "price": 1.0}
    first, again, mended = ids(
        "trade", trade, trade | {"fetched_at": LATER}, trade | {"price": 2.0}
    )
    assert first == again != mended


def test_equal_trades_without_ids_are_all_kept() -> None:
    """Of one frame, and of several; what is replayed, with its times, is the same once more."""
    trade = {"trade_id": None, "price": 1.0}
    rows = (trade, trade, trade | {"fetched_at": LATER}, trade)
    found = ids("trade", *rows)
    assert len(set(found)) == 4
    assert ids("trade", *rows) == found
    mixed = with_lasting_ids(told("trade", trade, trade | {"trade_id": "7"}, trade), "trade")
    assert len(set(mixed["event_id"].to_pylist())) == 3
    assert mixed.schema == SCHEMAS["trade"]


def test_quotes_bands_and_bars() -> None:
    """The same quote of the same moment says nothing new; a bar's values may return."""
    bands = {"lower": 1.0, "upper": 2.0, "indicators": "15"}
    assert len(set(ids("price_band", bands, bands | {"fetched_at": LATER}))) == 1
    assert len(set(ids("price_band", bands, bands | {"indicators": "17"}))) == 2
    assert len(set(ids("quote", {"bid": 1.0}, {"bid": 1.0, "fetched_at": LATER}))) == 1
    assert len(set(ids("bar", {"close": 1.0}, {"close": 1.0, "fetched_at": LATER}))) == 2

"""Corporate actions as providers tell them → one record a symbol, kind and day."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa

from tickerlake.records import KEYS, SCHEMAS

__all__ = ["actions_table"]

#: What is paid adds up: a regular and a special dividend may have one ex-date.
_PAID: Final = ("dividend", "capital_gain")
_ORDER: Final = [("symbol", "ascending"), ("ex_date", "ascending"), ("action", "ascending")]


def actions_table(records: Iterable[dict[str, Any]], **common: object) -> pa.Table:
    """Records in the schema, by symbol and ex-date; what was paid on one day is a sum.

    Args:
        records: `symbol`, `action`, `ex_date` and what belongs to the action. Of two splits or
            renames of one day the later one counts.
        common: What all of them have, such as `provider` and `fetched_at`.
    """
    kept: dict[tuple[Any, ...], dict[str, Any]] = {}
    for record in records:
        day = record["ex_date"]
        told = {
            **common,
            **record,
            "kind": "corporate_action",
            "ts": datetime(day.year, day.month, day.day, tzinfo=UTC),
        }
        key = tuple(told[name] for name in KEYS["corporate_action"])
        if told["action"] in _PAID and key in kept:
            # As decimals: 0.24 and 0.1 are 0.34, which a sum of floats is not.
            both = (Decimal(str(one["amount"])) for one in (told, kept[key]))
            told["amount"] = float(sum(both))
        kept[key] = told
    table = pa.Table.from_pylist(list(kept.values()), schema=SCHEMAS["corporate_action"])
    return table.sort_by(_ORDER)

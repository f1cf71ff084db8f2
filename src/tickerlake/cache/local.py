"""Sources of this machine: asking costs nothing, so only a copy is kept, for `--offline`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from tickerlake.cache.index import Change, Key, Series
from tickerlake.cache.rows import newest, stamps
from tickerlake.records import Kind
from tickerlake.sources import Answer, BarsRequest, Source

if TYPE_CHECKING:
    from tickerlake.cache.store import Store

__all__ = ["keep_copy"]


def keep_copy(store: Store, source: Source, request: BarsRequest) -> Answer:
    """Ask, keep what is new, and give the answer as it came.

    Raises:
        StorageError: The answer could not be kept.
        TickerlakeError: What the source raises.
    """
    answer = source.bars(request)
    symbol = request.symbol.strip().upper()
    tables: tuple[tuple[Kind, str, pa.Table], ...] = (
        ("bar", request.interval, answer.bars),
        ("corporate_action", "", answer.actions),
    )
    changes = []
    for kind, interval, told in tables:
        if not told.num_rows:
            continue
        rows = newest(told, kind)
        key = Key(source.name, symbol, kind, interval, "regular")
        series = store.index.current(key) or Series(key)
        low, high = int(stamps(rows)[0]), int(stamps(rows)[-1]) + 1
        held, _ = store.rows(series, low, high)
        if not held.drop("fetched_at").equals(rows.drop("fetched_at")):
            changes.append(Change(series, *store.replacing(series, low, high, rows)))
    if changes:
        store.commit(changes)
    return answer

"""What lake and tail already hold, for whoever publishes: nothing that is known is sent again.

Unlike a query it reads the whole tail, however long, and counts dead letters as known: a record
that was refused once is not sent again as if it were new.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pyarrow as pa
import pyarrow.dataset as ds

from tickerlake.errors import RetentionPassedError
from tickerlake.lake.lake import Lake
from tickerlake.query.duckdb import newest_rows
from tickerlake.query.tail import whole_tail
from tickerlake.records import SCHEMAS, TABLES, Kind
from tickerlake.streams import Stream

__all__ = ["known_actions", "known_bars"]

#: More rows than this are reduced to the newest of each key before more are read.
_GATHER_ROWS: Final = 1_000_000


def known_bars(
    lake: Lake, stream: Stream, provider: str, symbols: Sequence[str], interval: str
) -> pa.Table:
    """Every key's newest bar over lake and whole tail.

    Returns:
        Columns of the bar's schema and `dead`: whether that newest one is a dead letter. Records
        that could not even be decoded have no key and are left out.

    Raises:
        RetentionPassedError: The stream does not reach back to the lake's offset.
    """
    return _known(lake, stream, "bar", {"provider": provider, "interval": interval}, symbols)


def known_actions(lake: Lake, stream: Stream, provider: str, symbols: Sequence[str]) -> pa.Table:
    """Every key's newest corporate action over lake and whole tail; see `known_bars`."""
    return _known(lake, stream, "corporate_action", {"provider": provider}, symbols)


def _known(
    lake: Lake, stream: Stream, kind: Kind, equal: dict[str, str], symbols: Sequence[str]
) -> pa.Table:
    try:
        return _known_once(lake, stream, kind, equal, symbols)
    except RetentionPassedError:
        # Delivery may have moved on and retention behind it, after the table was loaded.
        return _known_once(lake, stream, kind, equal, symbols)


def _known_once(
    lake: Lake, stream: Stream, kind: Kind, equal: dict[str, str], symbols: Sequence[str]
) -> pa.Table:
    wanted = ds.field("symbol").isin(list(symbols))
    for name, value in equal.items():
        wanted &= ds.field(name) == value
    columns = [*SCHEMAS[kind].names, "dead_reason"]
    table = lake.table(TABLES[kind])
    loaded = table.load()
    held = table.read_files(
        table.live_files(loaded, symbols=symbols),
        columns=columns,
        # What a compaction has marked is not the newest of its key.
        condition=wanted & ds.field("_superseded_at").is_null(),
    )
    for rows in whole_tail(stream.topic(kind), kind, loaded):
        held = pa.concat_tables([held, rows.select(columns).filter(wanted)])
        if held.num_rows > _GATHER_ROWS:
            held = newest_rows(held, kind)
    held = newest_rows(held, kind)
    dead = held.column("dead_reason").is_valid()
    return held.drop_columns("dead_reason").append_column("dead", dead)

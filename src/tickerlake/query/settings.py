"""Settings of the query room."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["QuerySettings"]


@dataclass(frozen=True, slots=True)
class QuerySettings:
    """`[query]`: how long, how much and how far into the stream a query may read."""

    #: A query that runs longer is stopped.
    time_limit_seconds: float = 60.0
    #: An answer with more rows is cut, and says so.
    rows_max: int = 1_000_000
    #: Records of one kind that are read from the stream beyond the lake; more are counted only.
    tail_records_max: int = field(default=500_000, metadata={"least": 0})
    #: Memory that the engine may use, in bytes.
    memory_bytes_max: int = 2 * 1024**3
    #: Threads that the engine may use; null: one per core.
    threads: int | None = None

"""Settings of the delivery room."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tickerlake.records import REPEAT_WINDOW

__all__ = ["DeliverySettings"]


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """`[delivery]`: when buffers are flushed, and how much memory they may take."""

    #: Commit once this many records of a table wait.
    flush_rows: int = 200_000
    #: Commit once the waiting records of a table take this much memory.
    flush_bytes: int = 64 * 1024 * 1024
    #: Commit once the oldest waiting record is this old. Queries see it before that.
    flush_seconds: float = 5.0
    #: Calendars (names of exchange-calendars, comma between) whose session closes commit what
    #: waits; looked at only where `flush_seconds` is longer than a minute.
    flush_at_closes: str = "XNYS"
    #: Waiting records of all tables together: beyond it reading stops until a commit.
    memory_bytes: int = 256 * 1024 * 1024
    #: About how many records one read takes.
    read_records: int = 32_768
    #: How long a worker that waits for records may be deaf to a stop. New records wake it at once.
    poll_seconds: float = 0.2
    #: A record that repeats one within this many positions, and records, before it is dropped.
    repeat_window: int = field(default=REPEAT_WINDOW, metadata={"least": 0})
    #: Give up after refusals or unknown outcomes for this long. Nothing is lost by it.
    commit_seconds_max: float = 120.0
    #: The first pause after a refused commit; doubled up to a second, with jitter.
    commit_pause_seconds: float = 0.02
    #: Rest and try again while stream, lake or schema registry cannot be reached, for so long in
    #: all; then give up (exit 4). `--once` gives up at once.
    outage_seconds_max: float = field(default=600.0, metadata={"least": 0})
    #: Workers of each table; they share its partitions between them.
    workers: int = 1
    #: Who commits: `direct` each worker for itself; `handover` the one that reads the first
    #: partition, for all; `auto` hands over where a table has more than three workers.
    committer: Literal["auto", "direct", "handover"] = "auto"
    #: A worker that handed over and sees nothing happen for so long commits itself.
    handover_seconds: float = 3.0

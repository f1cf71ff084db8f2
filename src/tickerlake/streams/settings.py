"""Settings of the streams room."""

from __future__ import annotations

from dataclasses import dataclass

from tickerlake.streams.base import Wire

__all__ = ["StreamsSettings"]


@dataclass(frozen=True, slots=True)
class StreamsSettings:
    """`[streams]`: how topics that we create look, and how long they keep what was delivered."""

    partitions: int = 6
    #: Null: `arrow` in the embedded log, `json` on brokers (any consumer can read it).
    wire: Wire | None = None
    #: Delivered records older than this may go; null keeps them.
    retention_hours: float | None = None
    #: Delivered records beyond this size may go, oldest first; null keeps them.
    retention_bytes: int | None = None
    #: Let retention drop records that no delivery has committed. Off: nothing undelivered goes.
    retention_drops_undelivered: bool = False

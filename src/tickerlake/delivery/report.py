"""What a worker tells while it runs, and what it sums up at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tickerlake.lake.positions import Range
from tickerlake.records import Kind

__all__ = ["Assigned", "Delivered", "DeliveryReport", "Event", "KindReport", "OnEvent", "Refused"]


@dataclass(frozen=True, slots=True)
class Assigned:
    """A worker stands at the lake's offsets and begins to read."""

    kind: Kind
    positions: Mapping[str, int]
    #: Positions that the log no longer holds, given up by `--accept-loss`.
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Delivered:
    """One transaction stands in the table."""

    kind: Kind
    #: Null where another worker, or an earlier try of ours, had committed the same ranges.
    snapshot_id: int | None
    ranges: Mapping[str, Range]
    rows: int
    dead_letters: int
    dropped: int
    #: What made us commit: rows, bytes, age, close, memory, end or stop.
    cause: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Refused:
    """A commit was refused or its outcome is unknown: we try again with the same files.

    With `fenced` others moved on, or our files grew old: all was discarded, and we read again.
    """

    kind: Kind
    why: str
    partitions: tuple[str, ...] = ()
    fenced: bool = False


Event = Assigned | Delivered | Refused
OnEvent = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class KindReport:
    """What one worker did. `rows` counts dead letters too: each record becomes one row."""

    rows: int = 0
    dead_letters: int = 0
    dropped: int = 0
    lost: int = 0
    commits: int = 0
    refused: int = 0
    #: Next position by partition, as the lake has it.
    positions: Mapping[str, int] = field(default_factory=dict)
    buffered_bytes_max: int = 0

    def __add__(self, other: KindReport) -> KindReport:
        return KindReport(
            rows=self.rows + other.rows,
            dead_letters=self.dead_letters + other.dead_letters,
            dropped=self.dropped + other.dropped,
            lost=self.lost + other.lost,
            commits=self.commits + other.commits,
            refused=self.refused + other.refused,
            positions={**self.positions, **other.positions},
            buffered_bytes_max=max(self.buffered_bytes_max, other.buffered_bytes_max),
        )


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """What `deliver` did, by kind."""

    kinds: Mapping[Kind, KindReport]
    seconds: float

    @property
    def total(self) -> KindReport:
        """Over all kinds; positions are left to the kinds."""
        total = KindReport()
        for report in self.kinds.values():
            total += report
        return KindReport(
            total.rows,
            total.dead_letters,
            total.dropped,
            total.lost,
            total.commits,
            total.refused,
            buffered_bytes_max=total.buffered_bytes_max,
        )

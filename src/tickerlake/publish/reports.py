"""What publishing tells while it runs and when it is done: plain frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from tickerlake.errors import PartlyDoneError, TickerlakeError
from tickerlake.records import Kind

__all__ = ["Chosen", "Event", "PublishReport", "Put"]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A symbol's answer was compared with what is known; `new` records will be put now."""

    symbol: str
    interval: str
    fetched: int
    new: int


@dataclass(frozen=True, slots=True)
class Put:
    """Records that are durable in one partition of the stream.

    `first_position` and `last_position` are theirs. `symbol`, `ts` and `state` are of the record
    where the put holds one alone, as when they are paced. `sent` counts all records of this run.
    """

    kind: Kind
    symbol: str | None
    ts: datetime | None
    state: str | None
    partition: str
    first_position: int
    last_position: int
    records: int
    sent: int
    status: str = "durable"


Event = Chosen | Put


@dataclass(frozen=True, slots=True)
class PublishReport:
    """What one run did. Counts are records; `unchanged` were known and not sent."""

    fetched: int = 0
    sent: int = 0
    #: Of `sent`: corporate actions.
    actions: int = 0
    #: Of `sent`: break a value rule, and will become dead letters in the lake.
    dead_letters: int = 0
    unchanged: int = 0
    notes: tuple[str, ...] = ()
    #: Parts of what was asked for that the source cannot give.
    missing: tuple[str, ...] = ()
    #: Symbols whose source could not be asked: what was cached before is all there is.
    stale: tuple[str, ...] = ()
    #: Symbols that could not be published, and why.
    failures: dict[str, TickerlakeError] = field(default_factory=dict)
    #: A stop was asked for; what was begun is finished and counted above.
    stopped: bool = False

    def raise_if_incomplete(self) -> None:
        """The error that a verb ends with when not all was done; nothing when it was.

        Raises:
            TickerlakeError: Nothing at all was done: the first symbol's own error.
            PartlyDoneError: Something is missing.
        """
        if self.failures and not self.fetched:
            raise next(iter(self.failures.values()))
        if self.failures or self.missing:
            failed = [f"{symbol}: {error.problem}" for symbol, error in self.failures.items()]
            raise PartlyDoneError(
                "Not everything that was asked for could be published.",
                expected="all of it",
                found="missing: " + "; ".join([*failed, *self.missing]),
                todo="what is there was published; ask for the rest again, or for another range",
            )

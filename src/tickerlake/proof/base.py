"""What a fault is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from tickerlake.errors import TickerlakeError

if TYPE_CHECKING:
    from tickerlake.proof.run import Run

__all__ = ["Fault", "Group", "MissedError", "Strike"]

#: Where a fault strikes.
Group = Literal["worker", "broker", "kinesis", "catalog", "data", "people"]


class MissedError(TickerlakeError):
    """A worker ended before the fault could strike it: the run is judged, but does not count."""


@dataclass(frozen=True, slots=True)
class Strike:
    """The moment at which a fault struck, and what was in flight then.

    A run counts only if records were under way that no commit covered: in the log beyond the
    lake's position, or in a worker's hands.
    """

    step: str
    #: Records of the log that the lake does not have.
    in_log: int
    #: Records that the worker had read and not committed; null where nobody can see them.
    in_hand: int | None = None

    @property
    def counts(self) -> bool:
        """Whether anything could have been lost or doubled by it."""
        return self.in_log > 0 or bool(self.in_hand)


class Fault(ABC):
    """One thing that goes wrong. Subclasses say how; a new object is made for each run.

    `strike` makes the load that it needs, lets the fault happen at least once, and tells the run
    so (`run.struck`). The run itself delivers the rest and judges. What a fault draws comes from
    `run.random` alone, so that a seed tells the whole story but for the scheduler's part.
    """

    name: ClassVar[str]
    group: ClassVar[Group]
    #: One line for the table.
    what: ClassVar[str]
    #: Powers over the log or the lake without which it cannot happen, by name.
    needs: ClassVar[frozenset[str]] = frozenset()
    #: Of the run's topic; null draws a few.
    partitions: ClassVar[int | None] = None
    #: How its records travel; null draws.
    wire: ClassVar[str | None] = None
    #: How often it comes while others come once.
    turns: ClassVar[float] = 1

    @abstractmethod
    def strike(self, run: Run) -> None:
        """Let it happen."""

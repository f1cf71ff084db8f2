"""Addresses: where in a shard a reader goes on, as the lake keeps it beside the number.

    SEQUENCE/SUBSEQUENCE/CAUGHT_UP

`SEQUENCE` is the sequence number of the last record that was read and `SUBSEQUENCE` which of the
records in it (0, 1, …: it may hold many). Before the first record stands `TRIM_HORIZON`, the oldest
that is still there, or `AT-MILLISECONDS`, an instant of the service's clock.

`CAUGHT_UP` (seconds since 1970, of the service's clock) promises that what comes next arrived no
earlier: so it is still there for as long as the stream keeps records, counted from then.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from tickerlake.errors import RangeError
from tickerlake.records import Position

__all__ = ["TRIM_HORIZON", "Place"]

TRIM_HORIZON: Final = "TRIM_HORIZON"
_INSTANT: Final = "AT-"


@dataclass(frozen=True, slots=True)
class Place:
    """An address, taken apart. `number` counts the shard's records from its first reader on."""

    number: int
    sequence: str
    subsequence: int
    caught_up_seconds: int | None

    @classmethod
    def of(cls, position: int, partition: str) -> Place:
        """The place that a position names.

        Raises:
            RangeError: A plain number other than 0: a shard cannot be entered by number.
        """
        address = getattr(position, "address", "")
        if not address and position == 0:
            return Place(0, TRIM_HORIZON, 0, None)
        try:
            sequence, subsequence, caught_up = address.split("/")
            return Place(int(position), sequence, int(subsequence), int(caught_up))
        except ValueError as error:
            raise RangeError(
                f"Shard {partition} cannot be entered at {position!s}.",
                expected="0, or a position that a read of this shard has given",
                found=repr(position),
                todo="read from 0 on, or from the position that the lake holds",
            ) from error

    @classmethod
    def beginning(cls, number: int, seconds: float) -> Place:
        """Before the oldest record, as of an instant of the service's clock."""
        return cls(number, TRIM_HORIZON, 0, int(seconds))

    @classmethod
    def instant(cls, seconds: float) -> Place:
        """Before what arrives from an instant of the service's clock on."""
        return cls(0, f"{_INSTANT}{int(seconds * 1000)}", 0, int(seconds))

    @property
    def key(self) -> tuple[str, int]:
        """What tells places of one shard apart."""
        return self.sequence, self.subsequence

    @property
    def instant_seconds(self) -> float | None:
        """The instant, where the place is one."""
        if self.sequence.startswith(_INSTANT):
            return int(self.sequence.removeprefix(_INSTANT)) / 1000
        return None

    @property
    def is_before_everything(self) -> bool:
        """Whether no record has been read yet."""
        return not self.sequence.isdecimal()

    @property
    def position(self) -> Position:
        """As the lake keeps it."""
        return Position(
            self.number, f"{self.sequence}/{self.subsequence}/{self.caught_up_seconds or 0}"
        )

    def after(self, count: int, sequence: str, subsequence: int, seconds: float) -> Place:
        """`count` records further on, behind that record."""
        place = Place(self.number + count, sequence, subsequence, self.caught_up_seconds)
        return place.caught_up(seconds)

    def caught_up(self, seconds: float) -> Place:
        """The same place; what comes next arrived no earlier than `seconds`."""
        return replace(self, caught_up_seconds=max(int(seconds), self.caught_up_seconds or 0))

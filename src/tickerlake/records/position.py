"""Where a reader of a log goes on."""

from __future__ import annotations

from typing import Self

__all__ = ["Position", "address_of", "is_ended"]

#: The address of a partition that is closed and was read to its end.
_ENDED = "END"


class Position(int):
    """The number of a partition's next record, with the log's own address of it.

    A plain number does for logs that can be entered by number. Others cannot: their positions
    carry an address, which the lake keeps beside the number and hands back. Equality and order are
    the number's alone; arithmetic gives plain numbers.
    """

    address: str

    def __new__(cls, number: int, address: str = "") -> Self:
        """A position; without an address it is as good as the plain number."""
        made = super().__new__(cls, number)
        made.address = address
        return made

    @classmethod
    def parse(cls, text: str) -> Position:
        """What `str` wrote: `123`, or `123@address`.

        Raises:
            ValueError: It is neither.
        """
        number, _, address = text.partition("@")
        return Position(int(number), address)

    @classmethod
    def end_of_partition(cls, number: int) -> Position:
        """After the last record that a closed partition will ever have."""
        return Position(number, _ENDED)

    @property
    def ended(self) -> bool:
        """Whether the partition is closed and nothing comes after this position."""
        return self.address == _ENDED

    def __str__(self) -> str:
        return f"{int(self)}@{self.address}" if self.address else str(int(self))

    def __repr__(self) -> str:
        return f"Position({int(self)}, {self.address!r})"

    def __reduce__(self) -> tuple[type[Position], tuple[int, str]]:
        return Position, (int(self), self.address)


def address_of(position: int) -> str:
    """The log's own address of a position; empty where a plain number does."""
    return position.address if isinstance(position, Position) else ""


def is_ended(position: int | None) -> bool:
    """Whether its partition is closed and was read to its end; no plain number says so."""
    return isinstance(position, Position) and position.ended

"""How the ranges of all deliveries of one partition follow on each other."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

from tickerlake.records import Position

__all__ = ["Chain", "chains"]


@dataclass(frozen=True, slots=True)
class _Covered:
    """Positions `[start, end)` that hold as of now, and how many rows they became."""

    start: int
    end: int
    rows: int
    #: Each position became one row.
    whole: bool


@dataclass(slots=True)
class Chain:
    """The deliveries of one partition, oldest first, put together."""

    stream: str
    partition: str
    covered: list[_Covered] = field(default_factory=list)
    next_position: Position | None = None
    breaks: list[str] = field(default_factory=list)
    #: A rewind cut through a range of which some positions had become no row: nobody knows how
    #: many of those before the cut.
    cut: bool = False

    @property
    def first_position(self) -> int:
        """Where the first delivery began."""
        return self.covered[0].start if self.covered else (self.next_position or 0)

    @property
    def rows(self) -> int:
        """How many rows there must be; at least so many where the chain was cut."""
        return sum(each.rows for each in self.covered)

    @property
    def ended(self) -> bool:
        """Whether the partition was delivered to the end that it had."""
        return self.next_position is not None and self.next_position.ended

    def add(self, start: int, end: Position, rows: int, event: str, *, whole: bool) -> None:
        """Put the next delivery on the chain."""
        if event == "rewound":
            self._cut_at(end)
        else:
            if self.next_position is not None and start != self.next_position:
                word = "a hole" if start > self.next_position else "an overlap"
                self.breaks.append(
                    f"{word} at {int(self.next_position)}: the next range is [{start}, {int(end)})"
                )
            self.covered.append(_Covered(start, end, rows, whole))
        self.next_position = end

    def _cut_at(self, position: int) -> None:
        kept = []
        for each in self.covered:
            if each.end <= position:
                kept.append(each)
            elif each.start < position:
                rows = position - each.start if each.whole else 0
                kept.append(_Covered(each.start, position, rows, each.whole))
                self.cut = self.cut or not each.whole
        self.covered = kept


def chains(deliveries: pa.Table) -> dict[tuple[str, str], Chain]:
    """One chain for each stream and partition, from rows of `deliveries` of one table."""
    ordered = deliveries.sort_by(
        [("committed_at", "ascending"), ("from_position", "ascending")]
    ).to_pylist()
    found: dict[tuple[str, str], Chain] = {}
    for row in ordered:
        key = (row["stream"], row["partition"])
        chain = found.setdefault(key, Chain(*key))
        start, end = row["from_position"], row["to_position"]
        without = row["dropped"] + row["lost"] + (row["gaps"] or 0)
        chain.add(
            start,
            Position(end, row["to_address"] or ""),
            row["rows"],
            row["event"],
            whole=not without and row["rows"] == end - start,
        )
    return found

"""How the ranges of all deliveries of one partition follow on each other."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

__all__ = ["Chain", "chains"]


@dataclass(slots=True)
class Chain:
    """The deliveries of one partition, oldest first, put together.

    `covered` are the ranges that hold as of now: `(start, end, missing)`, where `missing`
    positions became no row (repeats and losses).
    """

    stream: str
    partition: str
    covered: list[tuple[int, int, int]] = field(default_factory=list)
    next_position: int | None = None
    breaks: list[str] = field(default_factory=list)
    #: A rewind cut through a range: how many of its positions had become no row is not known.
    cut: bool = False

    @property
    def first_position(self) -> int:
        """Where the first delivery began."""
        return self.covered[0][0] if self.covered else (self.next_position or 0)

    @property
    def missing(self) -> int:
        """Positions that became no row."""
        return sum(missing for _, _, missing in self.covered)

    def add(self, start: int, end: int, missing: int, event: str) -> None:
        """Put the next delivery on the chain."""
        if event == "rewound":
            self._cut_at(end)
        else:
            if self.next_position is not None and start != self.next_position:
                word = "a hole" if start > self.next_position else "an overlap"
                self.breaks.append(
                    f"{word} at {self.next_position}: the next range is [{start}, {end})"
                )
            self.covered.append((start, end, missing))
        self.next_position = end

    def _cut_at(self, position: int) -> None:
        kept = []
        for start, end, missing in self.covered:
            if end <= position:
                kept.append((start, end, missing))
            elif start < position:
                kept.append((start, position, 0))
                self.cut = self.cut or missing > 0
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
        # Where an older copy of the log was put back, what is lost comes later, on positions that
        # have rows: the range is empty, and nothing in it is missing.
        length = row["to_position"] - row["from_position"]
        missing = min(row["dropped"] + row["lost"], max(0, length))
        chain.add(row["from_position"], row["to_position"], missing, row["event"])
    return found

"""Sets of half-open intervals: what was asked for and is known, apart from any rows.

Numbers are microseconds since 1970 UTC. For days and longer an interval holds the midnights of
session dates; see `tickerlake.cache.axis`.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = ["Coverage"]


@dataclass(frozen=True, slots=True)
class Coverage:
    """Intervals `[start, end)` in order; none is empty, no two touch. A change makes a new set."""

    parts: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, parts: Iterable[tuple[int, int]]) -> Coverage:
        """The union of any intervals, in any order; those that hold nothing are left out."""
        joined: list[tuple[int, int]] = []
        for start, end in sorted(part for part in parts if part[0] < part[1]):
            if joined and start <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(joined[-1][1], end))
            else:
                joined.append((start, end))
        return cls(tuple(joined))

    @classmethod
    def from_json(cls, text: str) -> Coverage:
        """What `to_json` wrote."""
        return cls(tuple((start, end) for start, end in json.loads(text)))

    def to_json(self) -> str:
        """A list of pairs."""
        return json.dumps(self.parts, separators=(",", ":"))

    def __or__(self, other: Coverage) -> Coverage:
        return Coverage.of((*self.parts, *other.parts))

    def __sub__(self, other: Coverage) -> Coverage:
        left: list[tuple[int, int]] = []
        for start, end in self.parts:
            at = start
            for low, high in other.overlapping(start, end):
                if low > at:
                    left.append((at, low))
                at = high
            if at < end:
                left.append((at, end))
        return Coverage(tuple(left))

    def __and__(self, other: Coverage) -> Coverage:
        return Coverage.of(
            (max(start, low), min(end, high))
            for start, end in self.parts
            for low, high in other.overlapping(start, end)
        )

    def __bool__(self) -> bool:
        return bool(self.parts)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self.parts)

    def overlapping(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The parts that share anything with `[start, end)`, whole, in order."""
        at = max(0, bisect_right(self.parts, start, key=lambda part: part[0]) - 1)
        for low, high in self.parts[at:]:
            if low >= end:
                return
            if high > start:
                yield low, high

    def holding(self, point: int) -> tuple[int, int] | None:
        """The part in which a point lies."""
        return next(self.overlapping(point, point + 1), None)

    def within(self, start: int, end: int) -> Coverage:
        """What of it lies in `[start, end)`."""
        return self & Coverage.of([(start, end)])

    def covers(self, start: int, end: int) -> bool:
        """Whether all of `[start, end)` lies in it."""
        if start >= end:
            return True
        part = self.holding(start)
        return part is not None and part[1] >= end

    @property
    def size(self) -> int:
        """The sum of all lengths."""
        return sum(end - start for start, end in self.parts)

"""Which requests a range needs: pure, so that it can be printed before anything runs.

    asked = wanted less covered, with due rechecks and the live tail, less days without a session

What lies before the provider's look-back is out of reach. Gaps whose hole costs less than a
request become one; a gap that touches older coverage overlaps it by settled bars that prove it is
still true; what is longer than the provider's span is cut.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from tickerlake.cache.axis import DAY, SECOND, is_intraday, length, period_after
from tickerlake.cache.coverage import Coverage

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["OVERLAP_BARS", "Ask", "Bars", "Held", "Recheck", "Rules", "Sketch", "gaps", "sketch"]

#: Settled bars that a gap shares with older coverage.
OVERLAP_BARS: Final = 5
#: A clock that goes back by no more than this was not wrong before.
_STEP: Final = 60 * SECOND


@dataclass(frozen=True, slots=True)
class Recheck:
    """`[start, end)` is to be asked for again from `due` on, if it is wanted.

    `why`: "provisional" bars; bars "revised" after they were final; an "empty" answer; a "hole"
    where a session should be; "suspect" prices; "events" that vanished. `tries` counts.
    """

    start: int
    end: int
    due: int
    why: Literal["provisional", "revised", "empty", "hole", "suspect", "events"]
    tries: int = 1

    def overlaps(self, start: int, end: int) -> bool:
        """Whether it shares anything with `[start, end)`."""
        return self.start < end and self.end > start

    def outside(self, start: int, end: int) -> tuple[Recheck, ...]:
        """What of it lies outside of `[start, end)`, and so was not asked for with that."""
        parts = ((self.start, min(self.end, start)), (max(self.start, end), self.end))
        return tuple(replace(self, start=low, end=high) for low, high in parts if low < high)


@dataclass(frozen=True, slots=True)
class Held:
    """What is held of one series.

    `quiet` = (from, until, since): beyond `from` all is told until then, for whoever asks after
    `since`. More than a step before that our clock was wrong when it was said, and it counts for
    nothing. Clocks that are set right take steps, and one that TICKERLAKE_NOW sets begins anew in
    each process.
    """

    coverage: Coverage = field(default_factory=Coverage)
    rechecks: tuple[Recheck, ...] = ()
    quiet: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """What bounds the requests: of the provider, the interval and the settings."""

    interval: str
    #: Longest request, and earliest place that the provider still has, in microseconds.
    span: int | None = None
    edge: int | None = None
    #: A hole of at most so many bars is cheaper than a request.
    merge_bars: int = 1_000


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, for `[start, end)`; an open one reaches all that can be asked for."""

    start: int
    end: int
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Sketch:
    """The requests, in order of time, and the parts that the provider no longer has."""

    asks: tuple[Ask, ...]
    out_of_reach: Coverage


def gaps(held: Held, wanted: tuple[int, int], now: int) -> Coverage:
    """What is wanted and not held, or due; needs no calendar."""
    known = held.coverage
    if held.quiet is not None and held.quiet[2] - _STEP <= now < held.quiet[1]:
        known |= Coverage.of([(held.quiet[0], max(held.quiet[0], wanted[1]))])
    missing = Coverage.of([wanted]) - known
    return missing | Coverage.of(
        (max(r.start, wanted[0]), min(r.end, wanted[1])) for r in held.rechecks if r.due <= now
    )


@dataclass(frozen=True, slots=True)
class Bars:
    """Where the held bars lie, in order, and which of them are final."""

    stamps: npt.NDArray[np.int64]
    settled: npt.NDArray[np.bool_]

    def between(self, low: int, high: int) -> int:
        """How many lie in `[low, high)`."""
        first, last = np.searchsorted(self.stamps, [low, high])
        return int(last - first)


def sketch(
    held: Held,
    missing: Coverage,
    *,
    now: int,
    limit: int,
    closed: Coverage,
    bars: Bars,
    rules: Rules,
) -> Sketch:
    """The requests for what is missing.

    Args:
        held: Coverage and rechecks.
        missing: What `gaps` found.
        now: The story's time.
        limit: The end of what can be asked for.
        closed: Whole days without a session.
        bars: What is held.
        rules: Of the provider and the settings.
    """
    missing = missing.within(-(2**62), limit)
    out_of_reach = Coverage()
    if rules.edge is not None:
        lost = missing.within(-(2**62), rules.edge)
        out_of_reach = lost if lost - closed else out_of_reach
        missing = missing.within(rules.edge, 2**62)
    missing -= closed
    if not missing:
        return Sketch((), out_of_reach)
    known = (held.coverage | closed) - missing
    due = [r for r in held.rechecks if r.due <= now]
    needed = Coverage.of(_overlapped(part, known, due, bars, rules) for part in missing)
    asks = tuple(
        Ask(start, end, is_open=end >= limit)
        for near in _clusters(needed, bars, rules)
        for start, end in _windows(near, rules.span)
    )
    return Sketch(asks, out_of_reach)


def _clusters(parts: Coverage, bars: Bars, rules: Rules) -> list[list[tuple[int, int]]]:
    """Parts so near to each other that the bars between them cost less than a request."""
    clusters: list[list[tuple[int, int]]] = []
    for part in parts:
        if clusters and bars.between(clusters[-1][-1][1], part[0]) <= rules.merge_bars:
            clusters[-1].append(part)
        else:
            clusters.append([part])
    return clusters


def _windows(parts: list[tuple[int, int]], span: int | None) -> list[tuple[int, int]]:
    """The fewest requests of at most one span that hold all parts; of these, the shortest."""
    if span is None:
        return [(parts[0][0], parts[-1][1])]

    @functools.cache
    def best(at: int, start: int) -> tuple[int, int, tuple[tuple[int, int], ...]]:
        """Count, length and windows for all that follows a place in a part."""
        whole: list[tuple[int, int]] = []
        while start + span < parts[at][1]:  # nothing else can begin there
            whole.append((start, start + span))
            start += span
        choices = []
        for after, (low, high) in enumerate(parts[at:], at):
            if low >= start + span:
                break
            end = min(high, start + span)
            rest: tuple[int, int, tuple[tuple[int, int], ...]] = (0, 0, ())
            if end < high:
                rest = best(after, end)
            elif after + 1 < len(parts):
                rest = best(after + 1, parts[after + 1][0])
            windows = (*whole, (start, end), *rest[2])
            length_ = span * len(whole) + end - start + rest[1]
            choices.append((len(whole) + 1 + rest[0], length_, windows))
        return min(choices)

    return list(best(0, parts[0][0])[2])


def _overlapped(
    part: tuple[int, int], known: Coverage, due: list[Recheck], bars: Bars, rules: Rules
) -> tuple[int, int]:
    """Widen a gap by settled bars of the coverage that it touches, on either side."""
    start, end = part
    finals = bars.stamps[bars.settled]
    before = known.holding(start - 1)
    if before is not None:
        least = before[0] if rules.edge is None else max(before[0], rules.edge)
        behind = finals[(finals >= least) & (finals < start)][-OVERLAP_BARS:]
        start = int(behind[0]) if len(behind) else start
        if not is_intraday(rules.interval):
            start = _back_to_due(start, due, bars, rules)
    after = known.holding(end)
    if after is not None:
        ahead = finals[(finals >= end) & (finals < after[1])][:OVERLAP_BARS]
        end = _end_of(int(ahead[-1]), rules.interval) if len(ahead) else end
    return start, end


def _back_to_due(start: int, due: list[Recheck], bars: Bars, rules: Rules) -> int:
    """Bars that are due ride along where the way to the oldest is cheap."""
    for recheck in sorted(due, key=lambda r: -r.start):
        reachable = rules.edge is None or recheck.start >= rules.edge
        if (
            recheck.start < start
            and reachable
            and bars.between(recheck.start, start) <= rules.merge_bars
        ):
            start = recheck.start
    return start


def _end_of(at: int, interval: str) -> int:
    if is_intraday(interval):
        return at + length(interval)
    return at + DAY if interval == "1d" else period_after(at, interval)

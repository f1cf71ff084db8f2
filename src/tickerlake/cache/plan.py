"""A plan as it is shown before anything runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from tickerlake.cache.axis import BEGINNING, DAY, FOREVER, instant, is_intraday, length
from tickerlake.cache.coverage import Coverage
from tickerlake.sources import BarsRequest, Limits

__all__ = ["Part", "Plan", "Planned", "bars_in", "cost", "parts_of"]

#: What an answer and one of its bars take on the wire, roughly (Yahoo, without compression).
_ANSWER_BYTES = 2000
_BAR_BYTES = 70


@dataclass(frozen=True, slots=True)
class Part:
    """`[start, end)` in UTC; of days and longer, the midnights of session dates."""

    start: datetime
    end: datetime
    why: str = ""


@dataclass(frozen=True, slots=True)
class Planned:
    """What one request would cost now.

    `asks` are the requests that will be sent, in order; each may take several pages, so
    `requests_max` can be more. `bytes` and `seconds` (under the provider's rate limit) are rough.
    """

    request: BarsRequest
    source: str
    host: str
    asks: tuple[BarsRequest, ...] = ()
    requests_min: int = 0
    requests_max: int = 0
    cached: tuple[Part, ...] = ()
    out_of_reach: tuple[Part, ...] = ()
    bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What several requests would cost now, in their order.

    `shared` is how many requests fewer it takes because the provider answers for several symbols
    at once.
    """

    items: tuple[Planned, ...]
    shared: int = 0

    @property
    def requests_min(self) -> int:
        """Requests in all, where each answer is one page."""
        return sum(item.requests_min for item in self.items) - self.shared

    @property
    def requests_max(self) -> int:
        """Requests in all, where each answer takes all its pages."""
        return sum(item.requests_max for item in self.items) - self.shared

    @property
    def bytes(self) -> int:
        """Bytes in all, roughly."""
        return sum(item.bytes for item in self.items)

    @property
    def seconds(self) -> float:
        """Seconds in all under the rate limit, at `requests_max`."""
        return sum(item.seconds for item in self.items)


def bars_in(size: int, interval: str, *, round_the_clock: bool) -> int:
    """How many bars lie in so many microseconds, roughly."""
    if not is_intraday(interval):
        return max(1, size // length(interval))
    share = 1.0 if round_the_clock else 6.5 / 24 * 5 / 7
    return max(1, int(size / length(interval) * share))


def parts_of(coverage: Iterable[tuple[int, int]], why: str = "") -> tuple[Part, ...]:
    """Intervals as people read them."""
    return tuple(
        Part(instant(max(low, BEGINNING)), instant(min(high, FOREVER)), why)
        for low, high in coverage
    )


def cost(
    asks: int, covered: Coverage, interval: str, limits: Limits, *, round_the_clock: bool
) -> tuple[int, int]:
    """Most requests and bytes of so many asks over these intervals."""
    sizes = [
        bars_in(min(high - low, 40 * 365 * DAY), interval, round_the_clock=round_the_clock)
        for low, high in covered
    ]
    page = limits.rows_per_page.get(interval)
    most = asks
    if page is not None and asks:
        most = sum(-(-size // page) for size in sizes) + asks - len(sizes)
    return most, (sum(sizes) * _BAR_BYTES + most * _ANSWER_BYTES if asks else 0)

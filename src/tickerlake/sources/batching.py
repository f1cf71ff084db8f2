"""Which requests go together, where a provider answers for many symbols at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from tickerlake import clock
from tickerlake.errors import ConfigError
from tickerlake.sources.base import BarsRequest, Limits

__all__ = ["Refusals", "batched"]

#: So many bars of one batch may be in memory at once, roughly: 150 bytes each.
_BARS_MAX: Final = 2_000_000
_MINUTES: Final = {"m": 1, "h": 60}
#: From 4:00 to 20:00, as the longest session of a stock is.
_MINUTES_A_DAY: Final = 960


#: So many symbols in a row, and the others would be refused as well.
_REFUSALS_MAX: Final = 3


class Refusals:
    """Whether it is of use to send the key for further symbols."""

    def __init__(self) -> None:
        self._newest: list[ConfigError] = []

    @property
    def final(self) -> ConfigError | None:
        """What was said of the key, or the plan, in the same words of several symbols in a row."""
        return self._newest[-1] if len(self._newest) >= _REFUSALS_MAX else None

    def told(self, answer: object) -> None:
        """One symbol's answer or error."""
        if not isinstance(answer, ConfigError):
            self._newest = []
        elif self._newest and str(answer) != str(self._newest[-1]):
            self._newest = [answer]
        else:
            self._newest.append(answer)


def batched(requests: Iterable[BarsRequest], limits: Limits) -> Iterator[list[BarsRequest]]:
    """Requests of one interval and range together, as many as one request can answer.

    All answers of a batch are in memory at once, so of long ranges of short bars fewer are.
    """
    alike: dict[tuple[object, ...], list[BarsRequest]] = {}
    for request in requests:
        if limits.symbols_per_request == 1:
            yield [request]
        else:
            key = (request.interval, request.start, request.end)
            alike.setdefault(key, []).append(request)
    for group in alike.values():
        size = max(1, min(limits.symbols_per_request, _BARS_MAX // _bars_of(group[0])))
        for at in range(0, len(group), size):
            yield group[at : at + size]


def _bars_of(request: BarsRequest) -> int:
    """How many bars the answer has at most, roughly: of days and longer, a few thousand."""
    minutes = _MINUTES.get(request.interval[-1])
    if minutes is None:
        return 10_000
    if request.start is None:
        return _BARS_MAX
    begin, end = (
        moment.date() if isinstance(moment, datetime) else moment
        for moment in (request.start, request.end or clock.now())
    )
    days = max(1, (end - begin).days + 1)
    return max(1, days * _MINUTES_A_DAY // (minutes * int(request.interval[:-1])))

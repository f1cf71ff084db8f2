"""How long to rest while something cannot be reached, and when to give up."""

from __future__ import annotations

from typing import Final

from tickerlake import clock

__all__ = ["Outage"]

_FIRST_REST_SECONDS: Final = 1.0
_REST_SECONDS_MAX: Final = 15.0
#: Who lived longer than this had reached all it needed: the next failure begins a new outage.
_LIVED_SECONDS: Final = 60.0


class Outage:
    """Failures that follow one another. Each rest is twice the one before, up to a quarter minute.

    Args:
        seconds_max: Give up once the failures have lasted so long.
    """

    def __init__(self, seconds_max: float) -> None:
        self._seconds_max = seconds_max
        self._since_seconds: float | None = None
        self._rest_seconds = _FIRST_REST_SECONDS

    def rest_seconds(self, began_seconds: float) -> float | None:
        """How long to rest after a failure of what began then; null: it is time to give up."""
        now = clock.monotonic_seconds()
        if self._since_seconds is None or now - began_seconds > _LIVED_SECONDS:
            self._since_seconds, self._rest_seconds = now, _FIRST_REST_SECONDS
        if now - self._since_seconds >= self._seconds_max:
            return None
        rest, self._rest_seconds = (
            self._rest_seconds,
            min(2 * self._rest_seconds, _REST_SECONDS_MAX),
        )
        return rest

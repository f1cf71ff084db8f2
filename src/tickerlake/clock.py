"""The only touch of real time.

Two clocks, never mixed:

- `now()` is the *story's* clock: what "today" means for bars, sessions and `fetched_at`.
  `TICKERLAKE_NOW` starts it at an instant, from which it runs on at real speed.
- `monotonic_seconds()`, `real_now()` and `sleep()` are the *machine's* clock: time-outs, rate
  limits, locks, file ages. They never follow `TICKERLAKE_NOW`.
"""

from __future__ import annotations

import functools
import os
import time as _time
from datetime import UTC, datetime, timedelta

from tickerlake.errors import RangeError

__all__ = ["monotonic_seconds", "now", "parse_instant", "pinned_now", "real_now", "sleep"]

_VARIABLE = "TICKERLAKE_NOW"


def parse_instant(text: str, *, name: str = "time") -> datetime:
    """Turn ISO 8601 text with a zone into an aware UTC datetime.

    Raises:
        RangeError: The text is no timestamp, or carries no zone.
    """
    try:
        instant = datetime.fromisoformat(text)
        # Years 1 and 9999 have instants that are none in UTC.
        in_utc = instant.astimezone(UTC) if instant.tzinfo is not None else None
    except (ValueError, OverflowError) as error:
        raise RangeError(
            f"The {name} {text!r} is not a timestamp.",
            expected="ISO 8601 with a zone, such as 2013-03-01T14:30:00Z",
            found=repr(text),
            todo="write date, time and zone",
        ) from error
    if in_utc is None:
        whole = text if len(text) > len("2013-03-01") else instant.isoformat()
        raise RangeError(
            f"The {name} {text!r} has no time zone.",
            expected="a zone at the end, such as Z or +01:00",
            found="a naive timestamp",
            todo=f"write {whole}Z if you mean UTC",
        )
    return in_utc


@functools.lru_cache(maxsize=1)
def _offset(text: str | None) -> timedelta:
    # Evaluated once per process and text: the story starts at that instant, then runs on.
    if not text:
        return timedelta(0)
    return parse_instant(text, name=_VARIABLE) - datetime.now(UTC)


def now() -> datetime:
    """The story's present, aware, in UTC, with microseconds. Follows `TICKERLAKE_NOW`."""
    offset = _offset(os.environ.get(_VARIABLE))
    return datetime.now(UTC) + offset


def pinned_now() -> str | None:
    """The text of `TICKERLAKE_NOW` if it is set: `status` shows it, so that nobody is fooled."""
    return os.environ.get(_VARIABLE) or None


def real_now() -> datetime:
    """The machine's present, aware, in UTC. Never follows `TICKERLAKE_NOW`."""
    return datetime.now(UTC)


def monotonic_seconds() -> float:
    """Seconds that only grow, for durations and time-outs."""
    return _time.monotonic()


def sleep(seconds: float) -> None:
    """Wait on the machine's clock."""
    _time.sleep(seconds)

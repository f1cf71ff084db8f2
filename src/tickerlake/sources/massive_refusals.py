"""What Massive says when it gives no data."""

from __future__ import annotations

from typing import Final

from tickerlake.errors import (
    ConfigError,
    MalformedError,
    NotFoundError,
    RateLimitedError,
    TickerlakeError,
)
from tickerlake.sources.refusals import Rule
from tickerlake.sources.refusals import refusal as told_refusal

__all__ = ["refusal"]


def refusal(
    status: int, word: str | None, message: str, symbol: str | None
) -> TickerlakeError | None:
    """The error that an answer tells by HTTP's status, its own `status`, and its words."""
    text = " ".join(part for part in (word, message) if part and word not in _GOOD)
    found = told_refusal(
        _RULES, provider="Massive", status=status, text=text, symbol=symbol, expected="data"
    )
    if found is not None or not text:
        return found
    return MalformedError(
        "Massive's answer is an error that we do not know.",
        expected="data",
        found=text[:200],
        todo="report it, with what was found",
    )


_GOOD: Final = ("OK", "DELAYED")
#: The first that fits counts: words say more than statuses.
_RULES: Final = (
    Rule(RateLimitedError, "Massive asks us to come back later.", "wait a minute",
          statuses=(429,), words=("maximum requests per minute", "too many requests")),
    # No RangeError: the range would be remembered as one without bars, what the plan has included.
    Rule(ConfigError, "Your plan at Massive does not reach {name} in this range.",
          "set history_days in [sources.massive] to what your plan reaches (free: 730), ask for a"
          " later range, or change the plan", words=("timeframe", "time frame")),
    Rule(ConfigError, "Massive does not accept the key.",
          "set TICKERLAKE_SOURCES_MASSIVE_API_KEY to a key of massive.com",
          statuses=(401,), words=("unknown api key", "api key was not provided")),
    Rule(ConfigError, "Your plan at Massive does not have this data.", "change the plan",
          statuses=(403,), words=("not_authorized",)),
    Rule(NotFoundError, "Massive does not know {name}.",
          "check the spelling of the symbol: capital and small letters differ",
          statuses=(404,), words=("not_found",)),
)  # fmt: skip

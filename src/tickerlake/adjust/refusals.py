"""Why a price cannot be derived, by name: one list for all that adjust, in Arrow or in SQL."""

from __future__ import annotations

from typing import Final

from tickerlake.errors import AdjustmentError

__all__ = ["REASONS", "refusal"]

#: By name: what is wrong, what was expected, what to do.
REASONS: Final[dict[str, tuple[str, str, str]]] = {
    "word": (
        "There is no such adjustment.",
        "none, splits or all",
        "choose one of these",
    ),
    "all": (
        "In prices of {provider} are dividends, which cannot be taken out again.",
        "adjust = all",
        "ask for `all`, or take another provider",
    ),
    "basis": (
        "It is not known up to when splits are in the prices of {symbol} ({provider}).",
        "a split_basis in every row",
        "fetch these bars again, or take another provider",
    ),
    "untold": (
        "{provider} tells no splits and dividends, so prices of {symbol} cannot be adjusted.",
        "a provider with corporate actions in its history (`tickerlake sources`)",
        "take another provider, or the prices as they were given",
    ),
    "events": (
        "Splits and dividends of {symbol} ({provider}) are not known for all the time needed.",
        "1d bars, with which events come, from the bars' first day to the newest",
        "fetch (or publish) 1d bars of {symbol} for that time, up to now",
    ),
    "dividend": (
        "A dividend of {symbol} ({provider}) cannot be set against a price.",
        "a close before its ex-date, above the dividend, in the same currency",
        "fetch 1d bars around its ex-date, or look at the amount in corporate_actions",
    ),
}


def refusal(reason: str, *, provider: str, symbol: str, found: str) -> AdjustmentError:
    """The error of a reason out of `REASONS`."""
    problem, expected, todo = REASONS[reason]
    names = {"provider": provider, "symbol": symbol}
    return AdjustmentError(
        problem.format(**names), expected=expected, found=found, todo=todo.format(**names)
    )

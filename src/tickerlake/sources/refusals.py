"""What an answer says when it gives no data, as a table of rules: by status and by words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tickerlake.errors import TickerlakeError, without_secrets

__all__ = ["LIMIT_SECONDS", "Rule", "refusal"]

#: How long to leave a provider alone whose limit is reached: none says when its hour or its day
#: begins anew, and one request an hour to find out is little.
LIMIT_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Rule:
    """An answer that has one of these statuses, or one of these words, means this error.

    Words are lower-case. `{name}` in `problem` is the symbol.
    """

    error: type[TickerlakeError]
    problem: str
    todo: str
    statuses: tuple[int, ...] | range = ()
    words: tuple[str, ...] = ()


def refusal(
    rules: Sequence[Rule], *, status: int, text: str, symbol: str | None, expected: str
) -> TickerlakeError | None:
    """The error that an answer tells; None if it tells none. The first rule that fits counts."""
    lower = text.lower()
    text = without_secrets(text)[:200]  # masked before it is cut: half a key would be shown
    for rule in rules:
        if status in rule.statuses or any(word in lower for word in rule.words):
            return rule.error(
                rule.problem.format(name=symbol or "this symbol"),
                expected=expected,
                found=f"HTTP {status}: {text}" if text else f"HTTP {status}",
                todo=rule.todo,
            )
    return None

"""What an answer says when it gives no data, as a table of rules: by status, code and words.

A provider's own rules come first; what a status means everywhere stands here, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tickerlake.errors import (
    ConfigError,
    MalformedError,
    NotFoundError,
    RateLimitedError,
    TickerlakeError,
    UnreachableError,
    without_secrets,
)

__all__ = ["LIMIT_SECONDS", "NoSuchAddressError", "Rule", "page_words", "refusal"]

#: How long to leave a provider alone whose limit is reached: none says when its hour or its day
#: begins anew, and one request an hour to find out is little.
LIMIT_SECONDS: Final = 3600.0
_LATER: Final = "too many requests"


class NoSuchAddressError(MalformedError):
    """404 with a page, or with nothing: said of an address, and never of a symbol."""


@dataclass(frozen=True, slots=True)
class Rule:
    """An answer that has one of these statuses, codes or words means this error.

    Words are lower-case. `{name}` in `problem` is the symbol, `{provider}` the provider.
    """

    error: type[TickerlakeError]
    problem: str
    todo: str
    statuses: tuple[int, ...] | range = ()
    words: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()


_EVERYWHERE: Final = (
    Rule(RateLimitedError, "{provider} asks us to come back later.", "wait, then try again",
         statuses=(418, 429), words=(_LATER,)),
    Rule(ConfigError, "{provider} does not give this to us.",
         "look whether it wants a key, or another plan", statuses=(401, 402, 403)),
    Rule(ConfigError, "{provider} does not answer where we are.",
         "look whether it serves your country; or set base_url to a mirror", statuses=(451,)),
    Rule(NoSuchAddressError, "{provider} has nothing at this address.",
         "check base_url in the source's table, [sources.NAME]", statuses=(404, 410)),
    Rule(UnreachableError, "{provider} sends us to a page for people.", "try again later",
         statuses=range(300, 400)),
    Rule(UnreachableError, "{provider} cannot answer at the moment.", "try again later",
         statuses=range(499, 600)),
    Rule(MalformedError, "{provider} refuses this request.", "report it, with what was found",
         statuses=range(400, 499)),
)  # fmt: skip


def refusal(
    rules: Sequence[Rule],
    *,
    provider: str,
    status: int,
    text: str,
    symbol: str | None,
    expected: str,
    code: str = "",
) -> TickerlakeError | None:
    """The error that an answer tells; None if it tells none. The first rule that fits counts.

    A page, or nothing at all, is no word of the provider's: it never says that there is no such
    symbol, which would be remembered.
    """
    lower = text.lower()
    is_told = bool(text.strip()) and not text.lstrip().startswith("<")
    text = without_secrets(text)[:200]  # masked before it is cut: half a key would be shown
    for rule in (*rules, *_EVERYWHERE):
        if rule.error is NotFoundError and not is_told:
            continue
        if status in rule.statuses or code in rule.codes or any(w in lower for w in rule.words):
            return rule.error(
                rule.problem.format(name=symbol or "this symbol", provider=provider),
                expected=expected,
                found=f"HTTP {status}: {text}" if text else f"HTTP {status}",
                todo=rule.todo,
            )
    return None


def page_words(body: bytes) -> str:
    """What a page for people says that counts: gateways ask for peace so, with any status."""
    return _LATER if _LATER in body[:4000].decode(errors="replace").lower() else ""

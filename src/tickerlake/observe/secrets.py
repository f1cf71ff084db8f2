"""What no log line may show: the secrets that the settings hold, and passwords of addresses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

__all__ = ["hide_in_logs", "without_secrets"]

_MASK: Final = "••••"
_PASSWORD: Final = re.compile(r"(://[^/\s:@]*):[^/\s@]+@")
#: Shorter ones would take ordinary words out of the lines, and guard nothing.
_SECRET_CHARACTERS_MIN: Final = 4

_hidden: set[str] = set()


def hide_in_logs(secrets: Iterable[str]) -> None:
    """From now on no line of this process shows these texts."""
    _hidden.update(secret for secret in secrets if len(secret) >= _SECRET_CHARACTERS_MIN)


def without_secrets(text: str) -> str:
    """The text as a line may show it."""
    for secret in sorted(_hidden, key=len, reverse=True):
        text = text.replace(secret, _MASK)
    return _PASSWORD.sub(rf"\1:{_MASK}@", text)

"""A hint at the name that somebody probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["nearest"]


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The question whether the nearest known name was meant; null if none is near."""
    found = difflib.get_close_matches(name.lower(), list(known), n=1)
    return f"did you mean {found[0]}?" if found else None

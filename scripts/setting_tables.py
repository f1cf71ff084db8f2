"""How a dataclass of settings is told in a table."""

from __future__ import annotations

import inspect
import re
from typing import Any


def meanings_of(room: type[Any]) -> dict[str, str]:
    """The `#:` comments above each field."""
    meanings: dict[str, str] = {}
    comment: list[str] = []
    for line in inspect.getsource(room).splitlines():
        text = line.strip()
        if text.startswith("#:"):
            comment.append(text.removeprefix("#:").strip())
        elif (field := re.match(r"(\w+): ", text)) is not None:
            meanings[field[1]] = " ".join(comment)
            comment = []
    return meanings


def written(value: object) -> str:
    """A default as a reader would write it."""
    if value is None or value in ({}, ()):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:_}" if value >= 10_000 else str(value)
    if isinstance(value, float):
        return str(value) if len(str(value)) < 8 else f"{value:.4g}"
    return f"`{value}`" if value else '`""`'

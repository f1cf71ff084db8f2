"""Values out of Yahoo's JSON: of the shape that it gives, or refused by the place where they are.

What is missing or null is allowed everywhere: {}, [] or None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tickerlake.errors import MalformedError

__all__ = ["STAMPS", "epoch", "items", "mapping", "misshapen", "text"]

#: Epoch seconds from 1900 to 2200: anything else is no time of a market.
STAMPS: Final = range(-2_208_988_800, 7_258_118_400)


def mapping(value: object, where: str) -> Mapping[str, Any]:
    """An object."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise misshapen(where, "an object", value)
    return value


def items(value: object, where: str) -> list[Any]:
    """A list."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise misshapen(where, "a list", value)
    return value


def epoch(value: object, where: str) -> int | None:
    """Epoch seconds, also as text or with a point."""
    if value is None:
        return None
    if isinstance(value, str) and value.lstrip("-").isdigit():
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value not in STAMPS:
        raise misshapen(where, "epoch seconds", value)
    return value


def text(value: object, where: str) -> str | None:
    """A text that is not empty."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise misshapen(where, "a text", value)
    return value


def misshapen(where: str, expected: str, found: object) -> MalformedError:
    """The error of a value of another shape."""
    return MalformedError(
        f"Yahoo's answer has another shape than it should at {where}.",
        expected=expected,
        found=repr(found)[:120],
        todo="try again; if it stays, Yahoo has changed: report it",
    )

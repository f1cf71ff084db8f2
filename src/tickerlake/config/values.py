"""Turn what a file or a variable says into the type that a setting has."""

from __future__ import annotations

import difflib
import math
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, Union, get_args, get_origin

from tickerlake.errors import ConfigError

__all__ = ["coerce", "describe", "from_text", "nearest"]

_IN_WORDS = (
    (bool, "true or false"),
    (int, "a whole number"),
    (float, "a number"),
    (str, "text"),
    (Path, "a path"),
)
_WORDS = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


def nearest(name: str, known: Iterable[str]) -> str:
    """What to do about an unknown name: the nearest known one, else all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"use one of: {', '.join(known)}" if known else "remove it"


def describe(hint: object) -> str:
    """A setting's type in words."""
    options = _options(hint)
    if len(options) > 1 or options[0] is not hint:
        return " or ".join(describe(option) for option in options)
    origin = get_origin(hint)
    if origin is Literal:
        return " or ".join(repr(choice) for choice in get_args(hint))
    if origin is tuple:
        return f"a list, each {describe(get_args(hint)[0])}"
    if origin is Mapping:
        return f"a table, each {describe(get_args(hint)[1])}"
    return next(words for kind, words in _IN_WORDS if kind is hint)


def coerce(value: object, hint: object, *, where: str, least: int) -> object:
    """A TOML value as the type `hint`; a number is `least` or more.

    Raises:
        ConfigError: It is of another type, or too small; names `where`.
    """
    for option in _options(hint):
        fits, converted = _fit(value, option)
        if fits:
            return _large_enough(converted, least, where)
    raise _wrong(value, hint, where)


def from_text(text: str, hint: object, *, where: str, least: int) -> object:
    """A variable's text as the type `hint`; "none" means not set, where that is possible.

    Raises:
        ConfigError: The text does not read as that type, or is a number below `least`; names
            `where`.
    """
    if text.strip().lower() in {"", "none"} and _is_optional(hint):
        return None
    for option in _options(hint):
        value: object = text
        if option is bool:
            value = _WORDS.get(text.strip().lower(), text)
        elif option in {int, float}:
            value = _number(text, option)
        elif get_origin(option) is tuple:
            item = get_args(option)[0]
            return tuple(
                from_text(part.strip(), item, where=where, least=least)
                for part in text.split(",")
                if part.strip()
            )
        elif get_origin(option) is Mapping:
            item = get_args(option)[1]
            pairs = (part.partition("=") for part in text.split(",") if part.strip())
            return {
                key.strip(): from_text(said.strip(), item, where=where, least=least)
                for key, _, said in pairs
            }
        fits, converted = _fit(value, option)
        if fits:
            return _large_enough(converted, least, where)
    raise _wrong(text, hint, where)


def _large_enough(value: object, least: int, where: str) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool) and value < least:
        raise ConfigError(
            f"{where} is too small.",
            expected=f"{least} or more",
            found=f"{value}",
            todo="change the value",
        )
    return value


def _options(hint: object) -> tuple[object, ...]:
    if get_origin(hint) in {Union, types.UnionType}:
        return tuple(option for option in get_args(hint) if option is not type(None))
    return (hint,)


def _is_optional(hint: object) -> bool:
    return type(None) in get_args(hint)


def _number(text: str, kind: type[int | float]) -> object:
    try:
        return kind(text.replace("_", ""))
    except ValueError:
        return text


def _fit(value: object, option: object) -> tuple[bool, object]:
    origin = get_origin(option)
    if origin is Literal:
        return value in get_args(option), value
    if origin in {tuple, Mapping}:
        return _fit_each(value, option)
    if option is Path:
        return isinstance(value, str), Path(value) if isinstance(value, str) else None
    if option is bool or isinstance(value, bool):
        return option is bool and isinstance(value, bool), value
    if option is float:
        fits = isinstance(value, int | float) and math.isfinite(value)
        return fits, float(value) if isinstance(value, int | float) else None
    return isinstance(value, int if option is int else str), value


def _fit_each(value: object, option: object) -> tuple[bool, object]:
    """A list, or the values of a table: each has to fit."""
    if get_origin(option) is tuple and isinstance(value, list | tuple):
        items = [_fit_any(item, get_args(option)[0]) for item in value]
        return all(fits for fits, _ in items), tuple(item for _, item in items)
    if get_origin(option) is Mapping and isinstance(value, Mapping):
        pairs = {key: _fit_any(item, get_args(option)[1]) for key, item in value.items()}
        return (
            all(fits for fits, _ in pairs.values()),
            {key: item for key, (_, item) in pairs.items()},
        )
    return False, None


def _fit_any(value: object, hint: object) -> tuple[bool, object]:
    """The first of the types that it may have and has."""
    found = (_fit(value, option) for option in _options(hint))
    return next((each for each in found if each[0]), (False, None))


def _wrong(value: object, hint: object, where: str) -> ConfigError:
    return ConfigError(
        f"{where} has a value of the wrong type.",
        expected=describe(hint),
        found=f"{value!r}",
        todo="change the value",
    )

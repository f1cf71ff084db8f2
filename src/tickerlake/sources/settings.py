"""From a mapping of texts and values to a source's frozen settings."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from tickerlake.errors import ConfigError

__all__ = ["settings_from", "variable_of_key"]

_Settings = TypeVar("_Settings")

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}


def variable_of_key(source: str) -> str:
    """The environment variable of a source's key."""
    return f"TICKERLAKE_SOURCES_{source.upper()}_API_KEY"


def settings_from(
    settings_type: type[_Settings], values: Mapping[str, Any], *, source: str
) -> _Settings:
    """Fill a frozen dataclass; texts (from the environment) become what the field's type asks.

    Raises:
        ConfigError: An unknown key (names the nearest known one), or a value of another type.
    """
    hints = typing.get_type_hints(settings_type)
    known = [field.name for field in dataclasses.fields(settings_type)]  # type: ignore[arg-type]
    filled: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            raise ConfigError(
                f"[sources.{source}] has no key {key!r}.",
                expected=", ".join(known) or "no keys at all",
                found=key,
                todo=f"write {near[0]!r} instead" if near else "remove it",
            )
        filled[key] = _converted(value, hints[key], f"[sources.{source}] {key}")
    return settings_type(**filled)


def _converted(value: Any, hint: Any, where: str) -> Any:  # noqa: ANN401 - any value, any type
    choices = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if types.NoneType in choices and (value is None or value == "none"):
        return None
    wanted = next(choice for choice in choices if choice is not types.NoneType)
    try:
        return _as(value, typing.get_origin(wanted) or wanted)
    except (TypeError, ValueError) as error:
        is_list = typing.get_origin(wanted) is tuple
        raise ConfigError(
            f"{where} has the wrong type.",
            expected="a list of texts" if is_list else str(getattr(wanted, "__name__", wanted)),
            found=repr(value),
            todo="write a value of this type",
        ) from error


def _as(value: Any, wanted: Any) -> Any:  # noqa: ANN401 - any value, any type
    if wanted is bool:
        text = str(value).lower()
        if text not in _TRUE | _FALSE:
            raise ValueError(text)
        return text in _TRUE
    if wanted in (int, float):
        if isinstance(value, bool):
            raise TypeError(value)
        return wanted(value)
    if wanted is dict:
        # "open=Px,volume=Qty" in an environment variable or a flag.
        if not isinstance(value, Mapping | str):
            raise TypeError(value)
        pairs = value.items() if isinstance(value, Mapping) else _pairs(value)
        return {str(key): str(item) for key, item in pairs}
    if wanted is tuple:
        # "1m,1s" in an environment variable or a flag.
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
            raise TypeError(value)
        return tuple(part.strip() for part in parts if part.strip())
    if not isinstance(value, wanted):
        raise TypeError(value)
    return value


def _pairs(text: str) -> list[tuple[str, str]]:
    split = [part.split("=", 1) for part in text.split(",") if part.strip()]
    return [(key.strip(), item.strip()) for key, item in split]

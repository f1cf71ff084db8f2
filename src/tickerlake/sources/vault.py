"""Keys of providers that lie in the system's keyring."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from tickerlake.errors import hide
from tickerlake.sources.registry import settings_type

__all__ = ["with_secrets"]


def with_secrets(source: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A source's settings; keys that the environment does not hold come from the keyring."""
    declared = {field.name for field in dataclasses.fields(settings_type(source))}
    wanted = sorted({"api_key", "api_secret"} & declared - set(settings))
    if not wanted or find_spec("keyring") is None:
        return dict(settings)
    import keyring

    kept = {key: keyring.get_password("tickerlake", f"sources.{source}.{key}") for key in wanted}
    found = {key: secret for key, secret in kept.items() if secret is not None}
    hide(found.values())
    return {**settings, **found}

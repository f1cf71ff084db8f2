"""Keys of providers that lie in the system's keyring."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import Any

from tickerlake.errors import ConfigError, hide
from tickerlake.sources.registry import settings_type
from tickerlake.sources.settings import variable_of_key

__all__ = ["with_secrets"]


def with_secrets(source: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A source's settings; keys that the environment does not hold come from the keyring.

    Blanks around a key come from copying it, and are taken away.

    Raises:
        ConfigError: There is a keyring, and it cannot be read: it is locked, for instance.
    """
    declared = {field.name for field in dataclasses.fields(settings_type(source))}
    keys = {"api_key", "api_secret"} & declared
    told = dict(settings)
    wanted = sorted(keys - set(told))
    if wanted and find_spec("keyring") is not None:
        told |= _kept(source, wanted)
    secrets = {key: told[key].strip() for key in keys if isinstance(told.get(key), str)}
    hide(secret for secret in secrets.values() if secret)
    return {**told, **secrets}


def _kept(source: str, keys: Iterable[str]) -> dict[str, str]:
    """What the keyring holds of these; nothing where this machine has none."""
    import keyring

    try:
        kept = {key: keyring.get_password("tickerlake", f"sources.{source}.{key}") for key in keys}
    except Exception as error:
        # A back end is a stranger: a bus that is not there, a wallet that is locked, a name in
        # keyring's own settings that nobody can import. Only its own word says that none is there.
        if type(error).__name__ == "NoKeyringError":
            return {}
        raise ConfigError(
            "The system's keyring cannot be read.",
            expected=f"to find sources.{source}.api_key there, or that it is not there",
            found=f"{type(error).__name__}: {error}",
            todo=f"unlock it, or export {variable_of_key(source)}=…",
        ) from error
    return {key: secret for key, secret in kept.items() if secret is not None}

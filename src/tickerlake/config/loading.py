"""Fill the settings: flags win over environment, environment over file, file over default."""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar, cast, get_type_hints
from urllib.parse import urlsplit, urlunsplit

from tickerlake.config.settings import (
    Setting,
    Settings,
    every_setting,
    is_secret,
    variable_of,
)
from tickerlake.config.values import coerce, from_text, nearest
from tickerlake.config.workspace import FILE_NAME
from tickerlake.errors import ConfigError, hide

__all__ = ["Config", "load"]

_PREFIX = "TICKERLAKE_"
_SOURCES = "TICKERLAKE_SOURCES_"
# Not settings: the first three have their own meaning, the last belongs to tests.
_RESERVED = re.compile(r"TICKERLAKE_(WORKSPACE|NOW|STATE|TEST_\w*)")
_NAME = re.compile(r"[A-Za-z0-9_]+")
_MASK = "••••"


@dataclass(frozen=True, slots=True)
class Config:
    """The settings, and for each dotted name who said so: a default, file, variable or flag."""

    settings: Settings
    origins: Mapping[str, str] = field(default_factory=dict)
    #: Sentences for the user: variables that belong to a source that is not installed.
    warnings: tuple[str, ...] = ()

    def shown(self) -> Iterator[tuple[str, Any, str]]:
        """Name, value and origin of every setting; secrets are masked."""
        for setting in every_setting():
            value = reduce(getattr, setting.name.split("."), self.settings)
            yield setting.name, masked(setting.name, value), self.origins[setting.name]
        for source, keys in self.settings.sources.items():
            for key, value in keys.items():
                name = f"sources.{source}.{key}"
                yield name, masked(name, value), self.origins[name]


def masked(name: str, value: object) -> object:
    """The value as it may be shown: no secret, no password inside an address."""
    if value and is_secret(name):
        return _MASK
    if isinstance(value, str) and "@" in value and "://" in value:
        parts = urlsplit(value)
        if parts.password:
            host = parts.netloc.rpartition("@")[2]
            return urlunsplit(parts._replace(netloc=f"{parts.username}:{_MASK}@{host}"))
    return value


def load(
    workspace: Path | None = None,
    *,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Config:
    """Read all settings.

    Args:
        workspace: The folder with `tickerlake.toml`; None reads no file.
        flags: Values by dotted name, such as `{"stream": "embedded:", "web.port": 0}`; None is
            a flag that was not given.
        environment: In place of the process's own variables.

    Raises:
        ConfigError: A key that nobody knows, or a value of the wrong type.
    """
    known = {setting.name: setting for setting in every_setting()}
    values: dict[str, Any] = {name: setting.default for name, setting in known.items()}
    origins = dict.fromkeys(known, "default")
    from_file = _read_file(workspace / FILE_NAME, known) if workspace else {}
    sources = {name.split(".")[1] for name in from_file if name.startswith("sources.")}
    from_environment, warnings = _read_environment(
        os.environ if environment is None else environment, known, sources, workspace or Path()
    )
    for name, value in from_file.items():
        values[name], origins[name] = value, FILE_NAME
    for name, (value, variable) in from_environment.items():
        values[name], origins[name] = value, variable
    for name, (value, flag) in _read_flags(flags or {}, known).items():
        values[name], origins[name] = value, flag
    hide(str(value) for name, value in values.items() if value and is_secret(name))
    settings = _build(values)
    _check_sources(settings.sources)
    return Config(settings, origins, tuple(warnings))


def _read_flags(
    flags: Mapping[str, Any], known: Mapping[str, Setting]
) -> dict[str, tuple[Any, str]]:
    values: dict[str, tuple[Any, str]] = {}
    for name, value in flags.items():
        if value is None:
            continue
        flag = f"--{name.rpartition('.')[2].replace('_', '-')}"
        if name.startswith("sources."):
            values[name] = value, flag
        elif name in known:
            values[name] = (
                coerce(value, known[name].hint, where=flag, least=known[name].least),
                flag,
            )
        else:
            raise ConfigError(f"There is no setting {name!r}.", todo=nearest(name, known))
    return values


def _read_file(path: Path, known: Mapping[str, Setting]) -> dict[str, Any]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} is not TOML.",
            found=str(error),
            todo="mend the line; text needs quotes around it",
        ) from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read.", found=str(error)) from error
    sources = document.pop("sources", {})
    return _read_table(document, "", known, path) | _read_sources(sources, path)


def _read_table(
    table: Mapping[str, Any], prefix: str, known: Mapping[str, Setting], path: Path
) -> dict[str, Any]:
    """The values of one table and of those inside it, by dotted name."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = f"{prefix}{key}"
        if any(other.startswith(f"{name}.") for other in known):
            values |= _read_table(_table(value, f"[{name}]", path), f"{name}.", known, path)
            continue
        setting, in_file = _known_key(name, known, path)
        where = f"[{prefix[:-1]}] {key} in {path}" if prefix else f"{key} in {path}"
        if setting.secret and not in_file:
            raise _secret_in_file(name, path)
        coerced = coerce(value, str if in_file else setting.hint, where=where, least=setting.least)
        values[setting.name] = _secret_of(coerced, where, path.parent) if in_file else coerced
    return values


def _secret_in_file(name: str, path: Path) -> ConfigError:
    table, _, key = name.rpartition(".")
    ways = f"the variable {variable_of(name)}, or "
    ways += f"{key}_file = the path of a file that holds it"
    if table.startswith("sources."):
        ways += ", or the system's keyring"
    return ConfigError(
        f"{path} holds a secret, {key!r} in [{table}].",
        expected=ways,
        todo="move it there, and take it out of the file",
    )


def _secret_of(path: object, where: str, folder: Path) -> str:
    """What a secret's file holds, without the line's end."""
    try:
        return (folder / Path(str(path)).expanduser()).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{where} names a file that cannot be read.",
            found=str(error),
            todo="name a file that holds the secret and nothing else",
        ) from error


def _table(value: object, name: str, path: Path) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise ConfigError(
        f"{name} in {path} is not a table.", expected=f"a line {name}, its keys below it"
    )


def _known_key(name: str, known: Mapping[str, Setting], path: Path) -> tuple[Setting, bool]:
    """The setting of that name, and whether the key names a file that holds it."""
    if name in known:
        return known[name], False
    whole = known.get(name.removesuffix("_file"))
    if whole is not None and whole.secret:
        return whole, True
    section, _, key = name.rpartition(".")
    prefix = f"{section}." if section else ""
    inside = [other.removeprefix(prefix) for other in known if other.startswith(prefix)]
    siblings = {other.partition(".")[0] for other in inside} | (set() if section else {"sources"})
    table = f"[{section}]" if section else "the top level"
    raise ConfigError(f"{path} has an unknown key {key!r} in {table}.", todo=nearest(key, siblings))


def _read_sources(value: object, path: Path) -> dict[str, Any]:
    from tickerlake.sources import registry

    values: dict[str, Any] = {}
    for written, keys in _table(value, "[sources]", path).items():
        source, title = registry.current_name(written), f"[sources.{written}]"
        _check_source(source, path)
        for key, inner in _table(keys, title, path).items():
            name = f"sources.{source}.{key}"
            if is_secret(name):
                raise _secret_in_file(name, path)
            whole = name.removesuffix("_file")
            if whole != name and is_secret(whole):
                values[whole] = _secret_of(inner, f"{title} {key} in {path}", path.parent)
            else:
                values[name] = inner
    return values


def _check_source(source: str, path: Path) -> None:
    from tickerlake.sources import registry

    if not _NAME.fullmatch(source) or source not in registry.names():
        raise ConfigError(
            f"{path} names an unknown source {source!r}.",
            expected="a source that `tickerlake sources` lists",
            todo=nearest(source, registry.names()),
        )


def _check_sources(sources: Mapping[str, Mapping[str, Any]]) -> None:
    """Each source knows its own keys; a wrong one is wrong before anybody opens the source."""
    from tickerlake.sources import registry
    from tickerlake.sources.settings import settings_from

    for name, values in sources.items():
        settings_from(registry.settings_type(name), values, source=name)


def _read_environment(
    environment: Mapping[str, str],
    known: Mapping[str, Setting],
    sources: Iterable[str],
    folder: Path,
) -> tuple[dict[str, tuple[Any, str]], list[str]]:
    by_variable = {variable_of(name): setting for name, setting in known.items()}
    secret_files = {
        f"{variable}_FILE": setting.name
        for variable, setting in by_variable.items()
        if setting.secret
    }
    values: dict[str, tuple[Any, str]] = {}
    warnings = []
    for variable in sorted(environment):
        text = environment[variable]
        if not variable.startswith(_PREFIX) or _RESERVED.fullmatch(variable):
            continue
        if variable in by_variable:
            setting = by_variable[variable]
            values[setting.name] = (
                from_text(text, setting.hint, where=variable, least=setting.least),
                variable,
            )
        elif variable in secret_files:
            values[secret_files[variable]] = _secret_of(text, variable, folder), variable
        elif variable.startswith(_SOURCES):
            name = _source_key(variable, sources)
            if name is None:
                warnings.append(f"{variable} belongs to no source that is installed: ignored")
                continue
            whole = name.removesuffix("_file")
            if whole != name and is_secret(whole):
                values[whole] = _secret_of(text, variable, folder), variable
            else:
                values[name] = text, variable
        else:
            raise ConfigError(
                f"The environment has an unknown variable {variable}.",
                todo=nearest(variable, by_variable),
            )
    return values, warnings


def _source_key(variable: str, sources: Iterable[str]) -> str | None:
    """`…_SOURCES_BINANCE_US_BASE_URL`: the longest known name wins, the rest is its key."""
    from tickerlake.sources import registry

    rest = variable.removeprefix(_SOURCES).lower()
    for source in sorted({*registry.names(), *registry.FORMER_NAMES, *sources}, key=len)[::-1]:
        if rest.startswith(f"{source.lower()}_"):
            key = rest.removeprefix(f"{source.lower()}_")
            return f"sources.{registry.current_name(source)}.{key}"
    return None


def _build(values: Mapping[str, Any]) -> Settings:
    sources: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        if name.startswith("sources."):
            _, source, key = name.split(".", 2)
            sources.setdefault(source, {})[key] = value
    return _make(Settings, "", {**values, "sources": sources})


_Room = TypeVar("_Room")


def _make(room: type[_Room], prefix: str, values: Mapping[str, Any]) -> _Room:
    """A room's settings value, and in it those of the tables inside its own."""
    hints = get_type_hints(room)
    made = {
        name: _make(cast("type[Any]", hint), f"{prefix}{name}.", values)
        if dataclasses.is_dataclass(hint)
        else values[f"{prefix}{name}"]
        for name, hint in hints.items()
    }
    return room(**made)

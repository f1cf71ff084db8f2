"""Fill the settings: flags win over environment, environment over file, file over default."""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from tickerlake.config.settings import Setting, Settings, every_setting, variable_of
from tickerlake.config.values import coerce, from_text, nearest
from tickerlake.config.workspace import FILE_NAME
from tickerlake.errors import ConfigError

__all__ = ["Config", "load"]

_PREFIX = "TICKERLAKE_"
_SOURCES = "TICKERLAKE_SOURCES_"
# Not settings: the first two have their own meaning, the last belongs to tests.
_RESERVED = re.compile(r"TICKERLAKE_(WORKSPACE|NOW|TEST_\w*)")
_SECRET = re.compile(r"(^|[._])(api_key|api_secret|password|secret|token)$")
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
            value: Any = self.settings
            for part in setting.name.split("."):
                value = getattr(value, part)
            yield setting.name, masked(setting.name, value), self.origins[setting.name]
        for source, keys in self.settings.sources.items():
            for key, value in keys.items():
                name = f"sources.{source}.{key}"
                yield name, masked(name, value), self.origins[name]


def masked(name: str, value: object) -> object:
    """The value as it may be shown: no secret, no password inside an address."""
    if value and _SECRET.search(name):
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
        os.environ if environment is None else environment, known, sources
    )
    for name, value in from_file.items():
        values[name], origins[name] = value, FILE_NAME
    for name, (value, variable) in from_environment.items():
        values[name], origins[name] = value, variable
    for name, (value, flag) in _read_flags(flags or {}, known).items():
        values[name], origins[name] = value, flag
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
    sections = {name.partition(".")[0] for name in known if "." in name} | {"sources"}
    values: dict[str, Any] = {}
    for key, value in document.items():
        if key == "sources":
            values.update(_read_sources(value, path))
        elif key in sections:
            for inner, inner_value in _table(value, f"[{key}]", path).items():
                setting = _known_key(f"{key}.{inner}", known, f"[{key}]", path)
                where = f"[{key}] {inner} in {path}"
                values[setting.name] = coerce(
                    inner_value, setting.hint, where=where, least=setting.least
                )
        else:
            setting = _known_key(key, known, "the top level", path, sections)
            values[key] = coerce(value, setting.hint, where=f"{key} in {path}", least=setting.least)
    return values


def _table(value: object, name: str, path: Path) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise ConfigError(
        f"{name} in {path} is not a table.", expected=f"a line {name}, its keys below it"
    )


def _known_key(
    name: str, known: Mapping[str, Setting], table: str, path: Path, tables: Iterable[str] = ()
) -> Setting:
    if name in known:
        return known[name]
    section, _, key = name.rpartition(".")
    siblings = [other.rpartition(".") for other in known]
    candidates = [k for s, _, k in siblings if s == section] + list(tables)
    raise ConfigError(
        f"{path} has an unknown key {key!r} in {table}.", todo=nearest(key, candidates)
    )


def _read_sources(value: object, path: Path) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for source, keys in _table(value, "[sources]", path).items():
        title = f"[sources.{source}]"
        _check_source(source, path)
        for key, inner in _table(keys, title, path).items():
            name = f"sources.{source}.{key}"
            if _SECRET.search(name):
                raise ConfigError(
                    f"{path} holds a secret, {key!r} in {title}.",
                    expected=f"the variable {variable_of(name)}, or the system's keyring",
                    todo="move it there, and take it out of the file",
                )
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
    environment: Mapping[str, str], known: Mapping[str, Setting], sources: Iterable[str]
) -> tuple[dict[str, tuple[Any, str]], list[str]]:
    by_variable = {variable_of(name): setting for name, setting in known.items()}
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
        elif variable.startswith(_SOURCES):
            name = _source_key(variable, sources)
            if name is None:
                warnings.append(f"{variable} belongs to no source that is installed: ignored")
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
    for source in sorted({*registry.names(), *sources}, key=len, reverse=True):
        if rest.startswith(f"{source.lower()}_"):
            return f"sources.{source}.{rest.removeprefix(f'{source.lower()}_')}"
    return None


def _build(values: Mapping[str, Any]) -> Settings:
    top: dict[str, Any] = {}
    tables: dict[str, dict[str, Any]] = {}
    sources: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        parts = name.split(".")
        if len(parts) == 1:
            top[name] = value
        elif len(parts) == 2:
            tables.setdefault(parts[0], {})[parts[1]] = value
        else:
            sources.setdefault(parts[1], {})[parts[2]] = value
    rooms = {
        room.name: type(room.default_factory())(**tables[room.name])
        for room in dataclasses.fields(Settings)
        if room.name in tables and room.default_factory is not dataclasses.MISSING
    }
    return Settings(**top, **rooms, sources=sources)

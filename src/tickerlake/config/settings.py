"""Every setting of every room in one frozen value, and the names that it goes by."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast, get_args, get_type_hints

from tickerlake.cache.settings import CacheSettings
from tickerlake.delivery.settings import DeliverySettings
from tickerlake.lake.settings import LakeSettings
from tickerlake.observe import LogSettings
from tickerlake.query.settings import QuerySettings
from tickerlake.search.settings import SearchSettings
from tickerlake.sources.sockets import SocketSettings
from tickerlake.streams.settings import StreamsSettings
from tickerlake.web.settings import WebSettings

__all__ = ["Setting", "Settings", "every_setting", "is_secret", "variable_of"]


_SECRET = re.compile(
    r"(^|[._])(api_key|api_secret|password|secret|token|secret_access_key|private_key)$"
)


@dataclass(frozen=True, slots=True)
class Settings:
    """What `tickerlake.toml` holds: four addresses on top, one table per room."""

    #: Where records flow: `embedded:` is a log inside the workspace.
    stream: str = "embedded:"
    #: Where tables lie: a folder; a relative one starts at the workspace.
    lake: str = "./lake"
    #: Who knows the tables' newest state: `sqlite:` is a file inside the workspace.
    catalog: str = "sqlite:"
    #: Who answers SQL.
    engine: str = "duckdb"
    cache: CacheSettings = field(default_factory=CacheSettings)
    search: SearchSettings = field(default_factory=SearchSettings)
    streams: StreamsSettings = field(default_factory=StreamsSettings)
    delivery: DeliverySettings = field(default_factory=DeliverySettings)
    tables: LakeSettings = field(default_factory=LakeSettings)
    query: QuerySettings = field(default_factory=QuerySettings)
    live: SocketSettings = field(default_factory=SocketSettings)
    web: WebSettings = field(default_factory=WebSettings)
    log: LogSettings = field(default_factory=LogSettings)
    #: `[sources.NAME]`: what one provider understands; each names its own keys.
    sources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Setting:
    """One key: its dotted name, its type, and its default."""

    name: str
    hint: Any
    default: Any
    #: The least number that it may be: a field's metadata says `{"least": …}`; otherwise time may
    #: be nothing, but what counts is one or more.
    least: int

    @property
    def secret(self) -> bool:
        """Whether it is never shown, never stands in the file, and may be read from a file."""
        return is_secret(self.name)


def every_setting() -> Iterator[Setting]:
    """All keys but those of `[sources.NAME]`, in the order in which they are declared.

    A field whose type is a dataclass is a table of its own, at any depth.
    """
    return _settings_of(Settings, "")


def _settings_of(room: type[Any], prefix: str) -> Iterator[Setting]:
    hints = get_type_hints(room)
    for key in dataclasses.fields(room):
        name, hint = f"{prefix}{key.name}", hints[key.name]
        if dataclasses.is_dataclass(hint):
            yield from _settings_of(cast("type[Any]", hint), f"{name}.")
        elif name != "sources":
            least = 0 if float in {hint, *get_args(hint)} else 1
            yield Setting(name, hint, default_of(key), key.metadata.get("least", least))


def is_secret(name: str) -> bool:
    """Whether the last part of a dotted name says that the value must not be seen."""
    return _SECRET.search(name) is not None


def default_of(key: dataclasses.Field[Any]) -> object:
    """The default of a dataclass field, made if it has to be."""
    if key.default_factory is not dataclasses.MISSING:
        return key.default_factory()
    return key.default


def variable_of(name: str) -> str:
    """The environment variable of a dotted name."""
    return f"TICKERLAKE_{name.replace('.', '_').upper()}"

"""Every setting of every room in one frozen value, and the names that it goes by."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args, get_type_hints

from tickerlake.cache.settings import CacheSettings
from tickerlake.delivery.settings import DeliverySettings
from tickerlake.lake.settings import LakeSettings
from tickerlake.query.settings import QuerySettings
from tickerlake.streams.settings import StreamsSettings
from tickerlake.web.settings import WebSettings

__all__ = ["Setting", "Settings", "every_setting", "variable_of"]


#: Whole numbers in which 0 says something: any port, no window, keep nothing, no compression.
_MAY_BE_ZERO = {"port", "repeat_window", "retention_bytes", "tail_records_max", "zstd_level"}

#: Times of which none would do harm: every file would be too old for its own commit.
_NEVER_ZERO = {"sweep_age_hours"}


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
    streams: StreamsSettings = field(default_factory=StreamsSettings)
    delivery: DeliverySettings = field(default_factory=DeliverySettings)
    tables: LakeSettings = field(default_factory=LakeSettings)
    query: QuerySettings = field(default_factory=QuerySettings)
    web: WebSettings = field(default_factory=WebSettings)
    #: `[sources.NAME]`: what one provider understands; each names its own keys.
    sources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Setting:
    """One key: its dotted name, its type, and its default."""

    name: str
    hint: Any
    default: Any

    @property
    def least(self) -> int:
        """The least number that it may be: time may be nothing, but what counts is one or more."""
        key = self.name.rpartition(".")[2]
        if key in _NEVER_ZERO:
            return 1
        return 0 if float in {self.hint, *get_args(self.hint)} or key in _MAY_BE_ZERO else 1


def every_setting() -> Iterator[Setting]:
    """All keys but those of `[sources.NAME]`, in the order in which they are declared."""
    hints = get_type_hints(Settings)
    for top in dataclasses.fields(Settings):
        room = hints[top.name]
        if dataclasses.is_dataclass(room):
            room_hints = get_type_hints(room)
            for key in dataclasses.fields(room):
                yield Setting(f"{top.name}.{key.name}", room_hints[key.name], default_of(key))
        elif top.name != "sources":
            yield Setting(top.name, room, default_of(top))


def default_of(key: dataclasses.Field[Any]) -> object:
    """The default of a dataclass field, made if it has to be."""
    if key.default_factory is not dataclasses.MISSING:
        return key.default_factory()
    return key.default


def variable_of(name: str) -> str:
    """The environment variable of a dotted name."""
    return f"TICKERLAKE_{name.replace('.', '_').upper()}"

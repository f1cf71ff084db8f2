"""From a name to a query engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tickerlake.errors import ConfigError
from tickerlake.query.base import Engine
from tickerlake.query.settings import QuerySettings
from tickerlake.records import REPEAT_WINDOW

if TYPE_CHECKING:
    from tickerlake.lake.lake import Lake
    from tickerlake.streams import Stream

__all__ = ["names", "open_engine"]

_PLANNED = ("athena", "trino")


def names() -> tuple[str, ...]:
    """Engines that can be opened."""
    return ("duckdb",)


def open_engine(
    name: str,
    *,
    lake: Lake,
    stream: Stream,
    settings: QuerySettings | None = None,
    repeat_window: int = REPEAT_WINDOW,
    sources: Mapping[str, Mapping[str, Any]] | None = None,
) -> Engine:
    """Open a query engine over a lake and the stream that feeds it.

    Args:
        name: Which one.
        lake: What was delivered.
        stream: What follows it.
        settings: Limits of a query.
        repeat_window: That of the delivery: the tail must drop the repeats that delivery will.
        sources: What `[sources.NAME]` says, by name: adjusted prices start from it.

    Raises:
        ConfigError: An engine that is not built, or none that we know.
    """
    if name == "duckdb":
        from tickerlake.query.duckdb import DuckDBEngine

        return DuckDBEngine(lake, stream, settings, repeat_window=repeat_window, sources=sources)
    planned = name.partition(":")[0] in _PLANNED
    raise ConfigError(
        f"The engine {name!r} is not built yet." if planned else f"There is no engine {name!r}.",
        expected=", ".join(names()),
        found=f'engine = "{name}"',
        todo='write engine = "duckdb" in tickerlake.toml',
    )

"""Settings of the cache room."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CacheSettings"]


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """`[cache]`: where answers of sources are kept, and when a provider is asked again."""

    #: The folder; a relative one starts at the workspace.
    folder: str = "./cache"
    #: While a session runs, its forming bars are asked for at most so often.
    live_seconds: float = 60.0
    #: Two gaps become one request where at most so many bars between them come once more.
    merge_bars: int = 1_000

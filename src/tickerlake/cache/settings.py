"""Settings of the cache room."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CacheSettings"]


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """`[cache]`: where answers of sources are kept."""

    #: The folder; a relative one starts at the workspace.
    folder: str = "./cache"

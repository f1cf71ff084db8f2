"""A source that remembers: wraps a Source and is a Source."""

from tickerlake.cache.cached import CachedSource

__all__ = ["CachedSource"]

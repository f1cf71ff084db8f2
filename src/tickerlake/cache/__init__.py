"""A source that remembers: wraps a Source and is a Source."""

from tickerlake.cache.cached import CachedSource
from tickerlake.cache.care import CacheCare, Denied, Finding, Holding
from tickerlake.cache.known import Known, known_series
from tickerlake.cache.plan import Part, Plan, Planned
from tickerlake.cache.settings import CacheSettings

__all__ = [
    "CacheCare",
    "CacheSettings",
    "CachedSource",
    "Denied",
    "Finding",
    "Holding",
    "Known",
    "Part",
    "Plan",
    "Planned",
    "known_series",
]

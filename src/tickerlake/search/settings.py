"""Settings of the search room."""

from __future__ import annotations

from dataclasses import dataclass

from tickerlake.errors import ConfigError

__all__ = ["SearchSettings"]


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """`[search]`: who is asked for symbols, and how long an answer is believed."""

    #: The index of every symbol that was ever found; a relative path starts at the workspace.
    index: str = "./cache/symbols.sqlite"
    #: Whom to ask: empty takes yahoo, every source that has its key, and every other one that can
    #: search and has a table of its own in the settings.
    sources: tuple[str, ...] = ()
    #: So long an answer with hits is believed, and no provider asked again for the same text.
    fresh_days: float = 7.0
    #: So long an answer without any hit is believed.
    empty_fresh_hours: float = 24.0
    #: A provider that did not answer is left alone for so long.
    pause_minutes: float = 10.0

    def __post_init__(self) -> None:
        for name in ("fresh_days", "empty_fresh_hours", "pause_minutes"):
            if getattr(self, name) < 0:
                raise ConfigError(
                    f"[search] {name} is a span.",
                    expected="0 or more",
                    found=str(getattr(self, name)),
                    todo="mend it in tickerlake.toml",
                )

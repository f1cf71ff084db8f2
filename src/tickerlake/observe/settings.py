"""Settings of the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["LogSettings"]


@dataclass(frozen=True, slots=True)
class LogSettings:
    """`[log]`: what is told on stderr, and how."""

    #: `text` for people; `json`: one object a line, for whatever collects logs.
    format: Literal["text", "json"] = "text"
    #: The least that is told.
    level: Literal["debug", "info", "warning", "error"] = "info"

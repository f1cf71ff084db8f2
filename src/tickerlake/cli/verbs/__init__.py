"""One file per verb: `add_arguments` fills its parser, `run` does its work."""

from __future__ import annotations

__all__: list[str] = []

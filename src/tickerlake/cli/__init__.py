"""The command line: one file per verb."""

from __future__ import annotations

__all__ = ["main"]


def main() -> int:
    """Entry point; returns the exit code."""
    return 0

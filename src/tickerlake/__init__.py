"""Streaming stock data into a lake that you can query, live."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"

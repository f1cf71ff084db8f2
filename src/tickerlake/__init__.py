"""Streaming stock data into a lake that you can query, live."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from typing import Any

    from tickerlake.app import Workspace

__all__ = ["__version__", "open"]

__version__ = "0.1.0"


def open(  # noqa: A001 - `tickerlake.open("folder")` is what readers expect
    path: str | os.PathLike[str] | None = None, *, settings: Mapping[str, Any] | None = None
) -> Workspace:
    """Open a workspace; see `tickerlake.app.open`. Imports nothing before it is called."""
    from tickerlake import app

    return app.open(path, settings=settings)

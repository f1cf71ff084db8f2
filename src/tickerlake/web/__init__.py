"""The page: charts, SQL and the state of the chain, served by Starlette."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tickerlake.errors import MissingExtraError
from tickerlake.web.base import Hop, HopState, LiveFeed, Pipeline, SymbolFinder
from tickerlake.web.settings import WebSettings

if TYPE_CHECKING:
    from tickerlake.web.app import create_app
    from tickerlake.web.server import serve

__all__ = [
    "Hop",
    "HopState",
    "LiveFeed",
    "Pipeline",
    "SymbolFinder",
    "WebSettings",
    "create_app",
    "serve",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attribute can be anything
    # Starlette and uvicorn are an extra, and settings must be readable without them.
    if name not in {"create_app", "serve"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from tickerlake.web import app, server
    except ModuleNotFoundError as error:
        if error.name not in {"starlette", "uvicorn", "anyio"}:
            raise
        raise MissingExtraError(
            "The page's server is not installed.",
            expected="the packages of the extra `web`",
            found=f"no package {error.name}",
            todo="pip install 'tickerlake[web]'",
        ) from error
    return app.create_app if name == "create_app" else server.serve

"""What can be asked, as data: /api/docs shows it, a test holds it against the routes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tickerlake import __version__

__all__ = ["ENDPOINTS", "Endpoint", "openapi"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address, for people and as OpenAPI."""

    path: str
    summary: str
    #: Name → what it means.
    parameters: Mapping[str, str] = field(default_factory=dict)
    #: A view: also with .json, .csv and .arrow appended.
    is_view: bool = False
    media_type: str = "application/json"


ENDPOINTS = (
    Endpoint("/", "Symbols with their newest two closes.", is_view=True),
    Endpoint(
        "/chart/{symbol}",
        "Bars of one symbol, oldest first, the newest state of each.",
        {
            "interval": "1s … 3mo; 1d unless given",
            "start": "a session date (included), or a timestamp with a zone",
            "end": "a session date (included), or a timestamp with a zone (excluded)",
            "provider": "whose bars; the freshest unless given",
            "as_of": "what was known then: a timestamp with a zone",
        },
        is_view=True,
    ),
    Endpoint(
        "/sql",
        "The answer of one SELECT; the header Tickerlake-Result tells columns and warnings.",
        {
            "q": "the query",
            "as_of": "what was known then: a timestamp with a zone",
            "limit": "most rows to send",
        },
        is_view=True,
    ),
    Endpoint("/pipeline", "Each hop's count, rate and lag.", is_view=True),
    Endpoint(
        "/api/search",
        "Symbols that fit a text, best first: those of the lake (`stored`), then others.",
        {
            "q": "part of a symbol or name, an ISIN or a SEDOL",
            "limit": "most symbols to send; 50 unless given",
            "ask": "yes: ask providers too; no: never; without it, only if nothing known fits",
        },
    ),
    Endpoint(
        "/api/stream",
        "Server-sent events: the newest bar of each series, then what changes, conflated.",
        {"symbols": "separated by commas; all without it, none where it is empty"},
        media_type="text/event-stream",
    ),
    Endpoint("/api/docs", "This list; as OpenAPI with .json appended.", media_type="text/html"),
    Endpoint("/metrics", "Figures for Prometheus.", media_type="text/plain"),
    Endpoint("/healthz", "Whether the server can answer.", media_type="application/json"),
)


def openapi() -> dict[str, Any]:
    """The endpoints as an OpenAPI 3.1 document."""
    paths: dict[str, Any] = {}
    for endpoint in ENDPOINTS:
        paths[endpoint.path] = _operation(endpoint, endpoint.media_type, endpoint.is_view)
        if endpoint.is_view:
            for suffix, media_type in (
                ("json", "application/json"),
                ("csv", "text/csv"),
                ("arrow", "application/vnd.apache.arrow.file"),
            ):
                paths[f"{endpoint.path}.{suffix}"] = _operation(endpoint, media_type, False)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tickerlake",
            "version": __version__,
            "description": "Errors are JSON objects with problem, expected, found and todo.",
        },
        "paths": paths,
    }


def _operation(endpoint: Endpoint, media_type: str, is_page: bool) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
        for name, text in endpoint.parameters.items()
    ]
    if "{symbol}" in endpoint.path:
        path = {"name": "symbol", "in": "path", "required": True, "schema": {"type": "string"}}
        parameters.insert(0, path)
    content: dict[str, Any] = {"text/html" if is_page else media_type: {}}
    return {
        "get": {
            "summary": endpoint.summary,
            "parameters": parameters,
            "responses": {"200": {"description": endpoint.summary, "content": content}},
        }
    }

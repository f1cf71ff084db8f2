"""The page's routes: each view as a page, and the same address with a suffix as its data."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from tickerlake import clock, errors
from tickerlake.observe import Family, prometheus_text
from tickerlake.query import Engine, Result
from tickerlake.web.api import openapi
from tickerlake.web.base import Hop, LiveFeed, Pipeline, SymbolFinder
from tickerlake.web.formats import FORMATS, distinct_names, to_json
from tickerlake.web.guard import Guard
from tickerlake.web.hub import Hub
from tickerlake.web.metrics import own_figures
from tickerlake.web.reader import BarsWish, Reader
from tickerlake.web.settings import WebSettings
from tickerlake.web.stream import StreamEndpoint

__all__ = ["create_app"]

_STATIC: Final = Path(__file__).parent / "static"
_LOG: Final = logging.getLogger(__name__)

#: The first class that fits says the status.
_STATUS: Final[tuple[tuple[type[errors.TickerlakeError], int], ...]] = (
    (errors.NotFoundError, 404),
    (errors.UsageError, 400),
    (errors.QueryError, 422),
    (errors.LimitError, 422),
    (errors.RateLimitedError, 429),
    (errors.UnreachableError, 503),
    (errors.TickerlakeError, 500),
)

_HOP_SCHEMA: Final = pa.schema(
    [
        ("name", pa.string()),
        ("count", pa.int64()),
        ("rate_per_second", pa.float64()),
        ("lag_records", pa.int64()),
        ("lag_seconds", pa.float64()),
        ("state", pa.string()),
        ("detail", pa.string()),
    ]
)


#: `?ask=`: whether `/api/search` may ask providers; without it, only if nothing known fits.
_ASK = {"yes": True, "no": False}


def create_app(
    engine: Engine,
    *,
    live: LiveFeed,
    pipeline: Callable[[], Pipeline],
    figures: Callable[[], Sequence[Family]] = tuple,
    search: SymbolFinder | None = None,
    settings: WebSettings,
) -> Starlette:
    """The page as an ASGI application.

    Args:
        engine: Answers every query; called from several threads.
        live: Subscribed to while the application runs (its ASGI lifespan).
        pipeline: How far each hop is; called from a thread about once a second while a page is
            open.
        figures: Further figures for `/metrics`; called from a thread for each request.
        search: Finds symbols that the lake does not hold; called from a thread.
        settings: Limits, token and allowed hosts.
    """
    hub = Hub(pipeline, settings)
    views = _Views(Reader(engine, settings, search), pipeline, figures, hub)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        unsubscribe = live.subscribe(hub.feed)
        running = asyncio.create_task(hub.run())
        running.add_done_callback(_report)
        try:
            yield
        finally:
            unsubscribe()
            hub.close()
            await asyncio.wait([running])

    app = Starlette(
        routes=_routes(views, StreamEndpoint(hub, settings)),
        middleware=[Middleware(Guard, settings=settings)],
        exception_handlers={
            errors.TickerlakeError: _answer_error,
            HTTPException: _answer_http_error,
            Exception: _answer_bug,  # uvicorn's log gets it as well
        },
        lifespan=lifespan,
    )
    app.state.hub = hub
    return app


def _routes(views: _Views, stream: StreamEndpoint) -> list[BaseRoute]:
    tables = {"/": views.symbols, "/sql": views.sql, "/pipeline": views.pipeline}
    data = [
        Route(f"{path}.{suffix}", _data(table, suffix))
        for path, table in tables.items()
        for suffix in FORMATS
    ]
    charts = [
        Route(f"/chart/{{symbol:path}}.{suffix}", _data(views.chart, suffix)) for suffix in FORMATS
    ]
    pages = [Route(path, _page) for path in (*tables, "/chart/{symbol:path}", "/api/docs")]
    return [
        *data,
        *charts,
        *pages,
        Route("/api/docs.json", _docs),
        Route("/api/search", views.search),
        Route("/api/stream", stream),
        Route("/metrics", views.metrics),
        Route("/healthz", views.health),
        Mount("/assets", _Assets(directory=_STATIC / "assets", check_dir=False)),
        Route("/{name:path}", _file),
    ]


@dataclass(frozen=True, slots=True)
class _Views:
    """What each address answers."""

    reader: Reader
    look: Callable[[], Pipeline]
    figures: Callable[[], Sequence[Family]]
    hub: Hub

    async def symbols(self, _: Request) -> Result:
        return Result(await self.reader.symbols())

    async def chart(self, request: Request) -> Result:
        query = request.query_params
        wish = BarsWish(
            symbol=request.path_params["symbol"],
            interval=query.get("interval") or "1d",
            start=query.get("start", ""),
            end=query.get("end", ""),
            provider=query.get("provider", ""),
            as_of=_as_of(request),
        )
        return await self.reader.bars(wish)

    async def sql(self, request: Request) -> Result:
        query = request.query_params.get("q", "").strip()
        if not query:
            raise errors.UsageError(
                "There is no query.",
                expected="/sql?q=select …",
                found="an empty q",
                todo="write one SELECT",
            )
        answer = await self.reader.sql(query, as_of=_as_of(request))
        limit = _limit(request, answer.table.num_rows)
        cut = answer.truncated or limit < answer.table.num_rows
        return Result(answer.table.slice(0, limit), answer.warnings, cut)

    async def pipeline(self, _: Request) -> Result:
        hops = (await run_in_threadpool(self.look)).hops
        rows = [{field.name: getattr(hop, field.name) for field in fields(Hop)} for hop in hops]
        return Result(pa.Table.from_pylist(rows, schema=_HOP_SCHEMA))

    async def search(self, request: Request) -> Response:
        query = request.query_params
        found = await self.reader.search(query.get("q", ""), ask=_ASK.get(query.get("ask", "")))
        return Response(to_json(found.slice(0, _limit(request, 50))), media_type="application/json")

    async def metrics(self, _: Request) -> Response:
        pipeline = await run_in_threadpool(self.look)
        further = await run_in_threadpool(self.figures)
        text = prometheus_text([*own_figures(pipeline, self.hub), *further])
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    async def health(self, _: Request) -> Response:
        running = self.hub.is_running
        return JSONResponse(
            {"status": "ok" if running else "failed", "badge": self.hub.freshness().badge},
            status_code=200 if running else 503,
        )


def _data(table: Callable[[Request], Awaitable[Result]], suffix: str) -> Callable[..., Any]:
    media_type, write = FORMATS[suffix]

    async def answer(request: Request) -> Response:
        result = await table(request)
        body = await run_in_threadpool(write, result.table)
        headers = {"Tickerlake-Result": _about(result)}
        if suffix != "json":
            name = request.url.path.strip("/").replace("/", "-") or f"symbols.{suffix}"
            safe = "".join(
                c if c.isascii() and (c.isalnum() or c in "-_.=^") else "_" for c in name
            )
            headers["Content-Disposition"] = f'attachment; filename="{safe.lstrip(".")}"'
        return Response(body, media_type=media_type, headers=headers)

    return answer


def _about(result: Result) -> str:
    """Columns with their types, and what the reader should know, in one line of ASCII."""
    schema = distinct_names(result.table).schema
    about = {
        "rows": result.table.num_rows,
        "truncated": result.truncated,
        "warnings": list(result.warnings),
        # A header has its limits; a very wide table's columns can be read from its rows.
        "columns": [[f.name, str(f.type)] for f in schema] if len(schema) <= 100 else [],
    }
    return json.dumps(about, separators=(",", ":"))


def _as_of(request: Request) -> datetime | None:
    text = request.query_params.get("as_of", "")
    return clock.parse_instant(text.replace(" ", "+"), name="as_of") if text else None


def _limit(request: Request, default: int) -> int:
    text = request.query_params.get("limit", "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit()):
        raise errors.UsageError(
            "The limit is not a whole number.",
            expected="such as limit=100",
            found=repr(text),
            todo="write digits only",
        )
    return int(text[:18])  # no table has more rows than that


class _Assets(StaticFiles):
    """Built files carry a hash of their content in their names: they never change."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:  # noqa: ANN401
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


async def _page(_: Request) -> Response:
    return await _static("index.html")


async def _file(request: Request) -> Response:
    name = request.path_params["name"]
    # Only what the build put beside index.html: a flat folder, so no path can lead out of it.
    if "/" in name or name.startswith(".") or not (_STATIC / name).is_file():
        raise HTTPException(404)
    return await _static(name)


async def _static(name: str) -> Response:
    if not (_STATIC / "index.html").is_file():
        raise errors.StorageError(
            "The page was not built.",
            expected=f"{_STATIC / 'index.html'}",
            found="nothing",
            todo="scripts/page build, or install the package again",
        )
    scope: Scope = {"type": "http", "method": "GET", "headers": []}
    return await StaticFiles(directory=_STATIC).get_response(name, scope)


async def _docs(_: Request) -> Response:
    return JSONResponse(openapi())


async def _answer_error(_: Request, error: Exception) -> Response:
    if not isinstance(error, errors.TickerlakeError):
        raise error
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    body = {
        "problem": error.problem,
        "expected": error.expected,
        "found": error.found,
        "todo": error.todo,
    }
    return JSONResponse(body, status_code=status)


async def _answer_http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    body = {
        "problem": "There is nothing at this address."
        if error.status_code == 404
        else error.detail,
        "expected": "an address of /api/docs",
        "found": f"{request.method} {request.url.path}",
        "todo": "look at /api/docs",
    }
    return JSONResponse(body, status_code=error.status_code, headers=error.headers)


async def _answer_bug(_: Request, error: Exception) -> Response:
    body = {
        "problem": "The server made a mistake.",
        "expected": "an answer, or an error that says what to do",
        "found": type(error).__name__,
        "todo": "look into the server's log, and report it",
    }
    return JSONResponse(body, status_code=500)


def _report(running: asyncio.Task[None]) -> None:
    if not running.cancelled() and (error := running.exception()) is not None:
        _LOG.error("The live stream has failed; pages show old data.", exc_info=error)

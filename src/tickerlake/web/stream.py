"""The live stream's endpoint, straight on ASGI: one task per page, no layer between."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from starlette.datastructures import QueryParams
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from tickerlake.web.hub import Hub
from tickerlake.web.settings import WebSettings

__all__ = ["StreamEndpoint"]

_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"x-accel-buffering", b"no"),
]


class StreamEndpoint:
    """`/api/stream?symbols=A,B`: server-sent events until the page or the server goes."""

    def __init__(self, hub: Hub, settings: WebSettings) -> None:
        self._hub = hub
        self._clients_max = settings.clients_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one page."""
        if self._hub.clients >= self._clients_max:
            body = {
                "problem": "Too many pages are open.",
                "expected": f"at most {self._clients_max}",
                "found": "one more",
                "todo": "close some, or raise clients_max of [web]",
            }
            await JSONResponse(body, status_code=503)(scope, receive, send)
            return
        names = QueryParams(scope["query_string"]).get("symbols")
        symbols = None if names is None else frozenset(filter(None, names.split(",")))
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        frames = self._hub.frames(symbols)
        gone = asyncio.create_task(_wait_until_gone(receive))
        async with contextlib.aclosing(frames):
            try:
                async for frame in frames:
                    # Waits while the connection is full; the hub skips us meanwhile.
                    await send({"type": "http.response.body", "body": frame, "more_body": True})
                    if gone.done():
                        return
            except asyncio.CancelledError:
                if not self._hub.is_closed:
                    raise
                return  # the server stops, and this page reads nothing: no error to tell
            finally:
                gone.cancel()
        await send({"type": "http.response.body", "body": b""})


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

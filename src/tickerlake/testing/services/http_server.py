"""A small HTTP server in a thread, on loopback: for doubles and proxies of HTTP services."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tickerlake.testing.services.process import LOOPBACK, free_ports

__all__ = ["HttpServer"]


class HttpServer:
    """Answers with `handler`, of whose class `given` are attributes; may be stopped and started.

    Its port stays the same, so that clients find it again.
    """

    #: Of its thread.
    name = "http-server"

    def __init__(
        self,
        handler: type[BaseHTTPRequestHandler],
        *,
        port: int | None = None,
        **given: Any,  # noqa: ANN401 - whatever the handler wants
    ) -> None:
        self.port = port if port is not None else free_ports(1, owner=self)[0]
        self._handler = type("Handler", (handler,), given)
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """What clients take for its address."""
        return f"http://{LOOPBACK}:{self.port}"

    def start(self) -> Self:
        """Listen. Does nothing when it listens already."""
        if self._server is None:
            self._server = ThreadingHTTPServer((LOOPBACK, self.port), self._handler)
            self._server.daemon_threads = True
            threading.Thread(
                target=self._server.serve_forever, args=(0.01,), name=self.name, daemon=True
            ).start()
        return self

    def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

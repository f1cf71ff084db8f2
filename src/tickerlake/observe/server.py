"""A tiny HTTP server for a process that has no page: `/metrics` and `/healthz`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Final, Self

from tickerlake.errors import PortInUseError, TickerlakeError
from tickerlake.observe.log import log
from tickerlake.observe.prometheus import CONTENT_TYPE

__all__ = ["MetricsServer"]

_PLAIN: Final = "text/plain; charset=utf-8"


class MetricsServer:
    """Answers from threads of its own until it is closed.

    Args:
        host: Address to listen on.
        port: 0 takes any free one; `address` says which.
        metrics: Makes the text of `/metrics`; what it raises is answered with 503.

    Raises:
        PortInUseError: Somebody listens there already.
    """

    def __init__(self, host: str, port: int, metrics: Callable[[], str]) -> None:
        handler = type("Handler", (_Handler,), {"metrics": staticmethod(metrics)})
        try:
            self._server = ThreadingHTTPServer((host, port), handler)
        except OSError as error:
            raise PortInUseError(
                f"Nobody can listen on {host}:{port}: {error.strerror}.",
                todo="end who listens there, or name another port; 0 takes any free one",
            ) from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Where it listens."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}/"

    def close(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _Handler(BaseHTTPRequestHandler):
    metrics: Callable[[], str]
    server_version = "tickerlake"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._metrics()
        elif path == "/healthz":
            self._answer(200, "ok\n", _PLAIN)
        else:
            self._answer(404, "There is /metrics, and /healthz.\n", _PLAIN)

    def _metrics(self) -> None:
        try:
            text = self.metrics()
        except TickerlakeError as error:
            self._answer(503, f"{error}\n", _PLAIN)
        else:
            self._answer(200, text, CONTENT_TYPE)

    def _answer(self, status: int, text: str, content_type: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        log.debug("metrics: " + format, *args)

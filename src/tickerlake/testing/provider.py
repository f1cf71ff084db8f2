"""A provider on this machine: plays answers over HTTP and keeps every request that came.

def answer(request: ProviderRequest) -> ProviderAnswer: ...

with provider_server(answer) as server:
    source = open_source("acme", settings={"base_url": server.base_url})
    ...
    assert server.count("/v1/bars") == 1
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

__all__ = ["Handler", "ProviderAnswer", "ProviderRequest", "ProviderServer", "provider_server"]


@dataclass(frozen=True, slots=True)
class ProviderRequest:
    """One request: the path without its query, decoded; header names in lower case."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    method: str = "GET"
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class ProviderAnswer:
    """What to answer: bytes, text, or anything that JSON can say."""

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def payload(self) -> bytes:
        """The bytes of the body."""
        if isinstance(self.body, bytes):
            return self.body
        text = self.body if isinstance(self.body, str) else json.dumps(self.body)
        return text.encode()


Handler = Callable[[ProviderRequest], ProviderAnswer]


class ProviderServer:
    """Where it is, and what came."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.requests: list[ProviderRequest] = []

    def count(self, path: str = "") -> int:
        """How many requests came whose path begins so."""
        return sum(request.path.startswith(path) for request in self.requests)


@contextmanager
def provider_server(handler: Handler) -> Iterator[ProviderServer]:
    """Serve on a free port of this machine until the end of the block."""

    class _Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("content-length") or 0)
            request = ProviderRequest(
                path=unquote(parts.path),
                query=dict(parse_qsl(parts.query, keep_blank_values=True)),
                headers={name.lower(): value for name, value in self.headers.items()},
                method=self.command,
                body=self.rfile.read(length),
            )
            told.requests.append(request)
            answer = handler(request)
            payload = answer.payload
            self.send_response(answer.status)
            headers = {"content-type": "application/json"} | dict(answer.headers)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_POST = do_GET  # noqa: N815 - the name that the server asks for

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    told = ProviderServer(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

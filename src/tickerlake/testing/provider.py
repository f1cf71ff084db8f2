"""A provider on this machine: plays answers over HTTP and keeps every request that came.

def answer(request: ProviderRequest) -> ProviderAnswer: ...

with provider_server(answer) as server:
    source = open_source("acme", settings={"base_url": server.base_url})
    ...
    assert server.count("/v1/bars") == 1

What goes wrong is ordered: the next requests meet one fault each, those after them none.

    server.order(too_many(retry_after="1"), reset("within"))
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

__all__ = [
    "Fault",
    "Handler",
    "ProviderAnswer",
    "ProviderRequest",
    "ProviderServer",
    "provider_server",
]


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
    #: The connection is reset: with nothing said, in the middle of the body, or right after it.
    reset: Literal["", "before", "within", "after"] = ""
    #: So many bytes more are announced than come; then the server hangs up.
    bytes_missing: int = 0
    #: The body comes byte by byte, with this pause before each.
    drip_seconds: float = 0.0
    #: The body comes so many times over, in chunks of unannounced number.
    repeat: int = 1

    @property
    def payload(self) -> bytes:
        """The bytes of the body."""
        if isinstance(self.body, bytes):
            return self.body
        text = self.body if isinstance(self.body, str) else json.dumps(self.body)
        return text.encode()


Handler = Callable[[ProviderRequest], ProviderAnswer]
#: Turns the healthy answer of a request into another one.
Fault = Callable[[ProviderRequest, ProviderAnswer], ProviderAnswer]


class ProviderServer:
    """Where it is, what came, and what shall go wrong."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.requests: list[ProviderRequest] = []
        #: Those that the next requests will meet.
        self.faults: deque[Fault] = deque()

    def count(self, path: str = "") -> int:
        """How many requests came whose path begins so."""
        return sum(request.path.startswith(path) for request in self.requests)

    def order(self, *faults: Fault) -> None:
        """The next requests meet these, one each."""
        self.faults.extend(faults)


@contextmanager
def provider_server(handler: Handler) -> Iterator[ProviderServer]:
    """Serve on a free port of this machine until the end of the block."""
    closing = threading.Event()

    class _Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            request = _request(self)
            told.requests.append(request)
            answer = handler(request)
            with contextlib.suppress(IndexError):  # no fault is ordered
                answer = told.faults.popleft()(request, answer)
            with contextlib.suppress(ConnectionError):  # a client that has had enough
                _send(self, answer, closing)

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
        closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _request(handler: BaseHTTPRequestHandler) -> ProviderRequest:
    parts = urlsplit(handler.path)
    return ProviderRequest(
        path=unquote(parts.path),
        query=dict(parse_qsl(parts.query, keep_blank_values=True)),
        headers={name.lower(): value for name, value in handler.headers.items()},
        method=handler.command,
        body=handler.rfile.read(int(handler.headers.get("content-length") or 0)),
    )


def _send(
    handler: BaseHTTPRequestHandler, answer: ProviderAnswer, closing: threading.Event
) -> None:
    if answer.reset == "before":
        _reset(handler)
        return
    payload = answer.payload
    _send_head(handler, answer, len(payload))
    if answer.repeat > 1:
        for _ in range(answer.repeat):
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(payload), payload))
        handler.wfile.write(b"0\r\n\r\n")
    elif answer.drip_seconds:
        for at in range(len(payload)):
            if closing.wait(answer.drip_seconds):
                break
            handler.wfile.write(payload[at : at + 1])
    else:
        handler.wfile.write(payload[: len(payload) // 2] if answer.reset == "within" else payload)
    if answer.reset:
        _reset(handler)
    elif answer.bytes_missing:
        handler.close_connection = True


def _send_head(handler: BaseHTTPRequestHandler, answer: ProviderAnswer, length: int) -> None:
    headers = {"content-type": "application/json"} | {
        name.lower(): value for name, value in answer.headers.items()
    }
    if answer.repeat > 1:
        headers["transfer-encoding"] = "chunked"
    else:
        headers["content-length"] = str(length + answer.bytes_missing)
    handler.send_response_only(answer.status)
    headers = {"date": handler.date_time_string()} | headers
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()


def _reset(handler: BaseHTTPRequestHandler) -> None:
    """Hang up with a reset in place of an end, as a machine that goes down does."""
    handler.wfile.flush()
    handler.close_connection = True
    linger = struct.pack("ii", 1, 0)  # on, and for no time: what is unsent is thrown away
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    # Others hold the socket, too; the server shuts it down after us, which says nothing more.
    handler.rfile.close()
    handler.wfile.close()
    handler.connection.close()

"""An HTTP/1.1 proxy that misbehaves on demand: S3, REST catalogs and Kinesis behind it."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Final

from tickerlake.clock import sleep
from tickerlake.testing.services.http_server import HttpServer
from tickerlake.testing.services.process import LOOPBACK, wait_until

__all__ = [
    "Action",
    "Answer",
    "Exchange",
    "Fault",
    "HttpProxy",
    "answer",
    "cut_answer",
    "cut_request",
    "delay",
    "lose_answer",
    "send_twice",
]

_HOP_BY_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding"})
_SEEN_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered, or what we say in its place."""

    status: int
    body: bytes = b""
    headers: Sequence[tuple[str, str]] = ()
    #: The body is shorter than its headers say: the connection ends after it.
    cut: bool = False


@dataclass(slots=True)
class Exchange:
    """One request on its way. An action may look at it, change it, and send it as it likes."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    _upstream_port: int

    @property
    def what(self) -> str:
        """What a fault's pattern is searched in: `PUT /lake/a.parquet`, `POST / …PutRecords`."""
        targets = [value for name, value in self.headers if name.lower() == "x-amz-target"]
        return " ".join([self.method, self.path, *targets])

    def forward(self) -> Answer:
        """Send it to the server and return the answer."""
        connection = http.client.HTTPConnection(LOOPBACK, self._upstream_port, timeout=120)
        try:
            self._send_head(connection)
            connection.send(self.body)
            response = connection.getresponse()
            body = response.read()
            return Answer(response.status, body, response.getheaders())
        finally:
            connection.close()

    def forward_part(self, body_bytes: int) -> None:
        """Send it to the server without the end of its body, and hang up there."""
        connection = http.client.HTTPConnection(LOOPBACK, self._upstream_port, timeout=120)
        self._send_head(connection)
        connection.send(self.body[:body_bytes])
        connection.close()

    def _send_head(self, connection: http.client.HTTPConnection) -> None:
        # The client's own headers, its Host among them: a signature covers them.
        connection.putrequest(self.method, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers:
            if name.lower() not in (*_HOP_BY_HOP, "content-length", "expect"):
                connection.putheader(name, value)
        if self.body or self.method in {"POST", "PUT", "PATCH"}:
            connection.putheader("Content-Length", str(len(self.body)))
        connection.endheaders()


#: What happens to a request: returns the answer, or raises to hang up on the client.
Action = Callable[[Exchange], Answer]


def answer(status: int, body: bytes = b"", *, content_type: str = "application/json") -> Action:
    """The server never hears of it; the client gets this."""
    return lambda _: Answer(status, body, [("Content-Type", content_type)])


def lose_answer(exchange: Exchange) -> Answer:
    """The server does what was asked, and the client never hears of it."""
    exchange.forward()
    raise ConnectionAbortedError


def send_twice(exchange: Exchange) -> Answer:
    """The server is asked twice and the client hears the second answer.

    So does a client whose SDK sends again after a lost answer, without telling its caller.
    """
    exchange.forward()
    return exchange.forward()


def cut_request(after_bytes: int) -> Action:
    """The upload breaks off in the middle of its body; both sides see a connection that ends."""

    def action(exchange: Exchange) -> Answer:
        exchange.forward_part(after_bytes)
        raise ConnectionAbortedError

    return action


def cut_answer(after_bytes: int) -> Action:
    """The client gets the beginning of the answer's body only, under the length of the whole."""

    def action(exchange: Exchange) -> Answer:
        whole = exchange.forward()
        kept = [(n, v) for n, v in whole.headers if n.lower() != "content-length"]
        length = ("Content-Length", str(len(whole.body)))
        return Answer(whole.status, whole.body[:after_bytes], [*kept, length], cut=True)

    return action


def delay(seconds: float) -> Action:
    """The server is asked after a while."""

    def action(exchange: Exchange) -> Answer:
        sleep(seconds)
        return exchange.forward()

    return action


@dataclass(slots=True)
class Fault:
    """An action for the requests that fit.

    Attributes:
        pattern: A regular expression, searched in `Exchange.what`.
        action: What happens to such a request.
        times: To how many; None: to all until it is removed.
        after: How many that fit pass unharmed first.
        every: Of those, only each so-manieth.
        struck: How many it has struck.
    """

    pattern: str
    action: Action
    times: int | None = 1
    after: int = 0
    every: int = 1
    struck: int = 0
    _met: int = field(default=0, repr=False)

    def strikes(self, exchange: Exchange) -> bool:
        """Whether it strikes this request; counts. Called once for each."""
        if not re.search(self.pattern, exchange.what):
            return False
        if self.times is not None and self.struck >= self.times:
            return False
        self._met += 1
        beyond = self._met - self.after
        if beyond < 1 or (beyond - 1) % self.every:
            return False
        self.struck += 1
        return True

    def wait(self, seconds_max: float = 30) -> None:
        """Return once it has struck.

        Raises:
            UnreachableError: It has not within that time.
        """
        wait_until(lambda: self.struck > 0, seconds_max=seconds_max)


class HttpProxy(HttpServer):
    """Passes requests on to a port of 127.0.0.1; the first fault that strikes one decides.

    Bodies are read whole before they are passed on. `seen` holds what passed, newest last, with
    the status that the client got (None: it was hung up on).
    """

    name = "http-proxy"

    def __init__(self, upstream_port: int, port: int | None = None) -> None:
        self._connections: set[socket.socket] = set()
        super().__init__(_Handler, port=port, answered_by=self, connections=self._connections)
        self.upstream_port = upstream_port
        self.seen: deque[tuple[str, int | None]] = deque(maxlen=_SEEN_MAX)
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def stop(self) -> None:
        """Listen no more, and hang up on everybody."""
        super().stop()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def add(
        self,
        pattern: str,
        action: Action,
        *,
        times: int | None = 1,
        after: int = 0,
        every: int = 1,
    ) -> Fault:
        """Arm a fault; see `Fault`. The result tells how often it has struck."""
        fault = Fault(pattern, action, times, after, every)
        with self._lock:
            self._faults.append(fault)
        return fault

    def heal(self) -> None:
        """Take every fault back."""
        with self._lock:
            self._faults.clear()

    def handled(self, exchange: Exchange) -> Answer:
        """The answer to a request, by the first fault that strikes it, else by the server.

        Raises:
            ConnectionError: The client shall be hung up on.
        """
        with self._lock:
            struck = next((fault for fault in self._faults if fault.strikes(exchange)), None)
        status = None
        try:
            found = struck.action(exchange) if struck else exchange.forward()
            status = found.status
            return found
        finally:
            self.seen.append((exchange.what, status))


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a head and its body are two writes
    answered_by: HttpProxy
    connections: set[socket.socket]

    def setup(self) -> None:
        super().setup()
        self.connections.add(self.connection)

    def finish(self) -> None:
        self.connections.discard(self.connection)
        super().finish()

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (OSError, http.client.HTTPException):  # either side has gone, or shall think so
            self.close_connection = True

    def _any(self) -> None:
        exchange = Exchange(
            self.command,
            self.path,
            list(self.headers.items()),
            self._body(),
            self.answered_by.upstream_port,
        )
        found = self.answered_by.handled(exchange)
        self.send_response_only(found.status)
        names = {name.lower() for name, _ in found.headers}
        for name, value in found.headers:
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        if "content-length" not in names and found.status != 204:
            self.send_header("Content-Length", str(len(found.body)))
        self.end_headers()
        self.wfile.write(found.body)
        if found.cut:
            self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = _any  # noqa: N815

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers
        return b"".join(pieces)

    def log_message(self, *_: object) -> None:
        """Nothing: `seen` has it."""

"""A provider's socket on this machine, which does to a connection what it was ordered to.

with socket_provider([Hear(1), Say(FRAME), Silence()], [Hear(1), Say(FRAME)]) as server:
    source = open_source("acme", settings={"socket_url": server.url, "api_key": "k"})
    ...
    assert server.heard[0] == ['{"type":"subscribe","symbol":"ACME"}']

Each connection goes through the next list of steps; the last list serves all further ones. A list
that has come to its end waits for the client to leave.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from websockets.http11 import Request, Response
    from websockets.sync.server import ServerConnection

__all__ = [
    "Close",
    "Cut",
    "Hear",
    "Refuse",
    "Say",
    "Silence",
    "SocketProvider",
    "Step",
    "Until",
    "out_of_order",
    "repeated",
    "socket_provider",
]


@dataclass(frozen=True, slots=True)
class Say:
    """Send these frames, one after the other."""

    frames: Sequence[str | bytes]

    def __init__(self, *frames: str | bytes) -> None:
        object.__setattr__(self, "frames", frames)


@dataclass(frozen=True, slots=True)
class Hear:
    """Wait for so many frames of the client."""

    count: int = 1


@dataclass(frozen=True, slots=True)
class Until:
    """Go on when the test says so."""

    event: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Silence:
    """Say nothing more, and do not close: what a dead line looks like."""


@dataclass(frozen=True, slots=True)
class Cut:
    """End the connection without a word."""


@dataclass(frozen=True, slots=True)
class Close:
    """End the connection properly."""

    code: int = 1001


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer the handshake with this status instead. Stands alone in its list."""

    status: int = 403


Step = Say | Hear | Until | Silence | Cut | Close | Refuse


def out_of_order(frames: Sequence[str], *, seed: int = 0) -> list[str]:
    """The same frames in another order."""
    mixed = list(frames)
    random.Random(seed).shuffle(mixed)
    return mixed


def repeated(frames: Sequence[str], times: int = 2) -> list[str]:
    """Each frame so many times in a row."""
    return [frame for frame in frames for _ in range(times)]


class SocketProvider:
    """Where it is, and what each connection asked for and said."""

    def __init__(self, connections: Sequence[Sequence[Step]]) -> None:
        self.url = ""
        #: The path and query of each handshake, refused ones too.
        self.paths: list[str] = []
        #: What was heard on each connection that stood.
        self.heard: list[list[str | bytes]] = []
        self._steps = list(connections)
        #: How many frames were sent over all connections.
        self.said = 0
        #: Told of each change of these.
        self.changed = threading.Condition()
        self._ended = threading.Event()

    def wait_for_connections(self, count: int, seconds: float = 60.0) -> None:
        """Return when so many connections were asked for."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.paths) >= count, seconds)

    def wait_for_frames(self, count: int, seconds: float = 60.0) -> None:
        """Return when so many frames were heard over all connections."""
        with self.changed:
            assert self.changed.wait_for(lambda: sum(map(len, self.heard)) >= count, seconds)

    def handshake(self, connection: ServerConnection, request: Request) -> Response | None:
        """Called before each connection stands."""
        with self.changed:
            steps = self._steps[min(len(self.paths), len(self._steps) - 1)]
            self.paths.append(request.path)
            self.changed.notify_all()
        if steps and isinstance(steps[0], Refuse):
            return connection.respond(HTTPStatus(steps[0].status), "no\n")
        connection.__dict__["steps"] = steps
        return None

    def serve(self, connection: ServerConnection) -> None:
        """Called for each connection that stands, in a thread of its own."""
        from websockets.exceptions import ConnectionClosed

        heard: list[str | bytes] = []
        with self.changed:
            self.heard.append(heard)
        with contextlib.suppress(ConnectionClosed):
            for step in connection.__dict__["steps"]:
                if not self._go(step, connection, heard):
                    return
            while True:
                self._hear(connection, heard)

    def end(self) -> None:
        """Release whoever waits."""
        self._ended.set()

    def _go(self, step: Step, connection: ServerConnection, heard: list[str | bytes]) -> bool:
        if isinstance(step, Say):
            for frame in step.frames:
                connection.send(frame)
                with self.changed:
                    self.said += 1
                    self.changed.notify_all()
        elif isinstance(step, Hear):
            for _ in range(step.count):
                self._hear(connection, heard)
        elif isinstance(step, Until):
            step.event.wait(60)
        elif isinstance(step, Silence):
            self._ended.wait(60)
        elif isinstance(step, Cut):
            connection.socket.shutdown(socket.SHUT_RDWR)
            return False
        elif isinstance(step, Close):
            connection.close(step.code)
            return False
        return True

    def _hear(self, connection: ServerConnection, heard: list[str | bytes]) -> None:
        frame = connection.recv()
        with self.changed:
            heard.append(frame)
            self.changed.notify_all()


@contextmanager
def socket_provider(*connections: Sequence[Step]) -> Iterator[SocketProvider]:
    """Serve on a free port of this machine until the end of the block."""
    from websockets.sync.server import serve

    provider = SocketProvider(connections or [[]])
    with serve(
        provider.serve,
        "127.0.0.1",
        0,
        process_request=provider.handshake,
        close_timeout=0.5,
        ping_interval=None,
    ) as server:
        host, port = server.socket.getsockname()[:2]
        provider.url = f"ws://{host}:{port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield provider
        finally:
            provider.end()
            server.shutdown()
            thread.join()

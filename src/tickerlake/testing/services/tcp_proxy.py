"""A TCP proxy that misbehaves on demand, for whatever stands behind it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import Final, Literal, Self, TypeVar

from tickerlake.testing.services.process import LOOPBACK, free_ports

__all__ = ["Direction", "TcpProxy"]

#: From the client to the server, or back.
Direction = Literal["requests", "answers"]
T = TypeVar("T")

_CHUNK_BYTES: Final = 65_536
_LINGER_NOT: Final = struct.pack("ii", 1, 0)  # closing sends a reset


class TcpProxy:
    """Passes bytes on to a port of 127.0.0.1, until told otherwise.

    Every fault may be set and taken back from any thread while connections are open, and strikes
    those too. `struck` counts what was reset or cut, so that a test knows that its fault happened.

    Args:
        upstream_port: Where the server listens; it need not be there yet.
        port: Ours; a free one unless given.
    """

    def __init__(self, upstream_port: int, port: int | None = None) -> None:
        self.upstream_port = upstream_port
        self.port = port if port is not None else free_ports(1, owner=self)[0]
        #: Each piece of bytes waits so long, in each direction.
        self.latency_seconds = 0.0
        #: Of each connection and direction; None: as fast as it goes.
        self.bytes_per_second: float | None = None
        #: Requests reach the server, its answers are thrown away, connections stay open.
        self.drop_answers = False
        #: How many connections were reset, cut or turned away.
        self.struck = 0
        self._cuts: dict[Direction, int] = {}
        self._cuts_at: dict[bytes, bool] = {}
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self._passing: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def address(self) -> str:
        """`host:port` for clients."""
        return f"{LOOPBACK}:{self.port}"

    def start(self) -> Self:
        """Listen. Does nothing when it listens already."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(
                target=self._loop.run_forever, name="tcp-proxy", daemon=True
            )
            self._thread.start()
            self._passing = self._within(asyncio.Event)
            self.resume()
            self.accept()
        return self

    def stop(self) -> None:
        """Reset what is open and listen no more."""
        if self._loop is not None:
            self.refuse()
            asyncio.run_coroutine_threadsafe(self._ended(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            self._loop = None

    def heal(self) -> None:
        """Take every fault back. Connections that were reset stay so."""
        self.latency_seconds, self.bytes_per_second, self.drop_answers = 0.0, None, False
        self._cuts, self._cuts_at = {}, {}
        self.resume()
        self.accept()

    def reset(self) -> None:
        """Reset every open connection, on both sides."""
        self._within(self._reset_all)

    def cut(self, direction: Direction, *, after_bytes: int) -> None:
        """Reset the connection on which, from now on, so many bytes have passed; once.

        Bytes of all connections count together. `cut("answers", after_bytes=0)` is the lost
        answer: the server has done what the next request asked, and nobody hears of it.
        """
        self._cuts[direction] = after_bytes

    def cut_at(self, request: bytes, *, applied: bool) -> None:
        """Reset the connection on which the client next sends these bytes; once.

        With `applied` the server gets them, and the connection ends when it answers: so a
        database's COMMIT lands and nobody hears of it. Without, the server never gets them.
        """
        self._cuts_at[request] = applied

    def pause(self) -> None:
        """Pass nothing on; connections stay open."""
        assert self._passing is not None
        self._within(self._passing.clear)

    def resume(self) -> None:
        """Pass on what was held, and go on."""
        assert self._passing is not None
        self._within(self._passing.set)

    def refuse(self) -> None:
        """Listen no more, and reset what is open: the port is as if nobody were there."""
        if self._server is not None:
            self._within(self._server.close)
            self._server = None
            self.reset()

    def accept(self) -> None:
        """Listen again. Does nothing when it listens."""
        if self._server is None:
            assert self._loop is not None
            serving = asyncio.start_server(self._serve, LOOPBACK, self.port)
            self._server = asyncio.run_coroutine_threadsafe(serving, self._loop).result()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _within(self, function: Callable[[], T]) -> T:
        async def call() -> T:
            return function()

        assert self._loop is not None, "the proxy was not started"
        return asyncio.run_coroutine_threadsafe(call(), self._loop).result()

    def _reset_all(self) -> None:
        for connection in list(self._connections):
            self._strike(connection)

    def _strike(self, connection: _Connection) -> None:
        self.struck += 1
        connection.reset()

    async def _ended(self) -> None:
        # All connections were reset: what serves them comes to its end by itself.
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection(
                LOOPBACK, self.upstream_port
            )
        except OSError:
            _reset(writer)
            return
        connection = _Connection(writer, server_writer)
        self._connections.add(connection)
        try:
            await asyncio.gather(
                self._pump("requests", connection, reader, server_writer),
                self._pump("answers", connection, server_reader, writer),
            )
        except OSError:
            connection.reset()  # one side has gone: the other learns it
        finally:
            self._connections.discard(connection)
            connection.close()

    async def _pump(
        self,
        direction: Direction,
        connection: _Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        assert self._passing is not None
        while piece := await reader.read(self._piece_bytes()):
            await asyncio.sleep(self._delay_seconds(len(piece)))
            await self._passing.wait()
            kept = self._kept(direction, connection, piece)
            if kept is not None:
                await _write(writer, kept)
                self._strike(connection)
                return
            if not (direction == "answers" and self.drop_answers):
                await _write(writer, piece)
        with contextlib.suppress(OSError):
            writer.write_eof()

    def _kept(self, direction: Direction, connection: _Connection, piece: bytes) -> bytes | None:
        """What of this piece still passes before the connection is cut; None: it is not cut."""
        if direction == "answers" and connection.unheard:
            return b""
        if direction == "requests":
            for request in [request for request in self._cuts_at if request in piece]:
                if not self._cuts_at.pop(request):
                    return b""
                connection.unheard = True
        left = self._cuts.get(direction)
        if left is None:
            return None
        if len(piece) > left or left == 0:
            del self._cuts[direction]
            return piece[:left]
        self._cuts[direction] = left - len(piece)
        return None

    def _piece_bytes(self) -> int:
        rate = self.bytes_per_second
        # A tenth of a second's worth, so that a throttled connection flows rather than stutters.
        return _CHUNK_BYTES if rate is None else max(1, min(_CHUNK_BYTES, int(rate / 10)))

    def _delay_seconds(self, count: int) -> float:
        rate = self.bytes_per_second
        return self.latency_seconds + (0.0 if rate is None else count / rate)


class _Connection:
    """Both sides of one connection."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._writers = (client, server)
        #: The client shall not hear the next answer.
        self.unheard = False

    def reset(self) -> None:
        for writer in self._writers:
            _reset(writer)

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


async def _write(writer: asyncio.StreamWriter, piece: bytes) -> None:
    writer.write(piece)
    await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    writer.transport.abort()

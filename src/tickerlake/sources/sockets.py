"""One connection to a provider's socket: a thread that only reads, and a buffer with a cap.

The reader never waits for whoever uses the frames. Beyond `buffer_bytes_max` what comes is dropped
and counted, with the times of the first and the last of it, until half of the buffer is free.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

from tickerlake import __version__, clock
from tickerlake.errors import (
    ConfigError,
    RateLimitedError,
    TickerlakeError,
    UnreachableError,
    without_secrets,
)
from tickerlake.sources.live import Dialect, Frame

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

__all__ = ["Connection", "Dropped", "Line", "SocketSettings", "Taken"]

#: What a frame costs beside its text.
_FRAME_BYTES: Final = 200


@dataclass(frozen=True, slots=True)
class SocketSettings:
    """`[live]`: how sockets are held, whoever the provider is."""

    #: Frames that wait for us; what comes beyond is dropped, recorded as a gap, and filled.
    buffer_bytes_max: int = 64 * 1024 * 1024
    #: A larger frame ends the connection.
    frame_bytes_max: int = 16 * 1024 * 1024
    #: Frames that came within so long are published together.
    batch_seconds: float = 0.1
    #: Until a connection stands.
    open_timeout_seconds: float = 10.0
    #: Before the second attempt to connect; doubles for each further one, with jitter.
    reconnect_seconds: float = 1.0
    #: The longest pause between two attempts. A connection that stood so long resets the pause.
    reconnect_seconds_max: float = 60.0
    #: The least pause after the provider has said that we ask too often.
    rate_limited_seconds: float = 15.0
    #: Attempts before giving up, where there never was a connection; later there is no end.
    attempts_max: int = 5
    #: Ask the source's history for what a connection missed, where it has any.
    backfill: bool = True
    #: How often to try, and how long to wait between, until a gap is told as not filled.
    backfill_attempts_max: int = 6
    #: Between the first two attempts to fill a gap; doubles for each further one.
    backfill_pause_seconds: float = 5.0
    #: History is asked for a gap no sooner after its end: it lags behind the socket.
    backfill_settle_seconds: float = 2.0
    #: Where a listening process notes until when it has heard what: the next one after a kill
    #: fills the gap.
    folder: str = "live"


@dataclass(frozen=True, slots=True)
class Dropped:
    """Frames that nobody read: the buffer was full from the first to the last of them."""

    first: datetime
    last: datetime
    frames: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What came since the last look, in order; `why` says that the connection has ended."""

    frames: Sequence[Frame] = ()
    dropped: Dropped | None = None
    why: str | None = None


class Connection(Protocol):
    """What a feed holds: a socket, or a recording in its place."""

    #: Where it leads, without a key.
    url: str
    #: Held while the dialect is at work: it is made for one thread at a time.
    talking: threading.Lock
    #: How long to gather before the next look.
    batch_seconds: float

    def send(self, texts: Sequence[str | bytes]) -> None:
        """Send frames; where the connection has ended, `take` will say so."""
        ...

    def take(self, wait_seconds: float) -> Taken:
        """Wait for frames at most so long, and take what is there."""
        ...

    def close(self) -> None:
        """End it; what has come can still be taken."""
        ...


class Line:
    """An open connection. Frames of ours stand in the buffer too, for whoever records.

    Promise: what came before the end is still handed out after it. Not promised: that anything is
    read beyond the cap; `Taken.dropped` tells.
    """

    def __init__(
        self, dialect: Dialect, settings: SocketSettings, *, key: str | None = None
    ) -> None:
        """Connect, say hello, and begin to read. `key` names the variable of a key, if one is sent.

        Raises:
            ConfigError: The address is none, or the provider turns us away for good.
            RateLimitedError: It says that we ask too often.
            UnreachableError: Nobody answers, or with an error that may pass.
        """
        self.url = dialect.url.partition("?")[0]
        self.talking = threading.Lock()
        self.batch_seconds = settings.batch_seconds
        self._dialect = dialect
        self._settings = settings
        self._changed = threading.Condition()
        self._waiting: deque[Frame | Dropped] = deque()
        self._bytes = 0
        self._dropping: Dropped | None = None
        self._why: str | None = None
        self._opened = ExitStack()
        self._socket = _connected(dialect, settings, key, self._opened)
        self._reader = threading.Thread(target=self._read, name="socket reader", daemon=True)
        try:
            self.send(dialect.hello())
        except BaseException:
            self._opened.close()
            raise
        self._reader.start()

    def send(self, texts: Sequence[str | bytes]) -> None:
        """Send frames; where the connection has ended, `take` will say so."""
        from websockets.exceptions import ConnectionClosed

        for text in texts:
            with self._changed:
                frame = Frame(clock.now(), "out", self.url, text)
                self._waiting.append(frame)
                self._bytes += _size(frame)
            try:
                self._socket.send(text)
            except (ConnectionClosed, OSError):
                return

    def take(self, wait_seconds: float) -> Taken:
        """Wait for frames at most so long, and take what is there.

        A hole comes by itself, in its place between the frames.
        """
        with self._changed:
            if not self._waiting and self._dropping is None and self._why is None:
                self._changed.wait(wait_seconds)
            if not self._waiting and self._dropping is not None:
                dropped, self._dropping = self._dropping, None
                return Taken(dropped=dropped)
            frames: list[Frame] = []
            while self._waiting:
                first = self._waiting[0]
                if isinstance(first, Dropped):
                    if frames:
                        break
                    self._waiting.popleft()
                    return Taken(dropped=first)
                frames.append(first)
                self._waiting.popleft()
            self._bytes = sum(map(_size, (w for w in self._waiting if isinstance(w, Frame))))
            return Taken(frames, why=None if frames else self._why)

    def close(self) -> None:
        """End the connection; what has come can still be taken."""
        self._opened.close()
        self._reader.join()

    def _read(self) -> None:
        try:
            why = self._read_to_the_end()
        except Exception as error:  # noqa: BLE001 - a reader that died unheard would look like silence
            why = f"{type(error).__name__} in the reader: {without_secrets(str(error))}"
        self._end(why)

    def _read_to_the_end(self) -> str:
        """Why it has come."""
        from websockets.exceptions import ConnectionClosed

        settings, dialect = self._settings, self._dialect
        keep_alive = dialect.keep_alive_seconds
        heard_at = said_at = clock.monotonic_seconds()
        while True:
            now = clock.monotonic_seconds()
            if keep_alive is not None and now - said_at >= keep_alive:
                said_at = now
                if self.talking.acquire(blocking=False):  # busy: the next look is soon enough
                    try:
                        self.send(dialect.keep_alive())
                    finally:
                        self.talking.release()
                else:
                    said_at = now - keep_alive + 0.1
            silence = dialect.silence_seconds
            left = heard_at + silence - now
            if left <= 0:
                return f"no frame for {silence:g} s"
            due = left if keep_alive is None else min(left, said_at + keep_alive - now)
            try:
                data = self._socket.recv(timeout=max(due, 0.001))
            except TimeoutError:
                continue
            except (ConnectionClosed, OSError, EOFError) as error:
                return without_secrets(str(error)) or type(error).__name__
            heard_at = clock.monotonic_seconds()
            self._keep(Frame(clock.now(), "in", self.url, data), settings.buffer_bytes_max)

    def _keep(self, frame: Frame, bytes_max: int) -> None:
        with self._changed:
            dropped = self._dropping
            # Once full it stays closed until half is free: a few holes are better than many.
            if self._bytes + _size(frame) > (bytes_max if dropped is None else bytes_max // 2):
                first = frame.received_at if dropped is None else dropped.first
                frames = 1 if dropped is None else dropped.frames + 1
                self._dropping = Dropped(first, frame.received_at, frames)
                return
            if dropped is not None:
                self._waiting.append(dropped)
                self._dropping = None
            self._waiting.append(frame)
            self._bytes += _size(frame)
            self._changed.notify()

    def _end(self, why: str) -> None:
        with self._changed:
            self._why = why
            self._changed.notify()


def _size(frame: Frame) -> int:
    return len(frame.data) + _FRAME_BYTES


def _connected(
    dialect: Dialect, settings: SocketSettings, key: str | None, opened: ExitStack
) -> ClientConnection:
    import logging

    from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI
    from websockets.sync.client import connect

    shown = dialect.url.partition("?")[0]
    try:
        parts = urlsplit(dialect.url)
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise _no_address(shown)
        port = parts.port or (443 if parts.scheme == "wss" else 80)
    except ValueError as error:
        raise _no_address(shown) from error
    try:
        # With a connection of ours no redirect is followed: another host would learn the key.
        ours = None if _proxied(parts.hostname) else _reached(parts.hostname, port, settings)
        return opened.enter_context(
            connect(
                dialect.url,
                sock=ours,
                additional_headers=dict(dialect.headers),
                user_agent_header=f"tickerlake/{__version__}",
                open_timeout=settings.open_timeout_seconds,
                close_timeout=1.0,
                max_size=settings.frame_bytes_max,
                max_queue=None,  # our own buffer has the cap
                # Its lines hold whole requests and frames, keys included: nobody hears them.
                logger=logging.Logger("unheard", logging.CRITICAL + 1),  # noqa: LOG001
            )
        )
    except InvalidStatus as error:
        raise _turned_away(shown, error.response.status_code, key) from error
    except InvalidURI as error:
        raise _no_address(shown) from error
    except (OSError, InvalidHandshake, EOFError, ValueError) as error:
        raise UnreachableError(
            f"The socket at {shown} cannot be reached.",
            expected="a WebSocket server that answers",
            found=without_secrets(str(error)) or type(error).__name__,
            todo="check the network and socket_url",
        ) from error


def _reached(host: str, port: int, settings: SocketSettings) -> socket.socket:
    return socket.create_connection((host, port), settings.open_timeout_seconds)


def _proxied(host: str) -> bool:
    from urllib.request import getproxies, proxy_bypass

    return bool(getproxies()) and not proxy_bypass(host)


def _no_address(url: str) -> ConfigError:
    return ConfigError(
        f"{url} is no address of a socket.",
        expected="ws://… or wss://…",
        found=url,
        todo="mend the source's socket_url",
    )


def _turned_away(url: str, status: int, key: str | None) -> TickerlakeError:
    """What an HTTP status in place of a socket means, at every provider."""
    found = f"HTTP {status} at the handshake"
    if status == 429:
        return RateLimitedError(
            f"{url} asks us to come back later.",
            expected="a socket",
            found=found,
            todo="wait a minute; another process may use the same key",
        )
    if status >= 500:
        return UnreachableError(
            f"{url} cannot be reached.", expected="a socket", found=found, todo="try again later"
        )
    todo = "check socket_url"
    if key is not None:
        todo = f"check the key in {key}, its plan, and socket_url"
    if status == 451:
        todo = "the provider refuses this place; choose another source"
    return ConfigError(
        f"{url} turns us away.",
        expected="a socket",
        found=found,
        todo=todo,
    )

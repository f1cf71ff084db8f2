"""Listening: the address first, then the page until somebody says stop."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

import uvicorn

from tickerlake.errors import ConfigError, PortInUseError, UnreachableError
from tickerlake.observe import Family
from tickerlake.query import Engine
from tickerlake.web.app import create_app
from tickerlake.web.base import LiveFeed, Pipeline, SymbolFinder
from tickerlake.web.guard import TOKEN_LENGTH_MIN, is_loopback
from tickerlake.web.hub import Hub
from tickerlake.web.settings import WebSettings

__all__ = ["serve"]


def serve(
    engine: Engine,
    *,
    live: LiveFeed,
    pipeline: Callable[[], Pipeline],
    figures: Callable[[], Sequence[Family]] = tuple,
    search: SymbolFinder | None = None,
    settings: WebSettings,
    on_address: Callable[[str], None],
    stop: threading.Event | None = None,
) -> None:
    """Serve the page until Ctrl-C (in the main thread) or until `stop` is set (in any).

    Args:
        engine: Answers every query; called from several threads.
        live: What arrives on the stream.
        pipeline: How far each hop is.
        figures: Further figures for `/metrics`.
        search: Finds symbols that the lake does not hold.
        settings: Address, limits, token.
        on_address: Called with the page's address once it is bound, before anything is served.
        stop: Ends the server within a fraction of a second.

    Raises:
        ConfigError: An address that others can reach, without the flag or a token.
        PortInUseError: Somebody listens there already.
        UnreachableError: The host is not an address of this machine.
        KeyboardInterrupt: Ctrl-C, after everything was closed in order.
    """
    _check(settings)
    app = create_app(
        engine, live=live, pipeline=pipeline, figures=figures, search=search, settings=settings
    )
    with _listen(settings) as listener:
        config = uvicorn.Config(
            app,
            log_config=None,  # its lines go where ours go, and look like ours
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # nobody stands before us whose word about the client counts
            timeout_graceful_shutdown=2,
            lifespan="on",
        )
        server = _Server(config, app.state.hub)
        if stop is not None:
            threading.Thread(
                target=_stop_when_set, args=(stop, server), name="web-stop", daemon=True
            ).start()
        on_address(_address(settings, listener))
        server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """Ends the live streams first: a server that stops waits for its connections."""

    def __init__(self, config: uvicorn.Config, hub: Hub) -> None:
        super().__init__(config)
        self._hub = hub

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._hub.close()
        await super().shutdown(sockets)


def _check(settings: WebSettings) -> None:
    if not 0 <= settings.port <= 65_535:  # the system would take what is left of it after 16 bits
        raise ConfigError(
            f"There is no port {settings.port}.",
            expected="0 to 65535",
            found=str(settings.port),
            todo="mend [web] port",
        )
    remote = not is_loopback(settings.host)
    if remote and not settings.allow_remote:
        raise ConfigError(
            f"Other machines could reach the page at {settings.host}.",
            expected="127.0.0.1, or allow_remote = true and a token in [web]",
            found=f"host {settings.host} without allow_remote",
            todo="leave the host as it is, or allow it on purpose",
        )
    if (remote or settings.token) and len(settings.token) < TOKEN_LENGTH_MIN:
        raise ConfigError(
            "The page's token is missing or too short.",
            expected=f"at least {TOKEN_LENGTH_MIN} characters",
            found=f"{len(settings.token)} characters",
            todo="set TICKERLAKE_WEB_TOKEN to a long random text",
        )


def _listen(settings: WebSettings) -> socket.socket:
    try:
        family, _, _, _, where = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _unreachable(settings, error) from error
    try:
        # Lets a restart bind again at once; two listeners at a time it does not allow.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(1024)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"Port {settings.port} of {settings.host} is in use.",
                expected="a free port",
                found="somebody listens there, perhaps another `tickerlake serve`",
                todo="stop that one, or take another port (--port 0 takes any free one)",
            ) from error
        raise _unreachable(settings, error) from error
    return listener


def _unreachable(settings: WebSettings, error: OSError) -> UnreachableError:
    return UnreachableError(
        f"The page cannot listen on {settings.host}:{settings.port}.",
        expected="an address of this machine and a port that this user may open",
        found=error.strerror or str(error),
        todo="take 127.0.0.1 and a port from 1024 on",
    )


def _address(settings: WebSettings, listener: socket.socket) -> str:
    name: Any = listener.getsockname()
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{name[1]}/"


def _stop_when_set(stop: threading.Event, server: uvicorn.Server) -> None:
    stop.wait()
    server.should_exit = True

"""Small answers in the shape of Yahoo's chart API, and a local server that plays Yahoo."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Row = tuple[float | None, float | None, float | None, float | None, float | None]


def at(text: str) -> int:
    """Epoch seconds of "2024-01-02T14:30" in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def chart(rows: Mapping[str, Row] | Sequence[tuple[str, Row]], **meta: Any) -> dict[str, Any]:
    """An answer with rows by their UTC stamps; `meta` adds to, or replaces, what it says.

    Extra names: `regular` = (open, close) of the current session, `events`, and `adjclose` (on).
    """
    pairs = list(rows.items()) if isinstance(rows, Mapping) else list(rows)
    events = meta.pop("events", None)
    adjusted = meta.pop("adjclose", True)
    opened, closed = meta.pop("regular", ("2024-03-01T14:30", "2024-03-01T21:00"))
    last = meta.pop("last_trade", closed)
    told = {
        "currency": "USD",
        "symbol": "ACME",
        "exchangeName": "NYQ",
        "instrumentType": "EQUITY",
        "regularMarketTime": at(last),
        "gmtoffset": -18000,
        "exchangeTimezoneName": "America/New_York",
        "currentTradingPeriod": {"regular": {"start": at(opened), "end": at(closed)}},
        "dataGranularity": "1d",
        "range": "",
    } | meta
    quote = {
        name: [row[at_] for _, row in pairs]
        for at_, name in enumerate(("open", "high", "low", "close", "volume"))
    }
    result: dict[str, Any] = {"meta": told, "indicators": {"quote": [quote]}}
    if pairs:
        result["timestamp"] = [at(stamp) for stamp, _ in pairs]
    if adjusted:
        result["indicators"]["adjclose"] = [{"adjclose": [row[3] for _, row in pairs]}]
    if events:
        result["events"] = events
    return {"chart": {"result": [result], "error": None}}


def error(code: str, description: str) -> dict[str, Any]:
    """An answer that tells an error."""
    return {"chart": {"result": None, "error": {"code": code, "description": description}}}


def encoded(body: object) -> bytes:
    """The bytes of an answer."""
    return json.dumps(body).encode()


@dataclass
class Answer:
    """What the server sends, and how badly."""

    body: bytes = b"{}"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    #: Say that this many more bytes follow, and hang up.
    bytes_missing: int = 0
    #: Say nothing until the server closes.
    silent: bool = False


@dataclass
class YahooServer:
    """Where it listens, what it was asked, and what it answers."""

    base_url: str
    answer: Callable[[str, dict[str, str]], Answer]
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    agents: set[str] = field(default_factory=set)


@contextmanager
def yahoo_server(answer: Callable[[str, dict[str, str]], Answer]) -> Iterator[YahooServer]:
    """Play Yahoo on a free port of this machine: `answer(symbol, query)` says what it sends."""
    closing = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            split = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(split.query).items()}
            symbol = unquote(split.path.removeprefix("/v8/finance/chart/"))
            server.requests.append((split.path, query))
            server.agents.add(self.headers["user-agent"])
            sent = server.answer(symbol, query)
            if sent.silent:
                closing.wait(30)
                return
            self.send_response_only(sent.status)  # no Date but what a test sends
            for name, value in sent.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(sent.body) + sent.bytes_missing))
            self.end_headers()
            with suppress(BrokenPipeError, ConnectionResetError):  # a client that has had enough
                self.wfile.write(sent.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            """Say nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = YahooServer(f"http://127.0.0.1:{http.server_address[1]}", answer)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        closing.set()
        http.shutdown()
        http.server_close()
        thread.join()


def environment(server: YahooServer, now: str) -> dict[str, str]:
    """Of a command that shall ask this server, as of a story's time."""
    return os.environ | {
        "TICKERLAKE_SOURCES_YAHOO_BASE_URL": server.base_url,
        "TICKERLAKE_SOURCES_YAHOO_REQUESTS_PER_SECOND": "none",
        "TICKERLAKE_NOW": now,
    }

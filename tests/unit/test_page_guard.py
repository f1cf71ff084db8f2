"""Who may ask the page's server, where it listens, and how it stops."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import httpx
import pytest

from tickerlake.errors import ConfigError, PortInUseError, UnreachableError
from tickerlake.testing.page import BarsChain, daily_bars, serve_in_thread
from tickerlake.web import WebSettings, serve

TOKEN = "a-long-and-random-token"  # noqa: S105
CHAIN = BarsChain(daily_bars("AAPL", 3, last=datetime(2013, 3, 1, tzinfo=UTC)))


@pytest.fixture(scope="module")
def page() -> Iterator[httpx.Client]:
    settings = WebSettings(port=0, allowed_hosts="lake.example")
    with serve_in_thread(CHAIN, settings) as address, httpx.Client(base_url=address) as client:
        yield client


@pytest.fixture(scope="module")
def locked() -> Iterator[str]:
    with serve_in_thread(CHAIN, WebSettings(port=0, token=TOKEN)) as address:
        yield address


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:1", "[::1]:80", "Lake.Example:443"])
def test_our_own_names_may_be_asked_for(page: httpx.Client, host: str) -> None:
    """Loopback's names and the allowed ones pass, whatever the port."""
    assert page.get("/.json", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "192.0.2.1", ""])
def test_a_name_that_was_pointed_at_us_is_refused(page: httpx.Client, host: str) -> None:
    """A rebound DNS name cannot read the lake: its Host is not ours."""
    for path in ("/.json", "/", "/api/stream", "/assets/x.js"):
        answer = page.get(path, headers={"Host": host})
        assert answer.status_code == 400
        assert "host name is not ours" in answer.json()["problem"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    ],
)
def test_another_site_may_not_ask(page: httpx.Client, headers: dict[str, str]) -> None:
    """What a web page elsewhere sends is refused before any query runs."""
    answer = page.get("/sql.json", params={"q": "select 1"}, headers=headers)
    assert answer.status_code == 403


def test_a_link_from_elsewhere_opens_the_page(page: httpx.Client) -> None:
    """A shared address can be clicked: that is a navigation of the reader's own."""
    headers = {
        "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document",
    }  # fmt: skip
    assert page.get("/chart/AAPL", headers=headers).status_code == 200
    same = {"Origin": str(page.base_url).rstrip("/")}
    assert page.get("/.json", headers=same).status_code == 200


def test_the_page_is_tied_down(page: httpx.Client) -> None:
    """Scripts and styles come from here alone, and nobody may frame the page."""
    for path in ("/", "/.json", "/nothing"):
        headers = page.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
    asset = page.get("/").text.split('src="/assets/')[1].split('"')[0]
    assert "immutable" in page.get(f"/assets/{asset}").headers["Cache-Control"]


def test_without_the_token_nothing_is_told(locked: str) -> None:
    """No token and a wrong one get 401, everywhere but for the health check."""
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": "tickerlake_token=wrong"}):
        for path in ("", ".json", "api/stream", "metrics"):
            assert httpx.get(locked + path, headers=headers).status_code == 401
    assert httpx.get(locked + "healthz").status_code == 200


def test_the_token_opens_by_header_and_by_a_link_that_becomes_a_cookie(locked: str) -> None:
    """A program sends a header; a browser opens ?token=… once and keeps a cookie."""
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert httpx.get(locked + ".json", headers=bearer).status_code == 200
    with httpx.Client(base_url=locked) as browser:
        opened = browser.get("/chart/AAPL", params={"token": TOKEN, "interval": "1d"})
        assert opened.status_code == 303
        assert opened.headers["location"] == "/chart/AAPL?interval=1d"
        cookie = opened.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert browser.get("/.json").status_code == 200


def test_the_token_link_leads_nowhere_else(locked: str) -> None:
    """`//evil.example?token=…` stays on this server."""
    with httpx.Client() as browser:
        url = httpx.URL(locked).copy_with(raw_path=f"//evil.example?token={TOKEN}".encode())
        assert browser.get(url).headers["location"] == "/evil.example"


def serve_once(settings: WebSettings) -> None:
    stop = threading.Event()
    stop.set()
    serve(
        CHAIN, live=CHAIN, pipeline=CHAIN.pipeline, settings=settings,
        on_address=lambda _: None, stop=stop,
    )  # fmt: skip


def test_another_address_needs_a_flag_and_a_token() -> None:
    """Nobody opens the lake to the network by accident."""
    everywhere = "0.0.0.0"  # noqa: S104 - refused each time
    with pytest.raises(ConfigError, match="allow_remote"):
        serve_once(WebSettings(host=everywhere, port=0, token=TOKEN))
    with pytest.raises(ConfigError, match="token"):
        serve_once(WebSettings(host=everywhere, port=0, allow_remote=True))
    with pytest.raises(ConfigError, match="at least 16"):
        serve_once(WebSettings(host=everywhere, port=0, allow_remote=True, token=TOKEN[:5]))
    with pytest.raises(UnreachableError, match="cannot listen"):
        serve_once(WebSettings(host="192.0.2.1", port=0, allow_remote=True, token=TOKEN))


def test_a_taken_port_says_what_to_do() -> None:
    """Two servers on one port: the second ends at once, and names --port 0."""
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(PortInUseError) as caught,
    ):
        serve_once(WebSettings(port=other.getsockname()[1]))
    assert "--port 0" in str(caught.value)
    with pytest.raises(ConfigError, match="no port 70000"):
        serve_once(WebSettings(port=70_000))


def test_a_server_stops_although_a_page_listens() -> None:
    """An open live stream is ended by the server, and the port is free again."""
    with serve_in_thread(CHAIN, WebSettings(port=0)) as address:
        stream = httpx.stream("GET", f"{address}api/stream", timeout=20)
        lines = stream.__enter__().iter_lines()
        assert next(lines)
    assert list(lines)[-1] == ""
    stream.__exit__(None, None, None)
    port = urlsplit(address).port
    assert port is not None
    socket.create_server(("127.0.0.1", port)).close()

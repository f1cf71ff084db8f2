"""One Chromium for all browser tests, and pages that are watched for errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Browser, Page, expect

from tickerlake.testing.browser import chromium
from tickerlake.testing.page import BarsChain, daily_bars, serve_in_thread
from tickerlake.web import WebSettings

LAST = datetime(2013, 3, 1, tzinfo=UTC)
OpenPage = Callable[..., Page]

# Brokers of other tests share the machine: five seconds, the default, are sometimes too few.
expect.set_options(timeout=20_000)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def chain() -> BarsChain:
    """Three symbols with half a year of daily bars each; what a test pushes arrives live."""
    closes = {"AAPL": 430.0, "IBM": 200.0, "MSFT": 28.0}
    return BarsChain(*(daily_bars(name, 180, last=LAST, close=c) for name, c in closes.items()))


@pytest.fixture
def address(chain: BarsChain) -> Iterator[str]:
    with serve_in_thread(chain, WebSettings(port=0)) as address:
        yield address.rstrip("/")


@pytest.fixture
def open_page(browser: Browser, address: str) -> Iterator[OpenPage]:
    """Open an address of the page; at the end no console error and no outside request may be."""
    complaints: list[str] = []
    contexts = []

    def open_page(path: str, *, width: int = 1280, height: int = 800, theme: str = "light") -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=theme
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda asked: None if asked.url.startswith(address) else complaints.append(asked.url),
        )
        page.goto(address + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints

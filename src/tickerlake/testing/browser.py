"""Debian's Chromium for tests and screenshots, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from tickerlake.errors import MissingExtraError

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["chromium"]

_FLAGS: Final = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    # Without these the browser keeps looking for its vendor's hosts.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium of the system.

    Raises:
        MissingExtraError: There is none; the message names what installs it.
    """
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise MissingExtraError(
            "No Chromium was found.",
            expected="a program `chromium` on the PATH",
            found="none",
            todo="make browser",
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()

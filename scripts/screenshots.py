"""Make the page's pictures in docs/images/, from the demo while it replays the real sample.

    scripts/screenshots.py                 starts `tickerlake demo` in a folder that goes after
    scripts/screenshots.py --url ADDRESS   looks at a page that is served already

Look at them before you commit them.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import Browser, Page, expect

from tickerlake.testing.browser import chromium

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
BYTES_MAX = 300_000
SIZES = {1280: 800, 390: 844}
QUERY = """select symbol, count(*) as bars, min(session_date) as first, max(session_date) as last,
  max(high) as highest, sum(volume) as shares
from bars group by symbol order by symbol"""
VIEWS = {
    "chart": "chart/AAPL",
    "sql": f"sql?{urlencode({'q': QUERY})}",
    "pipeline": "pipeline",
}


@contextmanager
def demo() -> Iterator[str]:
    """The page's address while a fresh demo replays."""
    with tempfile.TemporaryDirectory() as folder:
        running = subprocess.Popen(
            [sys.executable, "-m", "tickerlake", "demo"],
            cwd=folder,
            env={**os.environ, "TICKERLAKE_WEB_PORT": "0"},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            for line in running.stdout or ():
                if line.startswith("page"):
                    yield line.split()[-1]
                    return
            raise SystemExit("The demo ended without telling the page's address.")
        finally:
            running.terminate()
            running.wait()


def wait_until_shown(page: Page, view: str) -> None:
    """Wait for what the picture is about: data, and a stream that has brought some."""
    expect(page.locator("#strip li").first).to_be_visible(timeout=30_000)
    expect(page.locator("#badge")).to_have_text(re.compile("LIVE|REPLAY"), timeout=60_000)
    # A fresh demo's history is in the lake after some seconds.
    lag = page.locator("#strip [data-hop=lake] .lag")
    expect(lag).to_have_text(re.compile(r"^lag (\d\d? · .*|0)$"), timeout=60_000)
    if view == "chart":
        expect(page.locator(".symbols a")).not_to_have_count(0, timeout=60_000)
        expect(page.locator(".quote .change")).to_contain_text("%", timeout=60_000)
    elif view == "sql":
        expect(page.locator("tbody tr")).not_to_have_count(0, timeout=60_000)
    else:  # some seconds, so that the lines of the rates have something to show
        page.wait_for_function(
            "() => document.querySelector('.sparkline path')?.getAttribute('d').split('L')[8]",
            timeout=60_000,
        )


def take(browser: Browser, address: str, folder: Path) -> Iterator[Path]:
    """A picture of each view, wide and narrow, dark and light."""
    for width, height in SIZES.items():
        for theme in ("light", "dark"):
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
            for view, path in VIEWS.items():
                page.goto(f"{address}{path}")
                wait_until_shown(page, view)
                picture = folder / f"{view}-{width}-{theme}.png"
                page.screenshot(path=picture, animations="disabled")
                yield picture
            page.close()


def main() -> int:
    """Take every picture; one that is too large for a repository fails."""
    parser = argparse.ArgumentParser(description="Make the page's pictures in docs/images/.")
    parser.add_argument("--url", help="a page that is served already, records arriving")
    parser.add_argument("--folder", type=Path, default=IMAGES)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    too_large = 0
    with nullcontext(arguments.url) if arguments.url else demo() as address, chromium() as browser:
        for picture in take(browser, f"{address.rstrip('/')}/", arguments.folder):
            size = picture.stat().st_size
            too_large += size > BYTES_MAX
            sys.stderr.write(f"{picture.name}  {size // 1000} kB\n")
    return 1 if too_large else 0


if __name__ == "__main__":
    raise SystemExit(main())

"""The page as a reader sees it, in a real browser."""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tickerlake.testing.page import BarsChain, bars_table, serve_in_thread
from tickerlake.web import WebSettings

from .conftest import LAST, OpenPage

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]

SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
NEXT = LAST + timedelta(days=1)

#: Counts the chart's pixels that have the colours of candles.
CANDLE_PIXELS = """() => {
  const style = (name) => {
    const probe = document.createElement("i");
    probe.style.color = `var(--${name})`;
    document.body.append(probe);
    const rgb = getComputedStyle(probe).color.match(/\\d+/g).slice(0, 3).map(Number);
    probe.remove();
    return rgb;
  };
  const count = { up: 0, down: 0 };
  for (const canvas of document.querySelectorAll("#chart canvas")) {
    if (!canvas.width || !canvas.height) continue;
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    for (const name of ["up", "down"]) {
      const [r, g, b] = style(name);
      for (let i = 0; i < data.length; i += 4) {
        if (data[i] === r && data[i + 1] === g && data[i + 2] === b) count[name]++;
      }
    }
  }
  return count;
}"""
#: What the chart shows, as one number that changes with it.
PICTURE = """() => {
  let sum = 0;
  for (const canvas of document.querySelectorAll("#chart canvas")) {
    if (!canvas.width || !canvas.height) continue;
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    for (let i = 0; i < data.length; i += 4) sum = (sum * 31 + data[i] + data[i + 1]) % 1e9;
  }
  return sum;
}"""


def wait_for_candles(page: Page) -> None:
    page.wait_for_function(f"() => {{ const n = ({CANDLE_PIXELS})(); return n.up && n.down; }}")


def forming(symbol: str, close: float, number: int = 0) -> dict[str, object]:
    return {
        "symbol": symbol, "ts": NEXT, "close": close, "state": "forming", "event_id": number,
        "fetched_at": NEXT + timedelta(hours=15, seconds=number),
    }  # fmt: skip


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_candles_are_shown(open_page: OpenPage, size: str, theme: str) -> None:
    """At both sizes, dark and light: candles of both colours, nothing to scroll sideways."""
    width, height = SIZES[size]
    page = open_page("/", width=width, height=height, theme=theme)
    expect(page.get_by_role("heading", name="AAPL")).to_be_visible()
    wait_for_candles(page)
    expect(page.locator("html")).to_have_attribute("data-theme", theme)
    expect(page.locator("#strip li")).to_have_count(5)
    for view in ("SQL", "Pipeline", "API", "Chart"):
        page.get_by_role("navigation").get_by_role("link", name=view, exact=True).click()
        expect(page.locator("[aria-current=page]")).to_have_text(view)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view


def test_the_live_bar_moves(open_page: OpenPage, chain: BarsChain) -> None:
    """A bar that arrives moves the candle, the price, the list and the legend, unasked."""
    page = open_page("/chart/AAPL")
    wait_for_candles(page)
    chain.push(bars_table([forming("AAPL", 432.5)]))
    expect(page.locator("#last")).to_have_text("432.50")
    expect(page.locator(".quote .state")).to_have_text("forming")
    before = page.evaluate(PICTURE)
    chain.push(bars_table([forming("AAPL", 455.25, 1)]))
    expect(page.locator("#last")).to_have_text("455.25")
    expect(page.locator('[data-symbol="AAPL"] .last')).to_have_text("455.25")
    expect(page.locator(".legend")).to_contain_text("2013-03-02")
    page.wait_for_function(f"(before) => ({PICTURE})() !== before", arg=before)
    chain.push(bars_table([{**forming("AAPL", 450.0, 2), "state": "final"}]))
    expect(page.locator(".quote .state")).to_have_text("final")


def test_history_that_arrives_in_a_flood_is_drawn(open_page: OpenPage, chain: BarsChain) -> None:
    """More bars than a frame carries: the page fetches its chart anew."""
    page = open_page("/chart/AAPL?range=all")
    wait_for_candles(page)
    days = [
        {"symbol": "AAPL", "ts": LAST + timedelta(days=day), "close": 500.0 + day}
        for day in range(1, 31)
    ]
    with page.expect_response(re.compile(r"/chart/AAPL\.json")):
        chain.push(bars_table(days))
    expect(page.locator("#last")).to_have_text("530.00")


def test_sql_answers(open_page: OpenPage, address: str) -> None:
    """A query gives a table, stands in the address, and its answer can be taken away."""
    page = open_page("/sql")
    box = page.get_by_role("textbox", name="Query")
    box.fill("select symbol, count(*) as bars from bars group by 1 order by 1")
    box.press("Control+Enter")
    expect(page.locator("thead th")).to_have_text(["symbol", "bars"])
    expect(page.locator("tbody tr")).to_have_count(3)
    expect(page.locator("tbody tr").first).to_have_text("AAPL180")
    expect(page.locator(".status")).to_contain_text("3 rows in")
    exported = page.get_by_role("link", name="CSV").get_attribute("href")
    assert httpx.get(f"{address}{exported}").text.splitlines()[1:] == [
        '"AAPL",180', '"IBM",180', '"MSFT",180',
    ]  # fmt: skip
    page.reload()
    expect(page.locator("tbody tr")).to_have_count(3)


def test_the_badge_says_how_fresh_the_page_is(browser: Browser, chain: BarsChain) -> None:
    """LIVE while records arrive, STALE when the feed stops, DISCONNECTED without a server.

    When the server is there again, the page shows what it has missed.
    """
    page = browser.new_page()
    badge = page.locator("#badge")
    settings = WebSettings(port=0, stale_after_seconds=1.5)
    now = datetime.now(UTC).replace(microsecond=0)  # noqa: TID251
    with serve_in_thread(chain, settings) as address:
        page.goto(address)
        expect(badge).to_have_attribute("data-badge", "STALE")
        chain.push(bars_table([{"symbol": "AAPL", "ts": now, "close": 1.0, "fetched_at": now}]))
        expect(badge).to_have_attribute("data-badge", "LIVE")
        expect(badge).to_have_attribute("data-badge", "STALE")
        expect(badge).to_contain_text("STALE")
    expect(badge).to_have_attribute("data-badge", "DISCONNECTED", timeout=15_000)
    missed = {"symbol": "AAPL", "ts": now, "close": 17.25, "event_id": 1, "fetched_at": now}
    chain.push(bars_table([missed]))
    again = WebSettings(port=urlsplit(address).port or 0)
    with serve_in_thread(chain, again):
        expect(badge).to_have_attribute("data-badge", "STALE", timeout=15_000)
        expect(page.locator("#last")).to_have_text("17.25")
        chain.push(bars_table([forming("AAPL", 2.0)]))
        expect(badge).to_have_attribute("data-badge", "REPLAY")
        page.close()


def test_the_keyboard_is_enough(open_page: OpenPage) -> None:
    """`/` searches as one types, arrows move on, Enter and Back do as everywhere."""
    page = open_page("/chart/AAPL")
    wait_for_candles(page)
    page.keyboard.press("/")
    search = page.get_by_role("searchbox")
    expect(search).to_be_focused()
    page.keyboard.type("ms")
    expect(page.locator(".symbols a")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/chart/MSFT$"))
    expect(page.get_by_role("heading", name="MSFT")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(page.locator(".symbols a")).to_have_count(3)
    page.keyboard.press("ArrowUp")
    expect(page).to_have_url(re.compile("/chart/IBM$"))
    page.go_back()
    expect(page.get_by_role("heading", name="MSFT")).to_be_visible()


def test_enter_takes_what_fits_the_text_not_what_is_still_listed(
    browser: Browser, chain: BarsChain
) -> None:
    """While providers are asked the list says so, and Enter waits for what they tell."""
    told = threading.Event()
    name = "Zebra Aktiengesellschaft und Partner Holding International"
    hit = {"symbol": "ZEBRA", "provider": "acme", "provider_symbol": "ZEBRA", "name": name}

    def find(text: str, /, *, ask: bool | None) -> list[dict[str, object]]:
        if text.startswith("z") and ask is not False:
            told.wait(60)
        return [hit] if text.startswith("z") else []

    with serve_in_thread(chain, WebSettings(port=0), find) as address:
        page = browser.new_page()
        page.goto(f"{address}chart/AAPL")
        expect(page.locator(".symbols a")).to_have_count(3)
        page.keyboard.press("/")
        page.keyboard.type("zebra")
        page.keyboard.press("Enter")
        expect(page.locator(".symbols")).to_have_text("Asking providers …")
        told.set()
        expect(page).to_have_url(re.compile("/chart/ZEBRA$"))
        listed = page.locator(".symbols a")
        expect(listed).to_contain_text([f"ZEBRAacme · {name}"])
        box = listed.bounding_box()
        assert box is not None
        assert box["height"] < 60  # symbol and name, a line each
        page.close()


def test_the_address_is_the_state(open_page: OpenPage) -> None:
    """A shared link shows the same symbol, range and dates; choosing them changes the address."""
    page = open_page("/chart/IBM?start=2013-01-02&end=2013-02-01")
    expect(page.get_by_label("From")).to_have_value("2013-01-02")
    expect(page.locator(".legend")).to_contain_text("2013-02-01")
    page.get_by_role("button", name="3M").click()
    expect(page).to_have_url(re.compile(r"/chart/IBM\?range=3m$"))
    expect(page.locator(".legend")).to_contain_text("2013-03-01")
    page.get_by_label("To").fill("2013-02-15")
    page.get_by_label("To").press("Enter")
    expect(page).to_have_url(re.compile(r"end=2013-02-15"))
    expect(page.locator(".legend")).to_contain_text("2013-02-15")


def test_dark_and_light_can_be_chosen_and_stay(open_page: OpenPage) -> None:
    """The toggle leaves the system's choice, and the next visit remembers it."""
    page = open_page("/", theme="light")
    wait_for_candles(page)
    page.keyboard.press("t")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_each_hop_shows_count_rate_and_lag(open_page: OpenPage) -> None:
    """The strip and the pipeline's view name the five hops in their order."""
    page = open_page("/pipeline")
    names = ["source", "stream", "delivery", "lake", "query"]
    expect(page.locator("#strip .hop")).to_have_text(names)
    expect(page.locator("#strip .count")).to_have_text(["540"] * 5)
    expect(page.locator(".hops .card h2")).to_have_text([f"{name}ok" for name in names])


def test_what_is_not_there_is_explained(browser: Browser, address: str) -> None:
    """A wrong symbol and a refused query say what to do, in the page's own words."""
    page = browser.new_page()
    page.goto(f"{address}/chart/AAPX")
    expect(page.get_by_role("alert")).to_contain_text("did you mean AAPL?")
    page.goto(f"{address}/sql?q=drop+table+bars")
    expect(page.get_by_role("alert")).to_contain_text("write one SELECT")
    page.close()


def test_an_empty_lake_waits_for_its_first_bar(browser: Browser) -> None:
    """Before anything is there the page says how to begin; the first bar appears by itself."""
    chain = BarsChain()
    with serve_in_thread(chain, WebSettings(port=0)) as address:
        page = browser.new_page()
        page.goto(address)
        expect(page.locator(".empty")).to_contain_text("tickerlake publish")
        expect(page.locator("#badge")).to_have_attribute("data-badge", "STALE")
        chain.push(bars_table([forming("FIRST", 12.5)]))
        expect(page.get_by_role("heading", name="FIRST")).to_be_visible()
        expect(page.locator("#last")).to_have_text("12.50")
        page.close()


def test_an_address_may_name_a_symbol_that_the_list_does_not_show(browser: Browser) -> None:
    """Beyond the symbols that the list holds, a chart still knows which intervals there are."""
    listed = [{"symbol": f"A{n:03}", "ts": LAST, "close": 1.0} for n in range(120)]
    start = LAST + timedelta(hours=14, minutes=30)
    minutes = [
        {"symbol": "ZZZ", "ts": start + timedelta(minutes=n), "close": 7.0 + n, "interval": "1m"}
        for n in range(30)
    ]
    with serve_in_thread(BarsChain(bars_table(listed + minutes)), WebSettings(port=0)) as address:
        page = browser.new_page()
        page.goto(f"{address}chart/ZZZ")
        expect(page.locator("#last")).to_have_text("36.00")
        expect(page.get_by_role("button", name="1m", exact=True)).to_be_visible()
        page.close()

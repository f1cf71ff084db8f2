"""Search asks providers as seldom as it can: counted at a server on this machine."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

import tickerlake
from command import tickerlake as run
from tickerlake import clock, config
from tickerlake.cli import main
from tickerlake.errors import NewerVersionError, UnreachableError, UsageError
from tickerlake.search import SearchSettings, SymbolIndex, SymbolSearch
from tickerlake.sources import Hit, Limits, Source
from tickerlake.sources.yahoo import YahooSettings, YahooSource
from tickerlake.testing.page import serve_in_thread
from tickerlake.testing.provider import (
    ProviderAnswer,
    ProviderRequest,
    ProviderServer,
    provider_server,
)
from tickerlake.web import WebSettings
from yahoo_double import chart

APPLE = {"symbol": "AAPL", "shortname": "Apple Inc.", "quoteType": "EQUITY", "exchange": "NMS"}
FRUIT = {
    "symbol": "APLE",
    "longname": "Apple Hospitality",
    "quoteType": "EQUITY",
    "exchange": "NYQ",
}
RUECK = {
    "symbol": "MUV2.DE",
    "longname": "Münchener Rück",
    "quoteType": "EQUITY",
    "exchange": "GER",
}
DAY = datetime(2013, 1, 2, tzinfo=UTC)
NAMELESS = {"name": "AAPlasma", "isYahooFinance": False}
ANSWERS = {
    "apple": [APPLE, NAMELESS, FRUIT],
    "US0378331005": [APPLE],
    "BJ0CDD2": [{"symbol": "MNTN.L", "longname": "Schiehallion", "exchange": "LSE"}],
    "münchener": [RUECK],
}


def yahoo(request: ProviderRequest) -> ProviderAnswer:
    """A Yahoo that knows four texts."""
    assert request.path == "/v1/finance/search"
    return ProviderAnswer({"quotes": ANSWERS.get(request.query["q"], []), "news": []})


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with provider_server(yahoo) as server:
        yield server


@pytest.fixture
def source(server: ProviderServer) -> Iterator[YahooSource]:
    settings = YahooSettings(base_url=server.base_url, requests_per_second=None)
    with closing(YahooSource(settings)) as source:
        yield source


@pytest.fixture
def search(source: YahooSource, tmp_path: Path) -> SymbolSearch:
    return SymbolSearch(SymbolIndex(tmp_path / "symbols.sqlite"), only(source))


def only(*sources: Source) -> Callable[[Sequence[str] | None], Mapping[str, Source]]:
    return lambda names: {s.name: s for s in sources if names is None or s.name in names}


def symbols(found: Any) -> list[str]:
    return [hit.symbol for hit in found]


def test_a_second_search_and_the_way_to_it_need_no_request(
    search: SymbolSearch, server: ProviderServer
) -> None:
    """One request answers the text, again, in other letters, and all that is typed towards it."""
    assert symbols(search.search("apple")) == ["AAPL", "APLE"]
    for text in ("apple", "  ÁPPLE", "appl", "app", "a"):
        assert "AAPL" in symbols(search.search(text)), text
    assert symbols(search.search("hosp", mode="offline")) == ["APLE"]
    assert server.count() == 1


def test_while_typing_providers_are_asked_only_if_nothing_known_fits(
    search: SymbolSearch, server: ProviderServer
) -> None:
    """One letter asks nobody; a text that nothing fits asks once; then what is known is enough."""
    assert symbols(search.search("m", mode="typing")) == []
    assert server.count() == 0
    assert symbols(search.search("münchener", mode="typing")) == ["MUV2.DE"]
    for text in ("münch", "munchener r", "Muenchener", "muv2", "rueck"):
        assert symbols(search.search(text, mode="typing")) == ["MUV2.DE"], text
    assert search.search("nothing", mode="typing").asked == ("yahoo",)
    assert search.search("nothing", mode="typing").asked == ()
    assert server.count() == 2


def test_numbers_are_resolved_and_remembered_with_what_they_found(
    search: SymbolSearch, server: ProviderServer
) -> None:
    """An ISIN and a SEDOL find their symbol, the second time without a request; offline too."""
    for text, symbol in (("US0378331005", "AAPL"), ("BJ0CDD2", "MNTN.L")):
        for _ in range(2):
            assert symbols(search.search(text)) == [symbol]
    assert symbols(search.search("us0378331005", mode="offline")) == ["AAPL"]
    (found,) = search.search("aapl", mode="offline")
    assert found.isin == "US0378331005"
    with pytest.raises(UsageError, match="check digit"):
        search.search("US0378331006")
    assert server.count() == 2


def test_answers_grow_old(
    search: SymbolSearch, server: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With hits for seven days, without any for one; `refresh` does not wait."""
    counts = []
    for days, text in ((0, "apple"), (0, "none"), (2, "apple"), (2, "none"), (8, "apple")):
        later = clock.real_now() + timedelta(days=days)
        monkeypatch.setenv("TICKERLAKE_NOW", later.isoformat())
        search.search(text)
        counts.append(server.count())
    assert counts == [1, 2, 2, 3, 4]
    search.search("apple", refresh=True)
    assert server.count() == 5


def test_many_who_ask_the_same_at_once_send_one_request(
    search: SymbolSearch, server: ProviderServer
) -> None:
    """A crowd of pages types one word: the first one asks, the others wait and find it."""
    with ThreadPoolExecutor(8) as crowd:
        found = list(crowd.map(lambda _: symbols(search.search("apple")), range(8)))
    assert found == [["AAPL", "APLE"]] * 8
    assert server.count() == 1


class Telling(YahooSource):
    """Yahoo, whose quotes are told without a request."""

    described: Sequence[str] = ()

    def describe(self, symbols: Sequence[str]) -> Sequence[Hit]:
        self.described = symbols
        return [Hit(s, "", "equity", "LSE", "GBp", "yahoo", s, first=DAY.date()) for s in symbols]


def test_details_are_asked_for_once(server: ProviderServer, tmp_path: Path) -> None:
    """Currency and first day of hits that lack them; the next time all is known."""
    settings = YahooSettings(base_url=server.base_url, requests_per_second=None)
    with closing(Telling(settings)) as source:
        search = SymbolSearch(SymbolIndex(tmp_path / "i.sqlite"), only(source))
        (found,) = search.search("BJ0CDD2", details=True)
        assert (found.currency, found.first) == ("GBp", DAY.date())
        assert source.described == ["MNTN.L"]
        source.described = ()
        search.search("BJ0CDD2", details=True)
        assert source.described == ()


class Exchange:
    """A provider whose symbols come all at once."""

    name = "exchange"
    limits = Limits()
    listings = 0

    def listing(self) -> Sequence[Hit]:
        self.listings += 1
        old = Hit("LUNA-USD", "Luna", "crypto", None, "USD", "exchange", "LUNA-USD", listed=False)
        new = Hit("LUNA2-USD", "Luna", "crypto", None, "USD", "exchange", "LUNA2-USD", listed=True)
        return [old, new]


def test_a_provider_that_lists_all_is_asked_once(
    source: YahooSource, server: ProviderServer, tmp_path: Path
) -> None:
    """Its list answers every text; hits of both providers are one list."""
    exchange: Any = Exchange()
    both = only(source, exchange)
    search = SymbolSearch(SymbolIndex(tmp_path / "i.sqlite"), both)
    assert symbols(search.search("luna")) == ["LUNA2-USD", "LUNA-USD"]
    assert symbols(search.search("apple")) == ["AAPL", "APLE"]
    assert symbols(search.search("luna", names=["yahoo"])) == []
    assert (exchange.listings, server.count()) == (1, 2)


class Broken:
    """A provider that nobody reaches."""

    name = "broken"
    limits = Limits(identifiers=("isin",))
    asked = 0

    def search(self, text: str, *, limit: int = 20) -> Sequence[Hit]:
        self.asked += 1
        raise UnreachableError("Broken cannot be reached.", found=text)


def test_one_provider_that_fails_does_not_hide_the_others(
    source: YahooSource, tmp_path: Path
) -> None:
    """Its failure is told, it is left alone for a while, and with nothing known it is the error."""
    broken: Any = Broken()
    index = SymbolIndex(tmp_path / "i.sqlite")
    found = SymbolSearch(index, only(source, broken)).search("apple")
    assert symbols(found) == ["AAPL", "APLE"]
    assert list(found.failures) == ["broken"]
    assert not found.is_partial
    alone = SymbolSearch(index, only(broken))
    assert alone.search("hospitality").is_partial
    with pytest.raises(UnreachableError, match="left alone"):
        alone.search("unheard of")
    assert broken.asked == 1
    no_pause = SymbolSearch(index, only(broken), SearchSettings(pause_minutes=0.0))
    with pytest.raises(UnreachableError, match="cannot be reached"):
        no_pause.search("unheard of", refresh=True)


def test_a_damaged_index_is_begun_anew_and_a_newer_one_left_alone(
    search: SymbolSearch, server: ProviderServer, tmp_path: Path
) -> None:
    """What is no database is set aside; what a later version wrote is not touched."""
    path = tmp_path / "symbols.sqlite"
    path.write_bytes(b"no database at all" * 100)
    assert symbols(search.search("apple")) == ["AAPL", "APLE"]
    assert path.with_suffix(".damaged").exists()
    with sqlite3.connect(path) as index:
        index.execute("pragma user_version = 99")
    index.close()
    with pytest.raises(NewerVersionError):
        search.search("apple")


@pytest.mark.parametrize("verb", ["fetch", "publish"])
def test_a_currency_that_no_search_tells_is_known_of_what_was_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """Bars of MUV2.DE came in EUR: its hit says so, from one request for the text and no other."""
    rows = {"2024-01-09T08:00": (10.0, 11.0, 9.0, 10.0, 100.0)}
    bars = chart(
        rows, symbol="MUV2.DE", currency="EUR", exchangeName="GER", longName="Münchener Rück",
        exchangeTimezoneName="Europe/Berlin", regular=("2024-01-09T08:00", "2024-01-09T16:30"),
    )  # fmt: skip

    def both(request: ProviderRequest) -> ProviderAnswer:
        return ProviderAnswer(bars) if "chart" in request.path else yahoo(request)

    monkeypatch.setenv("TICKERLAKE_NOW", "2024-01-12T22:00:00Z")
    with provider_server(both) as server:
        monkeypatch.setenv("TICKERLAKE_SOURCES_YAHOO_BASE_URL", server.base_url)
        workspace, _ = config.make_workspace(tmp_path / "w")
        words = ["MUV2.DE", "--source", "yahoo", "--start", "2024-01-09", "--end", "2024-01-09"]
        assert main([verb, *words, "--workspace", str(workspace)]) == 0
        asked = server.count()
        with tickerlake.open(workspace) as opened:
            (found,) = opened.search("münchener", sources=["yahoo"])
        assert (found.symbol, found.currency) == ("MUV2.DE", "EUR")
        assert server.count() == asked + 1


def test_the_verb_prints_hits_and_asks_once(server: ProviderServer, tmp_path: Path) -> None:
    """As users call it: JSON with every field, then offline, then from Python: one request."""
    with ExitStack() as stack:
        run("init", ".", cwd=tmp_path)
        env = {"TICKERLAKE_SOURCES_YAHOO_BASE_URL": server.base_url}
        said = run("search", "apple", "--json", cwd=tmp_path, **env)
        assert [row["symbol"] for row in said.json] == ["AAPL", "APLE"]
        assert said.json[0] | {"also": []} == said.json[0]
        assert said.json[0]["name"] == "Apple Inc."
        assert (said.json[0]["exchange"], said.json[0]["type"]) == ("NMS", "equity")
        assert (said.json[0]["currency"], said.json[0]["provider_symbol"]) == ("USD", "AAPL")
        text = run("search", "app", "--offline", cwd=tmp_path, **env)
        assert "Apple Hospitality" in text.out
        assert "nobody was asked" in text.err
        bad = run("search", "US0378331006", cwd=tmp_path, expect=2, **env)
        assert "check digit" in bad.err
        workspace = stack.enter_context(tickerlake.open(tmp_path))
        found = workspace.search("apple", offline=True)
        assert found.to_arrow().column("symbol").to_pylist() == ["AAPL", "APLE"]
    assert server.count() == 1


def test_the_page_shows_what_the_lake_has_then_what_else_there_is(
    search: SymbolSearch, server: ProviderServer
) -> None:
    """Rows of the lake say so and come first; providers are asked only if nothing known fits."""
    from tickerlake.testing.page import BarsChain, bars_table

    bars = bars_table([{"symbol": "APLE", "provider": "yahoo", "ts": DAY, "close": 1.0}])

    def find(text: str, /, *, ask: bool | None) -> list[dict[str, Any]]:
        mode: Any = "typing" if ask is None else "ask" if ask else "offline"
        return search.search(text, mode=mode).rows()

    with serve_in_thread(BarsChain(bars), WebSettings(port=0), find) as address:

        def found(**query: str) -> list[dict[str, Any]]:
            rows: list[dict[str, Any]] = httpx.get(f"{address}api/search", params=query).json()
            return rows

        assert [(r["symbol"], r["stored"]) for r in found(q="apl")] == [("APLE", True)]
        assert found(q="apple", ask="no") == []
        assert server.count() == 0
        rows = found(q="apple")
        assert [(r["symbol"], r["stored"]) for r in rows] == [("AAPL", False), ("APLE", True)]
        assert (rows[1]["last"], rows[1]["name"]) == (1.0, "Apple Hospitality")
        assert rows[0]["ts"] is None
        assert [r["symbol"] for r in found(q="hospital")] == ["APLE"]
    assert server.count() == 1

"""What a provider tells on its socket and again in its history is one record in the lake.

Of each provider: the first record comes live before a cut, the second comes while nobody listens,
the third comes live after it. History tells all three, in its own words.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tickerlake.publish import Publisher, publish_feed
from tickerlake.query.known import known_actions, known_bars
from tickerlake.query.registry import open_engine
from tickerlake.records import TOPICS, Kind
from tickerlake.sources import open_source
from tickerlake.sources.feed import Feed
from tickerlake.sources.sockets import SocketSettings
from tickerlake.testing.engine_suite import House
from tickerlake.testing.provider import ProviderAnswer, ProviderRequest, provider_server
from tickerlake.testing.socket_provider import Cut, Hear, Say, Silence, Step, socket_provider

QUICK = SocketSettings(
    batch_seconds=0.01,
    reconnect_seconds=0.01,
    backfill_pause_seconds=0.01,
    backfill_settle_seconds=0.0,
)
NOW = datetime(2024, 3, 5, 15, 30, 20, tzinfo=UTC)
NUMBERS = (1, 2, 3)
_STORIES = itertools.count()


@pytest.fixture(autouse=True)
def story(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is now in each test, whenever it runs: each has its own microsecond to begin at."""
    monkeypatch.setenv("TICKERLAKE_NOW", NOW.replace(microsecond=next(_STORIES)).isoformat())


def ns(number: int) -> int:
    """When trade or quote `number` was: to the nanosecond, all of the last seconds."""
    return int(NOW.timestamp() - 3) * 10**9 + number * 100_000_000 + 123_456_789


def ms(number: int) -> int:
    return ns(number) // 10**6


def text(nanoseconds: int, digits: int) -> str:
    """ISO 8601 with so many digits of a second."""
    at = datetime.fromtimestamp(nanoseconds // 10**9, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{nanoseconds % 10**9 // 10 ** (9 - digits):0{digits}}Z"


def minute(number: int) -> int:
    """The start of bar `number` in epoch seconds; the third one runs now."""
    return int(NOW.timestamp()) // 60 * 60 + 60 * (number - 3)


@dataclass(frozen=True)
class Case:
    """A provider, how its socket tells record n, and how its history tells all of them."""

    name: str
    symbol: str
    kind: Kind
    frame: Callable[[int], object]
    history: Callable[[ProviderRequest], object]
    #: What the socket says before records, one step a connection.
    opening: Sequence[Step] = (Hear(),)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def talk(self, number: int, *then: Step) -> list[Step]:
        return [*self.opening, Say(json.dumps(self.frame(number))), *then]


ALPACA: dict[str, Any] = {
    "opening": (
        Say('[{"T":"success","msg":"connected"}]'),
        Hear(),
        Say('[{"T":"success","msg":"authenticated"}]'),
        Hear(),
        Say('[{"T":"subscription","trades":["ACME"]}]'),
    ),
    "settings": {"api_key": "k", "api_secret": "s", "delay_seconds": 0.0},
}
MASSIVE: dict[str, Any] = {
    "opening": (
        Say('[{"ev":"status","status":"connected","message":"Connected Successfully"}]'),
        Hear(),
        Say('[{"ev":"status","status":"auth_success","message":"authenticated"}]'),
        Hear(),
        Say('[{"ev":"status","status":"success","message":"subscribed to: T.ACME"}]'),
    ),
    "settings": {"api_key": "k", "delay_seconds": 0.0, "corporate_actions": False},
}


def alpaca_trade(n: int) -> dict[str, Any]:
    trade = {"i": 7000 + n, "x": "V", "p": 10.5 + n, "s": 3, "c": ["@", "I"], "z": "C"}
    return trade | {"t": text(ns(n), 9)}


def alpaca_quote(n: int) -> dict[str, Any]:
    quote = {"bx": "V", "bp": 10.25 + n, "bs": 1, "ax": "Q", "ap": 10.75 + n, "as": 2, "c": ["R"]}
    return quote | {"z": "C", "t": text(ns(n), 9)}


def alpaca_bar(n: int) -> dict[str, Any]:
    at = text(minute(n) * 10**9, 1).replace(".0Z", "Z")
    return {"o": 10 + n, "h": 12 + n, "l": 9, "c": 11 + n, "v": 100, "n": 5, "vw": 10.2, "t": at}


def alpaca_answers(name: str, row: Callable[[int], object]) -> Callable[[ProviderRequest], object]:
    def answer(request: ProviderRequest) -> object:
        assert request.path == f"/v2/stocks/{name}"
        return {name: {"ACME": [row(n) for n in NUMBERS]}, "next_page_token": None}

    return answer


def massive_answers(row: Callable[[int], object]) -> Callable[[ProviderRequest], object]:
    return lambda _: {"status": "OK", "ticker": "ACME", "results": [row(n) for n in NUMBERS]}


def massive_trade(n: int) -> dict[str, Any]:
    """Of the third version: nanoseconds, other names, and numbers that are no whole ones."""
    return {
        "conditions": [12, 37], "exchange": 4, "id": str(7000 + n), "price": 10.5 + n, "size": 3,
        "decimal_size": "3.25", "participant_timestamp": ns(n) - 999, "sequence_number": 9 + n,
        "sip_timestamp": ns(n), "tape": 1,
    }  # fmt: skip


def massive_live_trade(n: int) -> object:
    trade = {"ev": "T", "sym": "ACME", "x": 4, "i": str(7000 + n), "z": 1, "p": 10.5 + n, "s": 3}
    return [trade | {"ds": "3.25", "c": [12, 37], "t": ms(n), "q": 9 + n}]


def massive_quote(n: int) -> dict[str, Any]:
    return {
        "bid_price": 10.25 + n, "bid_size": 100, "ask_price": 10.75 + n, "ask_size": 200,
        "bid_exchange": 4, "ask_exchange": 7, "sip_timestamp": ns(n), "participant_timestamp": 1,
    }  # fmt: skip


def massive_live_quote(n: int) -> object:
    quote = {"ev": "Q", "sym": "ACME", "bx": 4, "bp": 10.25 + n, "bs": 100, "ax": 7, "as": 200}
    return [quote | {"ap": 10.75 + n, "c": 0, "t": ms(n), "q": 10 + n, "z": 3}]


def massive_bar(n: int) -> dict[str, Any]:
    at = {"t": minute(n) * 1000, "n": 5, "vw": 10.2}
    return at | {"o": 10 + n, "h": 12 + n, "l": 9, "c": 11 + n, "v": 100.5}


def massive_live_bar(n: int, event: str = "AM") -> object:
    bar = {"ev": event, "sym": "ACME", "v": 101, "dv": "100.5", "av": 9000, "op": 10.1, "vw": 10.2}
    bar |= {"o": 10 + n, "h": 12 + n, "l": 9, "c": 11 + n, "a": 10.2, "z": 60}
    return [bar | {"s": minute(n) * 1000, "e": minute(n) * 1000 + 60_000}]


def second(number: int) -> int:
    return int(NOW.timestamp() - 3) * 1000 + number * 1000


def massive_second(n: int) -> dict[str, Any]:
    return massive_bar(n) | {"t": second(n)}


def massive_live_second(n: int) -> object:
    (bar,) = massive_live_bar(n, "A")  # type: ignore[misc]
    return [bar | {"s": second(n), "e": second(n) + 1000}]


def binance_trade(n: int) -> dict[str, Any]:
    return {
        "a": 7000 + n, "p": f"{10 + n}.50000000", "q": "0.25000000", "f": n, "l": n, "T": ms(n),
        "m": n % 2 == 0, "M": True,
    }  # fmt: skip


def binance_live_trade(n: int) -> object:
    row = binance_trade(n) | {"e": "aggTrade", "E": ms(n) + 5, "s": "ACMEUSDT"}
    return {"stream": "acmeusdt@aggTrade", "data": row}


def binance_bar(n: int) -> list[Any]:
    start = minute(n) * 1000
    return [start, f"{10 + n}.0", "20.0", "9.0", f"{11 + n}.0", "10.0", start + 59_999, "15", 3,
            "5", "7", "0"]  # fmt: skip


def binance_live_bar(n: int) -> object:
    start = minute(n) * 1000
    bar = {"t": start, "T": start + 59_999, "s": "ACMEUSDT", "i": "1m", "x": n < 3, "n": 3}
    bar |= {"o": f"{10 + n}.0", "h": "20.0", "l": "9.0", "c": f"{11 + n}.0", "v": "10.0"}
    event = {"e": "kline", "E": start + 59_999, "s": "ACMEUSDT", "k": bar}
    return {"stream": "acmeusdt@kline_1m", "data": event}


def binance_answers(request: ProviderRequest) -> object:
    start = int(request.query.get("startTime", "0"))
    if request.path == "/api/v3/klines":
        return [row for row in map(binance_bar, NUMBERS) if row[0] >= start]
    assert request.path == "/api/v3/aggTrades"
    return [row for row in map(binance_trade, NUMBERS) if row["T"] >= start]


def coinbase_trade(n: int) -> dict[str, Any]:
    return {
        "trade_id": 7000 + n, "side": "sell" if n % 2 else "buy", "size": "0.25000000",
        "price": f"{10 + n}.50", "time": text(ns(n), 6),
    }  # fmt: skip


def coinbase_live_trade(n: int) -> object:
    orders = {"maker_order_id": "m", "taker_order_id": "t", "sequence": 99 * n}
    return {"type": "match", "product_id": "ACME-USD"} | orders | coinbase_trade(n)


def coinbase_answers(request: ProviderRequest) -> object:
    assert request.path == "/products/ACME-USD/trades"
    before = int(request.query.get("after", "9999"))
    return [coinbase_trade(n) for n in reversed(NUMBERS) if 7000 + n < before]


def kraken_live_trade(n: int) -> object:
    row = {
        "symbol": "ACME/USD",
        "side": "buy",
        "price": 10.5 + n,
        "qty": 0.25,
        "trade_id": 7000 + n,
    }
    row |= {"ord_type": "limit", "timestamp": text(ns(n), 6)}
    return {"channel": "trade", "type": "update", "data": [row]}


def kraken_answers(_: ProviderRequest) -> object:
    """Seconds with seven digits, letters for words, and a name that nobody asked for."""
    rows = [
        [f"{10 + n}.50000", "0.25000000", ns(n) // 100 / 10**7, "b", "l", "", 7000 + n]
        for n in NUMBERS
    ]
    return {"error": [], "result": {"ACMEZUSD": rows, "last": str(ns(3))}}


def bitfinex_live_trade(n: int) -> object:
    return [5, "te", [7000 + n, ms(n), -0.25 if n % 2 else 0.25, 10.5 + n]]


def bitfinex_answers(request: ProviderRequest) -> object:
    assert request.path == "/v2/trades/tACMEUSD/hist"
    return [[7000 + n, ms(n), -0.25 if n % 2 else 0.25, 10.5 + n] for n in NUMBERS]


def named(tag: str, name: str, row: Callable[[int], dict[str, Any]]) -> Callable[[int], object]:
    return lambda n: [{"T": tag, "S": name} | row(n)]


BITFINEX: dict[str, Any] = {
    "opening": (
        Hear(2),
        Say('{"event":"subscribed","channel":"trades","chanId":5,"symbol":"tACMEUSD"}'),
    ),
}
CASES = [
    Case("alpaca", "ACME", "trade", named("t", "ACME", alpaca_trade),
         alpaca_answers("trades", alpaca_trade), **ALPACA),
    Case("alpaca", "ACME", "quote", named("q", "ACME", alpaca_quote),
         alpaca_answers("quotes", alpaca_quote), **ALPACA),
    Case("alpaca", "ACME", "bar", named("b", "ACME", alpaca_bar),
         alpaca_answers("bars", alpaca_bar), **ALPACA),
    Case("massive", "ACME", "trade", massive_live_trade, massive_answers(massive_trade), **MASSIVE),
    Case("massive", "ACME", "quote", massive_live_quote, massive_answers(massive_quote), **MASSIVE),
    Case("massive", "ACME", "bar", massive_live_bar, massive_answers(massive_bar), **MASSIVE),
    Case("massive", "ACME", "bar", massive_live_second, massive_answers(massive_second),
         opening=MASSIVE["opening"], settings=MASSIVE["settings"] | {"live_intervals": ["1s"]}),
    Case("binance", "ACMEUSDT", "trade", binance_live_trade, binance_answers),
    Case("binance", "ACMEUSDT", "bar", binance_live_bar, binance_answers),
    Case("binance_us", "ACMEUSDT", "trade", binance_live_trade, binance_answers),
    Case("binance_us", "ACMEUSDT", "bar", binance_live_bar, binance_answers),
    Case("coinbase", "ACME-USD", "trade", coinbase_live_trade, coinbase_answers),
    Case("kraken", "ACME/USD", "trade", kraken_live_trade, kraken_answers),
    Case("bitfinex", "tACMEUSD", "trade", bitfinex_live_trade, bitfinex_answers, **BITFINEX),
]  # fmt: skip


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}-{case.kind}")
def test_it_is_one_record(case: Case, house: House) -> None:
    """Three records and a filled gap, whoever told them."""
    told: list[str] = []
    stop = threading.Event()
    patience = threading.Timer(60, stop.set)
    patience.start()
    with (
        provider_server(lambda request: ProviderAnswer(case.history(request))) as rest,
        socket_provider(case.talk(1, Cut()), case.talk(3, Silence())) as server,
    ):
        mine = {"base_url": rest.base_url, "socket_url": server.url, "requests_per_second": None}
        source = open_source(case.name, settings=mine | case.settings)
        publisher = Publisher(
            source,
            house.stream,
            known=partial(known_bars, house.lake, house.stream),
            known_actions=partial(known_actions, house.lake, house.stream),
        )
        feed = Feed(source, [case.symbol], [case.kind], QUICK)
        for report in publish_feed(feed, publisher, stop=stop):
            told += [said.event for said in report.said]
            if told.count("connected") == 2 and "filled" in told:
                stop.set()
    patience.cancel()
    house.deliver()
    with closing(open_engine("duckdb", lake=house.lake, stream=house.stream)) as engine:
        rows = engine.sql(f"select * from {TOPICS[case.kind]} order by ts").table.to_pylist()
        twice = engine.sql("select ts from bars_history group by ts, state having count(*) > 1")
        assert not twice.table.num_rows  # a bar that became final in history is news, once
        gaps = engine.sql("select filled, reason from gaps").table.to_pylist()
    assert [gap["filled"] for gap in gaps] == [True], gaps
    value = {"bar": "open", "trade": "price", "quote": "bid"}[case.kind]
    assert [int(row[value]) for row in rows] == [10 + n for n in NUMBERS]

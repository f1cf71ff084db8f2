"""Recordings of crypto exchanges in other forms than those we saw."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from tickerlake.errors import MalformedError
from tickerlake.sources import Answer, BarsRequest, open_source
from tickerlake.testing.provider import ProviderAnswer, ProviderRequest, provider_server

MS = 1704067200000
DAY_MS = 86_400_000


def parsed(name: str, document: object, **told: Any) -> Answer:
    payload = document if isinstance(document, str) else json.dumps(document)
    return open_source(name).parse(payload.encode(), **told)


def kline(opened: int, length: int, *prices: object) -> list[object]:
    return [opened, *(prices or ("10", "11", "9", "10.5", "7")), opened + length - 1, "0", 1]


def wrapped(url: str, body: object) -> dict[str, Any]:
    return {"request": {"url": url}, "response": {"status": 200, "bodyJson": body}}


CANDLE = [1704067200, "10", "11", "9", "10.5", "10.1", "7", 3]


def ohlc(*rows: list[Any]) -> dict[str, Any]:
    return {"error": [], "result": {"XXBTZUSD": list(rows), "last": 1}}


@pytest.mark.parametrize(
    ("name", "document", "told"),
    [
        ("binance", [kline(MS, 7_200_000)], "7,200 s"),
        ("binance", [kline(MS, 3 * DAY_MS)], "259,200 s"),
        ("coinbase", [[1704088800, 9, 11, 10, 10.5, 7], [1704067200, 9, 11, 10, 10.5, 7]],
         "21,600 s"),
        ("bitfinex", [[MS, 10, 10.5, 11, 9, 7], [MS + 10_800_000, 10, 10.5, 11, 9, 7]],
         "10,800 s"),
        ("kraken", ohlc(CANDLE, [1704067200 + 1_296_000, *CANDLE[1:]]), "1,296,000 s"),
        ("coinbase", [[1704067200, 9, 11, 10, 10.5, 7]], "name it: --interval"),
    ],
)  # fmt: skip
def test_intervals_without_a_name_say_how_long_they_are(
    name: str, document: object, told: str
) -> None:
    """The error tells what was found, and what to do where nothing was."""
    with pytest.raises(MalformedError, match=told):
        parsed(name, document, symbol="tACMEUSD")


def test_weeks_start_on_monday() -> None:
    """Kraken's weeks start on Thursday: they are refused, not taken for ours."""
    thursday = 1704326400
    rows = ([thursday, *CANDLE[1:]], [thursday + 604_800, *CANDLE[1:]])
    with pytest.raises(MalformedError, match="Monday"):
        parsed("kraken", ohlc(*rows))
    monday = parsed("kraken", ohlc(CANDLE, [1704067200 + 604_800, *CANDLE[1:]]))
    assert monday.bars["interval"].to_pylist() == ["1wk"] * 2
    assert monday.notes == ("bars of 1wk, by their distance: nothing says it",)


def test_kraken_asks_for_minutes_where_it_names_no_interval() -> None:
    """An address without an interval is one of minutes (documented)."""
    url = "https://api.kraken.com/0/public/OHLC?pair=XBTUSD"
    assert parsed("kraken", wrapped(url, ohlc(CANDLE))).bars["interval"].to_pylist() == ["1m"]


@pytest.mark.parametrize("number", ["10.5", 10.5])
def test_numbers_and_texts_may_be_mixed(number: object) -> None:
    """One column may hold both, and null; each is rounded once."""
    rows = [kline(MS + n * DAY_MS, DAY_MS, value, "11", 9, "10.5", 7)
            for n, value in enumerate((None, number, "0.1"))]  # fmt: skip
    bars = parsed("binance", rows, symbol="ACMEUSDT").bars
    assert bars["open"].to_pylist() == [None, 10.5, 0.1]
    kraken = parsed("kraken", ohlc(CANDLE, [1704067260, 10, 11, 9, 10.5, 10.1, 7, 3])).bars
    assert kraken["close"].to_pylist() == [10.5, 10.5]


def test_times_of_whole_seconds_stand_beside_fractions() -> None:
    """A trade at a whole second is a number without a point: no digit of the others is lost."""
    text = """{"error":[],"result":{"XXBTZUSD":[
      ["1.5","2",1704067200.123456789,"b","m","",7],["1.5","2",1704067201,"s","l",""]]}}"""
    trades = parsed("kraken", text).ticks["trade"]
    assert trades["ts_ns"].to_pylist() == [1704067200123456000, 1704067201000000000]


def test_what_is_no_number_is_refused() -> None:
    """NaN as a text is no price."""
    with pytest.raises(MalformedError, match="finite"):
        parsed("binance", [kline(MS, DAY_MS, "NaN", "1", "1", "1", "1")], symbol="ACMEUSDT")


@pytest.mark.parametrize("side", [None, {}, ["sell"], 7])
@pytest.mark.parametrize("name", ["binance", "coinbase"])
def test_a_side_that_nobody_tells_is_none(name: str, side: object) -> None:
    """It is not taken for a purchase, nor for a sale, whatever stands in its place."""
    trade = {
        "binance": {"a": 1, "p": "1", "q": "1", "T": MS, "m": side},
        "coinbase": {"trade_id": 1, "price": "1", "size": "1", "time": "2024-01-01T00:00:00Z",
                     "side": side},
    }[name]  # fmt: skip
    trades = parsed(name, [trade], symbol="ACME-USD").ticks["trade"]
    assert trades["conditions"].to_pylist() == [None]


@pytest.mark.parametrize(
    ("name", "document", "note"),
    [
        ("binance", [], "Binance answered without rows"),
        ("binance", {"symbol": "ACME", "price": "1"},
         "newest prices, without their time, no records"),
        ("coinbase", {"ask": "1", "bid": "1"}, "the ticker's newest state, no records"),
        ("coinbase", {"id": "A-B", "base_currency": "A"}, "what a product is, no records"),
        ("kraken", {"error": [], "result": {"unixtime": 1}},
         "the server's time or state, no records"),
        ("kraken", {"error": [], "result": {"XBTUSD": [[1, "2", "3"]], "last": 1}},
         "best bids and asks of the past, no records"),
        ("bitfinex", [1], "the state of the platform, no records"),
        ("bitfinex", [["tACMEUSD", *range(10)]], "the newest states of markets, no records"),
        ("bitfinex", [[8744.9, 2, 0.4], [8744.8, 1, 0.2]], "the book of orders, no records"),
        ("bitfinex", [float(n) for n in range(10)], "the newest state of one market, no records"),
    ],
)  # fmt: skip
def test_answers_without_records_say_what_they_are(name: str, document: object, note: str) -> None:
    """None is an error, and none is silent."""
    assert parsed(name, document, symbol="tACMEUSD").notes == (note,)


def test_funding_is_another_market() -> None:
    """Rates of interest are no prices: the symbol tells, from the address or beside it."""
    url = "https://api-pub.bitfinex.com/v2/candles/trade%3A1D%3AfUSD%3Ap30/hist"
    answer = parsed("bitfinex", wrapped(url, [[MS, 1, 2, 3, 1, 7]]))
    assert not answer.tables()
    assert "funding" in answer.notes[0]
    encoded = url.replace("fUSD%3Ap30", "tACME%3AUSD")
    bars = parsed("bitfinex", wrapped(encoded, [[MS, 1, 2, 3, 1, 7]])).bars
    assert bars["symbol"].to_pylist() == ["tACME:USD"]


def test_kraken_frames_of_other_channels_are_told_once() -> None:
    """A book of thousands of frames is one sentence."""
    frames = [{"channel": "book", "type": "update", "data": [{"n": n}]} for n in range(50)]
    answer = parsed("kraken", "\n".join(map(json.dumps, frames)))
    assert answer.notes == ("frames of book, which hold no records of ours, were left out",)


def klines(request: ProviderRequest) -> ProviderAnswer:
    """Minutes without an end; the third row of each page has no prices."""
    first = -(-int(request.query["startTime"]) // 60_000)
    last = int(request.query["endTime"]) // 60_000
    rows = [kline(minute * 60_000, 60_000) for minute in range(first, last + 1)][:1000]
    if len(rows) > 2:
        rows[2] = kline(int(str(rows[2][0])), 60_000, *[None] * 5)
    return ProviderAnswer(rows)


def test_a_row_that_is_left_out_ends_no_page() -> None:
    """A page that is full but for a row without prices is not taken for the last one."""
    day = date(2024, 1, 2)
    with provider_server(klines) as server:
        settings = {"base_url": server.base_url, "requests_per_second": None}
        source = open_source("binance", settings=settings)
        bars = source.bars(BarsRequest("ACMEUSDT", "1m", day, day)).bars
    assert bars.num_rows == 1440 - 2
    assert bars["ts"][-1].as_py().isoformat() == "2024-01-02T23:59:00+00:00"


def test_an_excerpt_without_its_subscription_says_so_once() -> None:
    """Bitfinex's numbers mean nothing without it: one sentence for all frames of such channels."""
    frames = [[19111, "te", [n, 1574694478808, 0.5, 7245.3]] for n in range(50)]
    answer = parsed("bitfinex", "\n".join(map(json.dumps, frames)))
    assert not answer.tables()
    assert answer.notes == (
        "frames of channels whose subscription is not among these were left out",
    )

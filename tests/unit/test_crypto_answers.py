"""Answers of the crypto exchanges that hold no records say so; none is an error."""

from __future__ import annotations

import json

import pytest

from tickerlake.sources import open_source

CASES = [
    ("binance", {"lastUpdateId": 1, "bids": [], "asks": []}, "the book of orders"),
    ("binance", [{"symbol": "ACMEUSDT", "bidPrice": "1", "askPrice": "2"}], "best bid and ask"),
    ("coinbase", [{"id": "ACME", "name": "Acme", "max_precision": "0.1"}], "a list of currencies"),
    ("coinbase", {"bids": [], "asks": [], "sequence": 1}, "the book of orders"),
    ("kraken", {"error": [], "result": {"XBT": {"aclass": "currency"}}}, "a list of assets"),
    ("kraken", {"error": [], "result": {"XXBTZUSD": {"v": ["1", "2"]}}}, "the ticker"),
    ("bitfinex", [["ACMEUSD"]], "a list of 1 pairs"),
]


@pytest.mark.parametrize(("name", "document", "words"), CASES)
def test_an_answer_without_records_is_told(name: str, document: object, words: str) -> None:
    """A recording of another part of the API is named for what it is."""
    answer = open_source(name).parse(json.dumps(document).encode())
    assert answer.tables() == []
    assert words in answer.notes[0]


def test_a_pretty_printed_answer_is_no_capture() -> None:
    """Recorders write JSON over many lines: it is one document all the same."""
    rows = [[1704153600 - day * 86_400, 1, 4, 2, 3, 5] for day in range(4)]
    answer = open_source("coinbase").parse(json.dumps(rows, indent=2).encode(), symbol="ACME-USD")
    assert answer.bars["interval"].to_pylist() == ["1d"] * 4


ODD = [
    {"event": "subscribed", "channel": {}, "chanId": 17, "symbol": "tACMEUSD"},
    {"event": "subscribed", "channel": "trades", "chanId": "17", "symbol": "tACMEUSD"},
    {"event": "subscribed", "channel": "trades", "chanId": 18, "symbol": "tACMEUSD"},
    [18, {"a": 1}, 1],
    [18, "te", {"0": 1}, 2],
    [18, "te", [1.5, 1704207600000, 1, 1], 3],
    [18, "te", [10**30, 1704207600000, 1, 1], 4],
    [18, "te", [1, 5, 1, 1], 5],
    [18, "te", [1, 1704207600000, True, 1], 6],
]


def test_odd_rows_of_bitfinex_are_told() -> None:
    """Whatever stands in a row costs that row alone (found by fuzzing)."""
    good = [18, "te", [7, 1704207600000, 1, 1], 7]
    lines = "\n".join(json.dumps(frame) for frame in [*ODD, good])
    answer = open_source("bitfinex").parse(lines.encode())
    assert answer.ticks["trade"]["trade_id"].to_pylist() == ["7"]


def test_a_cassette_of_several_requests_keeps_all_of_them() -> None:
    """Each answer has the symbol and interval of its own request; none hides another's bars."""
    row = [1704153600, 1, 4, 2, 3, 5]
    interactions = [
        {
            "request": {"uri": f"https://x.example/products/{product}/candles?granularity=86400"},
            "response": {"status": {"code": 200}, "body": {"string": json.dumps([row])}},
        }
        for product in ("ACME-USD", "ACME-EUR")
    ]
    cassette = json.dumps({"interactions": interactions}).encode()
    bars = open_source("coinbase").parse(cassette).bars
    assert bars.select(["symbol", "interval", "currency"]).to_pylist() == [
        {"symbol": "ACME-EUR", "interval": "1d", "currency": "EUR"},
        {"symbol": "ACME-USD", "interval": "1d", "currency": "USD"},
    ]

"""Recordings in other forms than those we saw: what a provider's parser makes of them."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from tickerlake.errors import ConfigError, RateLimitedError, UnreachableError
from tickerlake.sources import Answer, open_source


def parsed(name: str, document: object, **told: Any) -> Answer:
    payload = document if isinstance(document, bytes) else encoded(document)
    return open_source(name).parse(payload, **told)


def encoded(document: object) -> bytes:
    return document.encode() if isinstance(document, str) else json.dumps(document).encode()


def wrapped(url: str, body: object, status: int = 200) -> dict[str, Any]:
    """An answer with its request, received a day after the second of January 2024."""
    date = "Wed, 03 Jan 2024 12:00:00 GMT"
    response = {"status": status, "headers": {"Date": [date]}, "bodyJson": body}
    return {"request": {"url": url}, "response": response}


MS = 1704207600123
STAMP = "2024-01-02T15:00:00.123456Z"
#: A frame with one trade of each provider whose frames are objects or arrays of objects.
FRAMES: dict[str, Any] = {
    "alpaca": [{"T": "t", "S": "ACME", "p": 10.5, "s": 3, "t": STAMP, "i": 7}],
    "massive": [{"ev": "T", "sym": "ACME", "p": 10.5, "s": 3, "t": MS, "i": "7"}],
    "finnhub": {"type": "trade", "data": [{"s": "ACME", "p": 10.5, "t": MS, "v": 3, "c": None}]},
    "binance": {"e": "aggTrade", "s": "ACMEUSDT", "a": 7, "p": "10.5", "q": "3", "T": MS,
                "m": True},
    "coinbase": {"type": "match", "trade_id": 7, "side": "sell", "size": "3", "price": "10.5",
                 "product_id": "ACME-USD", "time": STAMP},
    "kraken": {"channel": "trade", "type": "update",
               "data": [{"symbol": "ACME/USD", "side": "buy", "price": 10.5, "qty": 3.0,
                         "trade_id": 7, "timestamp": STAMP}]},
    "tiingo": {"messageType": "A", "service": "iex",
               "data": ["T", STAMP, MS * 10**6, "acme", None, None, None, None, None, 10.5, 3,
                        None, 0, 0, 0, 0]},
}  # fmt: skip


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize(
    ("form", "trades"),
    [
        ("one", 1), ("lines", 2), ("pretty", 1), ("pretty lines", 2), ("array", 2), ("packed", 2),
        ("marked", 2), ("shell", 2), ("ours", 1), ("ours, as document", 1), ("texts", 1),
        ("more fields", 1), ("numbers", 1),
    ],
)  # fmt: skip
def test_frames_in_every_form(name: str, form: str, trades: int) -> None:
    """However a recorder or an editor wrote them down, frames give the same trades, and no note."""
    frame = FRAMES[name]
    line, pretty = json.dumps(frame), json.dumps(frame, indent=2)
    ours = {"received_at": STAMP, "direction": "in", "url": "", "frame": line}
    payload: Any = {
        "one": line,
        "lines": f"{line}\n{line}\n",
        "pretty": pretty,
        "pretty lines": f"{pretty}\n{pretty}\n",
        "array": [frame, frame],
        "packed": gzip.compress(f"{line}\n{line}\n".encode()),
        "marked": f"{line}\r\n{line}\r\n".encode("utf-8-sig"),
        "shell": f"{line}\r\n{line}\r\n".encode("utf-16"),
        "ours": ours,
        "ours, as document": [{**ours, "frame": frame}],
        "texts": changed(frame, str, int | float),
        "more fields": changed(frame, lambda told: {**told, "new": {"of": [None]}}, dict),
        "numbers": changed(frame, lambda told: 10.5 if told == "10.5" else told, str),
    }[form]
    if name == "tiingo" and form in ("texts", "more fields"):
        payload = line  # its rows are told apart by their length, and their types
    answer = parsed(name, payload)
    table = answer.ticks["trade"]
    assert table["price"].to_pylist() == [10.5] * trades
    assert table["size"].to_pylist() == [3.0] * trades
    assert {stamp // 10**6 for stamp in table["ts_ns"].to_pylist()} == {MS}
    assert answer.notes == ()


def changed(document: Any, change: Any, kinds: Any) -> Any:
    """The document with all values of some types changed, inside out."""
    if isinstance(document, dict):
        document = {key: changed(value, change, kinds) for key, value in document.items()}
    elif isinstance(document, list):
        document = [changed(value, change, kinds) for value in document]
    fits = isinstance(document, kinds) and not isinstance(document, bool)
    return change(document) if fits else document


@pytest.mark.parametrize("name", ["alpaca", "massive"])
def test_events_of_other_kinds_are_told_once_a_kind(name: str) -> None:
    """A recording full of events that we have no record for says so in one sentence each."""
    tag = {"alpaca": "T", "massive": "ev"}[name]
    others = [{tag: "NEW", "n": number} for number in range(200)]
    answer = parsed(name, [*others, *FRAMES[name]])
    assert answer.ticks["trade"].num_rows == 1
    assert answer.notes == ("events of the kind 'NEW' were left out: we have no such record",)


def test_notes_are_few() -> None:
    """Thousands of odd frames do not become thousands of sentences."""
    notes = parsed("finnhub", "\n".join(f'{{"type": "odd {n}"}}' for n in range(1000))).notes
    assert len(notes) == 101
    assert notes[-1] == "and 900 more like these"


def test_a_torn_capture_says_so() -> None:
    """The last line of a recorder that was killed is not lost silently."""
    line = encoded({"received_at": STAMP, "direction": "in", "url": "", "frame": "{}"})
    answer = parsed("finnhub", line + b"\n" + line[:40])
    assert "the last line is torn, and was left out" in answer.notes


def test_a_capture_without_records_says_so() -> None:
    """A socket that only pinged gives no records, and a sentence about it."""
    assert parsed("finnhub", {"type": "ping"}).notes == ("no frame holds a record",)


FINNHUB = "https://finnhub.io/api/v1/"


@pytest.mark.parametrize(
    ("document", "note"),
    [
        ({"c": 1.5, "pc": 1.4, "t": 0, "d": None}, "the newest quote of a symbol, no records"),
        ([{"symbol": "ACME", "mic": "XNAS"}], "a list of symbols, no records"),
        ({"ticker": "ACME", "name": "Acme"}, "what a symbol is, no records"),
        ({"s": "no_data"}, "no candles, no records"),
        ([], "an empty list, no records"),
        (wrapped(FINNHUB + "search?q=x&token=k", {"count": 0, "result": []}),
         "an answer of Finnhub's search: 0 symbols, no records"),
    ],
)  # fmt: skip
def test_answers_of_finnhub_without_records(document: object, note: str) -> None:
    """Each says what it is, also packed and with its request around it."""
    assert parsed("finnhub", document).notes == (note,)
    assert parsed("finnhub", gzip.compress(encoded(document))).notes == (note,)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, {"error": "Invalid API key"}, ConfigError),
        (200, {"error": "You don't have access to this resource."}, ConfigError),
        (429, {"error": "API limit reached. Please try again later."}, RateLimitedError),
        (200, {"error": "API limit reached. Please try again later."}, RateLimitedError),
        (502, {}, UnreachableError),
        (302, {}, UnreachableError),
    ],
)
def test_errors_of_finnhub_in_recordings(status: int, body: object, error: type[Exception]) -> None:
    """A recorded refusal is the error that it was."""
    with pytest.raises(error):
        parsed("finnhub", wrapped(FINNHUB + "quote?symbol=ACME", body, status))

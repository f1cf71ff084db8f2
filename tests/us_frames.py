"""Frames of Alpaca's and Massive's sockets, written by us."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from tickerlake.sources import Frame

AT = datetime(2024, 1, 2, 15, 0, 1, tzinfo=UTC)
STAMP = "2024-01-02T15:00:00.123456789Z"
MS = 1704207600123

ALPACA_TRADE = {
    "T": "t", "S": "ACME", "i": 7, "x": "V", "p": 10.5, "s": 3, "c": ["@", "I"], "z": "C",
    "t": STAMP,
}  # fmt: skip
ALPACA_QUOTE = {
    "T": "q", "S": "ACME", "bx": "V", "bp": 10.25, "bs": 1, "ax": "Q", "ap": 10.75, "as": 2,
    "c": ["R"], "z": "C", "t": STAMP,
}  # fmt: skip
ALPACA_BAR = {
    "T": "b", "S": "ACME", "o": 10, "h": 11, "l": 9, "c": 10.5, "v": 100, "n": 5, "vw": 10.2,
    "t": "2024-01-02T15:00:00Z",
}  # fmt: skip
ALPACA_BANDS = {
    "T": "l", "S": "ACME", "u": 12.5, "d": 8.5, "i": "B", "t": STAMP, "z": "C",
}  # fmt: skip
MASSIVE_TRADE = {
    "ev": "T", "sym": "ACME", "x": 4, "i": "7", "z": 3, "p": 10.5, "s": 3, "c": [0, 12], "t": MS,
    "q": 9,
}  # fmt: skip
MASSIVE_QUOTE = {
    "ev": "Q", "sym": "ACME", "bx": 4, "bp": 10.25, "bs": 100, "ax": 7, "ap": 10.75, "as": 200,
    "c": 0, "i": [604], "t": MS, "q": 10, "z": 3,
}  # fmt: skip
MASSIVE_MINUTE = {
    "ev": "AM", "sym": "ACME", "v": 4111, "av": 9000, "op": 10.1, "vw": 10.2, "o": 10, "c": 10.5,
    "h": 11, "l": 9, "a": 10.2, "z": 60, "s": 1704207600000, "e": 1704207660000,
}  # fmt: skip
MASSIVE_BANDS = {
    "ev": "LULD", "T": "ACME", "h": 12.5, "l": 8.5, "i": [15, 22], "z": 3, "t": MS * 1_000_000,
    "q": 11,
}  # fmt: skip


def frames(*told: list[dict[str, Any]]) -> list[Frame]:
    """One frame each, a millisecond apart."""
    return [
        Frame(AT + timedelta(milliseconds=number), "in", "", json.dumps(events))
        for number, events in enumerate(told)
    ]

"""Answers and frames as no provider sends them: what a good one becomes by one or a few accidents.

Every choice is taken from the `random.Random` that is handed in, so the same state gives the same
accident, and a tool such as hypothesis can look for the smallest one.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

__all__ = ["mutated"]

#: What stands where something else should: of every type, at every edge.
_ODD: Final[Sequence[Any]] = (
    None, True, False, 0, -1, 1, 2**31, 2**53 + 1, 2**63, 10**30, -(10**30), 0.1, -0.0, 1e308,
    -1e308, 5e-324, float("nan"), float("inf"), "", " ", "0", "-1", "1e5", "1e999", "NaN", "null",
    "-", "12.34.56", "2024-02-30", "0000-00-00", "9999-12-31", "2024-01-02T25:00:00Z",
    "2024-01-02T10:00:00+99:00", "Mars/Olympus", "GBp", "é\u0000", "x" * 300, [], {},
    [[]], [None], [[1, 2, 3]], {"a": {"b": []}}, "٣", "\uff11\uff12",
)  # fmt: skip
_BYTES: Final[Sequence[bytes]] = (
    b"", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\n", b"\r\n\r\n", b",", b",,,,,,,", b'"', b"{",
    b"}", b"[", b"]", b"<", b"<html>", b"null", b"1e999", b"-", b"\\ud800", b"0" * 400,
    b"\xc3\x28", b"Date,Date",
)  # fmt: skip


def mutated(payload: bytes, random: Random) -> bytes:
    """The payload after one to three accidents."""
    for _ in range(random.randint(1, 3)):
        payload = _accident(payload, random)
    return payload


def _accident(payload: bytes, random: Random) -> bytes:
    if random.random() < 0.7:
        try:
            document = json.loads(payload)
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, dict | list) and document:
            return json.dumps(_in_document(document, random)).encode(errors="replace")
    wound: Callable[[bytes, Random], bytes] = random.choice(
        (_cut, _cut, _struck, _inserted, _doubled, _lines, _swapped)
    )
    return wound(payload, random)


def _in_document(document: Any, random: Random) -> Any:  # noqa: ANN401 - what JSON can say
    """One accident at one place of a document, chosen by walking down from its root."""
    place = document
    while True:
        keys: list[Any] = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = random.choice(keys)
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or random.random() < 0.3:
            break
        place = inner
    deed = random.randrange(8)
    if deed == 0:
        del place[key]
    elif deed == 1 and isinstance(place, list):
        place.insert(random.randrange(len(place) + 1), inner)
    elif deed == 2 and isinstance(place, list):
        random.shuffle(place)
    elif deed == 3 and isinstance(place, dict):
        place[random.choice(("", "x", "error", "code", "message", str(key).upper()))] = inner
        del place[key]
    elif deed == 4 and isinstance(inner, str):
        place[key] = _in_text(inner, random)
    elif deed == 5 and isinstance(inner, int | float) and not isinstance(inner, bool):
        place[key] = random.choice((str(inner), -inner, inner * 10**9, inner / 7, [inner]))
    elif deed == 6:
        place[key] = {"nested": inner} if random.random() < 0.5 else [inner]
    else:
        place[key] = random.choice(_ODD)
    return document


def _in_text(text: str, random: Random) -> str:
    """Inside of base64, where that is what it is, else among its letters."""
    try:
        inner = base64.b64decode(text, validate=True) if len(text) > 15 else b""
    except (binascii.Error, ValueError):
        inner = b""
    if inner:
        wound: Callable[[bytes, Random], bytes] = random.choice((_cut, _struck, _inserted))
        return base64.b64encode(wound(inner, random)).decode()
    return _struck(text.encode(errors="replace"), random).decode(errors="replace")


def _place(payload: bytes, random: Random) -> int:
    return random.randrange(len(payload) + 1)


def _cut(payload: bytes, random: Random) -> bytes:
    return payload[: _place(payload, random)]


def _struck(payload: bytes, random: Random) -> bytes:
    at = _place(payload, random)
    return payload[:at] + bytes([random.randrange(256)]) + payload[at + 1 :]


def _inserted(payload: bytes, random: Random) -> bytes:
    at = _place(payload, random)
    return payload[:at] + random.choice(_BYTES) + payload[at:]


def _doubled(payload: bytes, random: Random) -> bytes:
    at, to = sorted((_place(payload, random), _place(payload, random)))
    return payload[:to] + payload[at:]


def _swapped(payload: bytes, random: Random) -> bytes:
    at = _place(payload, random)
    return payload[at:] + payload[:at]


def _lines(payload: bytes, random: Random) -> bytes:
    """Lines and fields in another order, or fewer of them."""
    lines = payload.split(b"\n")
    at = random.randrange(len(lines))
    fields = lines[at].split(b",")
    if random.random() < 0.5:
        fields[random.randrange(len(fields))] = random.choice(_BYTES)
    else:
        random.shuffle(fields)
    lines[at] = b",".join(fields)
    if random.random() < 0.3:
        random.shuffle(lines)
    return b"\n".join(lines)

"""Frames of Yahoo's streamer, written by us: protobuf in base64 in JSON."""

from __future__ import annotations

import base64
import json
import struct

_TEXTS = {"id": 1, "currency": 4, "exchange": 5}
_FLOATS = {"price": 2, "bid": 23, "ask": 25}
_PLAIN = {"quote_type": 6, "market_hours": 7}
_SIGNED = {"time_ms": 3, "day_volume": 9, "bid_size": 24, "ask_size": 26}


def pricing(**fields: str | float) -> str:
    """One frame of version 2."""
    told = {"currency": "USD", "exchange": "NMS", "quote_type": 8, "market_hours": 1} | fields
    message = base64.b64encode(message_of(**told)).decode()
    return json.dumps({"type": "pricing", "message": message})


def message_of(**fields: str | float) -> bytes:
    """The bare protobuf message, its fields in the order given."""
    return b"".join(_field(name, value) for name, value in fields.items())


def _field(name: str, value: str | float) -> bytes:
    if name in _TEXTS:
        data = str(value).encode()
        return _varint(_TEXTS[name] << 3 | 2) + _varint(len(data)) + data
    if name in _FLOATS:
        return _varint(_FLOATS[name] << 3 | 5) + struct.pack("<f", value)
    number = int(value)
    if name in _PLAIN:
        return _varint(_PLAIN[name] << 3) + _varint(number)
    return _varint(_SIGNED[name] << 3) + _varint(number << 1 ^ number >> 63)


def _varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])

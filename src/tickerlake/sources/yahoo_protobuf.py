"""The few fields of Yahoo's `PricingData` that make a record, read from protobuf by hand.

Field numbers: yfinance's `pricing.proto` and five other clients (2026), and a recorded frame. A
reader of the wire format is shorter than a dependency: each field is a number and a wire type, and
what is not known is passed over by its type.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

__all__ = ["Pricing", "read_pricing"]

_FLOAT: Final = struct.Struct("<f")
_WIDTHS: Final = {1: 8, 5: 4}


@dataclass(slots=True)
class Pricing:
    """One frame. Prices are float32 as they came; times are epoch milliseconds."""

    symbol: str = ""
    price: float | None = None
    time_ms: int | None = None
    currency: str | None = None
    exchange: str | None = None
    quote_type: int | None = None
    #: 0 before, 1 in, 2 after the session, 3 extended, 4 overnight; absent is 0 in protobuf.
    market_hours: int = 0
    #: Cumulative: of the day.
    day_volume: int | None = None
    bid: float | None = None
    bid_size: int | None = None
    ask: float | None = None
    ask_size: int | None = None


_TEXTS: Final = {1: "symbol", 4: "currency", 5: "exchange"}
_FLOATS: Final = {2: "price", 23: "bid", 25: "ask"}
#: sint64: zigzag.
_SIGNED: Final = {3: "time_ms", 9: "day_volume", 24: "bid_size", 26: "ask_size"}
_PLAIN: Final = {6: "quote_type", 7: "market_hours"}


def read_pricing(data: bytes) -> Pricing:
    """One message.

    Raises:
        ValueError: No protobuf, or one that was cut.
    """
    told = Pricing()
    at, end = 0, len(data)
    try:
        while at < end:
            key, at = _varint(data, at)
            number, wire = key >> 3, key & 7
            if wire == 0:
                value, at = _varint(data, at)
                if number in _SIGNED:
                    setattr(told, _SIGNED[number], (value >> 1) ^ -(value & 1))
                elif number in _PLAIN:
                    setattr(told, _PLAIN[number], value)
            elif wire == 2:
                size, at = _varint(data, at)
                if at + size > end:
                    raise ValueError(f"a text of {size} bytes where {end - at} are left")
                if number in _TEXTS:
                    setattr(told, _TEXTS[number], data[at : at + size].decode())
                at += size
            elif wire in _WIDTHS:
                if wire == 5 and number in _FLOATS:
                    setattr(told, _FLOATS[number], _FLOAT.unpack_from(data, at)[0])
                at += _WIDTHS[wire]
            else:
                raise ValueError(f"wire type {wire}")
    except (IndexError, struct.error) as error:
        raise ValueError("the message was cut") from error
    if at != end:
        raise ValueError("the message was cut")
    return told


def _varint(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    if byte < 0x80:
        return byte, at + 1
    value, shift = byte & 0x7F, 7
    while True:
        at += 1
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at + 1
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")

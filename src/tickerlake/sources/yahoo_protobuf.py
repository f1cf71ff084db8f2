"""The few fields of Yahoo's `PricingData` that make a record, read from protobuf by hand.

Field numbers: yfinance's `pricing.proto` and five other clients (2026), and a recorded frame. A
reader of the wire format is shorter than a dependency: each field is a number and a wire type, and
what is not known is passed over by its type.

`read_pricing` reads one message. `read_many` reads a batch as columns: all first fields at
once, then all second ones. It leaves what is odd to the former.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["Bools", "Ints", "Pricing", "Pricings", "Told", "read_many", "read_pricing"]

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


Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: The bytes of a word that end a varint, and its groups of seven bits, brought together in pairs.
_STOPS: Final = np.uint64(0x8080808080808080)
_JOINTS: Final = (
    (np.uint64(0x007F007F007F007F), np.uint64(0x7F007F007F007F00), np.uint64(1)),
    (np.uint64(0x00003FFF00003FFF), np.uint64(0x3FFF00003FFF0000), np.uint64(2)),
    (np.uint64(0x000000000FFFFFFF), np.uint64(0x0FFFFFFF00000000), np.uint64(4)),
)
#: Fewer are read sooner one by one: a step costs the same for any number of messages.
_MANY: Final = 100
#: What `quote_type` and the like may be; no other number means anything.
_SMALL_MAX: Final = 2**31


@dataclass(frozen=True, slots=True)
class Told:
    """A field of many messages, and in which of them it stands."""

    values: npt.NDArray[Any]
    told: Bools

    def of(self, rows: Ints) -> Told:
        """Some messages' only."""
        return Told(self.values[rows], self.told[rows])


@dataclass(frozen=True, slots=True)
class Pricings:
    """The fields of `Pricing` as columns: numbers are 0 and texts null where they are not told."""

    numbers: dict[str, Told]
    texts: dict[str, pa.Array]
    #: Messages that were not read here: cut, without a symbol, or of a form that is seldom seen.
    odd: Bools

    def put(self, rows: Sequence[int], read: Sequence[Pricing]) -> None:
        """Fill in messages that were read one by one."""
        if not rows:
            return
        for name, column in self.numbers.items():
            found = [getattr(one, name) for one in read]
            column.told[rows] = [number is not None for number in found]
            if name in _PLAIN.values():
                found = [min(number or 0, _SMALL_MAX) for number in found]
            column.values[rows] = [number or 0 for number in found]
        mask = np.zeros(len(self.odd), bool)
        mask[rows] = True
        for name, texts in self.texts.items():
            found = pa.array([getattr(one, name) for one in read], pa.string())
            self.texts[name] = pc.replace_with_mask(texts, pa.array(mask), found)


def read_many(messages: Sequence[bytes]) -> Pricings:
    """Messages as columns; few, or empty ones, are all odd."""
    count = len(messages)
    lengths = np.fromiter(map(len, messages), np.int64, count)
    ends = np.cumsum(lengths)
    numbers = {name: Told(np.zeros(count, np.float32), np.zeros(count, bool))
               for name in _FLOATS.values()}  # fmt: skip
    for name in (*_SIGNED.values(), *_PLAIN.values()):
        numbers[name] = Told(np.zeros(count, np.int64), np.zeros(count, bool))
    spans = {name: (np.zeros(count, np.int64), np.full(count, -1)) for name in _TEXTS.values()}
    odd = (lengths == 0) | (count < _MANY)
    data = np.frombuffer(b"".join([*messages, bytes(24)]), np.uint8)
    # The eight bytes from each place on, as one number.
    words = np.ndarray(len(data) - 7, "<u8", data, strides=(1,))
    at, rows = ends - lengths, np.flatnonzero(~odd)
    while len(rows):
        tags, places = _tags(words, at[rows])
        values, widths = _varints(words[places])
        steps = _steps(tags, values, widths)
        sound = (steps > 0) & (places + steps <= ends[rows])
        if not sound.all():
            odd[rows[~sound]] = True
            rows, tags, places = rows[sound], tags[sound], places[sound]
            values, widths, steps = values[sound], widths[sound], steps[sound]
        for tag in _different(tags):
            here = tags == tag
            known = _field(int(tag), words[places[here]], values[here])
            if isinstance(known, str):
                starts, sizes = spans[known]
                starts[rows[here]] = places[here] + widths[here]
                sizes[rows[here]] = values[here].astype(np.int64)
            elif known is not None:
                name, found = known
                numbers[name].values[rows[here]] = found
                numbers[name].told[rows[here]] = True
        at[rows] = places + steps
        rows = rows[at[rows] < ends[rows]]
    texts = {name: _texts(data, *span, odd) for name, span in spans.items()}
    odd |= spans["symbol"][1] <= 0
    return Pricings(numbers, texts, odd)


def _tags(words: npt.NDArray[np.uint64], places: Ints) -> tuple[Ints, Ints]:
    """Number and wire type of each field, -1 where it is none, and where its content begins."""
    word = words[places].astype(np.int64) & 0xFFFFFF
    is_long = word >> 7 & 1
    tags = (word & 0x7F) | is_long * (word >> 1 & 0x3F80)
    tags[(is_long & word >> 15) == 1] = -1
    return tags, places + 1 + is_long


def _varints(word: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.uint64], Ints]:
    """The number at the beginning of each word, and how many bytes it has; 0: more than eight."""
    stops = ~word & _STOPS
    lowest = stops & (~stops + np.uint64(1))
    widths = np.frexp(lowest.astype(np.float64))[1].astype(np.int64) >> 3  # 2^(8n-1): exponent 8n
    values = word & (lowest | (lowest - np.uint64(1)))
    for low, high, shift in _JOINTS:
        values = (values & low) | ((values & high) >> shift)
    return values, widths


def _steps(tags: Ints, values: npt.NDArray[np.uint64], widths: Ints) -> Ints:
    """How many bytes the content of each field has; 0 where nobody can say."""
    wires = np.where(tags < 0, 7, tags & 7)
    steps = np.array([0, 8, 0, 0, 0, 4, 0, 0])[wires]
    counted = ((wires == 0) | (wires == 2)) & (widths > 0)
    steps[counted] = widths[counted]
    is_text = counted & (wires == 2)
    steps[is_text] += values[is_text].astype(np.int64)
    return steps


def _different(tags: Ints) -> Ints:
    return tags[:1] if (tags == tags[:1]).all() else np.unique(tags)


def _field(
    tag: int, words: npt.NDArray[np.uint64], values: npt.NDArray[np.uint64]
) -> tuple[str, npt.NDArray[Any]] | str | None:
    """Name and values of a field; of texts the name alone, and of unknown fields nothing."""
    number, wire = tag >> 3, tag & 7
    if wire == 5 and number in _FLOATS:
        return _FLOATS[number], words.astype(np.uint32).view(np.float32)
    if wire == 0 and number in _SIGNED:
        signed = values.astype(np.int64)
        return _SIGNED[number], (signed >> 1) ^ -(signed & 1)
    if wire == 0 and number in _PLAIN:
        return _PLAIN[number], np.minimum(values.astype(np.int64), _SMALL_MAX)
    return _TEXTS.get(number) if wire == 2 else None


def _texts(data: npt.NDArray[np.uint8], starts: Ints, sizes: Ints, odd: Bools) -> pa.Array:
    """A text a message, null where the size is negative. Beyond ASCII it makes its message odd."""
    lengths = np.where(odd, 0, sizes.clip(0))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    found = data[np.arange(offsets[-1]) + (starts - offsets[:-1]).repeat(lengths)]
    beyond = found >= 0x80
    if beyond.any():
        odd[np.arange(len(odd)).repeat(lengths)[beyond]] = True
        found[beyond] = ord("?")  # the message is read again
    return pa.StringArray.from_buffers(
        len(odd),
        pa.py_buffer(offsets.astype(np.int32)),
        pa.py_buffer(found),
        pa.py_buffer(np.packbits(sizes >= 0, bitorder="little")),
    )

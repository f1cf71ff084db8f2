"""Many records in one Kinesis record: the Kinesis Producer Library's format, both ways.

Magic, then a protobuf message, then its MD5
(github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md):

    message AggregatedRecord {
      repeated string partition_key_table = 1;
      repeated string explicit_hash_key_table = 2;
      repeated Record records = 3;
    }
    message Record {
      required uint64 partition_key_index = 1;
      optional uint64 explicit_hash_key_index = 2;
      required bytes data = 3;
      repeated Tag tags = 4;
    }

Written by hand and over whole arrays: a protobuf library makes an object of every record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["Values", "aggregate", "deaggregate"]

MAGIC: Final = b"\xf3\x89\x9a\xc2"
_DIGEST_BYTES: Final = 16

_RECORD: Final = 3 << 3 | 2
_KEY_INDEX: Final = 1 << 3
_HASH_KEY_INDEX: Final = 2 << 3
_DATA: Final = 3 << 3 | 2

#: No length inside a Kinesis record of at most 10 MiB takes more bytes.
_LENGTH_BYTES_MAX: Final = 4

_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Values:
    """The records inside one Kinesis record: value i is `data[starts[i]:ends[i]]`."""

    data: bytes
    starts: _Ints
    ends: _Ints

    def each(self) -> list[bytes]:
        """The values, one by one."""
        data = self.data
        return [
            data[start:end]
            for start, end in zip(self.starts.tolist(), self.ends.tolist(), strict=True)
        ]

    def after(self, count: int) -> Values:
        """Without the first `count`."""
        return Values(self.data, self.starts[count:], self.ends[count:])


def aggregate(
    values: Sequence[bytes], keys: Sequence[int], key_table: Sequence[str], hash_key: int
) -> bytes:
    """One Kinesis record of many.

    Args:
        values: The records.
        keys: Of each record the number of its partition key in `key_table`.
        key_table: The partition keys.
        hash_key: Where all of them belong. Readers of the Kinesis Client Library drop what does
            not belong to the shard that they read, so it stands with every record.
    """
    pieces = [MAGIC]
    pieces += [_text(1, key) for key in key_table]
    pieces.append(_text(2, str(hash_key)))
    headers: dict[tuple[int, int], bytes] = {}
    for key, value in zip(keys, values, strict=True):
        length = len(value)
        header = headers.get((key, length))
        if header is None:
            header = headers[key, length] = _header(key, length)
        pieces.append(header)
        pieces.append(value)
    message = b"".join(pieces)
    return message + hashlib.md5(memoryview(message)[4:], usedforsecurity=False).digest()


def deaggregate(data: bytes) -> Values:
    """The records inside, in order; what is not (or not soundly) aggregated is one record."""
    if data.startswith(MAGIC) and len(data) >= len(MAGIC) + _DIGEST_BYTES:
        body = memoryview(data)[len(MAGIC) : -_DIGEST_BYTES]
        digest = hashlib.md5(body, usedforsecurity=False).digest()
        if digest == data[-_DIGEST_BYTES:]:
            end = len(data) - _DIGEST_BYTES
            try:
                return _quick(data, end) or _walked(data, end)
            except (IndexError, ValueError):
                pass  # A digest that fits by chance, or by intent: not what it says it is.
    return Values(data, np.zeros(1, np.int64), np.array([len(data)]))


def _varint(number: int) -> bytes:
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


def _text(field: int, text: str) -> bytes:
    encoded = text.encode()
    return bytes([field << 3 | 2]) + _varint(len(encoded)) + encoded


def _header(key: int, length: int) -> bytes:
    """What stands before a record's data."""
    inner = b"%c%b%c\0%c%b" % (_KEY_INDEX, _varint(key), _HASH_KEY_INDEX, _DATA, _varint(length))
    return bytes([_RECORD]) + _varint(len(inner) + length) + inner


def _quick(data: bytes, end: int) -> Values | None:
    """Values of a message whose records are as everybody writes them; null: walk it instead.

    Every byte that could begin a record is taken for one, over whole arrays; then the chain of
    those that really do is followed.
    """
    block = np.frombuffer(data, np.uint8)[:end]
    places = np.flatnonzero(block == _RECORD)
    # So that a length may be read at every place, the last bytes too.
    padded = np.concatenate([block, np.zeros(16, np.uint8)])
    lengths, widths = _varints(padded, places + 1)
    bodies = places + 1 + widths
    nexts = np.searchsorted(places, bodies + lengths)
    at = _first_record(data, end)
    chain = []
    here, count = int(np.searchsorted(places, at)), len(places)
    jumps, stops = nexts.tolist(), (bodies + lengths).tolist()
    begins = places.tolist()
    while at < end:
        if here >= count or begins[here] != at:
            return None
        chain.append(here)
        at, here = stops[here], jumps[here]
    if at != end or not chain:
        return None
    chosen = np.array(chain)
    inner, ends = bodies[chosen], (bodies + lengths)[chosen]
    sound = padded[inner] == _KEY_INDEX
    inner = inner + 1 + _varints(padded, inner + 1)[1]
    hashed = padded[inner] == _HASH_KEY_INDEX
    inner = np.where(hashed, inner + 1 + _varints(padded, inner + 1)[1], inner)
    sound &= padded[inner] == _DATA
    sizes, widths = _varints(padded, inner + 1)
    starts = inner + 1 + widths
    sound &= starts + sizes == ends
    return Values(data, starts, ends) if sound.all() else None


def _varints(block: npt.NDArray[np.uint8], places: _Ints) -> tuple[_Ints, _Ints]:
    """The numbers that begin at `places`, and how many bytes each takes."""
    # Of a place near the end that begins nothing, the length does not matter.
    places = np.minimum(places, len(block) - _LENGTH_BYTES_MAX - 1)
    numbers = np.zeros(len(places), np.int64)
    widths = np.ones(len(places), np.int64)
    going = np.ones(len(places), bool)
    for index in range(_LENGTH_BYTES_MAX):
        found = block[places + index]
        numbers += np.where(going, (found & 0x7F).astype(np.int64) << (7 * index), 0)
        going &= found > 0x7F
        if not going.any():
            break
        widths += going
    return numbers, widths


def _first_record(data: bytes, end: int) -> int:
    """Where the tables of keys end and the records begin."""
    at = len(MAGIC)
    while at < end and data[at] != _RECORD:
        at = _skipped(data, at)
    return at


def _walked(data: bytes, end: int) -> Values:
    """Values of any message, field by field: fields in any order, tags, unknown fields."""
    starts, ends = [], []
    at = len(MAGIC)
    while at < end:
        if data[at] != _RECORD:
            at = _skipped(data, at)
            continue
        length, inner = _number(data, at + 1)
        at = inner + length
        found = None
        while inner < at:
            if data[inner] == _DATA:
                size, start = _number(data, inner + 1)
                inner = start + size
                found = start, inner
            else:
                inner = _skipped(data, inner)
        if found is None or inner != at:
            raise ValueError("a record without data")
        starts.append(found[0])
        ends.append(found[1])
    if at != end or not starts:
        raise ValueError("no records, or a broken one")
    return Values(data, np.array(starts), np.array(ends))


def _number(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at


def _skipped(data: bytes, at: int) -> int:
    """The place after the field that begins at `at`."""
    tag, at = _number(data, at)
    match tag & 7:
        case 0:
            return _number(data, at)[1]
        case 1:
            return at + 8
        case 2:
            length, at = _number(data, at)
            return at + length
        case 5:
            return at + 4
        case kind:
            raise ValueError(f"a field of wire type {kind}")

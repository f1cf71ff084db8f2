"""Which partition a symbol belongs to: the same number on every stream.

Java Kafka's default partitioner: murmur2 of the UTF-8 bytes, made positive, modulo the count.
We compute it everywhere ourselves, since other clients' defaults differ (librdkafka's is CRC32):
so a symbol keeps its partition when a user moves from the embedded log to a broker.
"""

from __future__ import annotations

import functools
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["murmur2", "partitions_of"]

_SEED: Final = 0x9747B28C
_FACTOR: Final = 0x5BD1E995
_WORD: Final = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """The signed 32-bit hash of `org.apache.kafka.common.utils.Utils.murmur2`."""
    whole = len(data) & ~3
    mixed = _SEED ^ len(data)
    for start in range(0, whole, 4):
        word = int.from_bytes(data[start : start + 4], "little") * _FACTOR & _WORD
        word = (word ^ word >> 24) * _FACTOR & _WORD
        mixed = mixed * _FACTOR & _WORD ^ word
    if whole < len(data):
        mixed = (mixed ^ int.from_bytes(data[whole:], "little")) * _FACTOR & _WORD
    mixed = (mixed ^ mixed >> 13) * _FACTOR & _WORD
    mixed ^= mixed >> 15
    return mixed - (1 << 32) if mixed >= 1 << 31 else mixed


def partitions_of(symbols: pa.Array | pa.ChunkedArray, count: int) -> pa.Array:
    """The partition of each symbol, as int32, among `count` partitions.

    Hashes each different symbol once. A null symbol goes where the empty one goes: the record is
    a dead letter, and even those need a place.
    """
    if isinstance(symbols, pa.ChunkedArray):
        symbols = symbols.combine_chunks()
    if not pa.types.is_dictionary(symbols.type):
        symbols = symbols.dictionary_encode()
    numbers = [_positive(symbol or "") % count for symbol in symbols.dictionary.to_pylist()]
    numbers.append(_positive("") % count)
    codes = symbols.indices
    if codes.null_count:
        codes = pc.fill_null(codes, len(numbers) - 1)
    return pa.array(np.array(numbers, np.int32)[codes.to_numpy()])


@functools.lru_cache(maxsize=1 << 16)
def _positive(symbol: str) -> int:
    return murmur2(symbol.encode()) & 0x7FFFFFFF

"""Partitions by Java Kafka's murmur2."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tickerlake.streams.partitioning import murmur2, partitions_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_the_hash_is_javas(text: str, expected: int) -> None:
    """The vectors of Kafka's own tests (UtilsTest.testMurmur2)."""
    assert murmur2(text.encode()) == expected


def test_partitions_of_symbols_never_change() -> None:
    """Frozen numbers: a symbol that moved would leave its history in another partition."""
    symbols = ["AAPL", "MSFT", "IBM", "GOOG", "FB", "BTC-USD", "GBp.L", "é=X", ""]
    assert partitions_of(pa.array(symbols), 6).to_pylist() == [3, 0, 5, 3, 1, 3, 5, 1, 3]
    assert set(partitions_of(pa.array(symbols), 1).to_pylist()) == {0}


def test_every_shape_of_column_gives_the_same_numbers() -> None:
    """Chunked, dictionary or plain; a null goes where the empty symbol goes."""
    symbols = pa.array(["AAPL", None, "MSFT", "AAPL", ""])
    plain = partitions_of(symbols, 6)
    assert plain.type == pa.int32()
    assert partitions_of(symbols.dictionary_encode(), 6).equals(plain)
    assert partitions_of(pa.chunked_array([symbols[:2], symbols[2:]]), 6).equals(plain)
    assert plain[1] == plain[4]
    assert partitions_of(pa.array([], pa.string()), 6).to_pylist() == []

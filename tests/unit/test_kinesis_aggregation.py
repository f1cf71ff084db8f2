"""The Kinesis Producer Library's format: what we write and read of it."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickerlake.streams.kinesis.aggregation import MAGIC, aggregate, deaggregate

#: Made by AWS's own aws-kinesis-agg 1.2.3 of three records, the first with a hash key of its own.
FROM_AWS = (
    "84mawgoEQUFQTAoDSUJNEgE1GhcIABAAGhF7InN5bWJvbCI6IkFBUEwifRoUCAEaEHsic3ltYm9sIjoiSUJNIn0aBAgAGgBj"
    "GQYby3yOYqokH6p7o5yf"
)

#: Of lengths that take one, two and three bytes, and bytes that look like framing.
VALUES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"", b"\x1a", b"\x1a\x05" * 13, b"x" * 127, b"x" * 128, b"y" * 20_000]),
)


def sealed(message: bytes) -> bytes:
    """Any message with the right digest."""
    return MAGIC + message + hashlib.md5(message, usedforsecurity=False).digest()


def test_what_awss_library_writes_is_read() -> None:
    """Three records, the last one empty."""
    found = deaggregate(base64.b64decode(FROM_AWS))
    assert found.each() == [b'{"symbol":"AAPL"}', b'{"symbol":"IBM"}', b""]


def test_we_write_what_awss_library_writes() -> None:
    """Byte for byte, where each record has the hash key (which theirs may leave out)."""
    ours = aggregate([b'{"symbol":"AAPL"}'], [0], ["AAPL"], 5)
    theirs = base64.b64decode(FROM_AWS)
    assert ours[:10] == theirs[:10]
    assert ours[10:38] == theirs[15:43]


@given(st.lists(st.tuples(VALUES, st.integers(0, 299)), min_size=1, max_size=20))
def test_what_was_put_in_comes_out(records: list[tuple[bytes, int]]) -> None:
    """Values of any bytes, in order, under any of many keys."""
    values = [value for value, _ in records]
    keys = [f"key \x1a {number}" for number in range(300)]
    found = deaggregate(aggregate(values, [key for _, key in records], keys, 1 << 127))
    assert found.each() == values
    assert found.after(1).each() == values[1:]


@given(st.lists(VALUES, min_size=1, max_size=5), st.data())
def test_a_damaged_aggregate_is_one_record(values: list[bytes], data: st.DataObject) -> None:
    """Whatever byte has changed: the whole is handed on as it is, as AWS's library does."""
    sound = aggregate(values, [0] * len(values), ["key"], 5)
    at = data.draw(st.integers(0, len(sound) - 1))
    damaged = sound[:at] + bytes([sound[at] ^ data.draw(st.integers(1, 255))]) + sound[at + 1 :]
    assert deaggregate(damaged).each() == [damaged]


@given(st.lists(st.sampled_from([0x1A, 0x08, 0x10, 0x03, 0x80, 0x00, 0x02, 0xFF]), max_size=40))
def test_nonsense_with_a_fitting_digest_is_never_an_error(message: list[int]) -> None:
    """It is one record, or some that lie within it."""
    whole = sealed(bytes(message))
    found = deaggregate(whole)
    assert all(value in whole for value in found.each())


def test_fields_in_any_order_and_unknown_ones_are_read() -> None:
    """Protobuf promises no order: data first, then tags and an unknown number."""
    record = b"\x1a\x03abc" + b"\x08\x00" + b"\x22\x02\x0a\x00" + b"\x28\x07"
    message = b"\x1a" + bytes([len(record)]) + record + b"\x0a\x01k"
    assert deaggregate(sealed(message)).each() == [b"abc"]


@pytest.mark.parametrize("data", [b"", b"{}", MAGIC, MAGIC + b"x" * 16, sealed(b"")])
def test_what_is_not_aggregated_is_one_record(data: bytes) -> None:
    """Plain JSON, the magic alone, an aggregate of nothing."""
    assert deaggregate(data).each() == [data]

"""JSON messages as one array of lines: one a record, whatever the messages held."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from tickerlake.records import Kind
from tickerlake.streams.base import Message
from tickerlake.streams.decoded import Decoded
from tickerlake.streams.fields import Aside

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Lines", "aside_of", "lines_of"]

_INSTANT: Final = pa.timestamp("us", tz="UTC")
_LINE_FEED: Final = ord("\n")
#: Small enough to stay in the processor's cache.
_PIECE_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Lines:
    """Values of records, one a row; null where a record has none (a broker's tombstone).

    A block that was joined is not taken apart again: rows are cut by offsets into it, and each but
    the last keeps the line feed behind it, which is blank space to JSON.
    """

    values: pa.Array
    joined: bool

    def __len__(self) -> int:
        return len(self.values)

    def slice(self, start: int, length: int) -> Lines:
        """Some of the lines, without a copy."""
        return Lines(self.values.slice(start, length), self.joined)

    def raw(self, rows: npt.NDArray[np.int64]) -> pa.Array:
        """What the records of these rows were sent as."""
        found = self.values.take(pa.array(rows))
        if not self.joined:
            return found
        return pa.array([value.removesuffix(b"\n") for value in found.to_pylist()], pa.binary())


def lines_of(kind: Kind, messages: Sequence[Message]) -> Iterator[Lines | Decoded]:
    """The lines of all messages in order, `message.count` for each; or why there are none."""
    for kept, run in groupby((_pieces(kind, message) for message in messages), key=type):
        pieces = list(run)
        if kept is bytes:
            yield _cut(b"\n".join(piece for piece in pieces if isinstance(piece, bytes)))
            continue
        for piece in pieces:
            if isinstance(piece, list):
                yield Lines(pa.array(piece, pa.binary()), joined=False)
            elif isinstance(piece, Decoded):
                yield piece


def aside_of(messages: Sequence[Message]) -> Aside:
    """Keys and times of all records of all messages."""
    keys = [
        pa.nulls(message.count, pa.binary())
        if message.keys is None
        else pa.array(message.keys, pa.binary())
        for message in messages
    ]
    times = [
        pa.repeat(pa.scalar(message.published_at, _INSTANT), message.count)
        if message.times is None
        else pa.array(message.times).cast(_INSTANT)
        for message in messages
    ]
    return Aside(pa.concat_arrays(keys), pa.concat_arrays(times))


def _pieces(kind: Kind, message: Message) -> bytes | list[bytes | None] | Decoded:
    """Lines that can be joined with others, or one by one, or why they cannot be told apart."""
    if message.parts is not None:
        found = len(message.parts)
        if found == message.count:
            return list(message.parts)
    else:
        breaks = message.payload.count(b"\n")
        if breaks == message.count - 1:
            return message.payload
        if message.count == 1:  # one record, however many lines it was written in
            return [message.payload]
        if breaks == message.count and message.payload.endswith(b"\n"):
            return message.payload[:-1]
        found = breaks + 1
    reason = f"the JSON message holds {found} lines, {message.count} records were declared"
    return Decoded.dead(kind, message.count, reason, message.payload)


def _cut(block: bytes) -> Lines:
    ends = _line_feeds(np.frombuffer(block, np.uint8))
    offsets = np.empty(len(ends) + 2, np.int32)
    offsets[0], offsets[1:-1], offsets[-1] = 0, ends + 1, len(block)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(block)]
    return Lines(pa.Array.from_buffers(pa.binary(), len(ends) + 1, buffers), joined=True)


def _line_feeds(block: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    found = [
        np.flatnonzero(block[start : start + _PIECE_BYTES] == _LINE_FEED) + start
        for start in range(0, len(block), _PIECE_BYTES)
    ]
    return np.concatenate(found) if found else np.zeros(0, np.int64)

"""JSON messages as one array of lines: one a record, whatever the messages held."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
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

    Rows = npt.NDArray[np.int64]

__all__ = ["Lines", "aside_of", "lines_of"]

_INSTANT: Final = pa.timestamp("us", tz="UTC")
_LINE_FEED: Final = ord("\n")
#: Small enough for the processor's nearest cache, and for its largest.
_PIECE_BYTES: Final = 1 << 16
_BLOCK_BYTES: Final = 1 << 22


@dataclass(frozen=True, slots=True)
class Lines:
    """Values of records, one a row; null where a record has none (a broker's tombstone).

    A block that was joined is not taken apart again: rows are cut by offsets into it, and each but
    the last keeps the line feed behind it, which is blank space to JSON.

    Attributes:
        values: The lines, as binary.
        raw: What the records of some rows were sent as. It keeps no hold of `values`: their memory
            serves the next block.
    """

    values: pa.Array
    raw: Callable[[Rows], pa.Array]

    def __len__(self) -> int:
        return len(self.values)


def lines_of(kind: Kind, messages: Sequence[Message]) -> Iterator[Lines | Decoded]:
    """The lines of all messages in order, `message.count` for each; or why there are none."""
    for run in _runs(messages):
        lines = _all_joined(run)
        if lines is None:
            yield from _one_by_one(kind, run)
        else:
            yield lines


def _runs(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """Neighbours whose lines together stay in the processor's cache."""
    start, size = 0, 0
    for place, message in enumerate(messages):
        if size and size + len(message.payload) > _BLOCK_BYTES:
            yield messages[start:place]
            start, size = place, 0
        size += len(message.payload)
    if messages:
        yield messages[start:]


def _all_joined(messages: Sequence[Message]) -> Lines | None:
    """All as one block; null if some message does not hold as many lines as it says."""
    if any(message.parts is not None for message in messages):
        return None
    values = _cut([message.payload for message in messages])
    counts = np.cumsum([message.count for message in messages])
    sizes = np.cumsum([len(message.payload) + 1 for message in messages])
    ends = np.frombuffer(values.buffers()[1], np.int32)
    if len(values) != counts[-1] or not np.array_equal(ends[counts[:-1]], sizes[:-1]):
        return None
    return Lines(values, partial(_raw, [message.payload for message in messages]))


def _one_by_one(kind: Kind, messages: Sequence[Message]) -> Iterator[Lines | Decoded]:
    for kept, run in groupby((_pieces(kind, message) for message in messages), key=type):
        pieces = list(run)
        if kept is bytes:
            blocks = [piece for piece in pieces if isinstance(piece, bytes)]
            yield Lines(_cut(blocks), partial(_raw, blocks))
            continue
        for piece in pieces:
            if isinstance(piece, list):
                values = pa.array(piece, pa.binary())
                yield Lines(values, partial(_taken, values))
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


def _raw(blocks: Sequence[bytes], rows: Rows) -> pa.Array:
    values = _taken(_cut(blocks), rows).to_pylist()
    return pa.array([value.removesuffix(b"\n") for value in values], pa.binary())


def _taken(values: pa.Array, rows: Rows) -> pa.Array:
    return values.take(pa.array(rows))


def _cut(blocks: Sequence[bytes]) -> pa.Array:
    block = b"\n".join(blocks)
    ends = _line_feeds(np.frombuffer(block, np.uint8))
    offsets = np.empty(len(ends) + 2, np.int32)
    offsets[0], offsets[1:-1], offsets[-1] = 0, ends + 1, len(block)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(block)]
    return pa.Array.from_buffers(pa.binary(), len(ends) + 1, buffers)


def _line_feeds(block: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    found = [
        np.flatnonzero(block[start : start + _PIECE_BYTES] == _LINE_FEED) + start
        for start in range(0, len(block), _PIECE_BYTES)
    ]
    return np.concatenate(found) if found else np.zeros(0, np.int64)

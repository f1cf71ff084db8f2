"""Kinesis records to messages: aggregates are opened, neighbours travel as one message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import groupby
from typing import Final

import numpy as np
import pyarrow as pa

from tickerlake.streams.aws import Reply
from tickerlake.streams.base import Message, Places, Wire
from tickerlake.streams.kinesis.aggregation import Values, deaggregate
from tickerlake.streams.kinesis.places import Place

__all__ = ["Taken", "take"]

#: How an Arrow IPC stream begins; no JSON does.
_ARROW: Final = b"\xff\xff\xff\xff"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Taken:
    """What was made of the first `used` Kinesis records of an answer, and where that ends."""

    messages: Sequence[Message]
    place: Place
    used: int


@dataclass(frozen=True, slots=True)
class _Piece:
    """Rows of one Kinesis record, of one wire: an index each, from `index` on."""

    wire: Wire
    values: Values
    rows: int
    index: int
    sequence: str
    arrived: datetime


def take(records: Sequence[Reply], place: Place, partition: str, *, records_max: int) -> Taken:
    """Messages of what lies behind `place`, until they hold `records_max` records.

    A Kinesis record is never cut; those that lie before `place`, or the part of one that does,
    are left out.
    """
    pieces: list[_Piece] = []
    rows = used = 0
    after = place
    for record in records:
        if rows >= records_max:
            break
        used += 1
        found = list(_pieces(record, _known_rows(place, record["SequenceNumber"])))
        if found:
            pieces += found
            rows += sum(piece.rows for piece in found)
            last = found[-1]
            subsequence = last.index + last.rows - 1
            after = place.after(rows, last.sequence, subsequence, last.arrived.timestamp())
    messages, number = [], place.number
    # An Arrow message stands alone; JSON records of all neighbours are joined.
    numbered = enumerate(pieces)
    for _, run in groupby(numbered, key=lambda pair: -1 if pair[1].wire == "json" else pair[0]):
        message = _message(partition, number, [piece for _, piece in run])
        messages.append(message)
        number += message.count
    return Taken(messages, after, used)


def _known_rows(place: Place, sequence: str) -> float:
    """How many of the record's rows the reader has already."""
    if place.is_before_everything or int(sequence) > int(place.sequence):
        return 0
    return place.subsequence + 1 if sequence == place.sequence else float("inf")


def _pieces(record: Reply, known: float) -> Iterator[_Piece]:
    """The record's rows without the first `known`."""
    sequence, arrived = record["SequenceNumber"], record["ApproximateArrivalTimestamp"]
    values = deaggregate(record["Data"])
    count = len(values.starts)
    if not _may_hold_arrow(values):
        if known < count:
            first = int(known)
            yield _Piece("json", values.after(first), count - first, first, sequence, arrived)
        return
    index = 0
    for value in values.each():
        is_arrow = value.startswith(_ARROW)
        rows = _arrow_rows(value) if is_arrow else 1
        if index >= known:
            one = Values(value, np.zeros(1, np.int64), np.array([len(value)]))
            wire: Wire = "arrow" if is_arrow else "json"
            yield _Piece(wire, one, rows, index, sequence, arrived)
        index += rows


def _may_hold_arrow(values: Values) -> bool:
    block = np.frombuffer(values.data, np.uint8)
    heads = values.starts[values.starts < len(block)]
    return bool((block[heads] == _ARROW[0]).any())


def _arrow_rows(payload: bytes) -> int:
    """How many records an Arrow message holds; one that cannot be read is one dead letter."""
    try:
        with pa.ipc.open_stream(payload) as reader:
            rows: int = sum(batch.num_rows for batch in reader)
    except (pa.ArrowException, OSError, ValueError):
        return 1
    # Each record takes a byte at least; who says that a few bytes hold millions is not believed.
    return rows if 0 < rows <= len(payload) else 1


def _message(partition: str, number: int, run: Sequence[_Piece]) -> Message:
    count = sum(piece.rows for piece in run)
    indexes = np.concatenate([np.arange(p.index, p.index + p.rows, dtype=np.int32) for p in run])
    sequences = pa.array([piece.sequence for piece in run])
    whose = np.repeat(np.arange(len(run)), [piece.rows for piece in run])
    places = Places(
        positions=np.arange(number, number + count),
        indexes=indexes,
        sequences=sequences.take(pa.array(whose)),
    )
    wire, arrived = run[0].wire, run[0].arrived
    times = np.array([(piece.arrived - _EPOCH) // _MICROSECOND for piece in run], np.int64)[whose]
    values = [value for piece in run for value in piece.values.each()]
    made = partial(Message, partition, number, count, wire, per_record=True, published_at=arrived)
    if wire == "arrow":
        return made(payload=values[0], places=places, times=times)
    payload = b"\n".join(values)
    if payload.count(b"\n") == count - 1:
        return made(payload=payload, places=places, times=times)
    return made(payload=b"", places=places, parts=values, times=times)

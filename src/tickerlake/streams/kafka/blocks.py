"""From the client's messages to ours: many records of one partition become one block.

No Python object is made a record but those that the client makes; what is looked at in each record
is looked at in the joined block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import methodcaller
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from tickerlake import clock
from tickerlake.streams.base import Message, Places, Wire
from tickerlake.streams.codec_arrow import open_arrow
from tickerlake.streams.form import Form

if TYPE_CHECKING:
    import numpy.typing as npt
    from confluent_kafka import Message as KafkaMessage

__all__ = ["blocks"]

_OFFSET: Final = methodcaller("offset")
_ARROW: Final = b"\xff\xff\xff\xff"
_LINE_FEED: Final = 0x0A
_CONFLUENT: Final = b"\x00"
_CONFLUENT_BYTES_MIN: Final = 5
_MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def blocks(
    partition: int, run: Sequence[KafkaMessage], form: Form | None = None
) -> Iterator[Message]:
    """The run's records, in order, as messages of one wire each.

    A `form` that wants keys or times costs a Python object more for each record.
    """
    if form is None:
        yield from _blocks(partition, run)
        return
    from confluent_kafka import Message as KafkaMessage

    keys = list(map(KafkaMessage.key, run)) if form.wants("key") else None
    times = _times(run) if form.wants("time") else None
    start = 0
    for message in _blocks(partition, run):
        # One of the client's messages is one record, or an Arrow message of many.
        end = start + (message.count if message.wire != "arrow" else 1)
        alone = message.wire == "arrow"
        yield replace(
            message,
            form=form,
            keys=None if keys is None or alone else keys[start:end],
            times=None if times is None or alone else times[start:end],
        )
        start = end


def _times(run: Sequence[KafkaMessage]) -> npt.NDArray[np.int64]:
    """When the broker or the producer says that each record was taken in."""
    from confluent_kafka import Message as KafkaMessage

    # Each pair is let go of at once: kept, they would wake the garbage collector block by block.
    stamps = (stamp for _, stamp in map(KafkaMessage.timestamp, run))
    times = np.fromiter(stamps, np.int64, len(run)) * 1000
    missing = times <= 0  # of a broker that keeps none
    if missing.any():
        times[missing] = (clock.real_now() - _EPOCH) // _MICROSECOND
    return times


def _blocks(partition: int, run: Sequence[KafkaMessage]) -> Iterator[Message]:
    from confluent_kafka import Message as KafkaMessage

    # The class's own methods: a quarter of what a `methodcaller` costs.
    values: list[bytes | None] = list(map(KafkaMessage.value, run))
    payload = None if _wire(values[0]) == "arrow" else _joined(values)
    # JSON holds neither of these bytes: NUL must be escaped in it, 0xFF is never UTF-8.
    if payload is not None and b"\x00" not in payload and b"\xff" not in payload:
        if _line_feeds(payload) == len(run) - 1:
            yield _block(partition, run, "json", payload, None)
        else:
            yield _block(partition, run, "json", b"", values)
        return
    pairs = zip(map(_wire, values), run, values, strict=True)
    for wire, group in groupby(pairs, key=lambda pair: pair[0]):
        _, messages, held = zip(*group, strict=True)
        if wire == "arrow":
            yield from map(_arrow, [partition] * len(messages), messages, held)
        else:
            yield _block(partition, messages, wire, b"", held)


def _joined(values: Sequence[bytes | None]) -> bytes | None:
    try:
        return b"\n".join(values)  # type: ignore[arg-type] # a null raises
    except TypeError:
        return None


def _line_feeds(payload: bytes) -> int:
    """`bytes.count` looks for each one anew, which takes ten times as long."""
    return int(np.count_nonzero(np.frombuffer(payload, np.uint8) == _LINE_FEED))


def _block(
    partition: int,
    run: Sequence[KafkaMessage],
    wire: Wire,
    payload: bytes,
    parts: Sequence[bytes | None] | None,
) -> Message:
    first, last = _OFFSET(run[0]), _OFFSET(run[-1])
    dense = last - first == len(run) - 1
    return Message(
        partition=str(partition),
        first_position=first,
        count=len(run),
        wire=wire,
        payload=payload,
        per_record=dense,
        published_at=_time(run[0]),
        places=None if dense else Places(np.fromiter(map(_OFFSET, run), np.int64, len(run))),
        parts=parts,
    )


def _arrow(partition: int, message: KafkaMessage, value: bytes) -> Message:
    opened = _opened(value)
    return Message(
        partition=str(partition),
        first_position=_OFFSET(message),
        count=1 if opened is None else opened.num_rows,
        wire="arrow",
        payload=value,
        per_record=False,
        published_at=_time(message),
        opened=opened,
    )


def _wire(value: bytes | None) -> Wire:
    if value is None:
        return "json"
    if value.startswith(_ARROW):
        return "arrow"
    confluent = value.startswith(_CONFLUENT) and len(value) >= _CONFLUENT_BYTES_MIN
    return "avro" if confluent else "json"


def _opened(payload: bytes) -> pa.Table | None:
    """What an Arrow message holds; null where it is damaged: it counts as one record, and dead."""
    try:
        table = open_arrow(payload)
    except (pa.ArrowException, OSError, ValueError):
        return None
    # Columns of nulls take no room: a few bytes may claim any number of records.
    return table if 0 < table.num_rows <= len(payload) else None


def _time(message: KafkaMessage) -> datetime:
    kind, milliseconds = message.timestamp()
    return _EPOCH + timedelta(milliseconds=milliseconds) if kind else clock.real_now()

"""The contract of a stream: a durable, partitioned, ordered log.

A `Stream` is a namespace (what a URL names) that holds one `Topic` per kind of record. Positions
count up from 0 in each partition, without holes where `Topic.dense` is true.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, runtime_checkable

import pyarrow as pa

from tickerlake.records import Kind

__all__ = ["Bounds", "Message", "Published", "Stream", "StreamIdentity", "Topic", "Wire"]

#: How records lie in a message. `json`: newline-joined objects, one a record.
#: `arrow`: one Arrow IPC stream holding many records.
Wire = Literal["json", "arrow"]


@dataclass(frozen=True, slots=True)
class StreamIdentity:
    """What a topic is, so that one re-created under the same name never inherits offsets.

    `id` is 16 hex digits, a hash of `text`, which says in clear what was hashed.
    """

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Message:
    """Undecoded records as they lie in one partition.

    `count` records start at `first_position`. With `per_record` true record i has position
    `first_position + i` and index 0 (the embedded log); otherwise all records share
    `first_position` and have index 0, 1, … (one Kafka message that holds many).
    `count` is what the publisher declared: the codec makes exactly `count` rows of it, whatever
    the payload turns out to be.
    """

    partition: str
    first_position: int
    count: int
    wire: Wire
    payload: bytes
    per_record: bool
    published_at: datetime

    @property
    def next_position(self) -> int:
        """The position after the last record of this message."""
        return self.first_position + (self.count if self.per_record else 1)


@dataclass(frozen=True, slots=True)
class Published:
    """What one publish made durable in one partition."""

    partition: str
    count: int
    first_position: int
    last_position: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """First position still held, and the position that the next record will get."""

    beginning: int
    end: int


@runtime_checkable
class Topic(Protocol):
    """One kind's log. Safe to use from several threads and processes at once.

    Promise: what `publish` returned is durable, in order per symbol, and readable by everybody.
    Not promised: that a `publish` which raised did not land. Unknown is not failed.
    """

    kind: Kind
    dense: bool

    def identity(self) -> StreamIdentity:
        """Which log this is; the same text only while it is the same log."""
        ...

    def partitions(self) -> list[str]:
        """Names of all partitions, in order. May grow while running, never shrink."""
        ...

    def bounds(self, partition: str) -> Bounds:
        """Beginning and end as of now."""
        ...

    def publish(self, table: pa.Table) -> list[Published]:
        """Append records of the kind's schema, partitioned by symbol; return once durable.

        Raises:
            MalformedError: The table does not fit the schema; nothing was published.
            StorageError: The disk is full or not writable.
            UnreachableError: The broker cannot be reached; records may have landed.
        """
        ...

    def read(
        self, partition: str, position: int, *, records_max: int, wait_seconds: float
    ) -> Sequence[Message]:
        """Messages from `position` on, about `records_max` records (at least one message if any).

        Fewer where the records are so large that they would fill the reader's memory.

        The first message may start before `position` (a message is never cut): the reader drops
        what it already has. Waits up to `wait_seconds` for new data and returns empty after it.

        Raises:
            RetentionPassedError: `position` is before the beginning or beyond the end.
            CorruptLogError: The stored bytes are damaged.
        """
        ...

    def wait(self, positions: Mapping[str, int], *, wait_seconds: float) -> bool:
        """Wait until any of these partitions holds something at or after its position.

        One thread follows a whole topic with it: wait, then read each partition without waiting.
        Returns within a few milliseconds of a publish, or false after `wait_seconds`. May return
        true too often, never false while there is something.
        """
        ...


@runtime_checkable
class Stream(Protocol):
    """A namespace of topics."""

    url: str

    def kinds(self) -> list[Kind]:
        """Kinds whose topic exists already; asking creates none."""
        ...

    def topic(self, kind: Kind) -> Topic:
        """The kind's topic; created with our settings if it does not exist yet."""
        ...

    def append_raw(self, kind: Kind, partition: str, payloads: Sequence[bytes]) -> Published:
        """Append records that are already encoded as JSON, one each, checked by nobody.

        Foreign producers do this to us all the time; tests and tools need it too.
        """
        ...

    def acknowledge(self, kind: Kind, positions: Mapping[str, int]) -> None:
        """Tell how far the lake is (next position by partition); for lag tools and retention.

        Never read back to decide where to deliver from: the lake alone knows that.
        """
        ...

    def close(self) -> None:
        """Give back files and connections. The topics cannot be used afterwards."""
        ...

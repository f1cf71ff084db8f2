"""The contract of a stream: a durable, partitioned, ordered log.

A `Stream` is a namespace (what a URL names) that holds one `Topic` per kind of record. Positions
count up from 0 in each partition, without holes where `Topic.dense` is true.

Delivery knows nothing of a stream but what stands here. Logs differ in three ways, and each has its
word: numbers may have holes (`Batch.next_position`), a log may be entered by an address of its own
instead of a number (`Position.address`), and a partition may end and go on in others
(`Position.ended`, `Topic.parents`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import pyarrow as pa

from tickerlake.records import Kind, Position

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tickerlake.streams.form import Form

__all__ = [
    "Batch",
    "Bounds",
    "Membership",
    "Message",
    "Places",
    "Position",
    "Published",
    "Stream",
    "StreamIdentity",
    "Topic",
    "Wire",
]

#: How records lie in a message. `json`: newline-joined objects, one a record. `arrow`: one Arrow
#: IPC stream holding many records. `avro` and `json_schema`: one record a message, its schema in
#: a registry.
Wire = Literal["json", "arrow", "avro", "json_schema"]


@dataclass(frozen=True, slots=True)
class StreamIdentity:
    """What a topic is, so that one re-created under the same name never inherits offsets.

    `id` is 16 hex digits, a hash of `text`, which says in clear what was hashed.
    """

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Places:
    """Where each record of a message lies, for logs whose numbers have holes.

    `positions` are int64, ascending; `indexes` (int32; null = all 0) tell records apart that share
    a position; `sequences` (strings) are the log's own numbers, if it has others.
    """

    positions: npt.NDArray[np.int64]
    indexes: npt.NDArray[np.int32] | None = None
    sequences: pa.Array | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """Undecoded records as they lie in one partition.

    `count` records start at `first_position`. With `per_record` true record i has position
    `first_position + i` and index 0 (the embedded log); otherwise all records share
    `first_position` and have index 0, 1, … (one broker message that holds many). Where `places` is
    given, it says so for each record, and neither rule holds.
    `count` is what the publisher declared: the codec makes exactly `count` rows of it, whatever
    the payload turns out to be.

    Many one-record messages of a broker travel as one: `payload` is their values joined by line
    feeds; or `parts` holds them one by one, where a value has a line feed in it or is null.
    `keys` and `times` (UTC, int64 microseconds) are the broker's of each record, only where `form`
    wants them. `form` says how a foreign producer writes its records; null: they are ours.
    `opened` is what an Arrow message holds, where a reader has looked into it already.
    """

    partition: str
    first_position: int
    count: int
    wire: Wire
    payload: bytes
    per_record: bool
    published_at: datetime
    places: Places | None = None
    parts: Sequence[bytes | None] | None = None
    keys: Sequence[bytes | None] | None = None
    times: npt.NDArray[np.int64] | None = None
    form: Form | None = None
    opened: pa.Table | None = None

    @property
    def next_position(self) -> int:
        """The number after the last record of this message."""
        if self.places is not None:
            return int(self.places.positions[-1]) + 1
        return self.first_position + (self.count if self.per_record else 1)


@dataclass(frozen=True, slots=True)
class Published:
    """What one publish made durable in one partition."""

    partition: str
    count: int
    first_position: int
    last_position: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What one read gave.

    `next_position` is where to go on. It may be further than the last message (positions that
    hold no record), differ in its address alone, or be `ended`: whatever it is, it belongs into
    the next commit. `at_end` says that nothing more was there when the read began.
    `behind_seconds` is the age of what comes next, where the log says so by itself.
    """

    messages: Sequence[Message]
    next_position: int
    at_end: bool
    behind_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """First position still held, and the position that the next record will get.

    `end` is null where nobody can tell without reading: then read until `Batch.at_end`.
    """

    beginning: int
    end: int | None


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
        """Names of all partitions, in order.

        May grow while running; parents stand before what goes on from them, and that is named
        before a read says that they have ended. Only a partition that is closed may go, with its
        last record.
        """
        ...

    def parents(self, partition: str) -> Sequence[str]:
        """Partitions that must be delivered to their end before this one is begun."""
        ...

    def bounds(
        self, partition: str, seen: int | None = None, *, parents: Sequence[int] = ()
    ) -> Bounds:
        """Beginning and end as of now.

        `seen` is where a reader stands: a log that knows that it no longer holds what comes there
        gives a beginning beyond it, although it has no number of its own for it.

        `parents` says where one who has not begun the partition stands in its parents: a log whose
        positions grow old gives a beginning that grows old with them, however late it is asked.
        """
        ...

    def tip(self, partition: str) -> int:
        """Where a reader begins who wants only what is published from now on."""
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
    ) -> Batch:
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
class Membership(Protocol):
    """One member of a group that shares a topic's partitions between its members.

    Only about who should read: two who both believe that a partition is theirs do no harm, for
    the lake decides who may commit.
    """

    def share(self) -> frozenset[str]:
        """Partitions that this member should read now. Cheap; never waits for others."""
        ...

    def acknowledge(self, positions: Mapping[str, int]) -> None:
        """Tell how far the lake is (next position by partition); for lag tools and retention.

        Never read back to decide where to deliver from: the lake alone knows that.
        """
        ...

    def leave(self) -> None:
        """Give the partitions to the others at once."""
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

    def join(self, kind: Kind, group: str, *, alone: bool = False) -> Membership:
        """Become one of those who deliver the kind's topic for `group`.

        With `alone` all partitions are this member's, whoever else there is.
        """
        ...

    def remove(self, kind: Kind) -> None:
        """Delete the kind's topic and all that it holds, for ever; nothing if there is none.

        For those who made it for a while: proofs and tests.
        """
        ...

    def close(self) -> None:
        """Give back files and connections. The topics cannot be used afterwards."""
        ...

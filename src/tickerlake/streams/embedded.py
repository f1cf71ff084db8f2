"""The embedded log: SQLite in WAL mode, one row per published batch and partition.

A folder holds one file per topic. Nothing has to be started; several processes publish and read
at once; what `publish` returned has been fsynced.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from tickerlake import clock
from tickerlake.errors import NotFoundError, RetentionPassedError
from tickerlake.records import KINDS, TOPICS, Kind
from tickerlake.streams.base import (
    Batch,
    Bounds,
    Membership,
    Message,
    Published,
    StreamIdentity,
    Wire,
)
from tickerlake.streams.codec import encode_slices
from tickerlake.streams.doorbell import bell_for
from tickerlake.streams.form import form_of
from tickerlake.streams.leases import AloneMembership, LeasedMembership, open_store
from tickerlake.streams.log_file import (
    bell_path,
    create_log,
    damaged,
    open_connection,
    translated,
    turn,
)
from tickerlake.streams.outgoing import by_partition, checked
from tickerlake.streams.pool import Pool
from tickerlake.streams.retention import retain
from tickerlake.streams.settings import StreamsSettings

__all__ = ["EmbeddedStream", "EmbeddedTopic"]

T = TypeVar("T", Batch, bool)

#: A longer batch becomes several rows of the same transaction, so that no reader needs more
#: memory than one such piece at a time.
RECORDS_PER_ROW_MAX = 16_384

#: The same for records that are large: about so many bytes a row, at least one record.
BYTES_PER_ROW_MAX = 16 * 1024 * 1024

#: A read ends here, however few records that are: a reader's memory is bounded by it.
READ_BYTES_MAX = 64 * 1024 * 1024

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class EmbeddedTopic:
    """One kind's log in one file.

    Promise: a publish lands in all its partitions or in none, even if the process is killed in
    the middle, and has been fsynced when it returns (a laptop's disk may still lie about that).
    """

    dense = True

    def __init__(self, path: Path, kind: Kind, settings: StreamsSettings) -> None:
        self.kind: Kind = kind
        self._path = path
        self._settings = settings
        self._wire: Wire = settings.unregistered_wire("arrow")
        self._form = form_of(settings, kind)
        owner = f"The topic {TOPICS[kind]}"
        self._connections = Pool(lambda: open_connection(path), owner)
        self._bells = Pool(lambda: bell_for(bell_path(path)), owner)
        if not path.exists():
            create_log(path, kind, settings.partitions)
        with self._connection() as connection, turn(path) as mine:
            facts = dict(connection.execute("select name, value from log").fetchall())
            ends = _ends(connection)
            if facts.get("kind") != kind or not ends:
                raise damaged(path, f"it says that it holds {facts.get('kind')!r}, not {kind!r}")
            mine.check(facts["id"], ends)
        self._log_id: str = facts["id"]
        self._partition_count = len(ends)
        text = f"embedded log {self._log_id} of {TOPICS[kind]}, created {facts['created_at']}"
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._identity = StreamIdentity(id=digest, text=text)

    def identity(self) -> StreamIdentity:
        """The hash of an id that was drawn when the file was made."""
        return self._identity

    def partitions(self) -> list[str]:
        """Fixed when the file was made."""
        return [str(partition) for partition in range(self._partition_count)]

    def parents(self, partition: str) -> Sequence[str]:
        """None: no partition ever ends."""
        self._number(partition)
        return ()

    def tip(self, partition: str) -> int:
        """The end."""
        return self._span(partition)[1]

    def bounds(
        self,
        partition: str,
        seen: int | None = None,  # noqa: ARG002
        *,
        parents: Sequence[int] = (),  # noqa: ARG002
    ) -> Bounds:
        """Beginning and end as of now."""
        return Bounds(*self._span(partition))

    def publish(self, table: pa.Table) -> list[Published]:
        """Append in one transaction over all partitions; return once fsynced.

        Raises:
            MalformedError: The table does not fit the schema; nothing was published.
            StorageError: The disk is full or not writable; nothing was published.
        """
        records = checked(table, self.kind)
        if not records.num_rows:
            return []
        # Once for all: the partitions are made from the different symbols, and so is the wire.
        symbols = records["symbol"].combine_chunks().dictionary_encode()
        place = records.schema.get_field_index("symbol")
        records = records.set_column(place, "symbol", symbols)
        rows_max = BYTES_PER_ROW_MAX * records.num_rows // max(1, records.nbytes)
        rows_max = min(max(1, rows_max), RECORDS_PER_ROW_MAX)
        order, cuts = by_partition(symbols, self._partition_count, rows_max)
        bounds = [(start, length) for _, start, length in cuts]
        payloads = encode_slices(records, self.kind, self._wire, bounds, order=order)
        batches: dict[int, list[tuple[int, bytes]]] = {}
        for (partition, _, length), payload in zip(cuts, payloads, strict=True):
            batches.setdefault(partition, []).append((length, payload))
        return self._append(batches, self._wire)

    def append_raw(self, partition: str, payloads: Sequence[bytes]) -> Published:
        """Append records that are already JSON, one each, checked by nobody."""
        if not payloads:
            end = self.tip(partition)
            return Published(partition, 0, end, end - 1)
        rows: list[tuple[int, bytes]] = []
        lines: list[bytes] = []
        byte_count = 0
        for payload in [*payloads, None]:
            # A payload with line breaks in it must stand alone: joined it would be several.
            alone = payload is None or b"\n" in payload
            full = len(lines) == RECORDS_PER_ROW_MAX or byte_count >= BYTES_PER_ROW_MAX
            if lines and (alone or full):
                rows.append((len(lines), b"\n".join(lines)))
                lines, byte_count = [], 0
            if payload is None:
                break
            if alone:
                rows.append((1, payload))
            else:
                lines.append(payload)
                byte_count += len(payload)
        return self._append({self._number(partition): rows}, "json")[0]

    def read(
        self, partition: str, position: int, *, records_max: int, wait_seconds: float
    ) -> Batch:
        """Messages from `position` on; waits up to `wait_seconds` where there are none yet.

        Raises:
            RetentionPassedError: `position` is before the beginning or beyond the end.
            CorruptLogError: The stored bytes are damaged.
        """
        number = self._number(partition)
        with self._connection() as connection:
            return self._look(
                connection,
                lambda: self._read(connection, number, position, records_max),
                wait_seconds,
            )

    def wait(self, positions: Mapping[str, int], *, wait_seconds: float) -> bool:
        """Wait until any of the partitions holds something at or after its position."""
        wanted = {self._number(partition): at for partition, at in positions.items()}
        with self._connection() as connection:
            return self._look(connection, lambda: _any_new(connection, wanted), wait_seconds)

    def acknowledge(self, positions: Mapping[str, int]) -> None:
        """Note how far the lake is, then drop what the settings no longer keep."""
        with self._connection() as connection, turn(self._path):
            connection.execute("begin immediate")
            connection.executemany(
                "update partitions set acknowledged = ? where partition = ?",
                [(at, self._number(partition)) for partition, at in positions.items()],
            )
            retain(connection, self._settings)
            connection.execute("commit")

    def close(self) -> None:
        """Close all connections; readers that wait return with nothing."""
        self._connections.close()
        self._bells.close()

    def _span(self, partition: str) -> tuple[int, int]:
        with self._connection() as connection:
            return _span(connection, self._number(partition))

    def _append(
        self, batches: Mapping[int, Sequence[tuple[int, bytes]]], wire: Wire
    ) -> list[Published]:
        published_at = (clock.real_now() - _EPOCH) // timedelta(microseconds=1)
        published = []
        with self._connection() as connection, turn(self._path) as mine:
            connection.execute("begin immediate")
            ends = _ends(connection)
            mine.check(self._log_id, ends)
            for partition, messages in sorted(batches.items()):
                first = ends[partition]
                for count, payload in messages:
                    row = (partition, ends[partition], count, wire, published_at)
                    check = _checksum(row, payload)
                    connection.execute(_INSERT, (*row, len(payload), check, payload))
                    ends[partition] += count
                published.append(
                    Published(str(partition), ends[partition] - first, first, ends[partition] - 1)
                )
            connection.executemany(
                'update partitions set "end" = ? where partition = ?',
                [(ends[partition], partition) for partition in batches],
            )
            if self._settings.retention_drops_undelivered:
                retain(connection, self._settings)
            connection.execute("commit")
            mine.note(self._log_id, ends)
        return published

    def _read(
        self, connection: sqlite3.Connection, partition: int, position: int, records_max: int
    ) -> Batch:
        with _snapshot(connection):
            beginning, end = _span(connection, partition)
            if not beginning <= position <= end:
                raise _out_of_reach(self._path, partition, position, beginning, end)
            if position == end:
                return Batch((), position, at_end=True)
            messages: list[Message] = []
            expected, byte_count = None, 0
            for first, count, wire, published_at, check, payload in connection.execute(
                _SELECT, {"partition": partition, "position": position}
            ):
                place = f"partition {partition}, records {first} to {first + count - 1}"
                if _checksum((partition, first, count, wire, published_at), payload) != check:
                    raise damaged(self._path, f"{place}: the checksum differs")
                if first > position if expected is None else first != expected:
                    raise damaged(self._path, f"{place}: the records before them are missing")
                expected = first + count
                when = _EPOCH + timedelta(microseconds=published_at)
                messages.append(
                    Message(
                        str(partition), first, count, wire, payload, True, when, form=self._form
                    )
                )
                byte_count += len(payload)
                if expected - position >= records_max or byte_count >= READ_BYTES_MAX:
                    break
            if expected is None or expected <= position:
                raise damaged(self._path, f"partition {partition}: record {position} is missing")
            return Batch(messages, expected, at_end=expected == end)

    def _number(self, partition: str) -> int:
        if partition not in self.partitions():
            raise NotFoundError(
                f"The topic {TOPICS[self.kind]} has no partition {partition!r}.",
                expected=" ".join(self.partitions()),
                found=partition,
                todo="name one of these",
            )
        return int(partition)

    def _look(
        self, connection: sqlite3.Connection, look: Callable[[], T], wait_seconds: float
    ) -> T:
        """Look now, and after each commit of anybody, until something is found or time is over."""
        if wait_seconds <= 0:
            return look()
        deadline = clock.monotonic_seconds() + wait_seconds
        with self._bells.lend() as bell:
            seen = _version(connection)
            found = look()
            while _is_nothing(found) and not self._bells.closed:
                left = deadline - clock.monotonic_seconds()
                if left <= 0:
                    break
                bell.wait(left)
                version = _version(connection)
                if version != seen:
                    seen = version
                    found = look()
        return found

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection for this thread alone; one that met an error is rolled back and closed."""
        with translated(self._path), self._connections.lend() as connection:
            yield connection


class EmbeddedStream:
    """A folder with one file per topic."""

    def __init__(
        self,
        folder: Path,
        settings: StreamsSettings,
        *,
        url: str = "embedded:",
        workspace: Path | None = None,
    ) -> None:
        self.url = url
        self._folder = folder
        self._workspace = workspace or folder
        self._settings = settings
        self._lock = threading.Lock()
        self._topics: dict[Kind, EmbeddedTopic] = {}

    def kinds(self) -> list[Kind]:
        """Kinds whose topic exists already."""
        return [kind for kind in KINDS if self._path(kind).exists()]

    def topic(self, kind: Kind) -> EmbeddedTopic:
        """The kind's topic; created with our settings if it does not exist yet."""
        with self._lock:
            if kind not in self._topics:
                self._topics[kind] = EmbeddedTopic(self._path(kind), kind, self._settings)
            return self._topics[kind]

    def append_raw(self, kind: Kind, partition: str, payloads: Sequence[bytes]) -> Published:
        """Append records that are already JSON, one each, checked by nobody."""
        return self.topic(kind).append_raw(partition, payloads)

    def join(self, kind: Kind, group: str, *, alone: bool = False) -> Membership:
        """A member of a group whose leases are kept where the settings say."""
        topic = self.topic(kind)
        if alone:
            return AloneMembership(lambda: [topic.partitions()], acknowledge=topic.acknowledge)
        return LeasedMembership(
            open_store(self._settings.leases, workspace=self._workspace),
            group,
            lambda: [topic.partitions()],
            lease_seconds=self._settings.lease_seconds,
            acknowledge=topic.acknowledge,
        )

    def remove(self, kind: Kind) -> None:
        """Delete the topic's files."""
        with self._lock:
            topic = self._topics.pop(kind, None)
            if topic is not None:
                topic.close()
        for path in self._folder.glob(f"{TOPICS[kind]}.*"):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close all files."""
        with self._lock:
            for topic in self._topics.values():
                topic.close()

    def _path(self, kind: Kind) -> Path:
        return self._folder / f"{TOPICS[kind]}.sqlite"


_INSERT = """
    insert into batches
        (partition, first_offset, count, wire, published_at, byte_count, crc32, payload)
    values (?, ?, ?, ?, ?, ?, ?, ?)
"""

# From the batch that holds the position (it may have begun before it) on.
_SELECT = """
    select first_offset, count, wire, published_at, crc32, payload from batches
    where partition = :partition and first_offset >= coalesce(
        (
            select max(first_offset) from batches
            where partition = :partition and first_offset <= :position
        ),
        :position
    )
    order by first_offset
"""


def _span(connection: sqlite3.Connection, partition: int) -> tuple[int, int]:
    row: tuple[int, int] = connection.execute(
        'select beginning, "end" from partitions where partition = ?', (partition,)
    ).fetchone()
    return row


def _is_nothing(found: Batch | bool) -> bool:
    return not found.messages if isinstance(found, Batch) else not found


def _ends(connection: sqlite3.Connection) -> list[int]:
    """The next position of each partition, in their order."""
    rows = connection.execute('select "end" from partitions order by partition')
    return [end for (end,) in rows]


def _checksum(row: tuple[int, int, int, str, int], payload: bytes) -> int:
    """Over the payload and what is said about it."""
    return zlib.crc32(payload, zlib.crc32(repr(row).encode()))


def _any_new(connection: sqlite3.Connection, wanted: Mapping[int, int]) -> bool:
    ends = _ends(connection)
    return any(ends[partition] > position for partition, position in wanted.items())


def _version(connection: sqlite3.Connection) -> int:
    """A number that changes with each commit of another connection, in any process."""
    return int(connection.execute("pragma data_version").fetchone()[0])


@contextlib.contextmanager
def _snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """What is read inside comes from one moment, whatever is published or dropped meanwhile."""
    connection.execute("begin")
    yield
    connection.execute("commit")


def _out_of_reach(
    path: Path, partition: int, position: int, beginning: int, end: int
) -> RetentionPassedError:
    before = position < beginning
    return RetentionPassedError(
        f"Partition {partition} of {path} does not hold position {position}.",
        expected=f"a position from {beginning} to {end}",
        found=f"{position}, "
        + ("which retention has dropped" if before else "beyond the end of the log"),
        todo="`tickerlake deliver --accept-loss` goes on and records the hole in the lake"
        if before
        else "restore the newest copy of the file: this one is older than what reads it",
    )

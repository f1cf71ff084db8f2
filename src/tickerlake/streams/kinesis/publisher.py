"""Publishing: PutRecords within its limits, in order per symbol.

Nothing promises the order of records of one call, and some of them may fail. So a call carries at
most one Kinesis record of each lane (what must stay in order: a symbol, or a bucket of symbols),
and the next one of a lane goes out when the one before it is in.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import numpy as np
import pyarrow as pa

from tickerlake import clock
from tickerlake.errors import LimitError
from tickerlake.records import Kind, Position
from tickerlake.streams.aws import (
    Backoff,
    Service,
    ThrottledError,
    UnansweredError,
    UnsentError,
)
from tickerlake.streams.base import Published, Wire
from tickerlake.streams.codec import encode_slices
from tickerlake.streams.kinesis.aggregation import aggregate
from tickerlake.streams.kinesis.settings import KinesisSettings
from tickerlake.streams.kinesis.shards import HASH_KEYS, Shards, partition_of
from tickerlake.streams.outgoing import by_partition

__all__ = ["Publisher"]

#: A partition's symbols share this many hash keys, so that its shard can be split so often.
_BUCKETS: Final = 4

_CALL_RECORDS_MAX: Final = 500
#: Larger ones would make a reader take more than it wants, smaller ones cost more calls.
_AGGREGATE_BYTES: Final = 256 * 1024
_ARROW_BYTES: Final = 512 * 1024


@dataclass(frozen=True, slots=True)
class _Entry:
    """One Kinesis record to be, of `count` of ours."""

    lane: str
    data: bytes
    hash_key: int
    count: int

    @property
    def byte_count(self) -> int:
        """As Kinesis counts: with the partition key."""
        return len(self.data) + len(self.lane.encode())


@dataclass(slots=True)
class _Landed:
    """What is in, of one partition."""

    count: int = 0
    sequences: list[str] = field(default_factory=list)


class Publisher:
    """Puts records into one stream. Safe to use from several threads.

    Args:
        service: Kinesis.
        stream: The stream's name.
        shards: Its shards.
        partitions: The number that a symbol's hash is taken modulo of.
        settings: Limits.
    """

    def __init__(
        self,
        service: Service,
        stream: str,
        shards: Shards,
        partitions: int,
        settings: KinesisSettings,
    ) -> None:
        self._service = service
        self._stream = stream
        self._shards = shards
        self._partitions = partitions
        self._settings = settings
        self._pace = _Pace(settings)

    def publish(self, records: pa.Table, kind: Kind, wire: Wire) -> list[Published]:
        """Put the records in; return when all of them are.

        Raises:
            LimitError: A record is too large; nothing was published.
            UnreachableError: What the message says may be in, or is not.
        """
        entries = list(self._entries(records, kind, wire))
        self._check_sizes(entries)
        return self._put(entries)

    def put_raw(self, payloads: Sequence[bytes], hash_key: int) -> list[Published]:
        """Put records in that are JSON already, in this order."""
        groups = [[payload] for payload in payloads]
        if self._settings.aggregate:
            groups = list(_grouped(payloads))
        entries = [
            _Entry(
                "raw",
                aggregate(group, [0] * len(group), ["raw"], hash_key)
                if self._settings.aggregate
                else group[0],
                hash_key,
                len(group),
            )
            for group in groups
        ]
        self._check_sizes(entries)
        return self._put(entries)

    def _entries(self, records: pa.Table, kind: Kind, wire: Wire) -> Iterator[_Entry]:
        symbols = records["symbol"].combine_chunks().dictionary_encode()
        place = records.schema.get_field_index("symbol")
        records = records.set_column(place, "symbol", symbols)
        count = self._partitions * _BUCKETS
        rows_max = records.num_rows
        if wire == "arrow":
            rows_max = max(1, _ARROW_BYTES * records.num_rows // max(1, records.nbytes))
        order, cuts = by_partition(symbols, count, rows_max)
        bounds = [(start, length) for _, start, length in cuts]
        payloads = encode_slices(records, kind, wire, bounds, order=order)
        codes = symbols.indices.fill_null(-1).to_numpy()
        names = [*symbols.dictionary.to_pylist(), ""]
        if order is not None:
            codes = codes[order.to_numpy()]
        for (number, start, length), payload in zip(cuts, payloads, strict=True):
            hash_key = self._hash_key(number)
            lane = f"{number % self._partitions}.{number // self._partitions}"
            if wire == "arrow":
                yield _Entry(lane, payload, hash_key, length)
                continue
            lines = payload.split(b"\n")
            of_lines = codes[start : start + length]
            if self._settings.aggregate:
                yield from _aggregated(lane, lines, of_lines, names, hash_key)
            else:
                for line, code in zip(lines, of_lines.tolist(), strict=True):
                    yield _Entry(names[code] or "-", line, hash_key, 1)

    def _hash_key(self, number: int) -> int:
        """In the middle of the bucket, so that no shard's edge is near it."""
        count = self._partitions * _BUCKETS
        place = number % self._partitions * _BUCKETS + number // self._partitions
        return (2 * place + 1) * HASH_KEYS // (2 * count)

    def _check_sizes(self, entries: Sequence[_Entry]) -> None:
        limit = min(self._settings.record_bytes_max, self._settings.call_bytes_max)
        largest = max(entries, key=lambda entry: entry.byte_count, default=None)
        if largest is not None and largest.byte_count > limit:
            raise LimitError(
                f"A record of {largest.byte_count:,} bytes is too large for Kinesis.",
                expected=f"at most {limit:,} bytes, its partition key counted",
                found=f"{largest.byte_count:,} bytes; nothing was published",
                todo="publish smaller records",
            )

    def _put(self, entries: Sequence[_Entry]) -> list[Published]:
        lanes: dict[str, deque[_Entry]] = {}
        for entry in entries:
            lanes.setdefault(entry.lane, deque()).append(entry)
        landed: dict[str, _Landed] = {}
        backoff = Backoff(self._settings.patience_seconds)
        while lanes:
            heads = self._call_of(lanes)
            try:
                failed = self._put_once(heads, landed)
            except UnansweredError as error:
                raise _unknown(error, heads, landed) from error
            except (ThrottledError, UnsentError) as error:
                backoff.pause(error)
                continue
            for entry in heads:
                if entry.lane not in failed:
                    lanes[entry.lane].popleft()
                    if not lanes[entry.lane]:
                        del lanes[entry.lane]
            if len(failed) < len(heads):
                backoff = Backoff(self._settings.patience_seconds)
            if failed:
                why = next(iter(failed.values()))
                backoff.pause(
                    ThrottledError(
                        f"Kinesis did not take {sum(map(len, lanes.values()))} of our records.",
                        expected="all of them to be taken before patience ends",
                        found=f"{why}; these are certainly not in, the others are",
                        todo="publish again; what is in already is dropped at delivery",
                    )
                )
        return [
            Published(name, part.count, _position(part.sequences[0]), _position(part.sequences[-1]))
            for name, part in sorted(landed.items())
        ]

    def _call_of(self, lanes: dict[str, deque[_Entry]]) -> list[_Entry]:
        """The first of each lane, as many as one call may carry and the shards may take now."""
        while True:
            heads: list[_Entry] = []
            byte_count, wait_seconds = 0, float("inf")
            for queue in lanes.values():
                head = queue[0]
                full = byte_count + head.byte_count > self._settings.call_bytes_max
                if full or len(heads) == _CALL_RECORDS_MAX:
                    break
                wait = self._pace.take(self._shard_of(head.hash_key), head.byte_count)
                if wait > 0:
                    wait_seconds = min(wait_seconds, wait)
                    continue
                heads.append(head)
                byte_count += head.byte_count
            if heads:
                return heads
            clock.sleep(wait_seconds)

    def _put_once(self, heads: Sequence[_Entry], landed: dict[str, _Landed]) -> dict[str, str]:
        """One call; what it took is noted, what it did not is returned by lane, with why."""
        reply = self._service.call(
            "put_records",
            StreamName=self._stream,
            Records=[
                {
                    "Data": entry.data,
                    "PartitionKey": entry.lane,
                    "ExplicitHashKey": str(entry.hash_key),
                }
                for entry in heads
            ],
        )
        failed: dict[str, str] = {}
        for entry, said in zip(heads, reply["Records"], strict=True):
            if said.get("ErrorCode"):
                failed[entry.lane] = f"{said['ErrorCode']}: {said.get('ErrorMessage', '')}"
                continue
            part = landed.setdefault(partition_of(said["ShardId"]), _Landed())
            part.count += entry.count
            part.sequences.append(said["SequenceNumber"])
        return failed

    def _shard_of(self, hash_key: int) -> str:
        """Which open shard takes this; as of the last list, so only good enough for the pace."""
        for shard in self._shards.listed(seconds_max=60).values():
            if shard.is_open and shard.first_hash <= hash_key <= shard.last_hash:
                return shard.id
        return ""


class _Pace:
    """Two buckets of tokens a shard, each filled at the rate that a shard takes."""

    def __init__(self, settings: KinesisSettings) -> None:
        self._rates = (settings.shard_bytes_per_second, settings.shard_records_per_second)
        self._lock = threading.Lock()
        self._filled: dict[str, tuple[float, list[float]]] = {}

    def take(self, shard: str, byte_count: int) -> float:
        """0 = taken; otherwise nothing is taken and it may be tried after so many seconds."""
        with self._lock:
            now = clock.monotonic_seconds()
            then, tokens = self._filled.get(shard, (now, [float(rate) for rate in self._rates]))
            tokens = [
                min(rate, have + rate * (now - then))
                for rate, have in zip(self._rates, tokens, strict=True)
            ]
            self._filled[shard] = (now, tokens)
            wait = 0.0
            for index, (rate, wanted) in enumerate(zip(self._rates, (byte_count, 1), strict=True)):
                if rate and tokens[index] < min(wanted, rate):
                    wait = max(wait, (min(wanted, rate) - tokens[index]) / rate)
            if wait == 0:
                tokens[0] -= byte_count
                tokens[1] -= 1
            return wait


def _aggregated(
    lane: str, lines: Sequence[bytes], codes: np.ndarray, names: Sequence[str | None], hash_key: int
) -> Iterator[_Entry]:
    """The lines as Kinesis records of about the size that we want."""
    sizes = np.cumsum([len(line) for line in lines])
    pieces = sizes // _AGGREGATE_BYTES
    starts = [0, *(np.flatnonzero(np.diff(pieces)) + 1).tolist(), len(lines)]
    for start, end in pairwise(starts):
        different, keys = np.unique(codes[start:end], return_inverse=True)
        table = [names[code] or "-" for code in different.tolist()]
        data = aggregate(lines[start:end], keys.tolist(), table, hash_key)
        yield _Entry(lane, data, hash_key, end - start)


def _grouped(payloads: Sequence[bytes]) -> Iterator[list[bytes]]:
    group: list[bytes] = []
    byte_count = 0
    for payload in payloads:
        if group and byte_count + len(payload) > _AGGREGATE_BYTES:
            yield group
            group, byte_count = [], 0
        group.append(payload)
        byte_count += len(payload)
    if group:
        yield group


def _position(sequence: str) -> Position:
    """What a record's sequence number says: not how many came before it."""
    return Position(0, f"{sequence}/0/0")


def _unknown(
    error: UnansweredError, heads: Sequence[_Entry], landed: dict[str, _Landed]
) -> UnansweredError:
    return UnansweredError(
        f"Nobody knows whether {sum(entry.count for entry in heads):,} records are in the stream.",
        expected="an answer from Kinesis",
        found=f"{error.found}; {sum(part.count for part in landed.values()):,} records before "
        "them are in, those after them are not",
        todo="publish again: what came twice is dropped at delivery",
    )

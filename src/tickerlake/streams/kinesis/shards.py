"""The shards of a stream, and what they are called here."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tickerlake import clock
from tickerlake.errors import NotFoundError, UnreachableError
from tickerlake.streams.aws import Service

__all__ = ["HASH_KEYS", "Shard", "Shards"]

#: Hash keys are the numbers below this.
HASH_KEYS: Final = 1 << 128

#: How old a list of shards may be for readers: a split or merge is noticed within this.
LIST_SECONDS_MAX: Final = 2.0

#: How long after a shard's end its children may not be named yet, and how often that is asked.
_HEIRS_SECONDS_MAX: Final = 30.0
_HEIRS_EVERY_SECONDS: Final = 0.5

_NUMBERED: Final = re.compile(r"shardId-(\d{12})")


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard. Records whose hash key lies from `first_hash` to `last_hash` go there."""

    id: str
    first_hash: int
    last_hash: int
    parents: tuple[str, ...]
    is_open: bool

    @property
    def partition(self) -> str:
        """`3` for `shardId-000000000003`: a symbol keeps its partition's name on all streams."""
        return partition_of(self.id)


class Shards:
    """The shards that ListShards names. Safe to use from several threads."""

    def __init__(self, service: Service, stream: str) -> None:
        self._service = service
        self._stream = stream
        self._lock = threading.Lock()
        self._listed: dict[str, Shard] = {}
        self._listed_at = float("-inf")

    def listed(self, *, seconds_max: float = LIST_SECONDS_MAX) -> Mapping[str, Shard]:
        """Shards by partition, in the order of their numbers; at most so old."""
        with self._lock:
            now = clock.monotonic_seconds()
            if now - self._listed_at > seconds_max:
                shards = sorted(self._list(), key=lambda shard: _order(shard.partition))
                self._listed = {shard.partition: shard for shard in shards}
                self._listed_at = now
            return self._listed

    def named(self, partition: str) -> Shard:
        """The shard of a partition.

        Raises:
            NotFoundError: ListShards does not name it.
        """
        shards = self.listed(seconds_max=float("inf"))
        shard = shards.get(partition) or self.listed(seconds_max=0).get(partition)
        if shard is None:
            raise NotFoundError(
                f"The Kinesis stream {self._stream} has no partition {partition!r}.",
                expected=" ".join(self.listed(seconds_max=float("inf"))),
                found=partition,
                todo="name one of these",
            )
        return shard

    def await_heirs(self, partition: str) -> None:
        """Return once the list names what goes on from a shard that has ended.

        Raises:
            UnreachableError: It does not for too long: going on could lose what is in there.
        """
        until = clock.monotonic_seconds() + _HEIRS_SECONDS_MAX
        pause_seconds = 0.0
        listed = self.listed(seconds_max=float("inf"))
        # One that is listed no more is so old that its children may be forgotten, too.
        while partition in listed and not any(partition in s.parents for s in listed.values()):
            if clock.monotonic_seconds() > until:
                raise UnreachableError(
                    f"Shard {partition} of {self._stream} has ended, and nothing goes on from it.",
                    expected="ListShards to name its children",
                    found=" ".join(listed),
                    todo="run it again; nothing is lost",
                )
            clock.sleep(pause_seconds)
            pause_seconds = _HEIRS_EVERY_SECONDS
            listed = self.listed(seconds_max=0)

    def _list(self) -> Sequence[Shard]:
        shards: list[Shard] = []
        arguments: dict[str, object] = {"StreamName": self._stream}
        while True:
            reply = self._service.ask("list_shards", **arguments)
            shards += [_shard(found) for found in reply["Shards"]]
            if not reply.get("NextToken"):
                return shards
            arguments = {"NextToken": reply["NextToken"]}


def partition_of(shard_id: str) -> str:
    """The short name of a shard."""
    numbered = _NUMBERED.fullmatch(shard_id)
    return str(int(numbered[1])) if numbered else shard_id


def _order(partition: str) -> tuple[int, str]:
    return (int(partition), "") if partition.isdecimal() else (1 << 62, partition)


def _shard(found: Mapping[str, Any]) -> Shard:
    hashes, sequences = found["HashKeyRange"], found["SequenceNumberRange"]
    parents = (found.get("ParentShardId"), found.get("AdjacentParentShardId"))
    return Shard(
        id=str(found["ShardId"]),
        first_hash=int(hashes["StartingHashKey"]),
        last_hash=int(hashes["EndingHashKey"]),
        parents=tuple(partition_of(str(parent)) for parent in parents if parent),
        is_open=not sequences.get("EndingSequenceNumber"),
    )

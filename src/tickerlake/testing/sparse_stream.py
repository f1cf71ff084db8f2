"""A stream as different from the embedded log as the contract allows, for tests without a broker.

Its numbers have holes; many records share a number; a position other than 0 can only be entered
by its address; nobody can tell the end without reading; and a partition may be closed, to go on in
others, and later be listed no more. The records lie in an embedded log, so that several processes
may use it at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.errors import MalformedError, NotFoundError
from tickerlake.records import Kind
from tickerlake.streams import (
    Batch,
    Bounds,
    Membership,
    Position,
    Published,
    StreamIdentity,
    StreamsSettings,
    Topic,
)
from tickerlake.streams.codec import encode
from tickerlake.streams.embedded import EmbeddedStream, EmbeddedTopic
from tickerlake.streams.partitioning import partitions_of

__all__ = ["SparseStream", "SparseTopic"]

#: Between the numbers of two neighbours lie so many.
_STRIDE = 3


class SparseTopic:
    """One kind's log. It begins with two partitions; `split` closes one and opens two others."""

    dense = False

    def __init__(self, topic: EmbeddedTopic, plan: Path) -> None:
        self.kind = topic.kind
        self._topic = topic
        self._plan = plan
        if not plan.exists():
            self._write({"listed": ["0", "1"], "parents": {}, "closed": [], "refreshed": 0})

    def identity(self) -> StreamIdentity:
        """That of the log in which the records lie."""
        return self._topic.identity()

    def partitions(self) -> list[str]:
        """Partitions that are listed: open ones, and closed ones that were not dropped."""
        return list(self._read()["listed"])

    def parents(self, partition: str) -> Sequence[str]:
        """The partition that was split."""
        return tuple(self._read()["parents"].get(partition, ()))

    def bounds(
        self,
        partition: str,
        seen: int | None = None,  # noqa: ARG002
        *,
        parents: Sequence[int] = (),  # noqa: ARG002
    ) -> Bounds:
        """The beginning; nobody knows the end."""
        self._checked(partition)
        beginning = self._topic.bounds(partition).beginning
        return Bounds(self._position(beginning) if beginning else Position(0), None)

    def tip(self, partition: str) -> Position:
        """The end as of now."""
        return self._position(self._topic.tip(partition))

    def publish(self, table: pa.Table) -> list[Published]:
        """One message for each open partition."""
        plan = self._read()
        names = [name for name in plan["listed"] if name not in plan["closed"]]
        places = partitions_of(table.column("symbol").combine_chunks(), len(names))
        published = []
        for place, name in enumerate(names):
            own = table.filter(pc.equal(places, place))
            if own.num_rows:
                lines = encode(own, self.kind, "json").split(b"\n")
                published.append(self._topic.append_raw(name, lines))
        return [self._shown(each) for each in published]

    def append_raw(self, partition: str, payloads: Sequence[bytes]) -> Published:
        """Append records that are already JSON, checked by nobody."""
        return self._shown(self._topic.append_raw(partition, payloads))

    def read(
        self, partition: str, position: int, *, records_max: int, wait_seconds: float
    ) -> Batch:
        """Messages from `position` on; the records of one message share its number."""
        plan = self._read()
        self._checked(partition)
        if isinstance(position, Position) and position.ended:
            return Batch((), position, at_end=True)
        inner = self._topic.read(
            partition, _entered(position), records_max=records_max, wait_seconds=wait_seconds
        )
        messages = tuple(
            replace(each, first_position=each.first_position * _STRIDE, per_record=False)
            for each in inner.messages
        )
        end = self._position(inner.next_position)
        if inner.at_end and partition in plan["closed"]:
            end = Position.end_of_partition(end)
        return Batch(messages, end, inner.at_end)

    def wait(self, positions: Mapping[str, int], *, wait_seconds: float) -> bool:
        """Wait until any of these partitions holds something at or after its position."""
        plan = self._read()
        if any(name in plan["closed"] for name in positions):
            return True
        inner = {name: _entered(position) for name, position in positions.items()}
        return self._topic.wait(inner, wait_seconds=wait_seconds)

    def split(self, partition: str) -> list[str]:
        """Close a partition; what would go into it goes into two new ones. Returns their names."""
        plan = self._read()
        first = 2 + len(plan["parents"])
        children = [str(first), str(first + 1)]
        plan["closed"].append(partition)
        plan["listed"] += children
        plan["parents"] |= {child: [partition] for child in children}
        self._write(plan)
        return children

    def drop(self, partition: str) -> None:
        """No longer list a closed partition: its last record is gone."""
        plan = self._read()
        plan["listed"].remove(partition)
        self._write(plan)

    def refresh(self) -> None:
        """Change every address that is given out from now on, and no number."""
        plan = self._read()
        plan["refreshed"] += 1
        self._write(plan)

    def _position(self, inner: int) -> Position:
        return Position(inner * _STRIDE, f"at/{int(inner)}/{self._read()['refreshed']}")

    def _shown(self, each: Published) -> Published:
        return replace(
            each,
            first_position=each.first_position * _STRIDE,
            last_position=each.last_position * _STRIDE,
        )

    def _checked(self, partition: str) -> None:
        if partition not in self.partitions():
            raise NotFoundError(f"The topic has no partition {partition!r}.")

    def _read(self) -> dict[str, Any]:
        return dict(json.loads(self._plan.read_text()))

    def _write(self, plan: Mapping[str, Any]) -> None:
        fresh = self._plan.with_suffix(".new")
        fresh.write_text(json.dumps(plan))
        fresh.replace(self._plan)


def _entered(position: int) -> int:
    """Where the log is entered: by the address alone, but for its very beginning."""
    address = position.address if isinstance(position, Position) else ""
    if not address:
        if position:
            raise MalformedError(
                f"Position {int(position)} has no address.",
                expected="a position that this log gave out",
                found="a plain number",
                todo="keep the whole position, not its number alone",
            )
        return 0
    return int(address.split("/")[1])


class SparseStream:
    """A folder with one file per topic, and one more that says which partitions there are."""

    def __init__(self, folder: Path, settings: StreamsSettings | None = None) -> None:
        self.url = "sparse:"
        self._folder = folder
        self._stream = EmbeddedStream(folder, settings or StreamsSettings(partitions=8))
        self._topics: dict[Kind, SparseTopic] = {}

    def kinds(self) -> list[Kind]:
        """Kinds whose topic exists already."""
        return self._stream.kinds()

    def topic(self, kind: Kind) -> SparseTopic:
        """The kind's topic; created if it does not exist yet."""
        if kind not in self._topics:
            topic = self._stream.topic(kind)
            self._topics[kind] = SparseTopic(topic, self._folder / f"{kind}.json")
        return self._topics[kind]

    def append_raw(self, kind: Kind, partition: str, payloads: Sequence[bytes]) -> Published:
        """Append records that are already JSON, checked by nobody."""
        return self.topic(kind).append_raw(partition, payloads)

    def join(self, kind: Kind, group: str, *, alone: bool = False) -> Membership:  # noqa: ARG002
        """A member that reads all partitions."""
        return _Everything(self.topic(kind))

    def close(self) -> None:
        """Close all files."""
        self._stream.close()


class _Everything:
    """A member to whom all partitions belong."""

    def __init__(self, topic: Topic) -> None:
        self._topic = topic
        self.acknowledged: dict[str, int] = {}

    def share(self) -> frozenset[str]:
        """All partitions."""
        return frozenset(self._topic.partitions())

    def acknowledge(self, positions: Mapping[str, int]) -> None:
        """Remember how far the lake is."""
        self.acknowledged |= positions

    def leave(self) -> None:
        """Nobody waits for these partitions."""

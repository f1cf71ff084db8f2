"""How far delivery is, as table properties: names, and the check that guards them.

`tickerlake.offset.<stream>.<partition>` = next position to deliver, a number, with `@` and the
log's own address behind it where the log has one. `tickerlake.stream.<stream>` =
the identity's clear text. `tickerlake.partitions.<stream>` = how many partitions have an offset.
Every snapshot that changes an offset carries `tickerlake.check` (a hash of all offset properties)
and `tickerlake.ranges` in its summary: compact JSON `{stream: {partition: [from, to, dropped,
lost, gaps, shared]}}` of the partitions that changed, trailing zeros left out. `to` is the next
position, written like the property (a plain number where it has no address). Where `lake rewind`
set the offsets, `tickerlake.rewound` stands beside it, and `from` is the offset that was wrong:
nothing was delivered, and the chain goes on from `to`.

A snapshot that changes no offset carries its parent's check on (the commit function sees to that):
so the check outlives expiry, and never vouches for properties that somebody else has changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tickerlake.lake.base import SnapshotInfo
from tickerlake.records import Position, address_of

__all__ = [
    "CHECK",
    "RANGES",
    "REWOUND",
    "Range",
    "check_hash",
    "copy_is_open",
    "copy_property",
    "decode_ranges",
    "encode_ranges",
    "offset_property",
    "offsets_agree",
    "offsets_of",
    "partitions_property",
    "stream_ids",
    "stream_property",
]

CHECK = "tickerlake.check"
RANGES = "tickerlake.ranges"
REWOUND = "tickerlake.rewound"
_OFFSET = "tickerlake.offset."


@dataclass(frozen=True, slots=True)
class Range:
    """Positions `[start, end)` of one partition that one snapshot delivered.

    `dropped` records were repeats of delivered ones and became no row. `lost` positions were no
    longer in the log when somebody ran `deliver --accept-loss`. `gaps` positions never held a
    record (transactions, compaction); `shared` records lie at a position at which an earlier one
    of them lies, too. `end` may carry an address.
    """

    start: int
    end: int
    dropped: int = 0
    lost: int = 0
    gaps: int = 0
    shared: int = 0

    @property
    def rows(self) -> int:
        """How many rows it became."""
        length = self.end - self.start
        # Where an older copy of the log was put back, what is lost comes later, on positions that
        # have rows: the range is empty, and nothing in it is missing.
        return max(0, length - self.lost - self.gaps + self.shared - self.dropped)

    def __add__(self, after: Range) -> Range:
        """This range and the one that follows on it."""
        return Range(
            self.start,
            after.end,
            self.dropped + after.dropped,
            self.lost + after.lost,
            self.gaps + after.gaps,
            self.shared + after.shared,
        )

    @property
    def moves(self) -> bool:
        """Whether its end differs from its start, be it in the address alone."""
        return str(self.start) != str(self.end)


def encode_ranges(ranges: Mapping[str, Mapping[str, Range]]) -> str:
    """The summary's `tickerlake.ranges`: by stream id, then partition."""
    out: dict[str, dict[str, list[int | str]]] = {}
    for stream_id, by_partition in ranges.items():
        packed = out.setdefault(stream_id, {})
        for partition, span in by_partition.items():
            end = str(span.end) if address_of(span.end) else int(span.end)
            numbers = [int(span.start), end, span.dropped, span.lost, span.gaps, span.shared]
            while len(numbers) > 2 and numbers[-1] == 0:
                numbers.pop()
            packed[partition] = numbers
    return json.dumps(out, separators=(",", ":"))


def decode_ranges(text: str) -> dict[str, dict[str, Range]]:
    """What `encode_ranges` packed."""
    return {
        stream_id: {
            partition: Range(start, Position.parse(str(end)), *numbers)
            for partition, (start, end, *numbers) in packed.items()
        }
        for stream_id, packed in json.loads(text).items()
    }


def offset_property(stream_id: str, partition: str) -> str:
    """Name of the property that holds the next position of one partition."""
    return f"{_OFFSET}{stream_id}.{partition}"


def copy_property(stream_id: str) -> str:
    """Name of the property that says how far a copy into this stream is: JSON, with `open`."""
    return f"tickerlake.copy.{stream_id}"


def copy_is_open(properties: Mapping[str, str], stream_id: str) -> bool:
    """Whether the stream holds records that the lake knows from another one, and no offset says so.

    While it does, nobody may deliver from it or read its tail: both would see records twice.
    """
    return bool(json.loads(properties.get(copy_property(stream_id), "{}")).get("open"))


def partitions_property(stream_id: str) -> str:
    """Name of the property that says how many partitions must have an offset."""
    return f"tickerlake.partitions.{stream_id}"


def stream_property(stream_id: str) -> str:
    """Name of the property that holds the stream's identity in clear text."""
    return f"tickerlake.stream.{stream_id}"


def stream_ids(properties: Mapping[str, str]) -> list[str]:
    """Ids of all streams that have an offset in this table, in order."""
    names = [name.removeprefix(_OFFSET) for name in properties if name.startswith(_OFFSET)]
    return sorted({name.partition(".")[0] for name in names})


def offsets_of(properties: Mapping[str, str], stream_id: str) -> dict[str, Position]:
    """Next position by partition, of one stream."""
    start = f"{_OFFSET}{stream_id}."
    return {
        name.removeprefix(start): Position.parse(text)
        for name, text in properties.items()
        if name.startswith(start)
    }


def check_hash(properties: Mapping[str, str]) -> str:
    """Hash of all offset properties: what the newest checkpoint's summary must agree with."""
    offsets = sorted((k, v) for k, v in properties.items() if k.startswith(_OFFSET))
    return hashlib.sha256(repr(offsets).encode()).hexdigest()[:16]


def offsets_agree(history: Sequence[SnapshotInfo], properties: Mapping[str, str]) -> bool:
    """Whether the nearest ancestor that carries a check agrees with the properties.

    Where it does not, somebody turned the table back: its offsets are ahead of its rows.

    Args:
        history: The current snapshot and its ancestors that are still kept, oldest first.
        properties: Of the same loaded metadata.
    """
    for snapshot in reversed(history):
        if CHECK in snapshot.summary:
            return snapshot.summary[CHECK] == check_hash(properties)
    if history and history[0].parent_id is not None:
        # Expiry took the older history, and other tools made all that is left. Nobody can turn
        # a table back to a snapshot that is gone.
        return True
    return not stream_ids(properties)

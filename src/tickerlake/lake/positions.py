"""How far delivery is, as table properties: names, and the check that guards them.

`tickerlake.offset.<stream>.<partition>` = next position to deliver. `tickerlake.stream.<stream>` =
the identity's clear text. `tickerlake.partitions.<stream>` = how many partitions have an offset.
Every snapshot that changes an offset carries `tickerlake.check` (a hash of all offset properties)
and `tickerlake.ranges` (compact JSON: {stream: {partition: [from, to]}} of what changed, with
"dropped" repeats counted per partition) in its summary.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

__all__ = [
    "CHECK",
    "RANGES",
    "check_hash",
    "offset_property",
    "offsets_of",
    "partitions_property",
    "stream_property",
]

CHECK = "tickerlake.check"
RANGES = "tickerlake.ranges"
_OFFSET = "tickerlake.offset."


def offset_property(stream_id: str, partition: str) -> str:
    """Name of the property that holds the next position of one partition."""
    return f"{_OFFSET}{stream_id}.{partition}"


def partitions_property(stream_id: str) -> str:
    """Name of the property that says how many partitions must have an offset."""
    return f"tickerlake.partitions.{stream_id}"


def stream_property(stream_id: str) -> str:
    """Name of the property that holds the stream's identity in clear text."""
    return f"tickerlake.stream.{stream_id}"


def offsets_of(properties: Mapping[str, str], stream_id: str) -> dict[str, int]:
    """Next position by partition, of one stream."""
    start = f"{_OFFSET}{stream_id}."
    return {k.removeprefix(start): int(v) for k, v in properties.items() if k.startswith(start)}


def check_hash(properties: Mapping[str, str]) -> str:
    """Hash of all offset properties: what the newest checkpoint's summary must agree with."""
    offsets = sorted((k, v) for k, v in properties.items() if k.startswith(_OFFSET))
    return hashlib.sha256(repr(offsets).encode()).hexdigest()[:16]

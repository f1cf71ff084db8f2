"""How the worker of version 0.1.0 decided and committed, frozen: it may run beside ours.

It knew logs with dense numbers only (no holes, no addresses, one record a position), and what it
commits must be understood by us, and the other way round. Nothing here follows later changes.
"""

from __future__ import annotations

import json

from tickerlake.delivery import checkpoint, direct
from tickerlake.delivery.checkpoint import Decision, Unit
from tickerlake.delivery.direct import DirectCommits
from tickerlake.lake.base import Change, Loaded
from tickerlake.lake.positions import (
    CHECK,
    RANGES,
    check_hash,
    offset_property,
    offsets_of,
    partitions_property,
    stream_property,
)
from tickerlake.testing.ills import patched

__all__ = ["Previous"]


class Previous(DirectCommits):
    """Steps 7 to 9 as they were."""

    def commit(self, unit: Unit, *, known_to_others: bool = False) -> int | None:
        """The loop is ours; what it decides on and what it commits are theirs."""
        with patched(direct, "change_of", _change_of):
            return super().commit(unit, known_to_others=known_to_others)

    def decide(self, loaded: Loaded, unit: Unit) -> Decision:
        """Numbers are compared, nothing else was known."""
        offsets = checkpoint.offsets_checked(self._table, loaded, unit.identity)
        now = {name: None if (at := offsets.get(name)) is None else int(at) for name in unit.ranges}
        before = {n: None if unit.registers else int(span.start) for n, span in unit.ranges.items()}
        if now == before:
            return Decision.COMMIT
        if all(now[name] == int(span.end) for name, span in unit.ranges.items()):
            return Decision.DONE
        return Decision.DISCARD


def _change_of(loaded: Loaded, unit: Unit) -> Change:
    stream_id = unit.identity.id
    known = {*offsets_of(loaded.properties, stream_id), *unit.ranges}
    properties = {
        stream_property(stream_id): unit.identity.text,
        partitions_property(stream_id): str(len(known)),
        **{
            offset_property(stream_id, name): str(int(span.end))
            for name, span in unit.ranges.items()
        },
    }
    packed: dict[str, list[int]] = {}
    for name, span in unit.ranges.items():
        numbers = [int(span.start), int(span.end), span.dropped, span.lost]
        while len(numbers) > 2 and numbers[-1] == 0:
            numbers.pop()
        packed[name] = numbers
    return Change(
        append=unit.files,
        properties=properties,
        summary={
            CHECK: check_hash({**loaded.properties, **properties}),
            RANGES: json.dumps({stream_id: packed}, separators=(",", ":")),
        },
    )

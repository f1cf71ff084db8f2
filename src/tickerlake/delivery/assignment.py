"""Step 4: where a worker begins. The lake knows; the log's own bookkeeping is never asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tickerlake.delivery.checkpoint import Unit, count_of, offsets_checked
from tickerlake.errors import RetentionPassedError
from tickerlake.lake import LakeTable, Loaded
from tickerlake.lake.positions import Range
from tickerlake.streams import Bounds, Topic

__all__ = ["Start", "find_start"]


@dataclass(frozen=True, slots=True)
class Start:
    """Where the lake says that each partition goes on, and what must be written down before."""

    positions: Mapping[str, int]
    #: Partitions that have no offset yet: written explicitly, as the log's beginning.
    register: Unit | None = None
    #: Holes that `accept_loss` gives up: from the lake's offset to the log's beginning.
    losses: Unit | None = None


def find_start(
    topic: Topic,
    table: LakeTable,
    loaded: Loaded,
    partitions: Sequence[str],
    *,
    accept_loss: bool,
) -> Start:
    """Positions of `partitions`, from one loaded metadata.

    Raises:
        RolledBackError: Somebody turned the table back.
        DataLossError: An offset is missing.
        RetentionPassedError: The log no longer holds what comes next, or ends before it, and
            `accept_loss` was not given.
    """
    identity = topic.identity()
    offsets = offsets_checked(table, loaded, identity)
    names = topic.partitions()
    new = [name for name in names if name not in offsets]
    bounds = {name: topic.bounds(name, offsets.get(name)) for name in (*partitions, *new)}
    register = losses = None
    if new:
        # All new ones at once, also those of other workers: the count is a promise about all.
        begin = {name: Range(bounds[name].beginning, bounds[name].beginning) for name in new}
        register = Unit(identity, begin, partition_count=len(names), registers=True)
    holes = {
        name: hole
        for name in partitions
        if name in offsets
        if (hole := _hole(table.name, name, offsets[name], bounds[name], accept_loss=accept_loss))
    }
    if holes:
        losses = Unit(identity, holes, partition_count=count_of(loaded, identity.id))
    positions: dict[str, int] = {
        name: offsets.get(name, bounds[name].beginning) for name in partitions
    }
    positions.update({name: hole.end for name, hole in holes.items()})
    return Start(positions, register, losses)


def _hole(
    table: str, partition: str, offset: int, bounds: Bounds, *, accept_loss: bool
) -> Range | None:
    end = offset if bounds.end is None else bounds.end
    if bounds.beginning <= offset <= end:
        return None
    if offset > end:
        # An older copy of the log was put back, and gives positions out again for which the lake
        # has rows. Going back would take two records for one; so what comes there is given up.
        missing, found = Range(offset, offset, lost=offset - end), f"ends at {end}"
        way = f"skips the next {missing.lost} records that are published to this partition"
    else:
        missing = Range(offset, bounds.beginning, lost=bounds.beginning - offset)
        found, way = f"begins at {bounds.beginning}", "goes on after the hole"
    if accept_loss:
        return missing
    raise RetentionPassedError(
        f"Partition {partition} of the stream does not hold what {table} needs next.",
        expected=f"a log that reaches from {offset} on",
        found=f"a log that {found}",
        todo="put a copy of the log back that holds it; or run `tickerlake deliver --accept-loss`, "
        f"which {way} and records the hole of {missing.lost} positions in `deliveries`",
    )

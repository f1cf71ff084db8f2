"""Step 4: where a worker begins. The lake knows; the log's own bookkeeping is never asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tickerlake.delivery.checkpoint import Unit, offsets_checked
from tickerlake.errors import RetentionPassedError
from tickerlake.lake import LakeTable, Loaded
from tickerlake.lake.positions import RANGES, Range, decode_ranges
from tickerlake.records import Position
from tickerlake.streams import Bounds, Topic

__all__ = ["Start", "awaited", "find_start", "registration"]


@dataclass(frozen=True, slots=True)
class Start:
    """Where the lake says that each partition goes on, and what must be written down before."""

    positions: Mapping[str, int]
    #: Partitions that have no offset yet: written explicitly, as the log's beginning.
    register: Unit | None = None
    #: Holes that `accept_loss` gives up: from the lake's offset to the log's beginning.
    losses: Unit | None = None
    #: Partitions that ended, and that the log no longer lists.
    forgets: tuple[str, ...] = ()
    #: What each partition must wait for: see `awaited`.
    awaits: Mapping[str, frozenset[str]] = field(default_factory=dict)


def find_start(
    topic: Topic,
    table: LakeTable,
    loaded: Loaded,
    names: Sequence[str],
    mine: Sequence[str],
    *,
    accept_loss: bool,
) -> Start:
    """Positions of `mine` among all partitions `names` of the topic, from one loaded metadata.

    Raises:
        RolledBackError: Somebody turned the table back.
        DataLossError: An offset is missing.
        RetentionPassedError: The log no longer holds what comes next, or ends before it, and
            `accept_loss` was not given.
    """
    identity = topic.identity()
    offsets = offsets_checked(table, loaded, identity)
    register = registration(topic, offsets, names)
    begins = {name: span.start for name, span in register.ranges.items()} if register else {}
    losses = None
    open_ones = [name for name in mine if name in offsets and not offsets[name].ended]
    bounds = {name: topic.bounds(name, offsets[name]) for name in open_ones}
    told = _losses_told(table, loaded, identity.id)
    holes = {
        name: hole
        for name in open_ones
        if (hole := _hole(offsets[name], bounds[name], told.get(name))) is not None
    } | {
        name: _vanished(offset) for name, offset in offsets.items() if _is_gone(name, offset, names)
    }
    if holes and not accept_loss:
        raise _refusal(table.name, *next(iter(holes.items())), bounds)
    news = {name: hole for name, hole in holes.items() if hole.lost}
    if news:
        losses = Unit(identity, news)
    positions: dict[str, int] = {
        name: offsets[name] if name in offsets else begins[name] for name in mine
    }
    positions.update({name: hole.end for name, hole in holes.items() if name in positions})
    return Start(
        positions,
        register,
        losses,
        forgets=tuple(name for name, at in offsets.items() if at.ended and name not in names),
        awaits=awaited(topic, offsets, names, mine),
    )


def registration(
    topic: Topic, offsets: Mapping[str, Position], names: Sequence[str]
) -> Unit | None:
    """What gives those of `names` that have no offset their first one; null: all have one.

    All new ones at once, also those of other workers: the count is a promise about all.
    """
    begins: dict[str, int] = {}
    for name in (name for name in names if name not in offsets):
        # Parents are listed before their children, so they have an offset by now if they ever do.
        known = {**offsets, **begins}
        parents = [known[parent] for parent in topic.parents(name) if parent in known]
        begins[name] = topic.bounds(name, parents=parents).beginning
    if not begins:
        return None
    ranges = {name: Range(begin, begin) for name, begin in begins.items()}
    return Unit(topic.identity(), ranges, registers=True)


def awaited(
    topic: Topic, offsets: Mapping[str, Position], names: Sequence[str], mine: Sequence[str]
) -> dict[str, frozenset[str]]:
    """Which of `mine` must not be begun yet, and the parents that have not ended in the lake.

    A parent that the log no longer lists has nothing left to wait for.
    """
    ended = {name for name, offset in offsets.items() if offset.ended}
    waits = {name: frozenset(topic.parents(name)) & frozenset(names) - ended for name in mine}
    return {name: parents for name, parents in waits.items() if parents}


def _is_gone(name: str, offset: Position, names: Sequence[str]) -> bool:
    """Whether the log dropped a partition before the lake had seen its end."""
    return name not in names and not offset.ended


def _vanished(offset: Position) -> Range:
    """At least one record of it is lost, for all that anybody can tell."""
    return Range(offset, Position.end_of_partition(offset + 1), lost=1)


def _hole(offset: int, bounds: Bounds, told: Range | None) -> Range | None:
    """What the log does not hold of what comes next; `told` is what was given up last."""
    end = offset if bounds.end is None else bounds.end
    if bounds.beginning <= offset <= end:
        return None
    if offset < bounds.beginning:
        return Range(offset, bounds.beginning, lost=bounds.beginning - offset)
    # An older copy of the log was put back, and gives positions out again for which the lake
    # has rows. Going back would take two records for one; so what comes there is given up.
    already = told.lost if told is not None and told.end == offset else 0
    return Range(offset, offset, lost=max(0, offset - end - already))


def _losses_told(table: LakeTable, loaded: Loaded, stream_id: str) -> dict[str, Range]:
    """The newest range of each partition, where it only gave up what an older log lacks.

    Such a loss is told once, however often delivery begins before the log has grown beyond it.
    """
    newest: dict[str, Range] = {}
    for snapshot in table.snapshots(loaded):
        for name, span in (
            decode_ranges(snapshot.summary.get(RANGES, "{}")).get(stream_id, {}).items()
        ):
            before = newest.get(name)
            again = before is not None and not before.moves and before.lost and not span.moves
            newest[name] = before + span if before is not None and again else span
    return {name: span for name, span in newest.items() if span.lost and not span.moves}


def _refusal(
    table: str, partition: str, hole: Range, bounds: Mapping[str, Bounds]
) -> RetentionPassedError:
    if partition not in bounds:
        found, way = "no longer lists it", "goes on without it"
        lost = "at least one record"
    elif hole.moves:
        found, way = f"begins at {int(bounds[partition].beginning)}", "goes on after the hole"
        lost = f"{hole.lost} positions"
    else:
        found = f"ends at {bounds[partition].end}"
        way = "skips as many of the next records that are published to this partition"
        lost = f"{int(hole.start) - (bounds[partition].end or 0)} positions"
    return RetentionPassedError(
        f"Partition {partition} of the stream does not hold what {table} needs next.",
        expected=f"a log that reaches from {int(hole.start)} on",
        found=f"a log that {found}",
        todo="put a copy of the log back that holds it; or run `tickerlake deliver --accept-loss`, "
        f"which {way} and records the hole of {lost} in `deliveries`",
    )

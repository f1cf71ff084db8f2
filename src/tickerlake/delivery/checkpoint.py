"""Whether a transaction may be committed, decided on one freshly loaded metadata object.

The unit of fencing is the transaction. It may carry many partitions, and it lands whole or not at
all: a partition that somebody else moved takes the whole transaction with it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from tickerlake.errors import CopyOpenError, DataLossError, RolledBackError
from tickerlake.lake.base import Change, LakeTable, Loaded, WrittenFile
from tickerlake.lake.positions import (
    CHECK,
    RANGES,
    Range,
    check_hash,
    copy_is_open,
    encode_ranges,
    offset_property,
    offsets_agree,
    offsets_of,
    partitions_property,
    stream_property,
)
from tickerlake.records import Position
from tickerlake.streams import StreamIdentity

__all__ = ["Decision", "Unit", "change_of", "decide", "offsets_checked", "refuse_open_copy"]


class Decision(enum.Enum):
    """What step 7 found."""

    #: All partitions stand at their `to`: committed, by us or by another.
    DONE = "done"
    #: All partitions stand at their `from`: ours to commit.
    COMMIT = "commit"
    #: Anything else: somebody moved on; every file and buffer of it is worthless.
    DISCARD = "discard"


@dataclass(frozen=True, slots=True)
class Unit:
    """One transaction: ranges of one stream, and the files that hold their rows.

    With `registers` it gives partitions their first offset: they must have none before it.
    `origins` are the dead letters that its rows mend. `forgets` are partitions that ended and that
    the log no longer lists: their offsets go with this commit. With `copies` it is a copy's own:
    it lands while the copy into the stream is open, as no other may.
    """

    identity: StreamIdentity
    ranges: Mapping[str, Range]
    files: tuple[WrittenFile, ...] = ()
    registers: bool = False
    origins: tuple[str, ...] = ()
    forgets: tuple[str, ...] = ()
    copies: bool = False

    @property
    def shows(self) -> bool:
        """Whether the table's offsets tell that it landed: not if it moves none of them."""
        return self.registers or any(span.moves for span in self.ranges.values())


def decide(table: LakeTable, loaded: Loaded, unit: Unit) -> Decision:
    """Step 7: compare the unit with `loaded`, on which alone it may then be committed.

    Raises:
        RolledBackError: Somebody turned the table back.
        DataLossError: A partition that was registered has no offset any more.
        CopyOpenError: A copy into the stream has not ended.
    """
    offsets = offsets_checked(table, loaded, unit.identity)
    if not unit.copies:
        refuse_open_copy(loaded, unit.identity)
    # As texts: a position that differs in its address alone is another place in the log.
    now = {name: str(offsets.get(name)) for name in unit.ranges}
    before = {name: None if unit.registers else span.start for name, span in unit.ranges.items()}
    if now == {name: str(start) for name, start in before.items()}:
        return Decision.COMMIT
    if now == {name: str(span.end) for name, span in unit.ranges.items()}:
        return Decision.DONE
    return Decision.DISCARD


def change_of(loaded: Loaded, unit: Unit) -> Change:
    """The snapshot that commits `unit` on top of `loaded`.

    A change of an offset always makes a snapshot, with no files if there is nothing to append:
    properties alone are compared with nothing, and a zombie could take an offset back (step 2).
    """
    stream_id = unit.identity.id
    before = offsets_of(loaded.properties, stream_id)
    gone = [name for name in unit.forgets if name in before and before[name].ended]
    properties = {
        stream_property(stream_id): unit.identity.text,
        partitions_property(stream_id): str(len({*before, *unit.ranges}) - len(gone)),
        **{offset_property(stream_id, name): str(span.end) for name, span in unit.ranges.items()},
    }
    forget = tuple(offset_property(stream_id, name) for name in gone)
    after = {**loaded.properties, **properties}
    return Change(
        append=unit.files,
        properties=properties,
        forget=forget,
        summary={
            CHECK: check_hash({name: after[name] for name in after if name not in forget}),
            RANGES: encode_ranges({stream_id: unit.ranges}),
        },
    )


def refuse_open_copy(loaded: Loaded, identity: StreamIdentity) -> None:
    """Nobody delivers from a stream while a copy fills it.

    Raises:
        CopyOpenError: A copy into the stream has not ended.
    """
    if copy_is_open(loaded.properties, identity.id):
        raise CopyOpenError(
            f"A copy into this stream has not ended; {loaded.name} has its records already.",
            found=f"the stream {identity.text}",
            todo="run the same `tickerlake stream copy FROM TO` again: it goes on to its end",
        )


def _count_of(loaded: Loaded, stream_id: str) -> int:
    """How many partitions of the stream have an offset; 0 for a stream that is new to the table."""
    return int(loaded.properties.get(partitions_property(stream_id), "0"))


def offsets_checked(
    table: LakeTable, loaded: Loaded, identity: StreamIdentity
) -> Mapping[str, Position]:
    """The stream's next positions, after proof that nobody turned the table back.

    Raises:
        RolledBackError: The newest checkpoint among the snapshot's ancestors disagrees with the
            properties.
        DataLossError: Fewer offsets than partitions that were registered.
    """
    if not offsets_agree(table.snapshots(loaded), loaded.properties):
        raise RolledBackError(
            f"The table {loaded.name} was turned back: its offsets are ahead of its rows.",
            expected="offsets that agree with the newest checkpoint of the table's history",
            found="another tool rolled the table back, or changed its tickerlake.offset properties",
            todo=f"run `tickerlake lake rewind {loaded.name}`: it sets each offset to what the "
            "table really holds, and the next delivery fetches the rest again",
        )
    offsets = offsets_of(loaded.properties, identity.id)
    count = _count_of(loaded, identity.id)
    if len(offsets) != count:
        raise DataLossError(
            f"The table {loaded.name} has lost the offset of a partition.",
            expected=f"{count} offsets of the stream {identity.id}",
            found=f"{len(offsets)}: {', '.join(sorted(offsets)) or 'none'}",
            todo=f"run `tickerlake lake rewind {loaded.name}`; an offset that is missing is not "
            "zero",
        )
    return offsets

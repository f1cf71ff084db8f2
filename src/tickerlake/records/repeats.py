"""Which records of a partition repeat one that is already there.

A producer that never saw its answer sends the same records again: same key, same `fetched_at`,
same event id. Delivery and the reader of the fresh tail both drop them, by one rule that depends
on the log alone and not on how it was cut into batches:

    A record at position p repeats an equal one (event id and key) that was kept at a position
    in [p - size, p], if it was among the last `size` kept.

The second half only bounds memory: where each record has its own position it follows from the
first, but thousands may share one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.records.event_ids import key_hashes
from tickerlake.records.schemas import KEYS, Kind, lake_schema

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Mask = npt.NDArray[np.bool_]

__all__ = ["REPEAT_WINDOW", "RepeatWindow", "repeated_origins"]

#: How many positions back a repeat is recognised unless the settings say otherwise.
REPEAT_WINDOW: Final = 100_000

_SLOT_BITS: Final = 19

#: Records of many small reads are kept together up to about so many.
_PART_RECORDS: Final = 16_384


@dataclass(frozen=True, slots=True)
class _Seen:
    """Kept records as parallel arrays, in the order of their positions."""

    ids: npt.NDArray[np.uint64]
    keys: npt.NDArray[np.uint64]
    positions: npt.NDArray[np.int64]
    #: One word for id and key: only to find out quickly that nothing repeats.
    words: npt.NDArray[np.uint64]

    def __add__(self, other: _Seen) -> _Seen:
        import numpy as np

        return _Seen(
            np.concatenate((self.ids, other.ids)),
            np.concatenate((self.keys, other.keys)),
            np.concatenate((self.positions, other.positions)),
            np.concatenate((self.words, other.words)),
        )

    def after(self, position: int) -> _Seen:
        """Those whose positions lie beyond; positions ascend, so nothing is copied."""
        return self.since(int(self.positions.searchsorted(position, side="right")))

    def since(self, first: int) -> _Seen:
        """Without those before the first."""
        return _Seen(
            self.ids[first:], self.keys[first:], self.positions[first:], self.words[first:]
        )

    def told(self, places: npt.NDArray[np.intp]) -> tuple[list[tuple[int, int]], list[int]]:
        """Events (id and key) and positions of some, as Python has them."""
        some = self.pick(places)
        events = zip(some.ids.tolist(), some.keys.tolist(), strict=True)
        return list(events), some.positions.tolist()

    def pick(self, which: npt.NDArray[np.bool_ | np.intp]) -> _Seen:
        return _Seen(self.ids[which], self.keys[which], self.positions[which], self.words[which])

    def __len__(self) -> int:
        return len(self.ids)


class RepeatWindow:
    """The events of one partition's last `size` positions. Not shared between threads.

    Records without an event id (a payload that nobody could decode) repeat nothing.
    """

    def __init__(self, kind: Kind, size: int) -> None:
        self.kind = kind
        self.size = size
        #: In the order of their positions; none of them is empty.
        self._seen: list[_Seen] = []

    def remember(self, rows: pa.Table) -> None:
        """Take in records that are kept already: what the lake holds, in any order."""
        known = rows.filter(rows.column("event_id").is_valid())
        self._keep(_seen(known.sort_by("_offset"), self.kind))

    def admit(self, rows: pa.Table) -> Mask:
        """Mark the records that repeat nothing, and remember them.

        Args:
            rows: The partition's next records in order, with `event_id`, `_offset` and the key.

        Returns:
            One boolean a record: False where it repeats one that was kept before.
        """
        import numpy as np

        seen = _seen(rows, self.kind)
        known = None
        if rows.column("event_id").null_count:
            known = rows.column("event_id").is_valid().to_numpy(zero_copy_only=False)
            seen = seen.pick(known)
        kept = np.ones(len(seen), dtype=bool)
        before, now = _suspects(self._seen, seen)
        if len(now):
            kept[self._repeats(before, seen, now)] = False
        self._keep(seen if kept.all() else seen.pick(kept))
        if known is None:
            return kept
        fresh = np.ones(rows.num_rows, dtype=bool)
        fresh[known] = kept
        return fresh

    def _repeats(
        self, before: list[npt.NDArray[np.intp]], seen: _Seen, now: npt.NDArray[np.intp]
    ) -> list[int]:
        """Which of the few suspects repeat one that was kept, in the order of the log."""
        last: dict[tuple[int, int], tuple[int, int]] = {}
        count = 0
        for part, places in zip(self._seen, before, strict=True):
            for place, event, position in zip(places.tolist(), *part.told(places), strict=True):
                last[event] = position, count + place
            count += len(part)
        repeats: list[int] = []
        for row, event, position in zip(now.tolist(), *seen.told(now), strict=True):
            number = count + row - len(repeats)
            known = last.get(event)
            if known and position - known[0] <= self.size and number - known[1] <= self.size:
                repeats.append(row)
            else:
                last[event] = position, number
        return repeats

    def _keep(self, seen: _Seen) -> None:
        if not len(seen):
            return
        if self._seen and len(self._seen[-1]) < _PART_RECORDS:
            seen = self._seen.pop() + seen
        beyond = int(seen.positions[-1]) - self.size
        parts = [part.after(beyond) for part in (*self._seen, seen)]
        excess = max(0, sum(map(len, parts)) - self.size)
        self._seen = []
        for part in parts:
            if excess < len(part):
                self._seen.append(part.since(excess))
            excess = max(0, excess - len(part))


def columns_of(kind: Kind) -> pa.Schema:
    """The columns that a window needs of a table that holds delivered rows."""
    schema = lake_schema(kind)
    return pa.schema([schema.field(name) for name in ("event_id", *KEYS[kind], "_offset")])


def _seen(rows: pa.Table, kind: Kind) -> _Seen:
    import numpy as np

    column = rows.column("event_id").combine_chunks()
    ids = (pc.fill_null(column, 0) if column.null_count else column).to_numpy().view(np.uint64)
    keys = key_hashes(rows, kind)
    words = ids * np.uint64(0x9E3779B97F4A7C15) + keys
    return _Seen(ids, keys, rows.column("_offset").to_numpy(), words)


def _suspects(
    before: list[_Seen], now: _Seen
) -> tuple[list[npt.NDArray[np.intp]], npt.NDArray[np.intp]]:
    """Where words stand that come again: in each part of the window, and in what comes now.

    Two equal words share a slot of a table; the last of each slot owns it. So words are compared
    with the owners of their slots alone, and with the few that lost theirs to another.
    """
    import numpy as np

    slots = _slots(now.words)
    numbers = np.arange(len(now), dtype=np.int32)
    owner = np.empty(1 << _SLOT_BITS, np.int32)
    owner[slots] = numbers
    owned = np.zeros(1 << _SLOT_BITS, bool)
    owned[slots] = True
    pushed = np.flatnonzero(owner.take(slots) != numbers)
    lost = np.sort(now.words[pushed])
    found, twice = [], []
    for part in before:
        places = _slots(part.words)
        few = np.flatnonzero(owned.take(places))
        words = part.words[few]
        again = few[(now.words[owner[places[few]]] == words) | _among(lost, words)]
        found.append(again)
        twice.append(part.words[again])
    winners = now.words[owner[slots[pushed]]]
    twice += [lost[1:][lost[1:] == lost[:-1]], winners[_among(lost, winners)]]
    if not any(len(each) for each in twice):
        return found, np.empty(0, np.intp)
    return found, np.flatnonzero(np.isin(now.words, np.concatenate(twice)))


def _among(known: npt.NDArray[np.uint64], words: npt.NDArray[np.uint64]) -> Mask:
    """Which words are among the sorted known ones."""
    import numpy as np

    if not len(known):
        return np.zeros(len(words), bool)
    found: Mask = known.take(known.searchsorted(words), mode="clip") == words
    return found


def _slots(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    import numpy as np

    return (words >> np.uint64(64 - _SLOT_BITS)).view(np.int64)


def repeated_origins(rows: pa.Table, known: pa.Array) -> pa.Array:
    """Mark the records whose `origin` is among `known`, or came earlier in these rows."""
    origins = rows.column("origin").combine_chunks()
    places = pa.array(range(len(origins)), pa.int64())
    groups = pa.table({"origin": origins, "place": places}).group_by("origin")
    first = groups.aggregate([("place", "min")]).column("place_min")
    again = pc.invert(pc.is_in(places, first.combine_chunks()))
    delivered = pc.is_in(origins, known.cast(pa.string()))
    return pc.and_(pc.is_valid(origins), pc.or_(again, delivered))

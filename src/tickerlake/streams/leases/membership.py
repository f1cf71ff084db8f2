"""Members of a group share the partitions of a topic between them.

Each member has a text `member/ID`, a number that it counts up; each partition that somebody reads
has a text `partition/NAME`, its reader's id. A member whose number has stood still for the lease's
time, as seen by one that watches it on its own monotonic clock, is dead: it is taken out, and its
partitions are free. So no two clocks are ever compared, and none may not be set back.

Each member takes what is free up to its fair share, and gives back what is beyond it, which makes
room for one that joins.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from tickerlake import clock
from tickerlake.errors import TickerlakeError
from tickerlake.streams.leases.base import LeaseStore

__all__ = ["AloneMembership", "LeasedMembership"]

_log = logging.getLogger(__name__)

#: A member makes itself heard so often within the time of a lease.
_TURNS_PER_LEASE: Final = 8

_MEMBER: Final = "member/"
_PARTITION: Final = "partition/"

#: Partitions in sets, of each of which every member takes its fair share.
Names = Callable[[], Sequence[Sequence[str]]]
Acknowledge = Callable[[Mapping[str, int]], None]


def _nobody(positions: Mapping[str, int]) -> None:
    """Nobody keeps how far the lake is."""


class AloneMembership:
    """A member that reads all partitions, whoever else does."""

    def __init__(self, names: Names, *, acknowledge: Acknowledge = _nobody) -> None:
        self._names = names
        self._acknowledge = acknowledge

    def share(self) -> frozenset[str]:
        """All partitions."""
        return frozenset(name for names in self._names() for name in names)

    def acknowledge(self, positions: Mapping[str, int]) -> None:
        """Tell the stream how far the lake is."""
        self._acknowledge(positions)

    def leave(self) -> None:
        """Nobody waits for these partitions."""


class LeasedMembership:
    """A member that reads its fair share of the partitions.

    Promise: the partitions of a member that died are shared out again within the lease's time and
    a third of it. Not promised: that a partition has one reader at a time.

    Args:
        store: Where the group meets.
        group: Who delivers what to where.
        names: The partitions as of now.
        lease_seconds: A member that was not heard of for so long is dead.
        acknowledge: Told how far the lake is.
    """

    def __init__(
        self,
        store: LeaseStore,
        group: str,
        names: Names,
        *,
        lease_seconds: float,
        acknowledge: Acknowledge = _nobody,
    ) -> None:
        self._store = store
        self._group = group
        self._names = names
        self._lease_seconds = lease_seconds
        self._acknowledge = acknowledge
        self._id = uuid.uuid4().hex[:12]
        self._count = 0
        #: Of each other member the number last seen, and since when.
        self._seen: dict[str, tuple[str, float]] = {}
        self._share: frozenset[str] = frozenset()
        self._left = threading.Event()
        self._turn()
        self._thread = threading.Thread(target=self._run, name=f"lease-{self._id}", daemon=True)
        self._thread.start()

    def share(self) -> frozenset[str]:
        """What was this member's at its last turn."""
        return self._share

    def acknowledge(self, positions: Mapping[str, int]) -> None:
        """Tell the stream how far the lake is."""
        self._acknowledge(positions)

    def leave(self) -> None:
        """Give all back, so that the others need not wait until the leases run out."""
        if self._left.is_set():
            return
        self._left.set()
        self._thread.join()
        mine, self._share = self._share, frozenset()
        with contextlib.suppress(TickerlakeError):  # Out of reach: then they run out.
            for name in sorted(mine):
                self._store.remove(self._group, _PARTITION + name, expected=self._id)
            self._store.remove(self._group, _MEMBER + self._id, expected=str(self._count))
        self._store.close()

    def _run(self) -> None:
        while not self._left.wait(self._lease_seconds / _TURNS_PER_LEASE):
            try:
                self._turn()
            except TickerlakeError:
                # What is ours stays ours meanwhile: the lake knows better, if others take it.
                _log.warning("group %s: the leases are out of reach", self._group, exc_info=True)

    def _turn(self) -> None:
        """Be heard, see who else is there, give back what is too much, take what is free."""
        self._be_heard()
        texts = self._store.read(self._group)
        members = sorted(self._alive(texts))
        owners = {
            name.removeprefix(_PARTITION): owner
            for name, owner in texts.items()
            if name.startswith(_PARTITION)
        }
        kept: set[str] = set()
        counted = 0
        for names in self._names():
            # Of what cannot be shared evenly, another member has one more in each set.
            rank = (members.index(self._id) - counted) % len(members)
            kept |= self._shared(names, owners, members, rank)
            counted += len(names)
        self._share = frozenset(kept)
        for name, owner in owners.items():
            if owner == self._id and name not in kept:
                self._store.remove(self._group, _PARTITION + name, expected=self._id)

    def _be_heard(self) -> None:
        name, before = _MEMBER + self._id, str(self._count) if self._count else None
        self._count += 1
        if not self._store.write(self._group, name, str(self._count), expected=before):
            # The others took us for dead, or the store was emptied: we are a new member.
            self._store.write(self._group, name, str(self._count), expected=None)

    def _alive(self, texts: Mapping[str, str]) -> set[str]:
        now = clock.monotonic_seconds()
        alive = {self._id}
        seen: dict[str, tuple[str, float]] = {}
        for name, count in texts.items():
            if not name.startswith(_MEMBER) or name == _MEMBER + self._id:
                continue
            last, since = self._seen.get(name, ("", now))
            seen[name] = (count, since if count == last else now)
            if now - seen[name][1] < self._lease_seconds:
                alive.add(name.removeprefix(_MEMBER))
            else:
                self._store.remove(self._group, name, expected=count)
        self._seen = seen
        return alive

    def _shared(
        self, names: Sequence[str], owners: Mapping[str, str], members: Sequence[str], rank: int
    ) -> set[str]:
        """This member's part of one set of partitions."""
        quota = len(names) // len(members) + (rank < len(names) % len(members))
        mine = [name for name in names if owners.get(name) == self._id][:quota]
        # Each looks at another end first, so that they seldom want the same one.
        start = rank * len(names) // len(members)
        for name in (*names[start:], *names[:start]):
            if len(mine) == quota:
                break
            owner = owners.get(name)
            if owner not in members and self._store.write(
                self._group, _PARTITION + name, self._id, expected=owner
            ):
                mine.append(name)
        return set(mine)

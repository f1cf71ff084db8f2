"""A group of workers whose shares a test hands out: rebalancing at will, with no broker."""

from __future__ import annotations

import threading
from collections.abc import Mapping

__all__ = ["Shares"]


class Shares:
    """Who reads which partition. Two may be given the same one: that does no harm."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._given: dict[str, frozenset[str]] = {}
        #: How far the lake is, as workers told it.
        self.acknowledged: dict[str, int] = {}

    def give(self, **shares: str) -> None:
        """Give each member its partitions, named with blanks between, from now on."""
        with self._lock:
            self._given = {name: frozenset(share.split()) for name, share in shares.items()}

    def join(self, name: str) -> _Member:
        """A member of that name."""
        return _Member(self, name)

    def of(self, name: str) -> frozenset[str]:
        """What a member has now."""
        with self._lock:
            return self._given.get(name, frozenset())

    def told(self, positions: Mapping[str, int]) -> None:
        """A member says how far the lake is."""
        with self._lock:
            for name, position in positions.items():
                self.acknowledged[name] = max(position, self.acknowledged.get(name, 0))


class _Member:
    def __init__(self, shares: Shares, name: str) -> None:
        self._shares = shares
        self._name = name

    def share(self) -> frozenset[str]:
        """What the test gave."""
        return self._shares.of(self._name)

    def acknowledge(self, positions: Mapping[str, int]) -> None:
        """Tell how far the lake is."""
        self._shares.told(positions)

    def leave(self) -> None:
        """The test gives its partitions to others."""

"""The contract of a store of leases: small texts under names, changed by compare-and-set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

__all__ = ["LeaseStore"]


@runtime_checkable
class LeaseStore(Protocol):
    """Texts by name, in groups. Safe to use from several threads, processes and machines.

    Promise: of several writers that expect the same text one wins. Not promised: that anything
    survives for long; a lost store makes all members begin anew, and nothing worse.

    All raise UnreachableError or StorageError where the store cannot be reached.
    """

    def read(self, group: str) -> Mapping[str, str]:
        """All texts of a group, as of one moment."""
        ...

    def write(self, group: str, name: str, text: str, *, expected: str | None) -> bool:
        """Set a text if it is what was expected (null: none); false: it is another by now."""
        ...

    def remove(self, group: str, name: str, *, expected: str) -> bool:
        """Take a text away if it is what was expected."""
        ...

    def close(self) -> None:
        """Give back connections."""
        ...

"""Workers that break the protocol, each in one way: a judge that finds nothing here is no judge.

And one that keeps it in the way of an earlier version.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyiceberg.exceptions import CommitFailedException

from tickerlake.delivery.checkpoint import Decision, Unit
from tickerlake.delivery.direct import DirectCommits
from tickerlake.errors import CommitRefusedError
from tickerlake.lake.base import Change, LakeTable, Loaded
from tickerlake.testing.ills import patched
from tickerlake.testing.previous import Previous

__all__ = ["WAYS", "OwnRetries", "PropertyOnly", "SentTwice", "Unfenced", "broken"]


class Unfenced(DirectCommits):
    """Commits onto whatever is newest, without step 7's comparison."""

    def decide(self, loaded: Loaded, unit: Unit) -> Decision:  # noqa: ARG002
        """Always go on."""
        return Decision.COMMIT


class Wrapped:
    """A table whose commits go another way."""

    def __init__(self, table: LakeTable) -> None:
        self._table = table

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the table has
        return getattr(self._table, name)


class PropertyOnly(Wrapped):
    """Where there is nothing to append, changes properties alone."""

    def commit(self, loaded: Loaded, change: Change) -> int:
        """Without a snapshot, nothing is compared."""
        if change.append:
            return self._table.commit(loaded, change)
        with loaded.handle.transaction() as transaction:
            transaction.set_properties(dict(change.properties))
        return loaded.snapshot_id or 0


class OwnRetries(Wrapped):
    """Lets PyIceberg repeat what was refused, as its transactions do by themselves."""

    def commit(self, loaded: Loaded, change: Change) -> int:
        """A stale append is put onto a fresh parent."""
        table = loaded.handle
        transaction = table.transaction()
        transaction.set_properties(dict(change.properties))
        with transaction.update_snapshot(dict(change.summary)).fast_append() as append:
            for file in change.append:
                append.append_data_file(file.data_file)
        transaction.commit_transaction()
        return int(table.refresh().current_snapshot().snapshot_id)


class SentTwice(OwnRetries):
    """PyIceberg's commit without its retries, over a road that sends each request twice.

    The first try has landed, the second is refused, and PyIceberg cleans up what it takes for a
    failure: the manifests of a live snapshot.
    """

    def commit(self, loaded: Loaded, change: Change) -> int:
        """As an SDK does whose first answer was lost."""
        table = loaded.handle
        with table.transaction() as transaction:
            transaction.set_properties({"commit.retry.num-retries": "0"})
        send = table.catalog.commit_table

        def send_twice(*request: Any) -> Any:  # noqa: ANN401 - whatever it answers
            send(*request)
            return send(*request)

        with patched(table.catalog, "commit_table", send_twice):
            try:
                return super().commit(loaded, change)
            except CommitFailedException as error:
                raise CommitRefusedError("refused") from error


#: By name: how a table's commits go, and who sees them through.
WAYS: dict[str, tuple[Callable[[Any], Any], type[DirectCommits]]] = {
    "no fence": (lambda table: table, Unfenced),
    "property-only commits": (PropertyOnly, DirectCommits),
    "own retries": (OwnRetries, DirectCommits),
    "own cleaning": (SentTwice, DirectCommits),
    "previous version": (lambda table: table, Previous),
}


def broken(way: str | None, table: LakeTable) -> tuple[Any, type[DirectCommits]]:
    """The table and the commits of a worker that breaks the protocol; null breaks nothing."""
    if way is None:
        return table, DirectCommits
    wrap, commits = WAYS[way]
    return wrap(table), commits

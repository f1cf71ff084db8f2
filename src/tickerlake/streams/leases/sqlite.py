"""Leases in a SQLite file: for the workers of one machine."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

from tickerlake.errors import StorageError

__all__ = ["SqliteLeaseStore"]

_TABLE = """
    create table if not exists leases (
        "group" text not null, name text not null, text text not null,
        primary key ("group", name)
    ) without rowid
"""


class SqliteLeaseStore:
    """One file, not on a network drive. A connection lasts for one call: forks and threads mix."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, group: str) -> Mapping[str, str]:
        """All texts of a group."""
        with self._connection() as connection:
            return dict(
                connection.execute('select name, text from leases where "group" = ?', (group,))
            )

    def write(self, group: str, name: str, text: str, *, expected: str | None) -> bool:
        """Set a text if it is what was expected."""
        with self._connection() as connection:
            if expected is None:
                done = connection.execute(
                    "insert into leases values (?, ?, ?) on conflict do nothing",
                    (group, name, text),
                )
            else:
                done = connection.execute(
                    'update leases set text = ? where "group" = ? and name = ? and text = ?',
                    (text, group, name, expected),
                )
            return done.rowcount == 1

    def remove(self, group: str, name: str, *, expected: str) -> bool:
        """Take a text away if it is what was expected."""
        with self._connection() as connection:
            done = connection.execute(
                'delete from leases where "group" = ? and name = ? and text = ?',
                (group, name, expected),
            )
            return done.rowcount == 1

    def close(self) -> None:
        """Nothing is kept open."""

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self._path, timeout=5, isolation_level=None)
            with contextlib.closing(connection):
                # Losing the newest leases with the machine's power costs nothing.
                connection.execute("pragma synchronous = off")
                connection.execute(_TABLE)
                yield connection
        except (OSError, sqlite3.Error) as error:
            raise StorageError(
                f"The leases in {self._path} cannot be read or written.",
                found=str(error),
                todo="free some space, or name another place: streams.leases = "
                '"sqlite:PATH"; a damaged file may be deleted',
            ) from error

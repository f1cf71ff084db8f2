"""Leases in PostgreSQL: for a team's machines."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from tickerlake.errors import MissingExtraError, UnreachableError

__all__ = ["PostgresLeaseStore"]

_TABLE = """
    create table if not exists tickerlake_leases (
        "group" text not null, name text not null, text text not null,
        primary key ("group", name)
    )
"""


class PostgresLeaseStore:
    """The table `tickerlake_leases`, made if it is missing, over one connection."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._connection: Any = None

    def read(self, group: str) -> Mapping[str, str]:
        """All texts of a group."""
        return dict(self._run('select name, text from tickerlake_leases where "group" = %s', group))

    def write(self, group: str, name: str, text: str, *, expected: str | None) -> bool:
        """Set a text if it is what was expected."""
        if expected is None:
            done = self._run(
                "insert into tickerlake_leases values (%s, %s, %s) on conflict do nothing "
                "returning 1",
                group,
                name,
                text,
            )
        else:
            done = self._run(
                'update tickerlake_leases set text = %s where "group" = %s and name = %s '
                "and text = %s returning 1",
                text,
                group,
                name,
                expected,
            )
        return len(done) == 1

    def remove(self, group: str, name: str, *, expected: str) -> bool:
        """Take a text away if it is what was expected."""
        done = self._run(
            'delete from tickerlake_leases where "group" = %s and name = %s and text = %s '
            "returning 1",
            group,
            name,
            expected,
        )
        return len(done) == 1

    def close(self) -> None:
        """Give back the connection."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _run(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        try:
            import psycopg
        except ImportError as error:
            raise MissingExtraError(
                "Leases in PostgreSQL need psycopg, which is not installed.",
                todo="pip install 'tickerlake[postgres]'",
            ) from error
        with self._lock:
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = psycopg.connect(
                        self._url, autocommit=True, connect_timeout=5
                    )
                    self._connection.execute(_TABLE)
                rows: list[tuple[Any, ...]] = self._connection.execute(statement, values).fetchall()
            except psycopg.Error as error:
                if self._connection is not None:
                    self._connection.close()
                self._connection = None
                raise UnreachableError(
                    f"The leases in {self._url} cannot be read or written.",
                    found=str(error).strip(),
                    todo="look at the database, and at the setting streams.leases",
                ) from error
        return rows

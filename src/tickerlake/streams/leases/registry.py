"""From the setting `streams.leases` to the store."""

from __future__ import annotations

from pathlib import Path

from tickerlake.errors import ConfigError
from tickerlake.streams.leases.base import LeaseStore

__all__ = ["open_store"]


def open_store(where: str | None, *, workspace: Path) -> LeaseStore:
    """The store that `where` names; null: a file in the workspace.

    Raises:
        ConfigError: It names none.
    """
    scheme, _, rest = (where or "sqlite:leases.sqlite").partition(":")
    match scheme:
        case "sqlite" if rest:
            from tickerlake.streams.leases.sqlite import SqliteLeaseStore

            return SqliteLeaseStore(workspace / Path(rest).expanduser())
        case "postgresql" | "postgres":
            from tickerlake.streams.leases.postgres import PostgresLeaseStore

            return PostgresLeaseStore(f"{scheme}:{rest}")
        case "dynamodb":
            region, _, table = rest.removeprefix("//").partition("/")
            if region and table:
                from tickerlake.streams.leases.dynamodb import DynamoLeaseStore

                return DynamoLeaseStore(region, table)
    raise ConfigError(
        "The setting streams.leases names no store.",
        expected="sqlite:PATH, postgresql://USER@HOST/DATABASE or dynamodb://REGION/TABLE",
        found=where,
        todo="leave it out for workers on one machine",
    )

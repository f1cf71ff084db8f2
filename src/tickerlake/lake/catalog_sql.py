"""Catalogs in a SQL database: SQLite for one machine, PostgreSQL for a team."""

from __future__ import annotations

import sqlite3
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchTableError,
)
from pyiceberg.io import load_file_io
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.metadata import TableMetadata
from sqlalchemy import URL, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from tickerlake.errors import ConfigError, MissingExtraError, StorageError, UnreachableError
from tickerlake.lake.catalog import CATALOG_NAME, LakeCatalog
from tickerlake.lake.settings import LakeSettings
from tickerlake.lake.store import Store, location_of
from tickerlake.locks import file_lock, use_write_ahead_log

if TYPE_CHECKING:
    from pyiceberg.table.update import TableRequirement, TableUpdate
    from pyiceberg.typedef import Identifier

__all__ = ["SqlLakeCatalog", "open_postgresql", "open_sqlite"]

#: PostgreSQL has rolled the transaction back, and says so: a rival's lock or change was in the way.
#: 40003 (it does not know) is not among them.
_ROLLED_BACK: Final = frozenset({"40000", "40001", "40002", "40P01", "23505", "55P03"})
_CONNECT_SECONDS_MAX: Final = 10


class SqlLakeCatalog(LakeCatalog, SqlCatalog):
    """PyIceberg's SQL catalog that parses a metadata file only once.

    The pointer is read from the database each time; metadata files never change under their
    name, so a parsed one may be used again. Table objects are never shared.
    """

    def pointer(self, identifier: str | Identifier) -> str | None:
        """The newest metadata location of a table, freshly read; null if there is no such table."""
        with Session(self.engine) as session:
            return session.scalar(
                select(IcebergTables.metadata_location).where(
                    IcebergTables.catalog_name == self.name,
                    IcebergTables.table_namespace
                    == Catalog.namespace_to_string(Catalog.namespace_from(identifier)),
                    IcebergTables.table_name == Catalog.table_name_from(identifier),
                )
            )

    def is_transient(self, error: Exception) -> bool:
        """A connection that was lost or refused; SQLite has none, and waits by itself."""
        if not isinstance(error, DBAPIError) or self.engine.dialect.name == "sqlite":
            return False
        # Without a code there was no answer; 53: too many connections, 57: shutting down.
        code = getattr(error.orig, "sqlstate", None) or ""
        return error.connection_invalidated or code[:2] in ("", "08", "53", "57")

    def load_table(self, identifier: str | Identifier) -> Table:
        """A new Table over the newest metadata.

        Raises:
            NoSuchTableError: There is no such table.
        """
        location = self.pointer(identifier)
        if location is None:
            raise NoSuchTableError(f"Table does not exist: {identifier}")
        metadata = self._metadata(location)
        return Table(
            identifier=Catalog.identifier_to_tuple(identifier),
            metadata=metadata,
            metadata_location=location,
            io=load_file_io({**self.properties, **metadata.properties}, location),
            catalog=self,
        )

    def commit_table(
        self,
        table: Table,
        requirements: tuple[TableRequirement, ...],
        updates: tuple[TableUpdate, ...],
    ) -> CommitTableResponse:
        """Write the metadata file, then turn the row to it if nobody else has.

        Raises:
            CommitFailedException: Certainly not committed.
            SQLAlchemyError: Nobody knows, such as when the connection broke.
        """
        try:
            return super().commit_table(table, requirements, updates)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) in _ROLLED_BACK:
                raise CommitFailedException(str(error.orig)) from error
            raise

    def _metadata(self, location: str) -> TableMetadata:
        known = self.remembered(location)
        if known is not None:
            return known
        io = load_file_io(self.properties, location)
        metadata = FromInputFile.table_metadata(io.new_input(location))
        return self.remember(location, metadata)


def open_sqlite(path: Path, *, store: Store, settings: LakeSettings) -> SqlLakeCatalog:
    """Open a catalog in a file; make the file on first use.

    Raises:
        StorageError: It cannot be made or opened.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Rival processes that start at once must not both create the tables.
        with file_lock(path.with_name(path.name + ".lock")):
            _use_write_ahead_log(path, settings)
            # A URL object, not text: a folder's name may hold any character.
            timeout = {"timeout": str(settings.busy_timeout_seconds)}
            url = URL.create("sqlite", database=str(path), query=timeout)
            return _open(url, store, settings.namespace)
    except (OSError, sqlite3.Error, SQLAlchemyError) as error:
        raise StorageError(
            f"The lake's catalog {path} cannot be opened.",
            found=str(getattr(error, "orig", None) or error),
            todo="make room on the disk, or give this user the right to write there; if the file "
            "is damaged, put a copy back, or move it away and run `tickerlake lake relocate`",
        ) from error


def open_postgresql(catalog_url: str, *, store: Store, settings: LakeSettings) -> SqlLakeCatalog:
    """Open a catalog in a PostgreSQL database; make its tables on first use.

    Raises:
        ConfigError: The URL cannot be read.
        MissingExtraError: The driver is not installed.
        UnreachableError: The database does not answer, or does not let us in.
    """
    if find_spec("psycopg") is None:
        raise MissingExtraError(
            "A catalog in PostgreSQL needs a package that is not installed.",
            expected="psycopg",
            todo="pip install 'tickerlake[postgres]'",
        )
    try:
        given = make_url(catalog_url)
    except ArgumentError as error:
        raise ConfigError(
            "The catalog's address cannot be read.",
            expected='catalog = "postgresql://user@host:5432/database"',
            found=catalog_url,
            todo="write it like this; a password goes into PGPASSWORD or ~/.pgpass",
        ) from error
    # Nobody waits for ever, neither for a connection nor for a rival's lock.
    waits_ms = int(settings.busy_timeout_seconds * 1000)
    defaults = {
        "connect_timeout": str(_CONNECT_SECONDS_MAX),
        "application_name": CATALOG_NAME,
        "options": f"-c statement_timeout={waits_ms} -c lock_timeout={waits_ms}",
    }
    url = given.set(drivername="postgresql+psycopg").update_query_dict(
        {name: value for name, value in defaults.items() if name not in given.query}
    )
    try:
        try:
            return _open(url, store, settings.namespace)
        except DBAPIError as error:
            if not getattr(error.orig, "sqlstate", None):
                raise
            # A rival made the tables or the namespace in the same moment: they are there now.
            return _open(url, store, settings.namespace)
    except SQLAlchemyError as error:
        raise UnreachableError(
            f"The lake's catalog {given.render_as_string()} cannot be opened.",
            found=str(getattr(error, "orig", None) or error).strip(),
            todo="see that PostgreSQL runs there, that the database exists, and that this user may "
            "log in and make tables; a password goes into PGPASSWORD or ~/.pgpass",
        ) from error


def _open(url: URL, store: Store, namespace: str) -> SqlLakeCatalog:
    properties: dict[str, Any] = {
        "uri": url,
        "warehouse": location_of(store.root),
        # A connection that broke while nobody used it is opened anew.
        "pool_pre_ping": "false" if url.drivername == "sqlite" else "true",
        **store.properties,
    }
    catalog = SqlLakeCatalog(CATALOG_NAME, **properties)
    catalog.namespace = namespace
    try:
        catalog.create_namespace_if_not_exists(namespace)
    except (IntegrityError, NamespaceAlreadyExistsError):
        pass  # A rival was first.
    except BaseException:
        catalog.close()
        raise
    return catalog


def _use_write_ahead_log(path: Path, settings: LakeSettings) -> None:
    """Readers never wait for a writer; writers wait for each other. Kept in the file itself."""
    connection = sqlite3.connect(path, timeout=settings.busy_timeout_seconds)
    try:
        use_write_ahead_log(connection, settings.busy_timeout_seconds)
    finally:
        connection.close()

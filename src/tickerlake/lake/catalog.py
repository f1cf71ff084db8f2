"""The catalog: which metadata file is each table's newest. Compare-and-swap is its whole job."""

from __future__ import annotations

import fcntl
import sqlite3
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.io import load_file_io
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata, TableMetadataV2
from sqlalchemy import URL, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from tickerlake.errors import ConfigError, StorageError
from tickerlake.lake.settings import LakeSettings

if TYPE_CHECKING:
    from pyiceberg.typedef import Identifier

__all__ = ["CATALOG_NAME", "NAMESPACE", "LakeCatalog", "catalog_path", "file_lock", "open_catalog"]

CATALOG_NAME = "tickerlake"
NAMESPACE = "tickerlake"
_DEFAULT_FILE = "catalog.db"
_PLANNED = ("postgresql", "glue", "rest")


class _SharedMetadata(TableMetadataV2):
    """Metadata whose deep copy shares its parts.

    PyIceberg replaces parts of metadata and never changes them in place, but it copies all of
    them at each commit, every kept snapshot among them: that made a commit slower by half once a
    hundred were kept.
    """

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self.__copy__()


class LakeCatalog(SqlCatalog):
    """PyIceberg's SQL catalog that parses a metadata file only once.

    The pointer is read from the database each time; metadata files never change under their
    name, so a parsed one may be used again. Table objects are never shared.
    """

    def __init__(self, name: str, **properties: str) -> None:
        self._parsed: OrderedDict[str, TableMetadata] = OrderedDict()
        self._parsed_lock = Lock()
        super().__init__(name, **properties)

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

    def remember(self, location: str, metadata: TableMetadata) -> TableMetadata:
        """Keep parsed metadata for the next load."""
        if type(metadata) is TableMetadataV2:
            metadata = _SharedMetadata.model_construct(metadata.model_fields_set, **dict(metadata))
        with self._parsed_lock:
            self._parsed[location] = metadata
            while len(self._parsed) > 32:
                self._parsed.popitem(last=False)
        return metadata

    def _metadata(self, location: str) -> TableMetadata:
        with self._parsed_lock:
            known = self._parsed.get(location)
        if known is not None:
            return known
        io = load_file_io(self.properties, location)
        metadata = FromInputFile.table_metadata(io.new_input(location))
        return self.remember(location, metadata)


def catalog_path(catalog_url: str, workspace: Path) -> Path:
    """Where the SQLite file of a `sqlite:` catalog lies.

    Raises:
        ConfigError: Another catalog, or none that we know.
    """
    scheme, _, rest = catalog_url.partition(":")
    if scheme == "sqlite":
        return workspace / (rest.removeprefix("//") or _DEFAULT_FILE)
    if scheme in _PLANNED:
        raise ConfigError(
            f"The catalog {scheme!r} is not built yet.",
            expected='catalog = "sqlite:"',
            found=f'catalog = "{catalog_url}"',
            todo='use "sqlite:" (the default); the other catalogs come in a later version',
        )
    raise ConfigError(
        f"There is no catalog of the kind {scheme!r}.",
        expected='"sqlite:" or "sqlite:some/file.db"',
        found=f'catalog = "{catalog_url}"',
        todo='write catalog = "sqlite:" in tickerlake.toml',
    )


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock between processes and threads; the file stays, empty."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)


def open_catalog(
    catalog_url: str, *, workspace: Path, warehouse: str, settings: LakeSettings
) -> LakeCatalog:
    """Open the catalog; make its database on first use.

    Raises:
        ConfigError: A catalog that is not built.
        StorageError: The database cannot be made or opened.
    """
    path = catalog_path(catalog_url, workspace)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Rival processes that start at once must not both create the tables.
        with file_lock(path.with_name(path.name + ".lock")):
            _use_write_ahead_log(path, settings)
            catalog = LakeCatalog(
                CATALOG_NAME,
                uri=_url(path, settings),
                warehouse=warehouse,
                **{
                    "py-io-impl": "tickerlake.lake.local_io.LocalFileIO",
                    "tickerlake.fsync": "true" if settings.fsync else "false",
                },
            )
            catalog.create_namespace_if_not_exists(NAMESPACE)
    except (OSError, sqlite3.Error, SQLAlchemyError) as error:
        raise StorageError(
            f"The lake's catalog {path} cannot be opened.",
            found=str(getattr(error, "orig", None) or error),
            todo="make room on the disk, or give this user the right to write there; if the file "
            "is damaged, put a copy back, or move it away and run `tickerlake lake relocate`",
        ) from error
    return catalog


def _url(path: Path, settings: LakeSettings) -> Any:  # noqa: ANN401
    # A URL object, not text: a folder's name may hold any character.
    return URL.create(
        "sqlite", database=str(path), query={"timeout": str(settings.busy_timeout_seconds)}
    )


def _use_write_ahead_log(path: Path, settings: LakeSettings) -> None:
    """Readers never wait for a writer; writers wait for each other. Kept in the file itself."""
    connection = sqlite3.connect(path, timeout=settings.busy_timeout_seconds)
    try:
        connection.execute("pragma journal_mode = wal")
    finally:
        connection.close()

"""The catalog: which metadata file is each table's newest. Compare-and-swap is its whole job."""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

from pyiceberg.catalog import Catalog
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.metadata import TableMetadata, TableMetadataV2

from tickerlake.errors import ConfigError

if TYPE_CHECKING:
    from pyiceberg.table.update import TableRequirement, TableUpdate
    from pyiceberg.typedef import Identifier

    from tickerlake.lake.settings import LakeSettings
    from tickerlake.lake.store import Store

__all__ = [
    "CATALOG_NAME",
    "LakeCatalog",
    "catalog_path",
    "check_catalog",
    "open_catalog",
]

CATALOG_NAME = "tickerlake"
_DEFAULT_FILE = "catalog.db"


class _SharedMetadata(TableMetadataV2):
    """Metadata whose deep copy shares its parts.

    PyIceberg replaces parts of metadata and never changes them in place, but it copies all of
    them at each commit, every kept snapshot among them: that made a commit slower by half once a
    hundred were kept.
    """

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self.__copy__()


class LakeCatalog(Catalog):
    """What the lake asks of a catalog beyond PyIceberg's contract; the first base of each one.

    Promise: `commit_table` sends one request that is compared with the state that it names. It
    raises `CommitFailedException` only where this request certainly changed nothing.
    """

    #: Holds the tables of one lake.
    namespace: str

    def __init__(self, name: str, **properties: Any) -> None:  # noqa: ANN401 - as PyIceberg has it
        self._parsed: OrderedDict[str, TableMetadata] = OrderedDict()
        self._parsed_lock = Lock()
        super().__init__(name, **properties)

    def identifier(self, name: str) -> tuple[str, str]:
        """How the catalog names a table of the lake."""
        return self.namespace, name

    @abstractmethod
    def pointer(self, identifier: str | Identifier) -> str | None:
        """The newest metadata location of a table, freshly read; null if there is no such table."""

    @abstractmethod
    def is_transient(self, error: Exception) -> bool:
        """Whether what only reads may be asked again in a moment."""

    def commit_table(
        self,
        table: Table,
        requirements: tuple[TableRequirement, ...],
        updates: tuple[TableUpdate, ...],
    ) -> CommitTableResponse:
        """Compare and swap, once."""
        return super().commit_table(table, requirements, updates)  # type: ignore[safe-super]

    def remember(self, location: str, metadata: TableMetadata) -> TableMetadata:
        """Keep parsed metadata for the next load."""
        if type(metadata) is TableMetadataV2:
            metadata = _SharedMetadata.model_construct(metadata.model_fields_set, **dict(metadata))
        with self._parsed_lock:
            self._parsed[location] = metadata
            while len(self._parsed) > 32:
                self._parsed.popitem(last=False)
        return metadata

    def remembered(self, location: str) -> TableMetadata | None:
        """Metadata that was parsed before; null if it must be read."""
        with self._parsed_lock:
            return self._parsed.get(location)


def catalog_path(catalog_url: str, workspace: Path) -> Path:
    """Where the SQLite file of a `sqlite:` catalog lies."""
    return workspace / (catalog_url.partition(":")[2].removeprefix("//") or _DEFAULT_FILE)


def check_catalog(catalog_url: str) -> str:
    """The kind of catalog that a URL names: `sqlite`, `postgresql` or `rest`.

    Raises:
        ConfigError: Another one, or none that we know.
    """
    scheme = catalog_url.partition(":")[0]
    # `rest:https://…`, and `rest+https://…` for those who like one scheme only.
    kind = scheme.partition("+")[0]
    if kind in ("sqlite", "postgresql", "rest"):
        return kind
    if kind == "glue":
        raise ConfigError(
            "The catalog 'glue' is not built yet.",
            expected='"sqlite:", "postgresql://user@host/database" or "rest:https://host"',
            found=f'catalog = "{catalog_url}"',
            todo="use one of these; Glue's own Iceberg REST address is one, with [tables.rest] "
            'sigv4 = true and sigv4_service = "glue"',
        )
    raise ConfigError(
        f"There is no catalog of the kind {scheme!r}.",
        expected='"sqlite:", "sqlite:some/file.db", "postgresql://user@host/database" or '
        '"rest:https://host"',
        found=f'catalog = "{catalog_url}"',
        todo='write catalog = "sqlite:" in tickerlake.toml',
    )


def open_catalog(
    catalog_url: str, *, workspace: Path, store: Store, settings: LakeSettings
) -> LakeCatalog:
    """Open the catalog; make what it needs on first use.

    Raises:
        ConfigError: A catalog that is not built.
        MissingExtraError: Its package is not installed; names the pip command.
        StorageError: The database cannot be made or opened.
        UnreachableError: It does not answer, or does not let us in.
    """
    kind = check_catalog(catalog_url)
    if kind == "rest":
        from tickerlake.lake.catalog_rest import open_rest

        return open_rest(catalog_url, store=store, settings=settings)
    from tickerlake.lake.catalog_sql import open_postgresql, open_sqlite

    if kind == "postgresql":
        return open_postgresql(catalog_url, store=store, settings=settings)
    path = catalog_path(catalog_url, workspace)
    return open_sqlite(path, store=store, settings=settings)

"""The lake: all tables of one workspace, and the catalog behind them."""

from __future__ import annotations

import contextlib
from threading import Lock
from typing import Final

from pyiceberg.exceptions import TableAlreadyExistsError

from tickerlake.errors import ConfigError
from tickerlake.lake.catalog import LakeCatalog
from tickerlake.lake.probe import probe_catalog
from tickerlake.lake.settings import LakeSettings
from tickerlake.lake.store import Store, location_of, path_of
from tickerlake.lake.table import IcebergTable
from tickerlake.lake.tables import (
    SPECS,
    TableSpec,
    iceberg_schema,
    partition_spec,
    sort_order,
    spec_of,
    table_properties,
)
from tickerlake.lake.vendor import patiently, reading

__all__ = ["Lake"]

#: Catalogs that compare, by address and namespace.
_PROBED: Final[set[tuple[str, str]]] = set()


class Lake:
    """The tables of one workspace. Safe to use from several threads and processes at once."""

    def __init__(self, catalog: LakeCatalog, store: Store, settings: LakeSettings) -> None:
        self.store = store
        self.settings = settings
        self.catalog = catalog
        self._tables: dict[str, IcebergTable] = {}
        self._lock = Lock()

    @property
    def folder(self) -> str:
        """Where all its files are: a local path, or `s3://bucket/prefix`."""
        return self.store.root

    def names(self) -> list[str]:
        """Names of the tables that exist, in a fixed order."""
        with reading("lake", "tables"):
            tables = patiently(self.catalog, lambda c: c.list_tables(c.namespace))
            there = {identifier[-1] for identifier in tables}
        return [name for name in SPECS if name in there]

    def has(self, name: str) -> bool:
        """Whether the table exists; asking creates none."""
        return name in self._tables or name in self.names()

    def table(self, name: str) -> IcebergTable:
        """The table; created on first use.

        Raises:
            NotFoundError: We know no such table.
        """
        with self._lock:
            table = self._tables.get(name)
            if table is None:
                table = self._tables[name] = self._open(spec_of(name))
            return table

    def probe(self, *, again: bool = False) -> None:
        """Check that the catalog compares before it swaps; see `probe_catalog`.

        A catalog that passed is not asked again by this process, unless `again` says so.

        Raises:
            ConfigError: Of two rival commits both landed: this catalog would lose data.
        """
        about = (str(self.catalog.properties.get("uri")), self.catalog.namespace)
        if again or about not in _PROBED:
            probe_catalog(self.catalog, self.store)
            _PROBED.add(about)

    def close(self) -> None:
        """Give back the catalog's connections."""
        self.catalog.close()

    def _open(self, spec: TableSpec) -> IcebergTable:
        identifier = self.catalog.identifier(spec.name)
        with reading(spec.name, "metadata"):
            if patiently(self.catalog, lambda c: c.pointer(identifier)) is None:
                self._create(spec)
            location = patiently(self.catalog, lambda c: c.load_table(identifier)).location()
        folder = path_of(location).rstrip("/")
        if not folder.startswith(f"{self.folder}/"):
            raise ConfigError(
                f"The catalog's table {spec.name} is none of this lake.",
                expected=f"a table below {self.folder}",
                found=folder,
                todo="name the lake to which this catalog belongs, or give this lake a namespace "
                "of its own: [tables] namespace",
            )
        return IcebergTable(self.catalog, spec, self.settings, self.store, folder)

    def _create(self, spec: TableSpec) -> None:
        schema = iceberg_schema(spec.schema)
        # Another process may be first: its table is as good as ours.
        with contextlib.suppress(TableAlreadyExistsError):
            self.catalog.create_table(
                self.catalog.identifier(spec.name),
                schema,
                location=location_of(self.store.home(self.catalog.namespace, spec.name)),
                partition_spec=partition_spec(spec, schema),
                sort_order=sort_order(spec, schema),
                properties=table_properties(self.settings),
            )

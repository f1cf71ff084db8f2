"""The lake: all tables of one workspace, and the catalog behind them."""

from __future__ import annotations

import contextlib
from pathlib import Path
from threading import Lock

from pyiceberg.exceptions import TableAlreadyExistsError

from tickerlake.lake.catalog import NAMESPACE, LakeCatalog
from tickerlake.lake.local_io import location_of
from tickerlake.lake.probe import probe_catalog
from tickerlake.lake.settings import LakeSettings
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
from tickerlake.lake.vendor import reading

__all__ = ["Lake"]


class Lake:
    """The tables of one workspace. Safe to use from several threads and processes at once."""

    def __init__(self, catalog: LakeCatalog, folder: Path, settings: LakeSettings) -> None:
        self.folder = folder
        self.settings = settings
        self.catalog = catalog
        self._tables: dict[str, IcebergTable] = {}
        self._lock = Lock()

    def names(self) -> list[str]:
        """Names of the tables that exist, in a fixed order."""
        with reading("lake", "tables"):
            there = {name for _, name in self.catalog.list_tables(NAMESPACE)}
        return [name for name in SPECS if name in there]

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

    def probe(self) -> None:
        """Check that the catalog compares before it swaps; see `probe_catalog`.

        Raises:
            ConfigError: Of two rival commits both landed: this catalog would lose data.
        """
        probe_catalog(self.catalog, self.folder)

    def close(self) -> None:
        """Give back the catalog's connections."""
        self.catalog.engine.dispose()

    def _open(self, spec: TableSpec) -> IcebergTable:
        folder = self.folder / spec.name
        with reading(spec.name, "metadata"):
            if self.catalog.pointer((NAMESPACE, spec.name)) is None:
                self._create(spec, folder)
        return IcebergTable(self.catalog, spec, self.settings, folder)

    def _create(self, spec: TableSpec, folder: Path) -> None:
        schema = iceberg_schema(spec.schema)
        # Another process may be first: its table is as good as ours.
        with contextlib.suppress(TableAlreadyExistsError):
            self.catalog.create_table(
                (NAMESPACE, spec.name),
                schema,
                location=location_of(folder),
                partition_spec=partition_spec(spec, schema),
                sort_order=sort_order(spec, schema),
                properties=table_properties(self.settings),
            )

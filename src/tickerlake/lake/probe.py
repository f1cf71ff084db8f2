"""Does the catalog compare before it swaps? Asked at start, on a scratch table."""

from __future__ import annotations

import contextlib
import uuid

import pyarrow as pa
from pyiceberg.exceptions import NoSuchTableError

from tickerlake.errors import CommitRefusedError, ConfigError
from tickerlake.lake.base import Change
from tickerlake.lake.catalog import LakeCatalog
from tickerlake.lake.commit import commit
from tickerlake.lake.manifests import Manifests
from tickerlake.lake.store import Store, location_of
from tickerlake.lake.tables import iceberg_schema

__all__ = ["PROBE", "forget_old_probes", "probe_catalog"]

#: How names of scratch tables begin.
PROBE = "probe_"


def probe_catalog(catalog: LakeCatalog, store: Store) -> None:
    """Let two rivals commit on top of one state: exactly one must win.

    Raises:
        ConfigError: Both landed, so the catalog cannot fence a stale writer.
    """
    name = f"{PROBE}{uuid.uuid4().hex}"
    place = store.home(catalog.namespace, name, hidden=True)
    identifier = catalog.identifier(name)
    try:
        catalog.create_table(
            identifier,
            iceberg_schema(pa.schema([("symbol", pa.string())])),
            location=location_of(place),
        )
        rivals = [catalog.load_table(identifier) for _ in range(2)]
        commit(rivals[0], Change(), merge_at=20, manifests=Manifests())
        try:
            commit(rivals[1], Change(), merge_at=20, manifests=Manifests())
        except CommitRefusedError:
            return
        raise ConfigError(
            "The lake's catalog cannot tell a stale writer from a fresh one.",
            expected="of two rival commits on one state, one is refused",
            found="both landed",
            todo="use another catalog: this one would lose or duplicate records",
        )
    finally:
        _forget(catalog, store, name, place)


def forget_old_probes(catalog: LakeCatalog, store: Store, *, before_seconds: float) -> None:
    """Remove what probes that were killed left behind before `before_seconds` (epoch)."""
    for *_, name in catalog.list_tables(catalog.namespace):
        if not name.startswith(PROBE):
            continue
        place = store.home(catalog.namespace, name, hidden=True)
        # Its metadata may be half there: what lies in its folder tells more.
        newest = max((file.modified_seconds for file in store.files(place)), default=0.0)
        if newest < before_seconds:
            _forget(catalog, store, name, place)


def _forget(catalog: LakeCatalog, store: Store, name: str, place: str) -> None:
    with contextlib.suppress(NoSuchTableError):
        catalog.drop_table(catalog.identifier(name))
    store.delete_folder(place)

"""Tables whose folder is there and of which the catalog knows nothing: its database was lost.

A catalog is made on first use, so a lost one would quietly become an empty lake, into which the
whole stream is delivered again. On local disk the version hint of each table tells that there was
more; in a bucket, which has no hints, metadata files of tables that had at least one commit.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tickerlake.errors import DataLossError
from tickerlake.lake.catalog import LakeCatalog
from tickerlake.lake.hint import read_hint
from tickerlake.lake.store import Store, location_of
from tickerlake.lake.tables import SPECS
from tickerlake.lake.vendor import patiently, reading

__all__ = ["refuse_lost", "register_lost"]

#: Version of a metadata file, as PyIceberg and Java (`00003-…`) and others (`v4`) name it.
_VERSION: Final = re.compile(r"/(?:0*(\d+)-[^/]*|v(\d+))\.metadata\.json$")


def refuse_lost(catalog: LakeCatalog, store: Store) -> None:
    """Refuse to go on beside tables that the catalog has forgotten.

    Raises:
        DataLossError: Names them, and what to do.
    """
    if store.scheme is None:
        lost = list(_lost_hints(catalog, store))
        todo = (
            "put the catalog's file back; if it is gone, `tickerlake lake relocate` takes in "
            "each table as its version hint names it, and delivery goes on from there"
        )
    else:
        lost = _lost_histories(catalog, store)
        todo = (
            "restore the catalog's database from its backup, or see that `catalog` and [tables] "
            "namespace name the right one; for a new lake take another prefix"
        )
    if lost:
        raise DataLossError(
            f"The lake's folder holds {', '.join(lost)}, of which the catalog knows nothing.",
            expected="the catalog with which the lake was written",
            found="a catalog without these tables: it was lost, replaced, or is another one",
            todo=todo,
        )


def register_lost(catalog: LakeCatalog, store: Store) -> tuple[str, ...]:
    """Take in each forgotten table at the state that its version hint names.

    That state is whole: its offsets were committed with its rows. A commit whose hint was not
    written any more is delivered again from the stream.
    """
    lost = _lost_hints(catalog, store)
    for name, hint in lost.items():
        with reading(name, "metadata"):
            folder = store.home(catalog.namespace, name)
            location = location_of(f"{folder}/metadata/{hint}.metadata.json")
            catalog.register_table(catalog.identifier(name), location)
    return tuple(lost)


def _lost_hints(catalog: LakeCatalog, store: Store) -> dict[str, str]:
    # Hints first: a rival that creates a table right now tells the catalog before it writes one.
    hints = {name: read_hint(Path(store.home(catalog.namespace, name))) for name in SPECS}
    known = _known(catalog)
    return {name: hint for name, hint in hints.items() if hint is not None and name not in known}


def _lost_histories(catalog: LakeCatalog, store: Store) -> list[str]:
    known = _known(catalog)
    there = [name for name in SPECS if name not in known and _has_history(catalog, store, name)]
    # A rival may have made a table and committed to it meanwhile.
    return [name for name in there if name not in _known(catalog)]


def _has_history(catalog: LakeCatalog, store: Store, name: str) -> bool:
    """Whether the table had a commit: a maker that was killed may leave its first metadata file."""
    for file in store.files(f"{store.home(catalog.namespace, name)}/metadata"):
        version = _VERSION.search(file.path)
        if version and (int(version[1] or 0) > 0 or int(version[2] or 0) > 1):
            return True
    return False


def _known(catalog: LakeCatalog) -> set[str]:
    with reading("lake", "tables"):
        tables = patiently(catalog, lambda c: c.list_tables(c.namespace))
        return {identifier[-1] for identifier in tables}

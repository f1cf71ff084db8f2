"""Tables whose folder is there and of which the catalog knows nothing: its file was lost.

A catalog is made on first use, so a lost one would quietly become an empty lake, into which the
whole stream is delivered again. The version hint of each table tells that there was more.
"""

from __future__ import annotations

from pathlib import Path

from tickerlake.errors import DataLossError
from tickerlake.lake.catalog import NAMESPACE, LakeCatalog
from tickerlake.lake.hint import read_hint
from tickerlake.lake.local_io import location_of
from tickerlake.lake.tables import SPECS
from tickerlake.lake.vendor import reading

__all__ = ["refuse_lost", "register_lost"]


def refuse_lost(catalog: LakeCatalog, folder: Path) -> None:
    """Refuse to go on beside tables that the catalog has forgotten.

    Raises:
        DataLossError: Names them, and `lake relocate`.
    """
    lost = _lost(catalog, folder)
    if lost:
        raise DataLossError(
            f"The lake's folder holds {', '.join(lost)}, of which the catalog knows nothing.",
            expected="the catalog with which the lake was written",
            found="a catalog without these tables: its file was lost or replaced",
            todo="put the catalog's file back; if it is gone, `tickerlake lake relocate` takes in "
            "each table as its version hint names it, and delivery goes on from there",
        )


def register_lost(catalog: LakeCatalog, folder: Path) -> tuple[str, ...]:
    """Take in each forgotten table at the state that its version hint names.

    That state is whole: its offsets were committed with its rows. A commit whose hint was not
    written any more is delivered again from the stream.
    """
    lost = _lost(catalog, folder)
    for name, hint in lost.items():
        with reading(name, "metadata"):
            metadata = folder / name / "metadata" / f"{hint}.metadata.json"
            catalog.register_table((NAMESPACE, name), location_of(metadata))
    return tuple(lost)


def _lost(catalog: LakeCatalog, folder: Path) -> dict[str, str]:
    # Hints first: a rival that creates a table right now tells the catalog before it writes one.
    hints = {name: read_hint(folder / name) for name in SPECS}
    with reading("lake", "tables"):
        known = {name for _, name in catalog.list_tables(NAMESPACE)}
    return {name: hint for name, hint in hints.items() if hint is not None and name not in known}

"""From URLs to a lake."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tickerlake.errors import ConfigError
from tickerlake.lake.settings import LakeSettings

if TYPE_CHECKING:
    from tickerlake.lake.lake import Lake

__all__ = ["lake_folder", "open_lake"]


def lake_folder(lake_url: str, workspace: Path) -> Path:
    """The absolute folder of a lake on local disk.

    Raises:
        ConfigError: A lake elsewhere, which is not built yet.
    """
    scheme, separator, rest = lake_url.partition("://")
    if separator and scheme != "file":
        raise ConfigError(
            f"A lake on {scheme!r} is not built yet.",
            expected="a folder on local disk",
            found=f'lake = "{lake_url}"',
            todo='write lake = "./lake"; object storage comes in a later version',
        )
    return (workspace / (rest if separator else lake_url)).resolve()


def open_lake(
    lake_url: str, catalog_url: str, *, workspace: Path, settings: LakeSettings | None = None
) -> Lake:
    """Open the lake and its catalog; make both on first use.

    Raises:
        ConfigError: A place or a catalog that is not built.
        NewerVersionError: The lake was written by a later tickerlake.
        WorkspaceMovedError: The folder was moved; `tickerlake lake relocate` mends it.
        DataLossError: The catalog has forgotten tables that the folder holds.
        StorageError: Folder or catalog cannot be made.
    """
    from tickerlake.lake.catalog import catalog_path, open_catalog
    from tickerlake.lake.lake import Lake
    from tickerlake.lake.lost import refuse_lost
    from tickerlake.lake.marker import check_marker

    chosen = settings or LakeSettings()
    workspace = workspace.resolve()
    folder = lake_folder(lake_url, workspace)
    catalog_path(catalog_url, workspace)  # refuse a wrong catalog before any folder is made
    check_marker(folder)
    catalog = open_catalog(
        catalog_url, workspace=workspace, warehouse=f"file://{folder}", settings=chosen
    )
    try:
        refuse_lost(catalog, folder)
    except BaseException:
        catalog.engine.dispose()
        raise
    return Lake(catalog, folder, chosen)

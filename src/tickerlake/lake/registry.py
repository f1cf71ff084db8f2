"""From URLs to a lake."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tickerlake.errors import ConfigError
from tickerlake.lake.settings import LakeSettings

if TYPE_CHECKING:
    from tickerlake.lake.lake import Lake
    from tickerlake.lake.store import Store

__all__ = ["lake_folder", "open_lake", "open_store"]


def lake_folder(lake_url: str, workspace: Path) -> Path:
    """The absolute folder of a lake on local disk.

    Raises:
        ConfigError: A lake elsewhere.
    """
    scheme, separator, rest = lake_url.partition("://")
    if separator and scheme != "file":
        raise ConfigError(
            f"A lake on {scheme!r} is no folder on local disk.",
            expected='a folder, such as lake = "./lake"',
            found=f'lake = "{lake_url}"',
            todo="nothing that lies in a bucket has to be moved: its paths are true anywhere",
        )
    return (workspace / (rest if separator else lake_url)).resolve()


def open_store(lake_url: str, *, workspace: Path, settings: LakeSettings) -> Store:
    """Where the lake's files lie. Nothing is asked or made yet.

    Raises:
        ConfigError: A place that is not built.
        MissingExtraError: Its package is not installed; names the pip command.
    """
    scheme, separator, rest = lake_url.partition("://")
    if not separator or scheme == "file":
        from tickerlake.lake.local_store import LocalStore

        return LocalStore(lake_folder(lake_url, workspace), fsync=settings.fsync)
    if scheme == "s3" and rest.strip("/"):
        from tickerlake.lake.s3_store import S3Store

        return S3Store(f"s3://{rest.strip('/')}", settings.s3)
    raise ConfigError(
        f"A lake on {scheme!r} is not built.",
        expected='a folder on local disk, or "s3://bucket/prefix"',
        found=f'lake = "{lake_url}"',
        todo='write lake = "./lake", or name a bucket of S3 or of a store that speaks its language',
    )


def open_lake(
    lake_url: str, catalog_url: str, *, workspace: Path, settings: LakeSettings | None = None
) -> Lake:
    """Open the lake and its catalog; make both on first use.

    Raises:
        ConfigError: A place or a catalog that is not built.
        MissingExtraError: Its package is not installed; names the pip command.
        NewerVersionError: The lake was written by a later tickerlake.
        WorkspaceMovedError: The folder was moved; `tickerlake lake relocate` mends it.
        DataLossError: The catalog has forgotten tables that the folder holds.
        StorageError: Folder or catalog cannot be made.
        UnreachableError: The catalog does not answer.
    """
    from tickerlake.lake.catalog import check_catalog, open_catalog
    from tickerlake.lake.lake import Lake
    from tickerlake.lake.lost import refuse_lost
    from tickerlake.lake.marker import check_marker, check_namespace

    chosen = settings or LakeSettings()
    workspace = workspace.resolve()
    check_catalog(catalog_url)  # refuse a wrong catalog before any folder is made
    store = open_store(lake_url, workspace=workspace, settings=chosen)
    if store.scheme is None:
        check_marker(Path(store.root))
    catalog = open_catalog(catalog_url, workspace=workspace, store=store, settings=chosen)
    try:
        if store.scheme is not None:
            check_namespace(catalog, store.root)
        refuse_lost(catalog, store)
    except BaseException:
        catalog.close()
        raise
    return Lake(catalog, store, chosen)

"""Do catalog and store answer? Asked by `doctor`, one after the other and with little patience."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from tickerlake import clock
from tickerlake.lake.catalog import check_catalog, open_catalog
from tickerlake.lake.registry import open_store
from tickerlake.lake.settings import LakeSettings

__all__ = ["reaches"]


def reaches(
    lake_url: str, catalog_url: str, *, workspace: Path, settings: LakeSettings
) -> Iterator[tuple[str, Callable[[], str]]]:
    """What lies elsewhere, by name, and how to look at it; nothing for a lake on this machine.

    A look returns what it found, or raises what is wrong and says what to do.
    """
    hasty = replace(settings, s3=replace(settings.s3, tries_max=2, request_seconds_max=10.0))

    def store() -> str:
        found = open_store(lake_url, workspace=workspace, settings=hasty)
        began_seconds = clock.monotonic_seconds()
        next(iter(found.files(found.root)), None)
        return f"{found.root} answers in {_ms(began_seconds)}"

    def catalog() -> str:
        files = open_store(lake_url, workspace=workspace, settings=hasty)
        began_seconds = clock.monotonic_seconds()
        opened = open_catalog(catalog_url, workspace=workspace, store=files, settings=hasty)
        opened.close()
        return f"{opened.properties['uri']} answers in {_ms(began_seconds)}"

    if open_store(lake_url, workspace=workspace, settings=settings).scheme is not None:
        yield "store", store
    if check_catalog(catalog_url) != "sqlite":
        yield "catalog", catalog


def _ms(began_seconds: float) -> str:
    return f"{(clock.monotonic_seconds() - began_seconds) * 1000:.0f} ms"

"""How the judge of `invariants` sees a lake with any catalog and store: through PyIceberg alone.

None of the lake's own code is between: PyIceberg's own catalogs, its own file access, and a reading
of the settings that was written a second time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pyarrow.fs import AwsStandardS3RetryStrategy
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import PyArrowFileIO
from sqlalchemy.exc import DBAPIError

from tickerlake.lake.settings import LakeSettings

__all__ = ["CatalogEyes", "catalog_eyes"]


class Patient(AwsStandardS3RetryStrategy):  # type: ignore[misc]
    """Asks again for some ten seconds: a store that was just started has its 500s too."""

    def __init__(self) -> None:
        super().__init__(max_attempts=10)


@dataclass(frozen=True, slots=True)
class CatalogEyes:
    """A catalog and its store. Two are equal if they see the same lake."""

    #: What `load_catalog` takes.
    properties: tuple[tuple[str, str], ...]
    namespace: str

    def pointer(self, name: str) -> str | None:
        """The location of a table's newest metadata; null if there is no such table."""
        catalog = _catalog(self.properties)
        try:
            return catalog.load_table((self.namespace, name)).metadata_location
        except NoSuchTableError:
            return None
        except DBAPIError as error:
            if "iceberg_tables" not in str(error.orig):
                raise
            return None  # its maker was killed before it had made anything
        finally:
            catalog.close()  # no connection is left behind; the next look opens one

    def io(self) -> FileIO:
        """PyIceberg's own access to files by their location."""
        return _io(self.properties)


def catalog_eyes(catalog_url: str, *, workspace: Path, settings: LakeSettings) -> CatalogEyes:
    """Eyes for the lake that these settings name. Secrets of the store come from the environment.

    Args:
        catalog_url: `sqlite:…`, `postgresql://…` or `rest:http://…`.
        workspace: Where a relative SQLite file begins.
        settings: `[tables]` and the tables inside it.
    """
    kind, _, rest = catalog_url.partition(":")
    found: dict[str, str | None] = {
        "s3.endpoint": settings.s3.endpoint_url,
        "s3.region": settings.s3.region,
        "s3.retry-strategy-impl": f"{__name__}.{Patient.__name__}",
    }
    if kind == "sqlite":
        path = workspace.resolve() / (rest.removeprefix("//") or "catalog.db")
        found |= {"type": "sql", "uri": f"sqlite:///{path}", "init_catalog_tables": "false"}
    elif kind == "postgresql":
        uri = f"postgresql+psycopg:{rest}"
        found |= {"type": "sql", "uri": uri, "init_catalog_tables": "false"}
        found["pool_pre_ping"] = "true"
    else:
        uri = catalog_url.removeprefix("rest").lstrip(":+").rstrip("/")
        found |= {"type": "rest", "uri": uri, **_login(uri, settings)}
    given = {name: value for name, value in found.items() if value is not None}
    return CatalogEyes(tuple(sorted(given.items())), settings.namespace)


def _login(uri: str, settings: LakeSettings) -> Mapping[str, str | None]:
    rest = settings.rest
    client = f"{rest.client_id or ''}:{rest.client_secret}" if rest.client_secret else None
    return {
        "warehouse": rest.warehouse,
        "credential": client,
        "token": rest.token,
        "scope": rest.scope,
        "oauth2-server-uri": rest.oauth2_url or f"{uri}/v1/oauth/tokens",
        "rest.sigv4-enabled": "true" if rest.sigv4 else None,
        "rest.signing-name": rest.sigv4_service if rest.sigv4 else None,
        "rest.signing-region": rest.sigv4_region,
    }


@lru_cache(maxsize=8)
def _catalog(properties: tuple[tuple[str, str], ...]) -> Catalog:
    # Its name is a column of SQL catalogs, so it must be the one that the lake was made with.
    return load_catalog("tickerlake", **dict(properties))


@lru_cache(maxsize=8)
def _io(properties: tuple[tuple[str, str], ...]) -> FileIO:
    given: dict[str, Any] = {k: v for k, v in properties if k.startswith("s3.")}
    return PyArrowFileIO(given)

"""Lakes to test over, each a workspace whose `tickerlake.toml` names a catalog and a store.

`place` gives those in buckets, one after the other: a test written once runs over each of them.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import tickerlake
from tickerlake.lake.lake import Lake
from tickerlake.testing.catalog_eyes import CatalogEyes, catalog_eyes
from tickerlake.testing.services.http_proxy import HttpProxy
from tickerlake.testing.services.postgres import Postgres
from tickerlake.testing.services.seaweed import ACCESS_KEY, BUCKET, REGION, SECRET_KEY, Seaweed
from tickerlake.testing.services.tcp_proxy import TcpProxy

PAIRS = ("postgres_s3", "rest_s3")


@dataclass(frozen=True, slots=True)
class Place:
    """A fresh, empty lake."""

    #: The workspace.
    folder: Path
    opened: list[tickerlake.Workspace] = field(default_factory=list)

    def open(self) -> Lake:
        """One more handle on the lake, with a catalog connection of its own."""
        self.opened.append(tickerlake.open(self.folder))
        return self.opened[-1].lake

    def eyes(self) -> CatalogEyes:
        """How the judge sees it."""
        settings = tickerlake.open(self.folder).config.settings
        return catalog_eyes(settings.catalog, workspace=self.folder, settings=settings.tables)


@pytest.fixture(params=PAIRS)
def place(request: pytest.FixtureRequest) -> Place:
    """A lake in a bucket, with each of the catalogs that a team may have."""
    made: Place = request.getfixturevalue(request.param)
    return made


@dataclass(frozen=True, slots=True)
class Shaky:
    """A lake whose catalog and store are reached through proxies that misbehave on demand."""

    place: Place
    #: Before S3.
    store: HttpProxy
    #: Before PostgreSQL, and before the REST catalog.
    catalog: TcpProxy | HttpProxy


@pytest.fixture(params=PAIRS)
def shaky(
    request: pytest.FixtureRequest,
    seaweed: Seaweed,
    store_keys: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Shaky]:
    """A lake in a bucket behind proxies, with each of the catalogs that a team may have."""
    with contextlib.ExitStack() as open_ones:
        store = open_ones.enter_context(HttpProxy(seaweed.s3_port))
        catalog: TcpProxy | HttpProxy
        if request.param == "rest_s3":
            monkeypatch.setenv("TICKERLAKE_TABLES_REST_CLIENT_SECRET", SECRET_KEY)
            catalog = open_ones.enter_context(HttpProxy(seaweed.rest_port))
            text = _rest(seaweed, catalog.url, store.url)
        else:
            postgres: Postgres = request.getfixturevalue("postgres")
            catalog = open_ones.enter_context(TcpProxy(postgres.port))
            text = _postgres(postgres.url(port=catalog.port), store.url)
        for place in _workspace(tmp_path / "shaky", text):
            yield Shaky(place, store, catalog)


@pytest.fixture
def sqlite_local(tmp_path: Path) -> Iterator[Place]:
    """A SQLite catalog and a folder: what a workspace has by default."""
    yield from _workspace(tmp_path / "sqlite_local", "")


@pytest.fixture
def postgres_s3(
    postgres: Postgres, seaweed: Seaweed, store_keys: None, tmp_path: Path
) -> Iterator[Place]:
    """A PostgreSQL catalog and a prefix of a bucket."""
    yield from _workspace(tmp_path / "postgres_s3", _postgres(postgres.url(), seaweed.s3_url))


@pytest.fixture
def rest_s3(
    seaweed: Seaweed, store_keys: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    """An Iceberg REST catalog with OAuth2, and the bucket that it governs."""
    monkeypatch.setenv("TICKERLAKE_TABLES_REST_CLIENT_SECRET", SECRET_KEY)
    yield from _workspace(tmp_path / "rest_s3", _rest(seaweed, seaweed.rest_url, seaweed.s3_url))


@pytest.fixture
def store_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store's keys, where AWS tools look for them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)


def _postgres(catalog_url: str, store_url: str) -> str:
    return f'lake = "s3://{BUCKET}/team"\ncatalog = "{catalog_url}"\n' + _tables(store_url)


def _rest(seaweed: Seaweed, catalog_url: str, store_url: str) -> str:
    login = f'warehouse = "{seaweed.warehouse}"\nclient_id = "{ACCESS_KEY}"'
    return (
        f'lake = "{seaweed.warehouse}"\ncatalog = "rest:{catalog_url}"\n'
        f"{_tables(store_url)}[tables.rest]\n{login}\n"
    )


def _tables(store_url: str) -> str:
    # Tests share the servers: each has a namespace of its own.
    name = f"lake_{uuid.uuid4().hex[:12]}"
    where = f'endpoint_url = "{store_url}"\nregion = "{REGION}"'
    return f'[tables]\nnamespace = "{name}"\n[tables.s3]\n{where}\n'


def _workspace(folder: Path, text: str) -> Iterator[Place]:
    folder.mkdir()
    (folder / "tickerlake.toml").write_text(text)
    place = Place(folder)
    yield place
    for workspace in place.opened:
        workspace.close()

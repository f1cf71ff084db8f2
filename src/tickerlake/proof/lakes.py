"""Catalogs and stores that the proof starts by itself, behind proxies that misbehave on demand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tickerlake.errors import UsageError
from tickerlake.lake.settings import LakeSettings, RestSettings, S3Settings
from tickerlake.proof.services import environment
from tickerlake.testing.catalog_eyes import catalog_eyes

if TYPE_CHECKING:
    from tickerlake.proof.ground import Lakes, Place
    from tickerlake.testing.invariants import Eyes
    from tickerlake.testing.services.http_proxy import HttpProxy
    from tickerlake.testing.services.postgres import Postgres
    from tickerlake.testing.services.process import Service
    from tickerlake.testing.services.seaweed import Seaweed
    from tickerlake.testing.services.tcp_proxy import TcpProxy

__all__ = ["TeamLakes", "start_lakes"]


def start_lakes(name: str, folder: Path) -> AbstractContextManager[Lakes]:
    """Start the catalog and the store of that name; they end with the context.

    Raises:
        UsageError: There are none of that name.
    """
    if name not in _LAKES:
        raise UsageError(
            f"The proof cannot start {name!r}.",
            expected=", ".join(_LAKES),
            todo="name one of these; without it each lake lies in a scratch folder",
        )
    return _LAKES[name](folder)


class TeamLakes:
    """Lakes in one bucket, each in a namespace of its own of one catalog."""

    kind = "s3"

    def __init__(
        self,
        seaweed: Seaweed,
        store: HttpProxy,
        catalog: HttpProxy | TcpProxy,
        postgres: Postgres | None,
    ) -> None:
        self.store = store
        self.catalog = catalog
        self.servers: list[Service] = [seaweed, postgres] if postgres else [seaweed]
        self._seaweed = seaweed
        self._postgres = postgres
        self.catalog_kind = "postgresql" if postgres else "rest"
        self.powers: Mapping[str, Any] = {
            "object store": self,
            ("catalog connection" if postgres else "rest catalog"): self,
        }

    def urls(self, name: str) -> tuple[str, str]:
        """Through the proxies."""
        return self._urls(name, direct=False)

    def settings(self, name: str) -> Mapping[str, Any]:
        """Where the store is, and which namespace is this lake's."""
        from tickerlake.testing.services.seaweed import ACCESS_KEY, REGION

        found: dict[str, Any] = {
            "tables.namespace": _namespace(name),
            "tables.s3.endpoint_url": self.store.url,
            "tables.s3.region": REGION,
            # Each try that fails waits longer than the one before; a proof has no time for six.
            "tables.s3.tries_max": 3,
        }
        if self._postgres is None:
            found["tables.rest.warehouse"] = self._seaweed.warehouse
            found["tables.rest.client_id"] = ACCESS_KEY
        return found

    def eyes(self, place: Place) -> Eyes:
        """Past the proxies, through PyIceberg alone."""
        from tickerlake.testing.services.seaweed import ACCESS_KEY, REGION, SECRET_KEY

        rest = RestSettings(
            warehouse=self._seaweed.warehouse, client_id=ACCESS_KEY, client_secret=SECRET_KEY
        )
        settings = LakeSettings(
            namespace=place.settings["tables.namespace"],
            s3=S3Settings(endpoint_url=self._seaweed.s3_url, region=REGION),
            rest=rest if self._postgres is None else RestSettings(),
        )
        _, catalog = self._urls(place.folder.name, direct=True)
        return catalog_eyes(catalog, workspace=place.folder, settings=settings)

    def remove(self, name: str) -> None:
        """All of it goes with the servers."""

    def heal(self) -> None:
        """All servers run, and no proxy stands in the way."""
        self.store.heal()
        self.catalog.heal()
        for server in self.servers:
            if not server.running:
                server.start()

    def _urls(self, name: str, *, direct: bool) -> tuple[str, str]:
        if self._postgres is not None:
            from tickerlake.testing.services.seaweed import BUCKET

            port = self._postgres.port if direct else self.catalog.port
            return f"s3://{BUCKET}/{name}", self._postgres.url(port=port)
        port = self._seaweed.rest_port if direct else self.catalog.port
        return self._seaweed.warehouse, f"rest:http://127.0.0.1:{port}"


def _namespace(name: str) -> str:
    return re.sub(r"\W", "_", name)


@contextmanager
def _team(folder: Path, *, rest: bool) -> Iterator[TeamLakes]:
    from tickerlake.testing.services.http_proxy import HttpProxy
    from tickerlake.testing.services.postgres import Postgres
    from tickerlake.testing.services.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed
    from tickerlake.testing.services.tcp_proxy import TcpProxy

    keys = {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "TICKERLAKE_TABLES_REST_CLIENT_SECRET": SECRET_KEY,
    }
    with ExitStack() as opened:
        opened.enter_context(environment(keys))
        seaweed = opened.enter_context(Seaweed(folder / "seaweed"))
        store = opened.enter_context(HttpProxy(seaweed.s3_port))
        if rest:
            catalog = opened.enter_context(HttpProxy(seaweed.rest_port))
            yield TeamLakes(seaweed, store, catalog, None)
        else:
            postgres = opened.enter_context(Postgres(folder / "postgres"))
            wire = opened.enter_context(TcpProxy(postgres.port))
            yield TeamLakes(seaweed, store, wire, postgres)


_LAKES: dict[str, Callable[[Path], AbstractContextManager[Lakes]]] = {
    "postgres-s3": lambda folder: _team(folder, rest=False),
    "rest-s3": lambda folder: _team(folder, rest=True),
}

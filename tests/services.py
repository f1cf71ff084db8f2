"""Fixtures of real brokers, stores and catalogs; each starts when the first test asks for it.

One set a test process: with pytest-xdist each worker has its own.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tickerlake.testing.services.kafka import KafkaCluster
from tickerlake.testing.services.kinesis import Kinesis
from tickerlake.testing.services.ministack import Ministack
from tickerlake.testing.services.postgres import Postgres
from tickerlake.testing.services.schema_registry import SchemaRegistry
from tickerlake.testing.services.seaweed import Seaweed

#: Names a broker of the user's own: then no node is started here.
KAFKA_VARIABLE = "TICKERLAKE_TEST_KAFKA"


@dataclass(frozen=True, slots=True)
class Kafka:
    """A broker to test against, be it ours or the user's."""

    bootstrap: str
    #: None: it is the user's, and nothing may be done to it.
    cluster: KafkaCluster | None

    def ours(self) -> KafkaCluster:
        """The cluster, for tests that kill brokers; skips where that is not ours to do."""
        if self.cluster is None:
            pytest.skip(f"kills brokers, and {KAFKA_VARIABLE} names one that is not ours")
        return self.cluster

    def heal(self) -> None:
        """Let it run again, if it is ours."""
        if self.cluster is not None:
            self.cluster.heal()


#: Fixtures that outlive a test: one that fails in the middle of a kill leaves the next in peace.
_SHARED = ("kafka", "kafka_cluster3", "postgres", "seaweed", "kinesis")


@pytest.fixture(autouse=True)
def _healed(request: pytest.FixtureRequest) -> Iterator[None]:
    used = [request.getfixturevalue(name) for name in _SHARED if name in request.fixturenames]
    yield
    for service in used:
        service.heal()


@pytest.fixture(scope="session")
def services_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the services of this test process keep their data."""
    return tmp_path_factory.mktemp("services")


@pytest.fixture(scope="session")
def kafka(services_folder: Path) -> Iterator[Kafka]:
    """One broker: of the user's own if TICKERLAKE_TEST_KAFKA names it, else a fresh node."""
    if named := os.environ.get(KAFKA_VARIABLE):
        yield Kafka(named, None)
        return
    with KafkaCluster(services_folder / "kafka") as cluster:
        yield Kafka(cluster.bootstrap, cluster)


@pytest.fixture(scope="module")
def kafka_cluster3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """Three nodes, for one module: they take most of a GiB, and tests leave them battered."""
    if os.environ.get(KAFKA_VARIABLE):
        pytest.skip(f"kills brokers, and {KAFKA_VARIABLE} names one that is not ours")
    with KafkaCluster(tmp_path_factory.mktemp("kafka3") / "kafka", nodes=3) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def postgres(services_folder: Path) -> Iterator[Postgres]:
    """One PostgreSQL; make a database of your own in it."""
    with Postgres(services_folder / "postgres") as server:
        yield server


@pytest.fixture(scope="session")
def seaweed(services_folder: Path) -> Iterator[Seaweed]:
    """One S3 store with the bucket `lake`, which is an Iceberg REST catalog too."""
    with Seaweed(services_folder / "seaweed") as server:
        yield server


@pytest.fixture
def rest_catalog(seaweed: Seaweed) -> str:
    """A fresh, empty warehouse of the REST catalog `seaweed.rest_url`."""
    return seaweed.create_table_bucket(f"warehouse-{uuid.uuid4().hex[:12]}")


@pytest.fixture(scope="session")
def kinesis(services_folder: Path) -> Iterator[Kinesis]:
    """One Kinesis emulator; make streams of your own in it."""
    with Kinesis(services_folder / "kinesis") as server:
        yield server


@pytest.fixture
def schema_registry() -> Iterator[SchemaRegistry]:
    """A schema registry without subjects, for one test."""
    with SchemaRegistry() as server:
        yield server


@pytest.fixture(scope="session")
def ministack(services_folder: Path) -> Iterator[Ministack]:
    """One emulator of AWS, for what has none of its own here."""
    with Ministack(services_folder / "ministack") as server:
        yield server

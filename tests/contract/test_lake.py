"""Each pair of catalog and store keeps the contract of a lake.

AWS Glue comes as one more subclass here, over the Glue client of PyIceberg or its REST address.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lakes import Place
from tickerlake.lake.lake import Lake
from tickerlake.testing.lake_suite import LakeSuite

pytestmark = pytest.mark.xdist_group("lakes")


class TestSqliteLake(LakeSuite):
    """SQLite catalog, local disk."""

    @pytest.fixture
    def make_lake(self, sqlite_local: Place) -> Callable[[], Lake]:
        """Each handle has a catalog connection of its own."""
        return sqlite_local.open


class TestPostgresLake(LakeSuite):
    """PostgreSQL catalog, S3."""

    @pytest.fixture
    def make_lake(self, postgres_s3: Place) -> Callable[[], Lake]:
        """Each handle has a catalog connection of its own."""
        return postgres_s3.open


class TestRestLake(LakeSuite):
    """Iceberg REST catalog, S3."""

    @pytest.fixture
    def make_lake(self, rest_s3: Place) -> Callable[[], Lake]:
        """Each handle has a session of its own."""
        return rest_s3.open

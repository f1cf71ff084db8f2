"""The lake on local disk with a SQLite catalog keeps the contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tickerlake.lake.lake import Lake
from tickerlake.lake.registry import open_lake
from tickerlake.testing.lake_suite import LakeSuite


class TestSqliteLake(LakeSuite):
    """SQLite catalog, local disk."""

    @pytest.fixture
    def make_lake(self, tmp_path: Path) -> Iterator[Callable[[], Lake]]:
        """Each handle has a catalog connection of its own."""
        lakes: list[Lake] = []

        def make() -> Lake:
            lakes.append(open_lake("./lake", "sqlite:", workspace=tmp_path))
            return lakes[-1]

        yield make
        for lake in lakes:
            lake.close()

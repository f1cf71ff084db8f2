"""DuckDB keeps the contract of query engines."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tickerlake.query import Engine, QuerySettings
from tickerlake.query.duckdb import DuckDBEngine
from tickerlake.testing.engine_suite import EngineSuite, House


class TestDuckDB(EngineSuite):
    """The contract, on DuckDB over the house's lake and stream."""

    @pytest.fixture
    def open_engine(self) -> Callable[[House, QuerySettings], Engine]:
        """A new engine each time."""
        return lambda house, settings: DuckDBEngine(house.lake, house.stream, settings)

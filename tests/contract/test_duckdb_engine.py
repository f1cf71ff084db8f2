"""DuckDB keeps the contract of query engines."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tickerlake.errors import ConfigError
from tickerlake.query import Engine, QuerySettings, open_engine
from tickerlake.query.duckdb import DuckDBEngine
from tickerlake.testing.engine_suite import EngineSuite, House


class TestDuckDB(EngineSuite):
    """The contract, on DuckDB over the house's lake and stream."""

    @pytest.fixture
    def open_engine(self) -> Callable[[House, QuerySettings], Engine]:
        """A new engine each time."""
        return lambda house, settings: DuckDBEngine(house.lake, house.stream, settings)

    def test_it_opens_by_its_name(self, house: House) -> None:
        """The registry opens DuckDB; a planned engine and an unknown one are told apart."""
        engine = open_engine("duckdb", lake=house.lake, stream=house.stream)
        assert engine.sql("select 1 as one").table.to_pylist() == [{"one": 1}]
        engine.close()
        with pytest.raises(ConfigError, match="not built yet"):
            open_engine("athena", lake=house.lake, stream=house.stream)
        with pytest.raises(ConfigError, match="no engine 'duckbd'"):
            open_engine("duckbd", lake=house.lake, stream=house.stream)

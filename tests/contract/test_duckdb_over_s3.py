"""DuckDB keeps the contract of query engines over a lake in a bucket, without an extension."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lakes import Place
from tickerlake.errors import QueryError, QueryRefusedError
from tickerlake.query import Engine, QuerySettings
from tickerlake.query.duckdb import DuckDBEngine
from tickerlake.testing.engine_suite import EngineSuite, House, bar

pytestmark = pytest.mark.xdist_group("lakes")


class TestDuckDBOverS3(EngineSuite):
    """The same contract: only the files lie elsewhere."""

    @pytest.fixture
    def house(self, postgres_s3: Place, tmp_path: Path) -> Iterator[House]:
        """An embedded stream, and a lake in a bucket."""
        house = House(tmp_path, lake=postgres_s3.open())
        yield house
        house.close()

    @pytest.fixture
    def open_engine(self) -> Callable[[House, QuerySettings], Engine]:
        """A new engine each time."""
        return lambda house, settings: DuckDBEngine(house.lake, house.stream, settings)

    def test_only_the_lakes_own_prefix_is_read(self, house: House, engine: Engine) -> None:
        """Files of the lake can be named, also by a pattern; anything else in the bucket cannot."""
        house.publish(bar(), bar(1))
        house.deliver()
        table = house.lake.table("bars_log")
        count = "select count(*) from read_parquet"
        named = engine.sql(f"{count}('{table.folder}/data/*/*.parquet')").table
        assert named.column(0).to_pylist() == [2]
        outside = table.folder.replace("/team/", "/another/")
        with pytest.raises(QueryRefusedError, match="outside the lake"):
            engine.sql(f"{count}('{outside}/data/x.parquet')")
        with pytest.raises(QueryError):
            engine.sql(f"{count}('{table.folder}/data/nothing.parquet')")

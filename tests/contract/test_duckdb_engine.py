"""DuckDB keeps the contract of query engines."""

from __future__ import annotations

import os
import signal
import threading
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

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_ends_a_query_at_once(self, house: House, number: signal.Signals) -> None:
        """Ctrl-C and SIGTERM reach us while DuckDB works, as themselves; the engine goes on."""
        before = signal.signal(number, signal.default_int_handler)
        engine = open_engine(
            "duckdb",
            lake=house.lake,
            stream=house.stream,
            settings=QuerySettings(time_limit_seconds=20),
        )
        timer = threading.Timer(0.3, os.kill, (os.getpid(), number))
        timer.start()
        try:
            with pytest.raises(KeyboardInterrupt):
                engine.sql("select count(*) from range(10000000) a, range(100000000) b")
        finally:
            timer.join()
            signal.signal(number, before)
        assert engine.sql("select 1 as one").table.to_pylist() == [{"one": 1}]
        engine.close()

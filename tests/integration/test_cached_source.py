"""A source that keeps what it was given."""

from __future__ import annotations

import sqlite3
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tickerlake.cache import CachedSource
from tickerlake.errors import NewerVersionError, NotFoundError, RangeError, StorageError
from tickerlake.sources import BarsRequest, Source, open_source
from tickerlake.testing.source_suite import SourceSuite
from yahoo_double import Answer, at, chart, encoded, yahoo_server

FB = BarsRequest("FB", "1d", date(2013, 2, 1))


class TestCached(SourceSuite):
    """Behind the cache, a source keeps the contract."""

    request_ = BarsRequest("IBM", "1d", date(2013, 1, 2), date(2013, 1, 31))

    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        return CachedSource(open_source("sample"), tmp_path / "cache")


class TestOffline(SourceSuite):
    """Offline, what was fetched before is a source of its own, which keeps the contract too."""

    request_ = BarsRequest("IBM", "1d", date(2013, 1, 2), date(2013, 1, 31))

    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        CachedSource(open_source("sample"), tmp_path / "cache").bars(self.request_)
        return CachedSource(open_source("sample"), tmp_path / "cache", offline=True)


def offline(folder: Path, source: str = "sample", **settings: Any) -> CachedSource:
    return CachedSource(open_source(source, settings=settings), folder, offline=True)


def files(folder: Path) -> int:
    return len(list(folder.glob("*.parquet")))


def test_offline_gives_what_was_given(tmp_path: Path) -> None:
    """After a fetch the same request is answered without the source, in any part of the range."""
    given = CachedSource(open_source("sample"), tmp_path).bars(FB)
    assert offline(tmp_path).bars(FB).bars.equals(given.bars)
    part = BarsRequest("fb", "1d", date(2013, 2, 4), date(2013, 2, 5))
    assert offline(tmp_path).bars(part).bars.equals(given.bars.slice(1, 2))


def test_what_was_never_fetched_is_not_there(tmp_path: Path) -> None:
    """An empty cache, another symbol or interval: the error says to fetch first."""
    with pytest.raises(NotFoundError, match="without --offline"):
        offline(tmp_path / "none").bars(FB)
    CachedSource(open_source("sample"), tmp_path).bars(FB)
    with pytest.raises(NotFoundError, match="'IBM' from sample"):
        offline(tmp_path).bars(BarsRequest("IBM"))
    with pytest.raises(RangeError, match="no bars of 1m"):
        offline(tmp_path).bars(BarsRequest("FB", "1m"))


def test_the_same_rows_are_kept_once(tmp_path: Path) -> None:
    """Asking again writes nothing; a longer range writes only what it adds."""
    source = CachedSource(open_source("sample"), tmp_path)
    for _ in range(3):
        source.bars(FB)
    assert files(tmp_path) == 1
    source.bars(BarsRequest("FB", "1d", date(2013, 1, 31)))
    assert files(tmp_path) == 2
    assert offline(tmp_path).bars(BarsRequest("FB")).bars.num_rows == 21


def test_the_newest_values_are_given_and_actions_with_days(tmp_path: Path) -> None:
    """A value that changed at the provider replaces the old one; events are kept as well."""
    closes = [10.5, 10.75]
    events = {"dividends": {"1": {"amount": 0.25, "date": at("2024-02-28T14:30")}}}

    def yahoo(symbol: str, query: dict[str, str]) -> Answer:
        row = (10.0, 11.0, 9.0, closes.pop(0), 100.0)
        return Answer(encoded(chart({"2024-02-28T14:30": row}, symbol=symbol, events=events)))

    with yahoo_server(yahoo) as server:
        settings = {"base_url": server.base_url, "requests_per_second": None}
        source = CachedSource(open_source("yahoo", settings=settings), tmp_path)
        for _ in range(2):
            source.bars(BarsRequest("ACME"))
    answer = offline(tmp_path, "yahoo").bars(BarsRequest("ACME"))
    assert answer.bars["close"].to_pylist() == [10.75]
    assert answer.actions["amount"].to_pylist() == [0.25]


def test_damage_and_newer_versions_are_named(tmp_path: Path) -> None:
    """A lost file, and an index of a later version, say what to do instead of giving holes."""
    CachedSource(open_source("sample"), tmp_path).bars(FB)
    for file in tmp_path.glob("*.parquet"):
        file.write_bytes(b"")
    with pytest.raises(StorageError, match="can be fetched again"):
        offline(tmp_path).bars(FB)
    index = sqlite3.connect(tmp_path / "index.sqlite")
    index.execute("pragma user_version = 99")
    index.close()
    with pytest.raises(NewerVersionError, match="version 99"):
        offline(tmp_path).bars(FB)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """A cache whose place is taken by a file says so; the answer is not given as if kept."""
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(StorageError, match="cannot be written"):
        CachedSource(open_source("sample"), tmp_path / "cache").bars(FB)


def test_recordings_are_parsed_as_by_the_source(tmp_path: Path) -> None:
    """Parsing goes through and keeps nothing."""
    text = b"Ticker,Date,Open,High,Low,Close,Volume,Adj Close\nX,2013-03-01,1,2,1,2,5,2\n"
    table = CachedSource(open_source("sample"), tmp_path).parse(text).bars
    assert isinstance(table, pa.Table)
    assert table["symbol"].to_pylist() == ["X"]
    assert files(tmp_path) == 0

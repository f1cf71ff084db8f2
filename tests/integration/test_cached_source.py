"""A source that keeps what it was given."""

from __future__ import annotations

import sqlite3
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from tickerlake.cache import CachedSource
from tickerlake.errors import NewerVersionError, NotFoundError, RangeError, StorageError
from tickerlake.sources import BarsRequest, Source, open_source
from tickerlake.testing.source_suite import SourceSuite

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
    return len(list(folder.glob("rows/*")))


def test_offline_gives_what_was_given(tmp_path: Path) -> None:
    """After a fetch the same request is answered without the source, in any part of the range."""
    given = CachedSource(open_source("sample"), tmp_path).bars(FB)
    assert offline(tmp_path).bars(FB).bars.equals(given.bars)
    part = BarsRequest("fb", "1d", date(2013, 2, 4), date(2013, 2, 5))
    assert offline(tmp_path).bars(part).bars.equals(given.bars.slice(1, 2))


def test_offline_says_what_damage_took(tmp_path: Path) -> None:
    """Rows that cannot be read are told as missing: offline nobody can bring them again."""
    CachedSource(open_source("sample"), tmp_path).bars(FB)
    (file,) = tmp_path.glob("rows/*")
    file.write_bytes(b"")
    answer = offline(tmp_path).bars(FB)
    assert answer.bars.num_rows == 0
    (part,) = answer.missing
    assert part.startswith("FB 1d: what a damaged file of the cache held")


def test_what_was_never_fetched_is_not_there(tmp_path: Path) -> None:
    """An empty cache, another symbol or interval: the error says to fetch first."""
    with pytest.raises(NotFoundError, match="without --offline"):
        offline(tmp_path / "none").bars(FB)
    assert not (tmp_path / "none").exists()
    CachedSource(open_source("sample"), tmp_path).bars(FB)
    with pytest.raises(NotFoundError, match="'IBM' from sample"):
        offline(tmp_path).bars(BarsRequest("IBM"))
    with pytest.raises(RangeError, match="no bars of 1m"):
        offline(tmp_path).bars(BarsRequest("FB", "1m"))


def test_a_source_of_this_machine_is_always_asked(tmp_path: Path) -> None:
    """A file that somebody edits is read again; the copy for offline follows, and stays one."""
    table = tmp_path / "bars.csv"
    for close in ("10.5", "10.5", "10.75"):
        table.write_text(
            f"Ticker,Date,Open,High,Low,Close,Volume\nX,2024-01-02,10,11,9,{close},5\n"
        )
        source = CachedSource(open_source("files", settings={"path": str(table)}), tmp_path / "c")
        assert source.bars(BarsRequest("X")).bars["close"].to_pylist() == [float(close)]
        assert source.plan([BarsRequest("X")]).requests_max == 0
        assert files(tmp_path / "c") == 1
    copy = offline(tmp_path / "c", "files", path=str(table)).bars(BarsRequest("X"))
    assert copy.bars["close"].to_pylist() == [10.75]


def test_a_newer_version_is_named(tmp_path: Path) -> None:
    """An index of a later version says what to do instead of giving holes."""
    CachedSource(open_source("sample"), tmp_path).bars(FB)
    index = sqlite3.connect(tmp_path / "index.sqlite")
    index.execute("pragma user_version = 99")
    index.close()
    with pytest.raises(NewerVersionError, match="version 99"):
        offline(tmp_path).bars(FB)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """A cache whose place is taken by a file says so; the answer is not given as if kept."""
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(StorageError, match="cannot be used"):
        CachedSource(open_source("sample"), tmp_path / "cache").bars(FB)


def test_recordings_are_parsed_as_by_the_source(tmp_path: Path) -> None:
    """Parsing goes through and keeps nothing."""
    text = b"Ticker,Date,Open,High,Low,Close,Volume,Adj Close\nX,2013-03-01,1,2,1,2,5,2\n"
    table = CachedSource(open_source("sample"), tmp_path).parse(text).bars
    assert isinstance(table, pa.Table)
    assert table["symbol"].to_pylist() == ["X"]
    assert files(tmp_path) == 0


def test_the_first_versions_rows_are_taken_over(tmp_path: Path) -> None:
    """What the first version kept is served offline; it is no reason not to ask."""
    bars = open_source("sample").bars(FB).bars
    pyarrow.parquet.write_table(bars, tmp_path / "bar-1.parquet")
    index = sqlite3.connect(tmp_path / "index.sqlite")
    index.execute(
        "create table kept (id integer primary key, source text not null, kind text not null,"
        " symbol text not null, file text not null, row_count integer not null)"
    )
    index.executemany(
        "insert into kept (source, kind, symbol, file, row_count) values (?, 'bar', 'FB', ?, 1)",
        [("sample", "bar-1.parquet"), ("sample", "bar-lost.parquet")],
    )
    index.execute("pragma user_version = 1")
    index.commit()
    index.close()
    assert offline(tmp_path).bars(FB).bars.equals(bars)
    assert (tmp_path / "bar-1.parquet").exists()

"""The contract suite over the sources that need no network."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from tickerlake.sources import BarsRequest, Source, open_source
from tickerlake.testing.source_suite import SourceSuite

CSV = """Ticker,Date,Open,High,Low,Close,Adj Close,Volume
AAA,2024-01-04,11,12.5,10,12,11.9,700
AAA,2024-01-02,10,11,9,10.5,10.4,500
AAA,2024-01-03,10.5,11.5,10,11,10.9,600
BBB,2024-01-02,1,1,1,1,1,
"""


class TestSample(SourceSuite):
    """The bundled sample keeps the contract."""

    request_ = BarsRequest("IBM", "1d", date(2013, 1, 2), date(2013, 1, 31))

    @pytest.fixture
    def source(self) -> Source:
        return open_source("sample")


class TestFiles(SourceSuite):
    """A folder of files keeps the contract."""

    request_ = BarsRequest("AAA", "1d", date(2024, 1, 1), date(2024, 1, 31))

    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        (tmp_path / "bars.csv").write_text(CSV)
        return open_source("files", settings={"path": str(tmp_path)})

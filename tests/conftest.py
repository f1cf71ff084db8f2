"""What tests of several rooms share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tickerlake.lake.lake import Lake
from tickerlake.lake.registry import open_lake


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    """A fresh lake on local disk."""
    fresh = open_lake("./lake", "sqlite:", workspace=tmp_path)
    yield fresh
    fresh.close()

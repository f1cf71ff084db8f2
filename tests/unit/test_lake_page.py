"""What docs/lake.md says word for word is a configuration that works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tickerlake.config import load
from tickerlake.lake.catalog import check_catalog
from tickerlake.lake.registry import open_store

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "lake.md").read_text()


@pytest.mark.parametrize("text", re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL))
def test_each_example_is_understood(text: str, tmp_path: Path) -> None:
    """Its keys are known, its catalog and its store can be chosen; nothing is asked yet."""
    (tmp_path / "tickerlake.toml").write_text(text)
    settings = load(tmp_path, environment={}).settings
    check_catalog(settings.catalog)
    store = open_store(settings.lake, workspace=tmp_path, settings=settings.tables)
    assert store.root

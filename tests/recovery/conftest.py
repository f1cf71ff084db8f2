"""A workspace whose workers die, and the process that forks them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from recovery.harness import Case
from tickerlake.testing.faults import Nursery


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    with Nursery() as nursery:
        yield nursery


@pytest.fixture
def case(tmp_path: Path, nursery: Nursery) -> Iterator[Case]:
    case = Case(tmp_path, nursery)
    yield case
    case.stream.close()

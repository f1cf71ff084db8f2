"""Each step of each work on the cache: killed before it, or on a disk that is full just then."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["kill", "full"])
def test_no_step_leaves_anything_wrong_or_lost(ending: str) -> None:
    """Fetch, accept, prune, repair, export, migration: sound after each step, and healed by doing.

    Ended before each of its calls that touch the disk, by SIGKILL or by an error of a full disk.
    """
    done = subprocess.run(
        [sys.executable, HERE / "killed_steps.py", ending],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert not {name: work["wrong"] for name, work in told.items() if work["wrong"]}
    assert all(work["steps"] for work in told.values())
    assert sum(work["steps"] for work in told.values()) > 150

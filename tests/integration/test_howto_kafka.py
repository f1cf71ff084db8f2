"""docs/howto/kafka.md, followed word for word over a real broker."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from command import environment
from services import Kafka

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "kafka.md"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_page_is_true(kafka: Kafka, tmp_path: Path) -> None:
    """Every command of the page works, and after the kills each bar is there once."""
    kafka.ours()  # it counts what is in the topic `market.bars`
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 6
    # A program, not a function of the shell: what is killed is then the worker itself.
    program = tmp_path / "bin" / "tickerlake"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tickerlake "$@"\n')
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
        cwd=tmp_path,
        env=environment(KAFKA=kafka.bootstrap, HOME=str(tmp_path), PATH=path),
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    out = done.stdout
    assert done.returncode == 0, out + done.stderr
    assert "Nothing to deliver" in out
    (bars, days) = re.findall(r"^\W*(\d+)\W+(\d+)\W*$", out, re.MULTILINE)[-1]
    assert bars == days == "40"

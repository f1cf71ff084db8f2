"""docs/howto/kinesis.md, followed word for word over the emulator."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from command import environment
from tickerlake.testing.services.kinesis import Kinesis

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "kinesis.md"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with the two commands that the page calls; a kill of one kills it, and no shell."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, words in (("tickerlake", "-m tickerlake"), ("python", "")):
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        program.chmod(0o755)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_page_is_true(kinesis: Kinesis, tmp_path: Path, programs: Path) -> None:
    """Every command of the page works; the bars are counted once, after a kill and a split too."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 7
    variables = environment(
        KINESIS_ENDPOINT=kinesis.url,
        HOME=str(tmp_path),
        PATH=f"{programs}:{os.environ['PATH']}",
    )
    with subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
        cwd=tmp_path,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as shell:
        try:
            out, _ = shell.communicate(timeout=540)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
    assert shell.returncode == 0, out
    assert out.count("Delivered ") >= 2
    assert "Nothing to deliver" in out
    (bars, days) = re.findall(r"^\W*(\d+)\W+(\d+)\W*$", out, re.MULTILINE)[-1]
    assert bars == days == "40"
    assert "ended" in out

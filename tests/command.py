"""The command line as users meet it: a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parents[1] / "src"


@dataclass(frozen=True, slots=True)
class Said:
    """What a command printed and returned."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


def environment(**variables: str) -> dict[str, str]:
    """Ours without what the machine's user has set for tickerlake, but with what tests need."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TICKERLAKE_")
        or name.startswith("TICKERLAKE_TEST_")
        or name == "TICKERLAKE_STATE"
    }
    return kept | {"PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1"} | variables


def tickerlake(
    *words: str | Path, cwd: Path, stdin: str | None = None, expect: int | None = 0, **env: str
) -> Said:
    """Run one command to its end; `expect` is its exit code (None: any)."""
    done = subprocess.run(
        [sys.executable, "-m", "tickerlake", *map(str, words)],
        cwd=cwd,
        env=environment(**env),
        capture_output=True,
        text=True,
        input=stdin or "",
        timeout=120,
        check=False,
    )
    said = Said(done.returncode, done.stdout, done.stderr)
    assert expect is None or said.code == expect, f"exit {said.code}\n{said.out}\n{said.err}"
    assert "Traceback" not in said.err, said.err
    assert "\x1b" not in said.out + said.err, "colour codes in a pipe"
    return said


@contextmanager
def running(*words: str | Path, cwd: Path, **env: str) -> Iterator[subprocess.Popen[str]]:
    """A command that goes on; killed at the end if it still runs then."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tickerlake", *map(str, words)],
        cwd=cwd,
        env=environment(**env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()

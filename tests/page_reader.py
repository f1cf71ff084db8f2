"""Run a page's blocks as its reader would: in order, in one folder, in one Python session.

Reads [[language, text, place], …] as JSON from standard input. A `cd` in a shell block holds for
the blocks after it; Python blocks share their names.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def run_shell(text: str, told: Path) -> None:
    script = f"set -euo pipefail\n{text}\npwd > {told}\n"
    subprocess.run(["bash", "-c", script], check=True)
    os.chdir(told.read_text().strip())


def main() -> int:
    names: dict[str, Any] = {"__name__": "__main__"}
    with tempfile.TemporaryDirectory() as folder:
        for language, text, place in json.load(sys.stdin):
            print(f"── {place}", flush=True)
            if language == "python":
                exec(compile(text, place, "exec"), names)  # noqa: S102 - our own documentation
            else:
                run_shell(text, Path(folder) / "cwd")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

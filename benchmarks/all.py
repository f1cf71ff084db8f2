"""Run every benchmark in turn and write the table of docs/benchmarks.md.

    python benchmarks/all.py [--quick] [--write]

Each benchmark is a script of its own that prints one JSON object a line; this one only collects.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
MET = {True: "yes", False: "**no**", None: ""}
MARKS = ("<!-- table: begin -->", "<!-- table: end -->")


def scripts() -> list[Path]:
    return sorted(p for p in HERE.glob("*.py") if p.name != "all.py" and not p.name.startswith("_"))


def run(script: Path, quick: bool) -> list[dict[str, Any]]:
    print(f"── {script.name} …", file=sys.stderr, flush=True)
    command = [sys.executable, str(script), *(["--quick"] if quick else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not rows:
        rows.append({"name": script.stem, "what": f"failed with exit code {done.returncode}"})
    return rows


def cell(row: dict[str, Any], key: str) -> str:
    value = row.get(key)
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def table(rows: list[dict[str, Any]], quick: bool) -> str:
    when = datetime.now(UTC).date().isoformat()
    lines = [
        f"Run on {when}, {platform.machine()}, Python {platform.python_version()}"
        + (", with --quick" if quick else "")
        + ".",
        "",
        "| benchmark | what | figure | peer, same run | goal | met |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {cell(r, 'name')} | {cell(r, 'what')} | {cell(r, 'figure') or figure(r)} "
        f"| {cell(r, 'peer')} | {cell(r, 'goal')} | {MET[r.get('met')]} |"
        for r in rows
    ]
    return "\n".join(lines)


def figure(row: dict[str, Any]) -> str:
    rate = row.get("records_per_cpu_second")
    return f"{rate:,.0f} records per CPU second" if isinstance(rate, int | float) else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--write", action="store_true", help="put the table into docs")
    options = parser.parse_args()
    rows = [row for script in scripts() for row in run(script, options.quick)]
    text = table(rows, options.quick)
    print(text)
    if options.write:
        page = PAGE.read_text()
        pattern = re.escape(MARKS[0]) + r".*?" + re.escape(MARKS[1])
        body = f"{MARKS[0]}\n\n{text}\n\n{MARKS[1]}"
        PAGE.write_text(re.sub(pattern, lambda _: body, page, flags=re.DOTALL))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

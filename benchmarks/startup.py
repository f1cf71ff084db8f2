"""How long `tickerlake --help` takes beside a bare Python start, in the same run.

python benchmarks/startup.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

GOAL_TIMES_BARE = 6.0
COMMANDS = {
    "bare": [sys.executable, "-c", "pass"],
    "argparse": [sys.executable, "-c", "import argparse"],
    "help": [sys.executable, "-m", "tickerlake", "--help"],
    "verb": [sys.executable, "-m", "tickerlake", "publish", "--help"],
}


def run_once(command: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of one process."""
    cpu_before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=os.environ)
    wall = time.perf_counter() - began
    cpu = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, cpu.ru_utime + cpu.ru_stime - cpu_before.ru_utime - cpu_before.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs")
    rounds = 10 if parser.parse_args().quick else 40
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for command in COMMANDS.values():
        run_once(command)  # warms the page cache and writes the byte code
    for _ in range(rounds):
        for name, command in COMMANDS.items():
            times[name].append(run_once(command))
    wall = {name: statistics.median(w for w, _ in runs) for name, runs in times.items()}
    cpu = {name: statistics.median(c for _, c in runs) for name, runs in times.items()}
    for name, what in (("help", "tickerlake --help"), ("verb", "tickerlake publish --help")):
        ratio = wall[name] / wall["bare"]
        row = {
            "name": "startup",
            "what": f"`{what}`, median of {rounds} processes",
            "figure": f"{ratio:.1f} x a bare Python ({wall[name] * 1000:.0f} ms)",
            "cpu_seconds": round(cpu[name], 4),
            "peer": f"bare {wall['bare'] * 1000:.0f} ms, argparse {wall['argparse'] * 1000:.0f} ms",
            "goal": f"≤ {GOAL_TIMES_BARE:.0f} x" if name == "help" else None,
            "met": ratio <= GOAL_TIMES_BARE if name == "help" else None,
        }
        print(json.dumps(row, ensure_ascii=False), flush=True)
        print(f"{what}: {row['figure']}; {row['peer']}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Runs `tickerlake fetch` in forked children and kills each at a random moment.

Forked, because a child then imports nothing: a hundred of them take seconds. Prints one JSON
object: how many ended before they were killed, and what `cache verify` found after each.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow.compute  # noqa: F401 - what the verb will want

from tickerlake import clock
from tickerlake.cache import CacheCare
from tickerlake.cli import main


def fetch(workspace: Path, words: list[str], now: str) -> int:
    """Fork a child that fetches, as of a story's time; returns its process id."""
    child = os.fork()
    if child:
        return child
    try:
        with Path(os.devnull).open("w") as nothing:
            os.dup2(nothing.fileno(), 1)
            os.dup2(nothing.fileno(), 2)
        os.environ["TICKERLAKE_NOW"] = now
        clock._offset.cache_clear()
        main(["fetch", "ACME", "--source", "yahoo", "--workspace", str(workspace), *words])
    finally:
        os._exit(0)


def ended(child: int) -> bool:
    return os.waitpid(child, os.WNOHANG)[0] != 0


def run(workspace: Path, seed: int, kills: int) -> dict[str, object]:
    random_ = random.Random(seed)
    clear = datetime(2024, 1, 10, 22, tzinfo=UTC)
    longest, whole, found = 0.0, 0, []
    for number in range(kills):
        clear += timedelta(hours=random_.choice((0, 1, 24)))
        start = date(2023, 6, 1) + timedelta(days=random_.randrange(200))
        words = ["--start", str(start)]
        if random_.random() < 0.4:
            words += ["--end", str(start + timedelta(days=random_.randrange(40)))]
        begun = clock.monotonic_seconds()
        child = fetch(workspace, words, clear.isoformat())
        moment = random_.random() * longest if number >= 3 else float("inf")
        while not ended(child):
            spent = clock.monotonic_seconds() - begun
            if spent >= moment:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                break
            clock.sleep(0.0005)
        else:
            whole += 1
            longest = max(longest, clock.monotonic_seconds() - begun)
        care = CacheCare(workspace / "cache")
        found += [f"after {number}: {f.where} {f.what}" for f in care.verify()]
        care.close()
    return {"whole": whole, "found": found, "now": clear.isoformat()}


if __name__ == "__main__":
    # Whole, once, before there are children: what it imports they need not import again.
    main(["fetch", "ACME", "--source", "yahoo", "--workspace", sys.argv[1], "--json",
          "--start", "2023-06-01", "--end", "2023-06-09"])  # fmt: skip
    print()
    print(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))

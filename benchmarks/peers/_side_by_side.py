"""Run one client on a topic of JSON records: its CPU, wall time, memory, and what a kill leaves.

All threads and processes of the client count; the broker and whoever looks at the output do not.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from _peers import Peer

#: A client that has all rows, or shows no further ones for so long, is done. A consumer group
#: misses a member that was killed only after 45 seconds, by its default.
IDLE_SECONDS = 100.0
LIMIT_SECONDS = 1200.0
LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Spent:
    """What one process and its children used."""

    cpu_seconds: float
    wall_seconds: float
    peak_bytes: int


class Client:
    """A started client."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.log = (peer.folder / "client.log").open("ab")
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            peer.command(), stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True
        )

    @property
    def ended(self) -> bool:
        # Looked at without reaping: only `kill` may, which wants the figures.
        found = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return found is not None

    def kill(self) -> Spent:
        """Kill it with all its children; what it used."""
        wall = time.monotonic() - self.began
        if not self.ended:
            os.killpg(self.process.pid, signal.SIGKILL)
        _, status, used = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.log.close()
        return Spent(used.ru_utime + used.ru_stime, wall, used.ru_maxrss * 1024)

    def until(self, enough: Callable[[int], bool]) -> int:
        """Look at its rows until there are enough, or it ended, or nothing moves any more."""
        seen, moved = -1, time.monotonic()
        while True:
            ended, rows = self.ended, self.peer.rows()
            now = time.monotonic()
            if rows != seen:
                seen, moved = rows, now
            if enough(rows) or ended or now - moved > IDLE_SECONDS:
                return rows
            if now - self.began > LIMIT_SECONDS:
                raise SystemExit(f"{self.peer.name} did not end; see {self.peer.folder}/client.log")
            time.sleep(LOOK_SECONDS)


def measure(peer: Peer, records: int) -> dict[str, Any]:
    """One whole run: figures of the client."""
    peer.prepare()
    client = Client(peer)
    rows = client.until(lambda seen: seen >= records and not peer.ends)
    spent = client.kill()
    if rows < records:
        log = (peer.folder / "client.log").read_text(errors="replace")[-2000:]
        raise SystemExit(f"{peer.name}: {rows} rows of {records} records\n{log}")
    return {
        "records": records,
        "rows": rows,
        "cpu_seconds": round(spent.cpu_seconds, 2),
        "records_per_cpu_second": round(records / spent.cpu_seconds),
        "wall_seconds": round(spent.wall_seconds, 1),
        "peak_bytes": spent.peak_bytes,
        "files": peer.files(),
    }


def killed(peer: Peer, records: int, kills: int, seed: int = 1) -> dict[str, Any]:
    """SIGKILL again and again, each time a moment after further rows came to be seen; then count.

    The moment is drawn from as long as the first rows took to come: somewhere between two commits.
    A kill that found the client ended, or all rows there, counts for nothing and is not told.
    """
    draw = random.Random(seed)
    peer.prepare()
    struck: list[int] = []
    seen = 0
    while len(struck) < kills:
        client = Client(peer)
        began = time.monotonic()
        before = seen
        seen = client.until(lambda rows: rows > before)  # noqa: B023 - used within the turn
        time.sleep(draw.uniform(0, min(10.0, time.monotonic() - began)))
        ended = client.ended
        client.kill()
        seen = max(seen, peer.rows())
        if ended or seen >= records:
            break
        struck.append(seen)
    last = Client(peer)
    last.until(lambda _: False)
    last.kill()
    return {"killed_at_rows": struck, "kills": len(struck), **judged(peer.keys(), records)}


def judged(keys: pa.Table, records: int) -> dict[str, int]:
    """How many records are there twice, and how many not at all."""
    pairs = keys.group_by(["symbol", "ts"]).aggregate([([], "count_all")])
    different = pairs.num_rows
    return {
        "duplicated": int(pc.sum(pairs["count_all"]).as_py() or 0) - different,
        "lost": records - different,
    }


def folder_of(base: Path, peer: str, what: str) -> Path:
    return base / f"{peer}-{what}"

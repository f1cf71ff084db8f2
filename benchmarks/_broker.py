"""What the benchmarks over a real broker share: the broker, workspaces, measured children."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa

from tickerlake.streams import Stream, StreamsSettings, Wire, open_stream
from tickerlake.testing.sample_records import sample_bars
from tickerlake.testing.services.kafka import KafkaCluster

SYMBOLS = [f"S{number:04d}" for number in range(3_000)]
BATCH = 100_000


@contextmanager
def broker() -> Iterator[str]:
    """A fresh broker's address; or that of one's own, which `TICKERLAKE_TEST_KAFKA` names."""
    own = os.environ.get("TICKERLAKE_TEST_KAFKA")
    if own:
        yield own
        return
    with tempfile.TemporaryDirectory(prefix="bench-kafka-") as folder:
        cluster = KafkaCluster(Path(folder) / "broker", heap="1g").start()
        try:
            yield cluster.bootstrap
        finally:
            cluster.destroy()


def opened(bootstrap: str, namespace: str, wire: Wire, folder: Path) -> Stream:
    """A stream of its own namespace."""
    url = f"kafka://{bootstrap}/{namespace}"
    return open_stream(url, workspace=folder, settings=replace(StreamsSettings(), wire=wire))


def bars(first: int, count: int = BATCH) -> pa.Table:
    """Bars of 3,000 symbols, each different."""
    return sample_bars(count, symbols=SYMBOLS, first=first, first_day=date(2020, 1, 1))


def child(script: str, *arguments: str) -> dict[str, Any]:
    """Run the script again as a process of its own; it prints one JSON object."""
    command = [sys.executable, script, "--child", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def tell(row: dict[str, Any]) -> None:
    """One JSON line for the table, one line for people."""
    print(json.dumps(row, ensure_ascii=False), flush=True)
    figure = row.get("figure") or f"{row['records_per_cpu_second']:,} records/CPU s"
    peer = f" ({row['peer']})" if row.get("peer") else ""
    print(f"{row['name']}, {row['what']}: {figure}{peer}", file=sys.stderr, flush=True)

"""What the workers of a process have done, for others to see: by table and partition.

Counts of commits, retries and fences live in the process that makes them. Each such process
writes them into a small file of its own in the workspace, every second; `status` and `/metrics` of
any other process on the same folder read these files. What the lake knows (rows, repeats, losses,
dead letters) is not counted here a second time.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from tickerlake import clock
from tickerlake.delivery.report import Delivered, Event, Refused
from tickerlake.observe import log
from tickerlake.records import Kind

__all__ = ["PartitionTally", "Tally", "WorkerStatus", "status_file", "worker_statuses"]

#: How often a process writes its file.
WRITE_SECONDS: Final = 1.0
#: A file that is older belongs to a process that died, or that cannot write.
STALE_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class PartitionTally:
    """What the workers of one process did in one partition since it began."""

    kind: Kind
    partition: str
    commits: int = 0
    #: Commits that were refused, or not answered, and tried again with the same files.
    retries: int = 0
    #: Commits given up because others had moved on; their records were read again.
    fences: int = 0
    commit_seconds: float = 0.0
    last_commit_at: datetime | None = None


class Tally:
    """Counts the events of one process's workers. Safe to call from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._partitions: dict[tuple[Kind, str], PartitionTally] = {}

    def __call__(self, event: Event) -> None:
        """Take in one event."""
        with self._lock:
            if isinstance(event, Delivered):
                now = clock.real_now()
                for partition in event.ranges:
                    old = self._of(event.kind, partition)
                    self._change(
                        event.kind,
                        partition,
                        commits=old.commits + 1,
                        commit_seconds=old.commit_seconds + event.seconds,
                        last_commit_at=now,
                    )
            elif isinstance(event, Refused):
                count = "fences" if event.fenced else "retries"
                for partition in event.partitions:
                    old = self._of(event.kind, partition)
                    self._change(event.kind, partition, **{count: getattr(old, count) + 1})

    def partitions(self) -> list[PartitionTally]:
        """What was counted so far."""
        with self._lock:
            return list(self._partitions.values())

    def _of(self, kind: Kind, partition: str) -> PartitionTally:
        return self._partitions.get((kind, partition), PartitionTally(kind, partition))

    def _change(self, kind: Kind, partition: str, **values: Any) -> None:  # noqa: ANN401
        self._partitions[kind, partition] = replace(self._of(kind, partition), **values)


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One process that delivers, as its file tells."""

    host: str
    pid: int
    started_at: datetime
    written_at: datetime
    partitions: tuple[PartitionTally, ...]


@contextlib.contextmanager
def status_file(folder: Path, tally: Tally) -> Iterator[None]:
    """While inside, others can read in `folder` what `tally` counts; afterwards the file goes.

    A folder that cannot be written is told once and harms nothing: it is only about being seen.
    """
    path = folder / f"{socket.gethostname()}-{os.getpid()}-{id(tally):x}.json"
    started_at = clock.real_now()
    over = threading.Event()

    def write() -> None:
        status = WorkerStatus(
            socket.gethostname(),
            os.getpid(),
            started_at,
            clock.real_now(),
            tuple(tally.partitions()),
        )
        folder.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(status), default=datetime.isoformat))
        fresh.replace(path)

    def keep_writing() -> None:
        try:
            _remove_dead(folder)
            write()
            while not over.wait(WRITE_SECONDS):
                write()
        except OSError as error:
            log.warning("status cannot show this worker: %s cannot be written: %s", path, error)

    writer = threading.Thread(target=keep_writing, name="status-file", daemon=True)
    writer.start()
    try:
        yield
    finally:
        over.set()
        writer.join()
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def worker_statuses(folder: Path) -> list[WorkerStatus]:
    """Processes that deliver now and can write in `folder`, by host and process id."""
    found = [status for path in _files(folder) if (status := _read(path)) and _is_alive(status)]
    return sorted(found, key=lambda status: (status.host, status.pid))


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json")) if folder.is_dir() else []


def _read(path: Path) -> WorkerStatus | None:
    try:
        fields = json.loads(path.read_text())
        partitions = [PartitionTally(**_timed(each)) for each in fields.pop("partitions")]
        return WorkerStatus(**_timed(fields), partitions=tuple(partitions))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None  # It went meanwhile, or another version wrote it.


def _timed(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        name: datetime.fromisoformat(value) if name.endswith("_at") and value else value
        for name, value in fields.items()
    }


def _is_alive(status: WorkerStatus) -> bool:
    age_seconds = (clock.real_now() - status.written_at).total_seconds()
    if age_seconds > STALE_SECONDS:
        return False
    return status.host != socket.gethostname() or _runs(status.pid)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # Somebody else's, but there.
    return True


def _remove_dead(folder: Path) -> None:
    """Files that workers of this machine left when they were killed."""
    for path in _files(folder):
        status = _read(path)
        if status and status.host == socket.gethostname() and not _runs(status.pid):
            path.unlink(missing_ok=True)

"""The process that arms failpoints: workers that are killed, or stopped, at a numbered step.

A worker's failpoint is an argument of its constructor; nothing else reaches it, no setting and no
variable of the environment. This module's process imports everything once and has no threads; for
each worker it forks a child, which arms the failpoint and runs. So a kill costs a fork.

`Nursery` is the side that tests hold. `python -m tickerlake.testing.faults` is the other.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Self

from tickerlake.delivery.settings import DeliverySettings
from tickerlake.errors import CommitRefusedError, CommitUnknownError, TickerlakeError
from tickerlake.records import TABLES, Kind

__all__ = ["STEPS", "Child", "Nursery", "Plan"]

#: Every step after which a worker may be killed, in the order in which a worker reaches them.
#: 6a: one of several files is written. 8a: manifests are written, the catalog was not asked yet.
#: 8b: the commit has landed, its answer was not seen.
STEPS = ("1", "4", "5", "6a", "6", "7", "2", "3", "8a", "8b", "9", "8", "10")


@dataclass(frozen=True, slots=True)
class Plan:
    """One worker over one topic, and what shall happen to it."""

    workspace: str
    kind: Kind = "bar"
    once: bool = True
    #: Do this at the `nth` time that the worker reaches `step`.
    step: str | None = None
    nth: int = 1
    action: str = "kill"  # or "pause": SIGSTOP, until somebody sends SIGCONT
    #: What the first tries of commits bring: "refused", "unknown" or "landed" (its answer is lost).
    commits: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


class Child:
    """A worker's process. Its end is known by its status: negative is the signal that killed it."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery = nursery
        self.pid = pid

    def wait(self) -> int:
        """Wait for its end; the exit status, or the negative signal."""
        return int(self._nursery.said(self.pid, "status"))

    def wait_paused(self) -> None:
        """Wait until it has reached its step and stopped there."""
        self._nursery.said(self.pid, "paused")

    def rows_in_hand(self) -> int:
        """How many rows it had read and not committed when it reached its step."""
        return int(self._nursery.said(self.pid, "rows_in_hand"))

    def report(self) -> dict[str, Any]:
        """What it reported at its end: the fields of `KindReport`, or `error`."""
        self.wait()
        return dict(self._nursery.said(self.pid, "report"))

    def signal(self, number: int) -> None:
        """Send it a signal."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


class Nursery:
    """Starts workers by forking a process that has imported everything. A context manager."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tickerlake.testing.faults"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
        self._said: dict[tuple[int, str], Any] = {}
        self._numbers = itertools.count()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def start(self, plan: Plan) -> Child:
        """Fork a worker."""
        assert self._process.stdin
        number = -next(self._numbers) - 1
        self._process.stdin.write(json.dumps({"number": number, "plan": asdict(plan)}) + "\n")
        self._process.stdin.flush()
        return Child(self, int(self.said(number, "pid")))

    def said(self, about: int, word: str) -> Any:  # noqa: ANN401 - JSON
        """Wait until something is said about a child."""
        assert self._process.stdout
        while (about, word) not in self._said:
            line = self._process.stdout.readline()
            if not line:
                raise AssertionError("the process that forks workers has ended")
            message = json.loads(line)
            self._said[message["about"], message["word"]] = message["value"]
        return self._said[about, word]


def _say(about: int, word: str, value: object) -> None:
    """One line in one write: shorter than a pipe's buffer, so lines of two children never mix."""
    line = json.dumps({"about": about, "word": word, "value": value}) + "\n"
    os.write(1, line.encode())


def _main() -> None:
    """Fork a child for each line on stdin; say when one has ended."""
    _import_everything()
    wakeup, bell = os.pipe()
    os.set_blocking(bell, False)
    signal.set_wakeup_fd(bell)
    signal.signal(signal.SIGCHLD, _ring)
    children: set[int] = set()
    pending = b""
    while True:
        ready, _, _ = select.select([0, wakeup], [], [])
        if wakeup in ready:
            os.read(wakeup, 1024)
            for pid in list(children):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    children.discard(pid)
                    _say(pid, "status", os.waitstatus_to_exitcode(status))
        if 0 in ready:
            got = os.read(0, 1 << 16)
            if not got:
                break
            *lines, pending = (pending + got).split(b"\n")
            for line in lines:
                children.add(_fork(json.loads(line)))
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def _ring(number: int, frame: FrameType | None) -> None:
    """The byte that Python writes to the wakeup pipe is all that is needed."""


def _fork(order: Mapping[str, Any]) -> int:
    pid = os.fork()
    if pid:
        _say(order["number"], "pid", pid)
        return pid
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(0)
        code = _run(Plan(**order["plan"]))
    finally:
        os._exit(code)


def _import_everything() -> None:
    """What a worker needs, so that a fork has it: nothing here may start a thread."""
    import pyarrow as pa

    import tickerlake.delivery.worker
    import tickerlake.lake.lake
    import tickerlake.streams.embedded  # noqa: F401

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)


def _run(plan: Plan) -> int:
    """The child: open the workspace, arm the failpoint, deliver."""
    from tickerlake.delivery.worker import Worker
    from tickerlake.lake.registry import open_lake
    from tickerlake.lake.settings import LakeSettings
    from tickerlake.streams import StreamsSettings
    from tickerlake.streams.registry import open_stream

    folder = Path(plan.workspace)
    reached = _failpoint(plan)
    try:
        stream = open_stream("embedded:", workspace=folder, settings=StreamsSettings())
        lake = open_lake("./lake", "sqlite:", workspace=folder, settings=LakeSettings(fsync=False))
        table = lake.table(TABLES[plan.kind])
        with _hooks(reached, plan.commits):
            worker = Worker(
                stream.topic(plan.kind),
                table,
                settings=DeliverySettings(**plan.settings),
                membership=stream.join(plan.kind, "faults", alone=True),
                failpoint=reached,
            )
            report = worker.run(threading.Event(), once=plan.once)
    except TickerlakeError as error:
        _say(os.getpid(), "report", {"error": type(error).__name__})
        return error.exit_code
    _say(os.getpid(), "report", asdict(report))
    return 0


def _failpoint(plan: Plan) -> Callable[..., None]:
    times = itertools.count(1)
    rows_in_hand = 0

    def reached(step: str, held: Mapping[str, Any] | None = None) -> None:
        nonlocal rows_in_hand
        if held is not None:  # the finer steps do not know it: nothing has changed since
            rows_in_hand = held["rows"]
        if step != plan.step or next(times) != plan.nth:
            return
        _say(os.getpid(), "rows_in_hand", rows_in_hand)
        if plan.action == "pause":
            _say(os.getpid(), "paused", step)
            os.kill(os.getpid(), signal.SIGSTOP)
        else:
            os.kill(os.getpid(), signal.SIGKILL)

    return reached


@contextlib.contextmanager
def _hooks(reached: Callable[..., None], commits: tuple[str, ...]) -> Iterator[None]:
    """The finer steps inside a write and a commit, and commits that go wrong."""
    from tickerlake.lake.catalog import LakeCatalog
    from tickerlake.lake.writer import MonthWriter

    finish, commit_table = MonthWriter.finish, LakeCatalog.commit_table
    answers = iter(commits)

    def finish_and_tell(writer: MonthWriter) -> Any:  # noqa: ANN401 - whatever it returns
        file = finish(writer)
        reached("6a")
        return file

    def commit_and_tell(catalog: LakeCatalog, *args: Any) -> Any:  # noqa: ANN401
        reached("8a")
        answer = next(answers, None)
        if answer == "refused":
            raise CommitRefusedError("refused by the fault suite")
        if answer == "unknown":
            raise CommitUnknownError("lost on its way by the fault suite")
        response = commit_table(catalog, *args)
        reached("8b")
        if answer == "landed":
            raise CommitUnknownError("it landed, its answer was lost by the fault suite")
        return response

    MonthWriter.finish = finish_and_tell  # type: ignore[method-assign,assignment]
    LakeCatalog.commit_table = commit_and_tell  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        MonthWriter.finish = finish  # type: ignore[method-assign]
        LakeCatalog.commit_table = commit_table  # type: ignore[method-assign]


if __name__ == "__main__":
    _main()

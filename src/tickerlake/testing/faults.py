"""The process that arms failpoints: workers that are killed, or stopped, at a numbered step.

A worker's failpoint is an argument of its constructor; nothing else reaches it, no setting and no
variable of the environment. This module's process imports everything once and has no threads; for
each worker it forks a child, which arms the failpoint and runs. So a kill costs a fork.

`Nursery` is the side that tests hold. `python -m tickerlake.testing.faults` is the other.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

from tickerlake import clock
from tickerlake.errors import TickerlakeError
from tickerlake.records import TABLES, Kind
from tickerlake.streams import Membership, Stream
from tickerlake.testing.ills import STRIKE, finer_steps, ills
from tickerlake.testing.shares import Shares

if TYPE_CHECKING:
    from tickerlake.app import Workspace

__all__ = ["HANDOVER_STEPS", "STEPS", "Child", "Nursery", "Plan"]

#: Every step after which a worker may be killed, in the order in which a worker reaches them.
#: 6a: one of several files is written. 8a: manifests are written, the catalog was not asked yet.
#: 8b: the commit has landed, its answer was not seen.
STEPS = ("1", "4", "5", "6a", "6", "7", "2", "3", "8a", "8b", "9", "8", "10")

#: Where one commits for others. 7a: of a worker that hands over, its request is written. Of the
#: committer, 7b: it has decided about all that waits; 7c: it has landed, the requests are there.
HANDOVER_STEPS = ("7a", "7b", "7c")


#: What a worker would import by itself, one by one, in each fork anew.
_MODULES = (
    "boto3",
    "confluent_kafka.admin",
    "duckdb",
    "psycopg",
    "pyarrow.dataset",
    "pyarrow.fs",
    "pyiceberg.catalog.rest",
    "pyiceberg.catalog.sql",
    "sqlalchemy.dialects.sqlite",
    "sqlalchemy.orm",
    "tickerlake.app",
    "tickerlake.config.loading",
    "tickerlake.delivery.worker",
    "tickerlake.lake.catalog_sql",
    "tickerlake.lake.lake",
    "tickerlake.streams.embedded",
    "tickerlake.streams.kafka.stream",
    "tickerlake.streams.kinesis.stream",
)


@dataclass(frozen=True, slots=True)
class Plan:
    """One worker over one topic, and what shall happen to it."""

    workspace: str
    kind: Kind = "bar"
    once: bool = True
    #: All partitions are this worker's, whoever else there is; else it joins the group.
    alone: bool = True
    group: str = "faults"
    #: With `alone`: these partitions only, with blanks between.
    share: str | None = None
    accept_loss: bool = False
    #: Do this at the `nth` time that the worker reaches `step`.
    step: str | None = None
    nth: int = 1
    #: Only times count at which it has rows in its hands.
    holding: bool = False
    action: str = "kill"  # or "pause": SIGSTOP, until somebody sends SIGCONT
    #: What the first tries of commits that carry rows are answered: words of `ills.ANSWERS`.
    commits: tuple[str, ...] = ()
    #: What else goes wrong in its process; see `tickerlake.testing.ills`.
    ills: Mapping[str, Any] = field(default_factory=dict)
    #: Which rule of the protocol it breaks: a word of `broken.WAYS`. To test judges alone.
    breaks: str | None = None
    #: `[delivery]`.
    settings: Mapping[str, Any] = field(default_factory=dict)
    #: Any setting by its dotted name, `stream`, `lake` and `catalog` among them.
    flags: Mapping[str, Any] = field(default_factory=dict)


class Child:
    """A worker's process. Its end is known by its status: negative is the signal that killed it."""

    def __init__(self, nursery: Nursery, number: int, pid: int) -> None:
        self._nursery = nursery
        #: Which of the nursery's children: process ids come again in a long series.
        self.number = number
        self.pid = pid

    def wait(self) -> int:
        """Wait for its end; the exit status, or the negative signal."""
        return int(self._nursery.said(self.number, "status"))

    def wait_at_most(self, seconds: float) -> bool:
        """Wait for its end, but not longer than this; whether it has ended."""
        deadline = clock.monotonic_seconds() + seconds
        while not self.ended and clock.monotonic_seconds() < deadline:
            clock.sleep(0.02)
        return self.ended

    def wait_paused(self, *, at_most: float | None = None) -> bool:
        """Wait until it has reached its step and stopped there; false if it ended before.

        Raises:
            TimeoutError: Neither came within so many seconds.
        """
        words = ("paused", "status")
        return self._nursery.said_first(self.number, words, at_most=at_most) == "paused"

    def wait_holding(self, *, at_most: float) -> bool:
        """Wait until it has rows in its hands; false if it ended, or had none for so long."""
        deadline = clock.monotonic_seconds() + at_most
        while not self.ended and clock.monotonic_seconds() < deadline:
            if self.rows_in_hand():
                return True
            clock.sleep(0.005)
        return False

    def rows_in_hand(self) -> int:
        """How many rows it had read and not committed at the last step that it reached."""
        return int(self._nursery.newest(self.number, "rows_in_hand") or 0)

    def report(self) -> dict[str, Any]:
        """What it reported at its end: the fields of `KindReport`, or `error` and `problem`."""
        status = self.wait()
        silent = {"error": f"status {status}", "problem": "it ended without a word"}
        return dict(self._nursery.newest(self.number, "report") or silent)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        if self.ended:
            return  # its process id may be another's by now
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    @property
    def ended(self) -> bool:
        """Whether it is known to have ended."""
        return self._nursery.heard(self.number, "status")


class Nursery:
    """Starts workers by forking a process that has imported everything. A context manager.

    Args:
        patience_seconds: How long to wait for what a child should say; null waits for ever.
    """

    def __init__(self, *, patience_seconds: float | None = None) -> None:
        self._patience_seconds = patience_seconds
        self._pending = b""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tickerlake.testing.faults"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # a Ctrl-C is for whoever holds the workers, not for them
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
        number = next(self._numbers)
        order = json.dumps({"number": number, "plan": asdict(plan)}) + "\n"
        self._process.stdin.write(order.encode())
        self._process.stdin.flush()
        return Child(self, number, int(self.said(number, "pid")))

    def said(self, about: int, word: str) -> Any:  # noqa: ANN401 - JSON
        """Wait until something is said about a child.

        Raises:
            TimeoutError: Patience is at its end.
        """
        self.said_first(about, (word,))
        return self._said[about, word]

    def said_first(self, about: int, words: Sequence[str], *, at_most: float | None = None) -> str:
        """Wait until one of these is said about a child; which one.

        Raises:
            TimeoutError: Patience is at its end.
        """
        patience = at_most or self._patience_seconds or float("inf")
        deadline = clock.monotonic_seconds() + patience
        while True:
            for word in words:
                if (about, word) in self._said:
                    return word
            left = deadline - clock.monotonic_seconds()
            if left <= 0:
                raise TimeoutError(f"a worker did not come to its {' or '.join(words)}")
            self._listen(min(left, 60.0))

    def heard(self, about: int, word: str) -> bool:
        """Whether something was said about a child by now; does not wait."""
        while (about, word) not in self._said and self._listen(0):
            pass
        return (about, word) in self._said

    def newest(self, about: int, word: str) -> Any:  # noqa: ANN401 - JSON
        """What was said last about a child; null if nothing was. Does not wait."""
        while self._listen(0):
            pass
        return self._said.get((about, word))

    def _listen(self, wait_seconds: float) -> bool:
        """Take in what was said; false if that is nothing."""
        assert self._process.stdout
        ready, _, _ = select.select([self._process.stdout], [], [], wait_seconds)
        if not ready:
            return False
        got = os.read(self._process.stdout.fileno(), 1 << 16)
        if not got:
            raise AssertionError("the process that forks workers has ended")
        *lines, self._pending = (self._pending + got).split(b"\n")
        for line in lines:
            message = json.loads(line)
            self._said[message["about"], message["word"]] = message["value"]
        return True


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
    children: dict[int, int] = {}
    pending = b""
    while True:
        ready, _, _ = select.select([0, wakeup], [], [])
        if wakeup in ready:
            os.read(wakeup, 1024)
            for pid in list(children):
                changed, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
                if changed and os.WIFSTOPPED(status):
                    _say(
                        children[pid], "paused", True
                    )  # it says so itself too early: it still runs then
                elif changed:
                    _say(children.pop(pid), "status", os.waitstatus_to_exitcode(status))
        if 0 in ready:
            got = os.read(0, 1 << 16)
            if not got:
                break
            *lines, pending = (pending + got).split(b"\n")
            for line in lines:
                order = json.loads(line)
                children[_fork(order)] = order["number"]
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
        code = _run(order["number"], Plan(**order["plan"]))
    finally:
        os._exit(code)


def _import_everything() -> None:
    """What a worker needs, so that a fork has it: nothing here may start a thread."""
    import pyarrow as pa

    for module in _MODULES:
        with contextlib.suppress(ImportError):  # an extra that is not installed
            importlib.import_module(module)
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)


def _run(number: int, plan: Plan) -> int:
    """The child: open the workspace, arm the failpoint, deliver."""
    from tickerlake import app
    from tickerlake.config import make_workspace

    make_workspace(Path(plan.workspace))
    flags = {"tables.fsync": False, **plan.flags}
    flags |= {f"delivery.{name}": value for name, value in plan.settings.items()}
    try:
        workspace = app.open(plan.workspace, settings=flags)
        report = _deliver(number, workspace, plan)
    except TickerlakeError as error:
        told = {"error": type(error).__name__, "problem": str(error)[:1000]}
        _say(number, "report", told)
        return error.exit_code
    _say(number, "report", report)
    return 0


def _deliver(number: int, workspace: Workspace, plan: Plan) -> dict[str, Any]:
    from tickerlake.delivery.worker import Worker
    from tickerlake.testing.broken import broken

    stream, lake = workspace.stream, workspace.lake
    settings = workspace.config.settings.delivery
    table, commits = broken(plan.breaks, lake.table(TABLES[plan.kind]))
    steps = _Steps(number, plan)
    stop = _stop_at_sigterm()
    answers = iter(plan.commits)
    with (
        finer_steps(steps.reached, lake, lambda: next(answers, None) if steps.holds else None),
        ills(plan.ills, steps.told_at),
    ):
        worker = Worker(
            stream.topic(plan.kind),
            table,
            settings=settings,
            membership=_member(stream, plan),
            accept_loss=plan.accept_loss,
            committing=lambda heard: commits(table, settings, 12.0, heard),
            failpoint=steps.reached,
        )
        return asdict(worker.run(stop, once=plan.once))


def _member(stream: Stream, plan: Plan) -> Membership:
    if plan.share is None:
        return stream.join(plan.kind, plan.group, alone=plan.alone)
    shares = Shares()
    shares.give(worker=plan.share)
    return shares.join("worker")


def _stop_at_sigterm() -> threading.Event:
    stop = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        # From a thread: this one may hold the event's lock at this very moment.
        threading.Thread(target=stop.set, daemon=True).start()

    signal.signal(signal.SIGTERM, ask)
    return stop


class _Steps:
    """Counts the steps, and does what the plan wants done after one of them."""

    def __init__(self, number: int, plan: Plan) -> None:
        self._number = number
        self._plan = plan
        self._times = itertools.count(1)
        self._rows_in_hand = 0
        self._told: dict[str, list[Callable[..., None]]] = defaultdict(list)

    @property
    def holds(self) -> bool:
        """Whether the worker has rows in its hands."""
        return self._rows_in_hand > 0

    def told_at(self, step: str, function: Callable[..., None]) -> None:
        """Call `function` each time that `step` is reached."""
        self._told[step].append(function)

    def reached(self, step: str, held: Mapping[str, Any] | None = None) -> None:
        """A step is over. The finer ones do not know what is held: nothing has changed since."""
        if held is not None and held["rows"] != self._rows_in_hand:
            self._rows_in_hand = held["rows"]
            _say(self._number, "rows_in_hand", self._rows_in_hand)
        for function in self._told[step]:
            function()
        if step != self._plan.step or (self._plan.holding and not self.holds):
            return
        if next(self._times) != self._plan.nth:
            return
        for function in self._told[STRIKE]:
            function()
        if self._plan.action == "pause":
            os.kill(os.getpid(), signal.SIGSTOP)
        else:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    _main()

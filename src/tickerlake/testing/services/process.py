"""A program of others as a child process: started, killed, stopped, brought back.

Every service binds 127.0.0.1, and none outlives the process that started it, however that ends.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Self

from tickerlake.clock import monotonic_seconds, sleep
from tickerlake.errors import UnreachableError

__all__ = ["LOOPBACK", "Service", "answers", "free_ports", "wait_until"]

LOOPBACK: Final = "127.0.0.1"
#: Below the ephemeral range, so that no client's own port takes one while its server is down.
PORTS: Final = range(20_000, 32_000)
_LOG_TAIL: Final = 2000

# The kernel kills a child when the *thread* that started it ends: one thread, which lives as
# long as the process, starts all of them.
_STARTER: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="services")
_OWNER: Final = os.getpid()
_ALIVE: Final[weakref.WeakSet[Service]] = weakref.WeakSet()


class Service(ABC):
    """One server and the folder that it keeps its data in.

    Subclasses say what to run and when it answers. `kill9`, `pause` and `full_disk` strike all of
    a service's processes, as a machine that fails would.
    """

    name = "service"
    start_seconds_max = 60.0
    stop_seconds_max = 20.0
    #: Words before a command that make it run as the service's user, where that is another.
    run_as: Sequence[str] = ()

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> Sequence[str]:
        """What to run. Called at every start."""

    def environment(self) -> Mapping[str, str]:
        """What the program finds in its environment beside ours."""
        return {}

    @abstractmethod
    def answering(self) -> bool:
        """Whether it answers now. Called again and again after a start; never blocks for long."""

    @property
    def log(self) -> Path:
        """What the program has printed, over all its lives."""
        return self.folder / "out.log"

    @property
    def pid(self) -> int:
        """The process id.

        Raises:
            UnreachableError: It does not run.
        """
        if self._process is None or self._process.poll() is not None:
            raise UnreachableError(f"{self.name} does not run.", todo="start it first")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether its process is alive, be it paused or not."""
        return self._process is not None and self._process.poll() is None

    def launch(self) -> Self:
        """Start the process without waiting for an answer."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._process = _STARTER.submit(self._start).result()
        _ALIVE.add(self)
        return self

    def start(self) -> Self:
        """Start it and wait until it answers.

        Raises:
            UnreachableError: It ended, or did not answer in time; holds the end of its log.
        """
        self.launch()
        return self.wait()

    def wait(self) -> Self:
        """Wait until it answers.

        Raises:
            UnreachableError: It ended, or did not answer in time; holds the end of its log.
        """
        try:
            wait_until(self._answering_or_dead, seconds_max=self.start_seconds_max)
        except UnreachableError as error:
            self.kill9()
            raise UnreachableError(
                f"{self.name} does not answer.", found=self.printed(), todo="read its log"
            ) from error
        return self

    def printed(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-_LOG_TAIL:] if self.log.exists() else ""

    def terminate(self) -> None:
        """Ask it to end (SIGTERM), without waiting."""
        if self.running:
            os.kill(self.pid, signal.SIGTERM)

    def stop(self) -> None:
        """Ask it to end and wait until it has; kill it when it takes too long."""
        self.terminate()
        if self._process is not None:
            try:
                self._process.wait(self.stop_seconds_max)
            except subprocess.TimeoutExpired:
                self.kill9()

    def kill9(self) -> None:
        """SIGKILL all of its processes. The page cache stays: a crash, not a loss of power."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()

    def restart(self) -> Self:
        """Start it again on the same data and port, after it was stopped or killed."""
        self.kill9()
        return self.start()

    def pause(self) -> None:
        """SIGSTOP: its connections stay open, nothing answers; it stands still on return."""
        self._signal(signal.SIGSTOP)
        wait_until(lambda: all(map(_stands_still, self._family())))

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def heal(self) -> None:
        """Let it run, whatever was done to it: going on if it was paused, else started again."""
        if self.running:
            self.resume()
        else:
            self.start()

    @contextlib.contextmanager
    def full_disk(self) -> Iterator[None]:
        """Within, every write to a file fails, as on a disk without space.

        It is the limit of a file's size that is lowered to nothing (EFBIG, not ENOSPC): that needs
        no rights, no file system of a size, and strikes a program that runs already.
        """
        self._limit_files("0")
        try:
            yield
        finally:
            self._limit_files("unlimited")

    def destroy(self) -> None:
        """Kill it and remove its folder."""
        self.kill9()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.destroy()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*_dying_with_us(), *self.command()],
                cwd=self.folder,
                env={**os.environ, **self.environment()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _answering_or_dead(self) -> bool:
        if not self.running:
            raise UnreachableError(f"{self.name} ended by itself.")
        return self.answering()

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _limit_files(self, size: str) -> None:
        for pid in self._family():
            command = [*self.run_as, "prlimit", f"--pid={pid}", f"--fsize={size}:"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            # One that has ended meanwhile needs no limit.
            assert done.returncode == 0 or not Path(f"/proc/{pid}").exists(), done.stderr

    def _family(self) -> list[int]:
        """Its process and all below, parents first, so that none starts another meanwhile."""
        if not self.running:
            return []
        family = [self.pid]
        for pid in family:
            with contextlib.suppress(OSError):  # it has ended since
                for children in Path(f"/proc/{pid}/task").glob("*/children"):
                    family += map(int, children.read_text().split())
        return family


def _stands_still(pid: int) -> bool:
    """Whether no thread of it runs any more. A signal is taken a moment after it was sent."""
    for status in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):  # that thread, or all of it, has ended since
            # `17 (a name) T …`: stopped, traced, or dead
            if status.read_text().rpartition(")")[2].split()[0] not in "TtZX":
                return False
    return True


def _dying_with_us() -> list[str]:
    # Linux; elsewhere a service that we leave behind is ended at our orderly exit only.
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


@atexit.register
def _kill_all() -> None:
    if os.getpid() == _OWNER:  # a fork that ends in good order leaves its parent's services alone
        for service in list(_ALIVE):
            service.kill9()


def free_ports(
    count: int, *, owner: object = None, among: range = PORTS, also: int = 0
) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on now, nor on those `also` higher.

    No other call gets them, in any process, while their `owner` lives: between a port's choice
    and its server's start there may be seconds, and one that was killed comes back to its port.
    The same number of UDP, which no server here uses, is taken for a mark of that.
    """
    ports: list[int] = []
    with contextlib.ExitStack() as held:
        while len(ports) < count:
            port = random.choice(among)
            with contextlib.suppress(OSError), contextlib.ExitStack() as marks:
                for number in {port, port + also}:
                    mark = marks.enter_context(socket.socket(type=socket.SOCK_DGRAM))
                    mark.bind((LOOPBACK, number))
                    with socket.socket() as probe:
                        probe.bind((LOOPBACK, number))
                held.push(marks.pop_all())
                ports.append(port)
        if owner is not None:
            weakref.finalize(owner, held.pop_all().close)
    return ports


def answers(port: int) -> bool:
    """Whether somebody accepts connections on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


def wait_until(
    condition: Callable[[], bool], *, seconds_max: float = 30, every_seconds: float = 0.02
) -> None:
    """Return once the condition holds.

    Raises:
        UnreachableError: It does not within `seconds_max`.
    """
    end = monotonic_seconds() + seconds_max
    while not condition():
        if monotonic_seconds() > end:
            raise UnreachableError(
                "What was waited for did not come.", expected=f"within {seconds_max:g} seconds"
            )
        sleep(every_seconds)

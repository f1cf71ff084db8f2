"""Locks between processes: files that one at a time may hold, and a limit to waiting for them."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from tickerlake import clock

if sys.platform != "win32":
    import fcntl

__all__ = ["SECONDS_MAX", "file_lock", "lock", "unlock", "use_write_ahead_log"]

#: Whoever waits for longer is told for whom.
_TELL_SECONDS: Final = 2.0

#: Those who hold such a lock hold it for milliseconds. Whoever waits for longer than this waits for
#: a process that was suspended, or for a disk that does not answer.
SECONDS_MAX: Final = 60.0

#: Between two tries at a file that another connection is just opening or closing.
_BUSY_PAUSE_SECONDS: Final = 0.01

_LOCKS: Final = Path("/proc/locks")


@contextlib.contextmanager
def file_lock(
    path: Path,
    *,
    seconds_max: float | None = SECONDS_MAX,
    on_wait: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Hold an exclusive lock between processes and threads; the file stays.

    Args:
        path: The file; made if it is not there.
        seconds_max: How long to wait for it; 0 does not wait, None waits without an end.
        on_wait: Told once who holds it (`process 17`), where that lasts for some seconds.

    Raises:
        TimeoutError: Another held it for all that time.
        OSError: The file cannot be opened.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        lock(handle, path, seconds_max=seconds_max, on_wait=on_wait)
        yield
    finally:
        unlock(handle)
        os.close(handle)


def lock(
    handle: int,
    path: Path,
    *,
    seconds_max: float | None = SECONDS_MAX,
    on_wait: Callable[[str], None] | None = None,
) -> None:
    """Lock an open file. The kernel wakes those who wait, in order, and frees what the dead held.

    Does nothing on Windows, which has no such lock.

    Args:
        handle: The open file.
        path: Its path, for the message.
        seconds_max: How long to wait; 0 does not wait, None waits without an end.
        on_wait: As of `file_lock`.

    Raises:
        TimeoutError: Another held it for all that time; names the process where Linux tells.
    """
    if sys.platform == "win32":
        return
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    if seconds_max is None and on_wait is None:
        fcntl.flock(handle, fcntl.LOCK_EX)
        return
    if seconds_max == 0:
        raise TimeoutError(f"{_holder(path)} holds {path}")
    waiting = _Waiting(handle)
    try:
        if on_wait is not None and not waiting.locked.wait(_TELL_SECONDS):
            on_wait(_holder(path))
        if waiting.locked.wait(seconds_max):
            return
    except BaseException:
        waiting.give_up()
        raise
    if not waiting.give_up():
        return
    raise TimeoutError(f"{_holder(path)} held {path} for {seconds_max:g} seconds")


def unlock(handle: int) -> None:
    """In so many words, before it is closed: a process forked meanwhile has the handle, too."""
    if sys.platform != "win32":
        fcntl.flock(handle, fcntl.LOCK_UN)


class _Waiting:
    """Waits in a thread of its own: nothing ends the kernel's waiting, and polling is not fair.

    The thread may be left behind. It gives the lock back as soon as it has it.
    """

    def __init__(self, handle: int) -> None:
        self.locked = threading.Event()
        self._handle = os.dup(handle)  # the same lock, whoever closes the other
        self._guard = threading.Lock()
        self._given_up = False
        threading.Thread(target=self._wait, name="file-lock", daemon=True).start()

    def give_up(self) -> bool:
        """False: it came at the last moment, and is ours."""
        with self._guard:
            self._given_up = not self.locked.is_set()
            return self._given_up

    def _wait(self) -> None:
        if sys.platform == "win32":
            return
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX)
            with self._guard:
                if self._given_up:
                    fcntl.flock(self._handle, fcntl.LOCK_UN)
                else:
                    self.locked.set()
        finally:
            os.close(self._handle)


def _holder(path: Path) -> str:
    """Who holds the lock of a file: `process 17`, as far as it can be known."""
    try:
        inode = str(path.stat().st_ino)
        lines = _LOCKS.read_text().splitlines()
    except OSError:
        return "another process"
    for line in lines:  # 1: FLOCK  ADVISORY  WRITE 4711 08:01:123456 0 EOF; who waits has an arrow
        words = line.split()
        if words[1] == "FLOCK" and words[5].rpartition(":")[2] == inode:
            return f"process {words[4]}"
    return "another process"


def use_write_ahead_log(connection: sqlite3.Connection, seconds: float) -> None:
    """Readers of this file never wait for a writer from now on; kept in the file itself.

    SQLite's own time-out does not count here: who meets another opener, or the last one that
    closes, is refused at once.

    Raises:
        sqlite3.OperationalError: The file was in use for all of `seconds`, or cannot be written.
    """
    until = clock.monotonic_seconds() + seconds
    while True:
        try:
            connection.execute("pragma journal_mode = wal")
        except sqlite3.OperationalError as error:
            is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not is_busy or clock.monotonic_seconds() >= until:
                raise
            clock.sleep(_BUSY_PAUSE_SECONDS)
        else:
            return

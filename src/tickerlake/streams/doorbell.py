"""Hears when another process has finished writing a file, without looking at it all the time."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import sys
from pathlib import Path
from typing import Final, Protocol

from tickerlake import clock

__all__ = ["Bell", "bell_for"]

# Where the system cannot ring, we look: often at first, then less often.
_PAUSE_SECONDS_MIN: Final = 0.001
_PAUSE_SECONDS_MAX: Final = 0.005

# Even where it rings: some file systems of virtual machines forget to.
_LOOK_SECONDS: Final = 0.1

_IN_CLOSE_WRITE: Final = 0x8  # <sys/inotify.h>: a file that was open for writing was closed


class Bell(Protocol):
    """Something to wait on between two looks; may ring for what happened before the wait."""

    def wait(self, seconds: float) -> None:
        """Return when it is time to look again: after a ring, or `seconds` at the latest."""
        ...

    def close(self) -> None:
        """Stop listening. Slow (the kernel takes 15 ms): keep a bell for the next wait."""
        ...


def bell_for(path: Path) -> Bell:
    """A bell for an existing file. What happens from now on is heard, also before `wait`."""
    handle = _inotify(path)
    return _Looking() if handle is None else _Ringing(handle)


def _inotify(path: Path) -> int | None:
    """A handle that becomes readable when the file is closed after writing; None = no such."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    handle: int = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    if handle < 0:  # a user may have only so many
        return None
    if libc.inotify_add_watch(handle, os.fsencode(path), _IN_CLOSE_WRITE) < 0:
        os.close(handle)
        return None
    return handle


class _Ringing:
    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._poll = select.poll()
        self._poll.register(handle, select.POLLIN)

    def wait(self, seconds: float) -> None:
        if self._poll.poll(min(seconds, _LOOK_SECONDS) * 1000):
            with contextlib.suppress(BlockingIOError):
                os.read(self._handle, 1 << 16)

    def close(self) -> None:
        os.close(self._handle)


class _Looking:
    def __init__(self) -> None:
        self._pause_seconds = _PAUSE_SECONDS_MIN
        self._waited_at = 0.0

    def wait(self, seconds: float) -> None:
        if clock.monotonic_seconds() - self._waited_at > _LOOK_SECONDS:  # somebody had work to do
            self._pause_seconds = _PAUSE_SECONDS_MIN
        clock.sleep(min(seconds, self._pause_seconds))
        self._pause_seconds = min(self._pause_seconds * 1.2, _PAUSE_SECONDS_MAX)
        self._waited_at = clock.monotonic_seconds()

    def close(self) -> None:
        pass

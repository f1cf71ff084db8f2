"""The consumers of one topic: as many as are used at once."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from tickerlake import clock
from tickerlake.errors import StorageError
from tickerlake.streams.kafka.reader import Reader

__all__ = ["Readers"]

#: Beyond this many that stand elsewhere, the one that was not used for longest is sent there.
_READERS_MAX: Final = 8

#: What nobody used for so long gives back its connections and what it had fetched ahead.
_IDLE_SECONDS: Final = 60.0


class Readers:
    """Lends each to one thread at a time: the one that stands where is to be read.

    So a worker, the fresh tail and the live page, which read one topic at different positions in
    one process, do not send each other's consumer to and fro.
    """

    def __init__(self, make: Callable[[], Reader], owner: str) -> None:
        self._make = make
        self._owner = owner
        self._lock = threading.Lock()
        self._idle: list[Reader] = []
        self._process = os.getpid()
        self.closed = False

    @contextlib.contextmanager
    def lend(self, wanted: Mapping[int, int]) -> Iterator[Reader]:
        """One of them, for the caller alone; after an error it is closed, not used again.

        Raises:
            StorageError: The stream has been closed.
        """
        reader, old = self._chosen(wanted)
        for unused in old:
            unused.close()
        reader = reader or self._make()
        try:
            yield reader
        except BaseException:
            reader.close()
            raise
        reader.owner, reader.used_at = threading.get_ident(), clock.monotonic_seconds()
        with self._lock:
            if not self.closed:
                self._idle.append(reader)
                return
        reader.close()

    def close(self) -> None:
        """Close what is idle now, and what is lent as soon as it comes back."""
        with self._lock:
            self.closed = True
            idle, self._idle = self._idle, []
        for reader in idle:
            reader.close()

    def _chosen(self, wanted: Mapping[int, int]) -> tuple[Reader | None, list[Reader]]:
        """The one that fits best, if any does; and those that have been idle for too long."""
        mine = threading.get_ident()
        with self._lock:
            if self.closed:
                raise StorageError(f"{self._owner} has been closed.", todo="open the stream again")
            if self._process != os.getpid():  # forked: a consumer belongs to who made it
                self._process, self._idle = os.getpid(), []
            best = max(self._idle, key=lambda r: (r.matches(wanted), r.owner == mine), default=None)
            if best is None or not (best.matches(wanted) or best.owner == mine):
                full = len(self._idle) >= _READERS_MAX
                best = min(self._idle, key=lambda r: r.used_at) if full else None
            long_ago = clock.monotonic_seconds() - _IDLE_SECONDS
            old = [r for r in self._idle if r.used_at < long_ago and r is not best]
            self._idle = [r for r in self._idle if r is not best and r not in old]
            return best, old

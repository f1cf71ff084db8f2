"""Things that one thread may use at a time: connections, bells."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from tickerlake.errors import StorageError

__all__ = ["Closable", "Pool"]


class Closable(Protocol):
    """What a pool may hold."""

    def close(self) -> None:
        """Give back what the system lent."""
        ...


T = TypeVar("T", bound=Closable)


class Pool(Generic[T]):
    """Lends each thing to one thread at a time, makes one where none is idle, closes all at last.

    Args:
        make: Makes a new one.
        owner: Who says that it has been closed, for the message.
    """

    def __init__(self, make: Callable[[], T], owner: str) -> None:
        self._make = make
        self._owner = owner
        self._lock = threading.Lock()
        self._idle: list[T] = []
        self._process = os.getpid()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether nothing is lent any more."""
        return self._closed

    @contextlib.contextmanager
    def lend(self) -> Iterator[T]:
        """One of them, for the caller alone; after an error it is closed, not used again.

        Raises:
            StorageError: The pool has been closed.
        """
        with self._lock:
            if self._closed:
                raise StorageError(f"{self._owner} has been closed.", todo="open the stream again")
            if self._process != os.getpid():  # forked: a connection belongs to who opened it
                self._process, self._idle = os.getpid(), []
            thing = self._idle.pop() if self._idle else None
        thing = thing or self._make()
        try:
            yield thing
        except BaseException:
            thing.close()
            raise
        self._give_back(thing)

    def _give_back(self, thing: T) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(thing)
                return
        thing.close()

    def close(self) -> None:
        """Close what is idle now, and what is lent as soon as it comes back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for thing in idle:
            thing.close()

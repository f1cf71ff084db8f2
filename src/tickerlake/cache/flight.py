"""One fetch of one thing at a time: a lock in the process, and a file lock across processes.

Whoever waited finds what the other fetched, and asks for nothing; who waits for another process for
long is told for which. A process that dies gives its locks back.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

from tickerlake.cache.index import usable
from tickerlake.locks import file_lock
from tickerlake.observe import tell

__all__ = ["flight"]

_GUARD = threading.Lock()
_LOCKS: dict[str, threading.Lock] = {}


@contextlib.contextmanager
def flight(folder: Path, name: str) -> Iterator[None]:
    """Alone, in this process and among all others, with the thing of this name in the folder.

    Raises:
        StorageError: The folder cannot be written.
    """
    path = folder / "locks" / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.lock"
    with _GUARD:
        lock = _LOCKS.setdefault(str(path.absolute()), threading.Lock())

    def on_wait(holder: str) -> None:
        text = f"{holder} is fetching {name.replace('/', ' ')}: waiting until it has ended"
        tell(logging.WARNING, "cache.waits", text, {"holder": holder, "series": name})

    with lock, contextlib.ExitStack() as held:
        with usable(folder):
            path.parent.mkdir(parents=True, exist_ok=True)
            # A fetch may take hours.
            held.enter_context(file_lock(path, seconds_max=None, on_wait=on_wait))
        yield

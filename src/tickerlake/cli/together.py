"""Several pieces of work in one process that end together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

__all__ = ["Together"]


class Together:
    """Threads of one verb. The first that fails stops all others, and its error is raised.

    Leaving the block asks everybody to stop and waits until what was begun is finished.
    """

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._threads = ThreadPoolExecutor(max_workers=8)
        self._begun: list[Future[None]] = []

    def start(self, work: Callable[[], None]) -> Future[None]:
        """Begin to work in a thread."""
        future = self._threads.submit(self._guarded, work)
        self._begun.append(future)
        return future

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._threads.shutdown(wait=True)
        if error is None:
            for future in self._begun:
                future.result()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException:
            self._stop.set()
            raise

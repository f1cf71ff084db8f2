"""Ctrl-C and SIGTERM as a polite request: what was begun is finished."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["INTERRUPTED", "Stop", "stopping"]

#: The exit code of a verb that Ctrl-C ended.
INTERRUPTED = 130


class Stop:
    """Whether, and by what, we were asked to end."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.asked_by: signal.Signals | None = None

    def exit_code(self, *, endless: bool) -> int:
        """130 after Ctrl-C, and after a SIGTERM that cut finite work short; else 0.

        An endless verb that a supervisor ends with SIGTERM has done all that it was asked to.
        """
        if self.asked_by is None or (endless and self.asked_by is signal.SIGTERM):
            return 0
        return INTERRUPTED


@contextmanager
def stopping() -> Iterator[Stop]:
    """Inside, the first signal sets `Stop.event`; a second one ends at once."""
    stop = Stop()

    def ask(number: int, _frame: FrameType | None) -> None:
        if stop.asked_by is not None:
            raise KeyboardInterrupt
        stop.asked_by = signal.Signals(number)
        # From a thread: this one may hold the event's lock at this very moment.
        threading.Thread(target=stop.event.set, daemon=True).start()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

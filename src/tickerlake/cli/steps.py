"""A bar a symbol: how far each piece of long work is, and the whole of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from tickerlake import clock
from tickerlake.cli.output import (
    LINE_EVERY_SECONDS,
    QUIET_SECONDS,
    SILENCE_SECONDS,
    Output,
    counted,
)

__all__ = ["Steps", "steps"]

#: Bars of what is done stay on the screen, so many of the newest.
_BARS_KEPT: Final = 8


class Steps:
    """What work over many things tells as it goes; a line now and then where nobody draws bars."""

    #: Whether totals are shown: else nobody needs to count them.
    draws: bool = False

    def __init__(self, output: Output, what: str, count: int) -> None:
        self._output = output
        self._what = what
        self._count = count
        self._done = 0
        self._name = ""
        self._steps = 0
        self._next_seconds = clock.monotonic_seconds() + SILENCE_SECONDS

    def begin(self, name: str, total: int | None = None) -> None:
        """Work on this one begins; it takes so many steps, if that is known."""
        del total
        self._name, self._steps = name, 0

    def advance(self) -> None:
        """One more step of it is done."""
        self._steps += 1
        self._tell(f", {self._name}: {counted(self._steps, 'request')}")

    def end(self, count: int = 1) -> None:
        """It is done, or will not be; so many things that were done together."""
        self._done += count
        self._tell("")

    def close(self) -> None:
        """Take everything off the screen."""

    def _tell(self, more: str) -> None:
        now = clock.monotonic_seconds()
        if now >= self._next_seconds:
            self._next_seconds = now + LINE_EVERY_SECONDS
            self._output.note(f"{self._what}: {self._done:,} of {self._count:,} so far{more}")


class _Drawn(Steps):
    """Bars on stderr, made only once the work has lasted a moment."""

    draws = True

    def __init__(self, output: Output, what: str, count: int) -> None:
        super().__init__(output, what, count)
        self._from_seconds = clock.monotonic_seconds() + QUIET_SECONDS
        self._bars: Any = None
        self._all: Any = None
        self._shown: list[Any] = []

    def begin(self, name: str, total: int | None = None) -> None:
        self._name, self._steps = name, 0
        if self._bars is None:
            if clock.monotonic_seconds() < self._from_seconds:
                return
            self._open()
        self._shown.append(self._bars.add_task(name, total=total))
        if len(self._shown) > _BARS_KEPT:
            self._bars.remove_task(self._shown.pop(0))

    def advance(self) -> None:
        if self._shown:
            self._bars.advance(self._shown[-1])

    def end(self, count: int = 1) -> None:
        self._done += count
        if self._bars is None:
            return
        self._bars.update(self._all, completed=self._done)
        if self._shown:
            task = self._shown[-1]
            done = max(1, self._bars.tasks[-1].completed)
            self._bars.update(task, completed=done, total=done)

    def close(self) -> None:
        if self._bars is not None:
            self._bars.stop()

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )

        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._bars.start()
        self._all = self._bars.add_task(self._what, total=self._count, completed=self._done)


@contextmanager
def steps(output: Output, what: str, count: int) -> Iterator[Steps]:
    """Bars on a terminal, lines in a pipe, nothing if it is over soon."""
    told = _Drawn(output, what, count) if sys.stderr.isatty() else Steps(output, what, count)
    try:
        yield told
    finally:
        told.close()

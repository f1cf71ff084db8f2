"""Several processes that deliver for one workspace, and the one that looks after them.

A third of a worker's time it holds Python's lock (the broker's client makes an object of each
record), so threads of one process stop scaling at three; processes do not, and one that runs out of
memory takes no other with it. Each joins the groups of its own accord, like one on another machine.

The parent says what to deliver on a child's stdin, and closes it to say stop; so a child whose
parent was killed stops by itself. The child tells on its stdout what happens.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tickerlake import clock
from tickerlake.errors import TickerlakeError
from tickerlake.observe import log

if TYPE_CHECKING:
    from tickerlake.app import Workspace
    from tickerlake.config import Config
    from tickerlake.delivery import DeliveryReport, Event

__all__ = ["deliver_in_processes"]

#: A worker that died is followed by another after a pause, which grows while they die young.
_PAUSE_SECONDS: Final = 0.5
_PAUSE_SECONDS_MAX: Final = 30.0
_YOUNG_SECONDS: Final = 60.0

#: How often the parent looks whether it was told to stop.
_LOOK_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class _Order:
    """What a child is told at its start."""

    folder: Path
    config: Config
    accept_loss: bool


def deliver_in_processes(
    workspace: Workspace,
    count: int,
    *,
    accept_loss: bool = False,
    stop: threading.Event,
    on_event: Callable[[Event], None] | None = None,
) -> DeliveryReport:
    """Deliver with `count` processes until `stop`; one that dies is replaced.

    Raises:
        TickerlakeError: The first that a child met; the others stop gracefully before it is
            raised.
    """
    settings = workspace.config.settings
    one_each = replace(settings, delivery=replace(settings.delivery, workers=1))
    order = _Order(workspace.folder, replace(workspace.config, settings=one_each), accept_loss)
    return _Crew(order, count, on_event).run(stop)


class _Crew:
    """The parent's side."""

    def __init__(self, order: _Order, count: int, on_event: Callable[[Event], None] | None) -> None:
        self._order = order
        self._on_event = on_event
        self._news: queue.SimpleQueue[tuple[int, str, Any]] = queue.SimpleQueue()
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        now = clock.monotonic_seconds()
        #: When each is to be started (again), how long the last pause was, and its start.
        self._due_seconds = dict.fromkeys(range(count), now)
        self._pause_seconds = dict.fromkeys(range(count), _PAUSE_SECONDS / 2)
        self._began_seconds = dict.fromkeys(range(count), now)
        self._reports: list[DeliveryReport] = []
        self._error: TickerlakeError | None = None

    def run(self, stop: threading.Event) -> DeliveryReport:
        began_seconds = clock.monotonic_seconds()
        stopping = False
        try:
            while self._running or not stopping:
                if not stopping and (stop.is_set() or self._error is not None):
                    stopping = True
                    for child in self._running.values():
                        _close(child)
                if not stopping:
                    self._start_due()
                with contextlib.suppress(queue.Empty):
                    self._hear(*self._news.get(timeout=_LOOK_SECONDS), stopping=stopping)
        finally:
            for child in self._running.values():
                child.kill()  # Only if we are interrupted ourselves: what it held is in the stream.
                child.wait()
        if self._error is not None:
            raise self._error
        return self._sum(clock.monotonic_seconds() - began_seconds)

    def _start_due(self) -> None:
        now = clock.monotonic_seconds()
        for number in [n for n, due in self._due_seconds.items() if due <= now]:
            del self._due_seconds[number]
            self._began_seconds[number] = now
            child = subprocess.Popen(
                [sys.executable, "-m", "tickerlake.crew"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is the parent's to hear.
            )
            self._running[number] = child
            threading.Thread(target=self._listen, args=(number, child), daemon=True).start()

    def _listen(self, number: int, child: subprocess.Popen[bytes]) -> None:
        assert child.stdin  # noqa: S101 - both are pipes
        assert child.stdout  # noqa: S101
        with contextlib.suppress(BrokenPipeError):
            pickle.dump(self._order, child.stdin)
            child.stdin.flush()
        with child.stdout, contextlib.suppress(EOFError, pickle.UnpicklingError):
            while True:
                word, value = pickle.load(child.stdout)  # noqa: S301 - our own process
                self._news.put((number, word, value))
        self._news.put((number, "ended", child.wait()))

    def _hear(self, number: int, word: str, value: Any, *, stopping: bool) -> None:  # noqa: ANN401
        if word == "event" and self._on_event is not None:
            self._on_event(value)
        elif word == "report":
            self._reports.append(value)
        elif word == "error":
            self._error = self._error or value
        elif word == "ended":
            _close(self._running.pop(number))
            if value < 0 and not stopping:
                self._replace(number, value)
            elif value > 0 and self._error is None:
                self._error = TickerlakeError(
                    "A process that delivers has ended by a mistake of ours.",
                    found=f"exit code {value}; its last words stand above",
                    todo="report it with these words; what was not committed is in the stream",
                )

    def _replace(self, number: int, status: int) -> None:
        now = clock.monotonic_seconds()
        old = now - self._began_seconds[number] > _YOUNG_SECONDS
        pause_seconds = _PAUSE_SECONDS / 2 if old else self._pause_seconds[number]
        self._pause_seconds[number] = min(2 * pause_seconds, _PAUSE_SECONDS_MAX)
        self._due_seconds[number] = now + self._pause_seconds[number]
        log.warning(
            "worker %d died of %s; another one starts in %.1f s",
            number + 1,
            signal.Signals(-status).name,
            self._pause_seconds[number],
        )

    def _sum(self, seconds: float) -> DeliveryReport:
        from tickerlake.delivery import DeliveryReport, KindReport

        kinds = {kind: KindReport() for report in self._reports for kind in report.kinds}
        for report in self._reports:
            for kind, each in report.kinds.items():
                kinds[kind] += each
        return DeliveryReport(kinds, seconds)


def _close(child: subprocess.Popen[bytes]) -> None:
    """Tell a child to stop; what it has to say yet is heard all the same."""
    if child.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()


def _main() -> None:
    """The child: deliver until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    words = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # Whatever a library prints must not come between.
    order: _Order = pickle.load(sys.stdin.buffer)  # noqa: S301 - from our own parent
    stop = threading.Event()
    threading.Thread(target=_await_end, args=(sys.stdin.buffer, stop), daemon=True).start()
    lock = threading.Lock()

    def tell(word: str, value: object) -> None:
        # A parent that is gone hears nothing; what was read is committed all the same.
        with lock, contextlib.suppress(BrokenPipeError):
            pickle.dump((word, value), words)
            words.flush()

    from tickerlake.app import Workspace

    try:
        with Workspace(order.folder, order.config) as workspace:
            report = workspace.deliver(
                accept_loss=order.accept_loss,
                stop=stop,
                on_event=lambda event: tell("event", event),
            )
        tell("report", report)
    except TickerlakeError as error:
        tell("error", error)


def _await_end(stdin: io.BufferedReader, stop: threading.Event) -> None:
    stdin.read()
    stop.set()


if __name__ == "__main__":
    # Under its real name, so that what is pickled here is known there.
    from tickerlake.crew import _main as main

    main()

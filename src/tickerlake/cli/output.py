"""What a verb says: results on stdout, all else on stderr; rich on a terminal, plain in a pipe."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from tickerlake import clock

if TYPE_CHECKING:
    from datetime import datetime

    from tickerlake.observe import LogSettings

__all__ = ["Output", "Progress", "counted", "moment"]

#: What is over sooner needs no bar.
QUIET_SECONDS = 1.0
#: Longer than this nobody should look at nothing.
SILENCE_SECONDS = 2.0
#: In a pipe a line this often says that we live.
LINE_EVERY_SECONDS = 5.0
#: As Python's `logging` counts them; importing it would slow `--help` down.
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def counted(number: int, noun: str) -> str:
    """`1 row`, `12,154 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def moment(instant: datetime | None) -> str:
    """An instant to the second, in UTC, as tables show it."""
    return f"{instant:%Y-%m-%d %H:%M:%S}Z" if instant is not None else ""


class Progress(Protocol):
    """What long work calls as it goes."""

    def __call__(self, done: int, total: int | None = None) -> None:
        """So many are done, of so many if that is known."""
        ...


class Output:
    """Where a verb's words go: results to stdout, all else into the log on stderr."""

    def __init__(self, *, json_mode: bool, log: LogSettings | None = None) -> None:
        self.json_mode = json_mode
        self.on_terminal = sys.stdout.isatty()
        self._log = log
        self._log_is_set_up = False
        self._printing = threading.Lock()

    def log_as(self, settings: LogSettings) -> None:
        """What is told from now on, and how: by rooms below, too, before a verb says a word."""
        from tickerlake.observe import set_up_log

        self._log = settings
        set_up_log(settings)
        self._log_is_set_up = True

    def document(self, value: object) -> None:
        """The one JSON document of a `--json` call."""
        from tickerlake.cli.formats import to_json

        print(to_json(value, indent=2 if self.on_terminal else None), flush=True)

    def event(self, fields: Mapping[str, Any], text: str) -> None:
        """One line of a verb that streams: an object with `--json`, else the text.

        A log of objects tells it, too, for those who collect logs and not results.
        """
        line = text
        if self.json_mode:
            from tickerlake.cli.formats import to_json

            line = to_json(fields)
        with self._printing:  # `run` tells from several threads: a line stays one line
            print(line, flush=True)
        if self._log is not None and self._log.format == "json":
            inner = {name: value for name, value in fields.items() if name != "event"}
            self.tell("info", str(fields["event"]), text, inner)

    def result(self, text: str) -> None:
        """A line of the result, for people."""
        if not self.json_mode:
            print(text, flush=True)

    def note(self, text: str) -> None:
        """Beside the result: what is going on."""
        self.tell("info", "note", text)

    def warning(self, text: str) -> None:
        """What the user should know though the work goes on."""
        self.tell("warning", "warning", text)

    def error(self, text: str, fields: Mapping[str, Any] | None = None) -> None:
        """Why it ends here."""
        self.tell("error", "error", text, fields)

    def tell(
        self,
        level: Literal["debug", "info", "warning", "error"],
        event: str,
        text: str,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """One line of the log: `text` for people, `event` and `fields` for programs."""
        from tickerlake.observe import LogSettings, set_up_log, tell

        if not self._log_is_set_up:
            set_up_log(self._log or LogSettings())
            self._log_is_set_up = True
        tell(_LEVELS[level], event, text, fields)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Rows under their names; numbers to the right."""
        from tickerlake.cli.formats import plain_cell

        filled = [tuple(row) for row in rows]
        right = {
            i
            for i in range(len(columns))
            if any(_is_number(row[i]) for row in filled)
            and all(row[i] is None or _is_number(row[i]) for row in filled)
        }
        cells = [[plain_cell(value) for value in row] for row in filled]
        if self.on_terminal:
            # Rich writes to the same file by a way of its own.
            sys.stdout.flush()
            _rich_table(columns, cells, right)
        else:
            _plain_table(columns, cells, right)

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """Say now and then that we live, where the work itself tells nothing."""
        over = threading.Event()

        def tell() -> None:
            began = clock.monotonic_seconds()
            pause = SILENCE_SECONDS
            while not over.wait(pause):
                self.note(f"{what} … {clock.monotonic_seconds() - began:.0f} s")
                pause = LINE_EVERY_SECONDS

        teller = threading.Thread(target=tell, daemon=True)
        teller.start()
        try:
            yield
        finally:
            over.set()
            teller.join()

    @contextmanager
    def progress(self, what: str) -> Iterator[Progress]:
        """A bar on a terminal, a line now and then in a pipe, nothing if it is over soon."""
        bar = _Bar(what) if sys.stderr.isatty() else _Lines(what, self)
        try:
            yield bar
        finally:
            bar.close()


class _Lines:
    """A line on stderr every few seconds."""

    def __init__(self, what: str, output: Output) -> None:
        self._what = what
        self._output = output
        self._next_seconds = clock.monotonic_seconds() + SILENCE_SECONDS

    def __call__(self, done: int, total: int | None = None) -> None:
        now = clock.monotonic_seconds()
        if now >= self._next_seconds:
            self._next_seconds = now + LINE_EVERY_SECONDS
            of = f" of {total:,}" if total else ""
            self._output.note(f"{self._what}: {done:,}{of} so far")

    def close(self) -> None:
        """Nothing to tidy away."""


class _Bar:
    """A rich bar on stderr, made only once the work has lasted a moment."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._from_seconds = clock.monotonic_seconds() + QUIET_SECONDS
        self._bar: Any = None
        self._task: Any = None

    def __call__(self, done: int, total: int | None = None) -> None:
        if self._bar is None:
            if clock.monotonic_seconds() < self._from_seconds:
                return
            self._open()
        self._bar.update(self._task, completed=done, total=total)

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._bar.start()
        self._task = self._bar.add_task(self._what, total=None)

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.stop()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _plain_table(columns: Sequence[str], cells: list[list[str]], right: set[int]) -> None:
    widths = _widths(columns, cells)
    for row in [list(columns), *cells]:
        padded = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(padded).rstrip())
    sys.stdout.flush()


def _rich_table(columns: Sequence[str], cells: list[list[str]], right: set[int]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    widest = max((len(name) for name in columns), default=0)
    if sum(width + 2 for width in _widths(columns, cells)) > console.width:
        # Too wide to read across: one field a line, as long rows are shown elsewhere too.
        for number, row in enumerate(cells, start=1):
            console.print(Text(f"row {number}", style="bold"))
            for name, cell in zip(columns, row, strict=True):
                console.print(Text(f"  {name.ljust(widest)}  {cell}"), soft_wrap=True)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for i, name in enumerate(columns):
        table.add_column(Text(name), justify="right" if i in right else "left", no_wrap=True)
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def _widths(columns: Sequence[str], cells: list[list[str]]) -> list[int]:
    return [max([len(name), *(len(row[i]) for row in cells)]) for i, name in enumerate(columns)]

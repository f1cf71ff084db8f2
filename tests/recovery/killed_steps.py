"""Works on a cache in forked children, each of which dies before another one of its steps.

A step is a call that changes the disk: of the system, of a file, or of SQLite. The same steps can
fail once instead, as on a full disk. Prints one JSON object: for each work how many steps it has,
and what was wrong after any of them.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import FrameType
from typing import Any, Literal, Self

import pyarrow.parquet

sys.path.insert(0, str(Path(__file__).parent.parent))

from stock_double import Stock, values
from tickerlake import clock
from tickerlake.cache import CacheCare, CachedSource
from tickerlake.cli.answers import write_file
from tickerlake.errors import StorageError
from tickerlake.sources import BarsRequest

Ending = Literal["kill", "full"]
DAYS = BarsRequest("ACME", "1d", date(2024, 1, 2))
HOURS = BarsRequest("ACME", "1h", date(2024, 2, 1))
FIRST, LATER = "2024-03-01T22:00:00Z", "2024-03-06T22:00:00Z"
STEPS = {"execute", "executemany", "fsync", "mkdir", "rename", "replace", "unlink", "write"}


def now(text: str) -> None:
    os.environ["TICKERLAKE_NOW"] = text
    clock._offset.cache_clear()


class Steps:
    """Counts the steps of this thread from `begin` on, and ends the work before the `last`."""

    def __init__(self, last: int | None, ending: Ending) -> None:
        self.count = 0
        self._last = last
        self._ending = ending

    def __enter__(self) -> Self:
        sys.setprofile(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _called(self, _: FrameType, event: str, function: Any) -> None:
        if event != "c_call" or function.__name__ not in STEPS:
            return
        if (
            isinstance(function.__self__, sqlite3.Connection)
            and not function.__self__.in_transaction
        ):
            return  # it reads, or begins
        if self.count == self._last:
            if self._ending == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            sys.setprofile(None)
            self.count += 1
            if function.__name__.startswith("execute"):
                raise sqlite3.OperationalError("database or disk is full")
            raise OSError(errno.ENOSPC, "No space left on device")
        self.count += 1


def stock(**bent: Any) -> Stock:
    return Stock(dividends={date(2024, 1, 17): 0.5}, splits={date(2024, 3, 5): 2.0}, **bent)


def fetched(folder: Path, source: Stock | None = None) -> None:
    with contextlib.closing(CachedSource(source or stock(), folder)) as cached:
        cached.bars(DAYS)


def fetched_hours(folder: Path) -> None:
    with contextlib.closing(CachedSource(stock(), folder)) as cached:
        cached.bars(HOURS)


def held(folder: Path) -> None:
    """A cache of the first day."""
    now(FIRST)
    fetched(folder)
    fetched_hours(folder)


def suspect(folder: Path) -> None:
    """And on the later day the provider contradicts itself."""
    held(folder)
    now(LATER)
    fetched(folder, stock(bent={date(2024, 2, 27): {"close": 9000.0, "high": 9001.0}}))


def damaged(folder: Path) -> None:
    """And a file is not what was written."""
    held(folder)
    max((folder / "rows").iterdir()).write_bytes(b"oops")


def broken(folder: Path) -> None:
    """And the index is none."""
    held(folder)
    (folder / "index.sqlite").write_bytes(b"no database" * 1000)
    for log in folder.glob("index.sqlite-*"):
        log.unlink()


def of_old(folder: Path) -> None:
    """A cache of the first version."""
    now(FIRST)
    folder.mkdir()
    pyarrow.parquet.write_table(stock().bars(DAYS).bars, folder / "bar-1.parquet")
    index = sqlite3.connect(folder / "index.sqlite")
    index.execute(
        "create table kept (id integer primary key, source text not null, kind text not null,"
        " symbol text not null, file text not null, row_count integer not null)"
    )
    index.execute("insert into kept values (1, 'acme', 'bar', 'ACME', 'bar-1.parquet', 42)")
    index.execute("pragma user_version = 1")
    index.commit()
    index.close()


def cared(work: Callable[[CacheCare], object]) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        with contextlib.closing(CacheCare(folder)) as care:
            work(care)

    return run


def exported(folder: Path) -> None:
    with contextlib.closing(CacheCare(folder)) as care:
        write_file(care.export("bar", interval="1d"), folder / "out.csv")


#: What there is before, the story's time, and what is done.
WORKS: dict[str, tuple[Callable[[Path], None] | None, str, Callable[[Path], object]]] = {
    "first fetch": (None, FIRST, fetched),
    "later fetch": (held, LATER, fetched),
    "later fetch of hours": (held, LATER, fetched_hours),
    "fetch of what contradicts": (
        held,
        LATER,
        lambda folder: fetched(folder, stock(bent={date(2024, 2, 27): {"close": 9000.0}})),
    ),
    "prune of a symbol": (held, LATER, cared(lambda care: care.prune(symbol="ACME"))),
    "prune of what is not served": (suspect, LATER, cared(lambda care: care.prune())),
    "accept": (suspect, LATER, cared(lambda care: care.accept())),
    "repair of damage": (damaged, LATER, cared(lambda care: care.repair())),
    "repair of the index": (broken, LATER, cared(lambda care: care.repair())),
    "export": (held, LATER, exported),
    "migration": (of_old, LATER, fetched),
}


def run(name: str, ending: Ending) -> dict[str, object]:
    """One work, ended before each of its steps in turn."""
    before, moment, work = WORKS[name]
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        start = Path(temporary) / "start"
        if before is not None:
            before(start)
        now(moment)
        truth = told(Path(temporary) / "truth")
        at, is_whole = 0, False
        while not is_whole:
            folder = Path(temporary) / str(at)
            if start.exists():
                shutil.copytree(start, folder)
            if name == "export":
                (folder / "out.csv").write_text("an earlier one")
            is_whole = ended(work, folder, at, ending)
            wrong += [f"step {at}: {what}" for what in judged(name, folder, work, truth)]
            shutil.rmtree(folder)
            at += 1
    return {"steps": at - 1, "wrong": wrong}


def ended(work: Callable[[Path], object], folder: Path, at: int, ending: Ending) -> bool:
    """Do it, and end it before a step; True: it was done before that."""
    if ending == "full":
        with Steps(at, ending) as steps, contextlib.suppress(StorageError):
            work(folder)
        return steps.count <= at
    child = os.fork()
    if not child:
        with Steps(at, ending):
            work(folder)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def judged(name: str, folder: Path, work: Callable[[Path], object], truth: list[Any]) -> list[str]:
    """What is wrong after it ended: nothing that is held may be, and the work can be done again."""
    wrong = []
    if name == "export":
        text = (folder / "out.csv").read_text()
        if text != "an earlier one" and text.count("\n") != 43:
            wrong.append(f"half a file: {len(text)} bytes")
    with contextlib.closing(CacheCare(folder)) as care:
        if not name.startswith("repair"):
            wrong += [f"{finding.where} {finding.what}" for finding in care.verify()]
    work(folder)
    with contextlib.closing(CacheCare(folder)) as care:
        wrong += [f"afterwards: {finding.where} {finding.what}" for finding in care.verify()]
        care.accept()
    if told(folder) != truth:
        wrong.append("other bars than the provider tells")
    return wrong


def told(folder: Path) -> list[Any]:
    """All bars that a healthy provider and this cache give."""
    with contextlib.closing(CachedSource(stock(), folder)) as cached:
        return [plain(values(cached.bars(request).bars)) for request in (DAYS, HOURS)]


def plain(rows: list[Any]) -> list[dict[str, Any]]:
    """Without what depends on when a row came; prices to the noise of floats."""
    return [
        {name: round(row[name], 6) for name in ("open", "high", "low", "close", "volume")}
        | {"ts": row["ts"].isoformat()}
        for row in rows
    ]


if __name__ == "__main__":
    print(json.dumps({name: run(name, sys.argv[1]) for name in WORKS}))  # type: ignore[arg-type]

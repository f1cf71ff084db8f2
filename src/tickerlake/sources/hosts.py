"""What the processes of a user know together of the hosts that they ask.

One row a host in one SQLite file, changed in short transactions: how fast it may be asked (a token
bucket), and until when to leave it in peace, because it asked for that or does not answer (a
circuit breaker). The file holds nothing that could not be forgotten: a damaged one is made anew,
and where none can be written, a process keeps to what it knows itself and says so once.

All times are the machine's, never the story's. A stored time in the future, left by a clock that
was turned back, counts as now.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from tickerlake import clock
from tickerlake.errors import without_secrets
from tickerlake.observe import tell

__all__ = ["Hosts", "Peace", "Turn", "state_folder"]

_VARIABLE: Final = "TICKERLAKE_STATE"
_BUSY_SECONDS: Final = 30.0
#: No host is left alone for longer, whatever it asks for.
_PEACE_SECONDS_MAX: Final = 86_400.0
_Row = dict[str, Any]
_Said = TypeVar("_Said")

_TABLE: Final = """create table if not exists hosts (
    host text primary key,
    tokens real,                           -- below 0: so many have taken a turn that is to come
    counted_at real not null default 0,    -- when the tokens were counted
    failures integer not null default 0,   -- in a row
    closings integer not null default 0,   -- in a row
    closed_at real not null default 0,
    closed_seconds real not null default 0,
    reason text not null default '',       -- 'asked' or 'silent'
    said text not null default ''
)"""


@dataclass(frozen=True, slots=True)
class Peace:
    """How long a host is left alone that fails again and again, or asks for it."""

    #: Failed requests in a row, of all processes, after which nobody asks.
    failures_max: int
    #: The first time; doubles each further time, up to `seconds_max`.
    seconds: float
    seconds_max: float

    def after(self, closings: int) -> float:
        """How long, when the host was left alone so many times already."""
        return min(self.seconds * 2.0 ** min(closings, 30), self.seconds_max)


@dataclass(frozen=True, slots=True)
class Turn:
    """Whether and when a request may be sent."""

    #: Wait so long, then send: by then the host has been spared enough.
    wait_seconds: float = 0.0
    #: More than 0: do not send; the host is left alone for so long.
    closed_seconds: float = 0.0
    #: The host did not answer, and this request tries whether it does again.
    probe: bool = False
    #: It asked for that, or it does not answer.
    reason: Literal["", "asked", "silent"] = ""
    #: What it said last, or how it failed.
    said: str = ""


def state_folder() -> Path:
    """Where a user's processes keep what they share: `TICKERLAKE_STATE`, or the system's place."""
    told = os.environ.get(_VARIABLE)
    if told:
        return Path(told).expanduser()
    import platformdirs

    return Path(platformdirs.user_state_dir("tickerlake", appauthor=False))


class Hosts:
    """The shared memory. Safe from many threads and processes; each call is one transaction.

    Not promised: that it survives a power cut.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._path = (folder or state_folder()) / "hosts-1.sqlite"

    def turn(self, host: str, per_second: float | None, burst: int = 1) -> Turn:
        """Take a turn at the host: turns come in the order in which they were taken.

        A closed host gives none. The first one who comes when the time of a silent one is over
        gets a turn as a probe; the others wait for what becomes of it.
        """

        def take(row: _Row, now: float) -> Turn:
            if _left(row, now) > 0:
                return _closed(row, now)
            probe = row["reason"] == "silent"
            if probe:
                # Half open: for as long again as it was closed, this one alone may ask.
                row["closed_at"] = now
            if per_second is None:
                return Turn(probe=probe)
            fresh = row["tokens"] is None
            tokens = burst if fresh else row["tokens"] + (now - row["counted_at"]) * per_second
            row["tokens"] = min(tokens, float(burst)) - 1
            row["counted_at"] = now
            return Turn(wait_seconds=max(0.0, -row["tokens"] / per_second), probe=probe)

        return self._change(host, take)

    def look(self, host: str) -> Turn:
        """As `turn`, without taking one: whether the host was closed while one waited."""
        return self._change(host, _closed)

    def answered(self, host: str) -> None:
        """The host works: failures are forgotten, and a silence is over."""

        def forget(row: _Row, _: float) -> None:
            row["failures"] = row["closings"] = 0
            if row["reason"] == "silent":
                _close(row, 0.0, 0.0, "", "")

        self._change(host, forget)

    def failed(self, host: str, peace: Peace, said: str) -> float:
        """A request failed; returns for how many seconds the host is left alone now, mostly 0."""

        def count(row: _Row, now: float) -> float:
            row["failures"] += 1
            if row["failures"] < peace.failures_max:
                return 0.0
            row["closings"] += 1
            return _close(row, now, peace.after(row["closings"] - 1), "silent", said)

        return self._change(host, count)

    def asked(self, host: str, peace: Peace, seconds: float | None, said: str) -> float:
        """The host asks to be left alone, for so long if it says so; returns for how long it is."""

        def leave(row: _Row, now: float) -> float:
            row["closings"] += 1
            wanted = peace.after(row["closings"] - 1) if seconds is None else seconds
            longest = max(min(wanted, _PEACE_SECONDS_MAX), _left(row, now))
            return _close(row, now, longest, "asked", said)

        return self._change(host, leave)

    def _change(self, host: str, change: Callable[[_Row, float], _Said]) -> _Said:
        """Read the host's row, change it, and write it, in one transaction."""
        try:
            with contextlib.closing(_open(self._path)) as book:
                return _changed(book, host, change)
        except (OSError, sqlite3.Error) as error:
            with _alone_lock:
                return _changed(_alone(self._path, error), host, change)


def _changed(book: sqlite3.Connection, host: str, change: Callable[[_Row, float], _Said]) -> _Said:
    book.execute("begin immediate")
    try:
        book.execute("insert or ignore into hosts (host) values (?)", (host,))
        found = book.execute("select * from hosts where host = ?", (host,))
        names = [column[0] for column in found.description]
        row = dict(zip(names, found.fetchone(), strict=True))
        # After waiting for the others: the machine's clock as it is inside the transaction.
        now = clock.real_now().timestamp()
        for name in ("counted_at", "closed_at"):
            row[name] = min(row[name], now)
        said = change(row, now)
        changes = ", ".join(f"{name} = :{name}" for name in names)
        book.execute(f"update hosts set {changes} where host = :host", row)
    except BaseException:
        book.execute("rollback")
        raise
    book.execute("commit")
    return said


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _begin(path)
    except sqlite3.OperationalError:  # busy, or not writable: no reason to take it away
        raise
    except sqlite3.DatabaseError:  # damaged, and it holds nothing but patience
        path.unlink(missing_ok=True)
        return _begin(path)


def _begin(path: Path | str) -> sqlite3.Connection:
    book = sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        book.execute("pragma synchronous = off")
        book.execute(_TABLE)
    except BaseException:
        book.close()
        raise
    return book


_alone_lock: Final = threading.Lock()
_alone_books: Final[dict[Path, sqlite3.Connection]] = {}


def _alone(path: Path, error: Exception) -> sqlite3.Connection:
    """This process's own book, where no common one can be had."""
    if path not in _alone_books:
        tell(
            logging.WARNING,
            "hosts.alone",
            f"{path} cannot be used ({error}): other processes do not know how often this one"
            f" asks. {_VARIABLE} names another folder.",
        )
        _alone_books[path] = _begin(":memory:")
    return _alone_books[path]


def _left(row: _Row, now: float) -> float:
    return float(row["closed_at"] + row["closed_seconds"] - now)


def _closed(row: _Row, now: float) -> Turn:
    left = _left(row, now)
    return Turn(closed_seconds=left, reason=row["reason"], said=row["said"]) if left > 0 else Turn()


def _close(
    row: _Row, now: float, seconds: float, reason: Literal["", "asked", "silent"], said: str
) -> float:
    # The book lies open: other processes show what stands in it, and do not know our keys.
    row.update(closed_at=now, closed_seconds=seconds, reason=reason, said=without_secrets(said))
    return seconds

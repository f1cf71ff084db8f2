"""One topic's file: how it is made, opened, locked, and what its errors mean."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tickerlake import clock
from tickerlake.errors import CorruptLogError, NewerVersionError, StorageError, TickerlakeError
from tickerlake.locks import SECONDS_MAX, lock, unlock
from tickerlake.records import Kind

__all__ = [
    "FORMAT_VERSION",
    "Turn",
    "bell_path",
    "create_log",
    "damaged",
    "open_connection",
    "translated",
    "turn",
]

#: Raised whenever a file that an older tickerlake would misread is written.
FORMAT_VERSION: Final = 1

# "tlog" in ASCII, in SQLite's header: tells our file from any other database.
_APPLICATION_ID: Final = 0x746C6F67

# How long SQLite itself waits for a lock. Producers queue on a lock file first (see `turn`), so
# only checkpoints and foreign tools are waited for here.
_BUSY_SECONDS: Final = 60.0

_NOTE_BYTES_MAX: Final = 1 << 16

# One row per published batch and partition, payload last: the columns before it are read without
# touching its pages. `beginning` and `end` outlive the batches that retention drops.
_SCHEMA: Final = """
    create table log (name text primary key, value text not null) without rowid;
    create table partitions (
        partition integer primary key,
        beginning integer not null default 0,
        "end" integer not null default 0,
        acknowledged integer not null default 0
    );
    create table batches (
        id integer primary key,
        partition integer not null,
        first_offset integer not null,
        count integer not null,
        wire text not null,
        published_at integer not null,
        byte_count integer not null,
        crc32 integer not null,
        payload blob not null
    );
    create unique index batches_by_place on batches (partition, first_offset);
"""


def create_log(path: Path, kind: Kind, partition_count: int) -> None:
    """Make an empty log with an id of its own, unless one is there already.

    It is made under another name and linked into place when it is whole. So whatever bears the
    log's name was whole once: a file cut down to nothing is damage and never a new log.

    Raises:
        CorruptLogError: The log is gone, but not what belonged to it.
        StorageError: The folder cannot be written.
    """
    # SQLite would take the orphan for a part of the new log.
    orphan = path.with_name(path.name + "-wal")
    if orphan.exists() and not path.exists():
        raise damaged(path, f"the file is gone, but {orphan.name} is still there")
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    created_at = clock.real_now().isoformat()
    with translated(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            connection = sqlite3.connect(draft, isolation_level=None)
            try:
                connection.execute("pragma page_size=16384")
                connection.execute("pragma synchronous=full")
                # No write-ahead file yet: on a full disk closing would leave rows in it, in
                # silence, and what is linked into place would lack them.
                connection.execute("pragma journal_mode=memory")
                connection.executescript(
                    f"begin; {_SCHEMA} pragma application_id={_APPLICATION_ID};"
                    f"pragma user_version={FORMAT_VERSION}; commit;"
                )
                facts = {"id": uuid.uuid4().hex, "kind": kind, "created_at": created_at}
                connection.executemany("insert into log values (?, ?)", facts.items())
                connection.executemany(
                    "insert into partitions (partition) values (?)",
                    [(partition,) for partition in range(partition_count)],
                )
                connection.execute("pragma journal_mode=wal")
            finally:
                connection.close()
            with contextlib.suppress(FileExistsError):  # another process was first: its log counts
                path.hardlink_to(draft)
            _fsync_folder(path.parent)
        finally:
            for left in path.parent.glob(f"{draft.name}*"):
                left.unlink()


def _fsync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_connection(path: Path) -> sqlite3.Connection:
    """A connection to an existing log, checked to be one that we can read.

    Raises:
        CorruptLogError: Not a log, or damaged.
        NewerVersionError: Written by a later tickerlake.
        StorageError: Cannot be opened.
    """
    with translated(path):
        connection = sqlite3.connect(
            f"file:{_quoted(path)}?mode=rw",
            uri=True,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.execute("pragma synchronous=full")
            _check(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def _quoted(path: Path) -> str:
    return path.absolute().as_uri().removeprefix("file://")


def _check(connection: sqlite3.Connection, path: Path) -> None:
    application_id = connection.execute("pragma application_id").fetchone()[0]
    if application_id != _APPLICATION_ID:
        raise damaged(path, "the file is not a tickerlake log")
    version = connection.execute("pragma user_version").fetchone()[0]
    if version > FORMAT_VERSION:
        raise NewerVersionError(
            f"The stream file {path} was written by a later tickerlake.",
            expected=f"format {FORMAT_VERSION} or older",
            found=f"format {version}",
            todo="upgrade tickerlake: pip install --upgrade tickerlake",
        )


class Turn:
    """The right to write, and a note of how far the log has come, kept beside it.

    SQLite takes a write-ahead file that was cut short for a crash before the fsync, and forgets
    in silence what stood behind the cut. The note is written after each commit, so it never runs
    ahead of what was fsynced, and a log that ends before it has lost something.
    """

    def __init__(self, path: Path, handle: int) -> None:
        self._path = path
        self._handle = handle

    def check(self, log_id: str, ends: Sequence[int]) -> None:
        """Compare the log's ends with the note.

        Raises:
            CorruptLogError: The log ends earlier than it once did.
        """
        noted_id, *noted = os.pread(self._handle, _NOTE_BYTES_MAX, 0).decode().split() or [""]
        if noted_id != log_id or len(noted) != len(ends):  # none yet, or of a log moved away
            return
        for partition, (end, before) in enumerate(zip(ends, map(int, noted), strict=True)):
            if end < before:
                lost = f"partition {partition} ends at {end}, but {before} had been acknowledged"
                raise damaged(self._path, lost)

    def note(self, log_id: str, ends: Sequence[int]) -> None:
        """Remember the ends of what has just been committed."""
        text = " ".join([log_id, *map(str, ends)]).encode()
        os.pwrite(self._handle, text, 0)
        os.ftruncate(self._handle, len(text))


@contextlib.contextmanager
def turn(path: Path) -> Iterator[Turn]:
    """Wait for one's turn to write; its end rings the bell of those who wait for data.

    SQLite's own waiting polls with growing pauses, so a busy neighbour can starve a producer for
    seconds. The kernel wakes those who wait on this lock, and frees it when its holder dies.

    Raises:
        StorageError: Another process has held it for a minute, and was perhaps suspended.
    """
    handle = os.open(bell_path(path), os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            # On Windows SQLite's own waiting has to do.
            lock(handle, bell_path(path), seconds_max=SECONDS_MAX)
        except TimeoutError as error:
            raise StorageError(
                f"It was not our turn to write to {path}.",
                expected=f"a turn within {SECONDS_MAX:g} seconds",
                found=str(error),
                todo="let that process go on, if it was suspended (`kill -CONT PID`, or `fg`), or "
                "end it; then do it again: nothing was written",
            ) from error
        yield Turn(path, handle)
    finally:
        unlock(handle)
        os.close(handle)


def bell_path(path: Path) -> Path:
    """The file beside a log that is closed after every commit."""
    return path.with_suffix(".lock")


def damaged(path: Path, found: str) -> CorruptLogError:
    """The error of a file whose bytes are not what was written."""
    return CorruptLogError(
        f"The stream file {path} is damaged.",
        expected="the records as they were published",
        found=found,
        todo=(
            "keep a copy of the file; restore it from a backup, or move it and its -wal file away:"
            " a new log is made then, the lake keeps what was delivered, and what it does not hold"
            " yet must be published again"
        ),
    )


# A broken constraint is damage too: only a wrong `end` can lead to a position that is taken.
_DAMAGE: Final = {
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_FORMAT,
    sqlite3.SQLITE_NOTADB,
}


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and of the file system into ours."""
    try:
        yield
    except TickerlakeError:
        raise
    except sqlite3.Error as error:
        # The low byte is the primary code; the rest only says where it happened.
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _DAMAGE or "no such table" in str(error):
            raise damaged(path, str(error)) from error
        if code == sqlite3.SQLITE_FULL:
            raise _storage(path, "The disk is full", error) from error
        raise _storage(path, "The stream file cannot be used", error) from error
    except OSError as error:
        raise _storage(path, "The stream file cannot be used", error) from error


def _storage(path: Path, problem: str, error: Exception) -> StorageError:
    return StorageError(
        f"{problem}: {path}",
        expected="a folder on a local disk, with room and with the right to write",
        found=str(error),
        todo="make room or mend the rights, then do it again: nothing was half-written",
    )

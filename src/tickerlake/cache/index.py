"""The cache's index: a SQLite file that says what is held, in which files, and what is due.

Everything but the rows is here, and changes in one transaction: a file that is not named here does
not count, and a file that is named here was on the disk before.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from tickerlake.cache.coverage import Coverage
from tickerlake.cache.planner import Held, Recheck
from tickerlake.cache.row_files import RowFile
from tickerlake.errors import NewerVersionError, StorageError
from tickerlake.locks import use_write_ahead_log
from tickerlake.records import Kind

__all__ = ["Change", "Denial", "Index", "Key", "Quarantined", "Series", "unusable", "usable"]

VERSION: Final = 2
_BUSY_SECONDS: Final = 30.0

_TABLES: Final = """
create table if not exists series (
    id integer primary key, provider text not null, symbol text not null, kind text not null,
    interval text not null, session text not null, generation integer not null,
    current integer not null, traits text not null, about text not null, calendar text, zone text,
    lead integer not null, extended integer not null, coverage text not null,
    rechecks text not null, quiet text,
    unique (provider, symbol, kind, interval, session, generation));
create table if not exists files (
    name text primary key, series integer not null references series (id), low integer not null,
    high integer not null, rows integer not null, bytes integer not null,
    checksum integer not null);
create index if not exists files_of on files (series, low);
create table if not exists quarantined (
    name text primary key, series integer not null references series (id), at integer not null,
    rows integer not null, why text not null);
create table if not exists denials (
    provider text not null, symbol text not null, tries integer not null, until integer not null,
    why text not null, primary key (provider, symbol));
"""


@dataclass(frozen=True, slots=True)
class Key:
    """What makes a series: whose bars, of what, how long, and which part of the day."""

    provider: str
    symbol: str
    kind: Kind
    interval: str
    session: str


@dataclass(frozen=True, slots=True)
class Series:
    """One generation of one key: what is held of it. `id` is null before it was kept."""

    key: Key
    id: int | None = None
    generation: int = 1
    #: Type, currency, exchange, ISIN, FIGI: what tells one holder of a symbol from the next.
    traits: dict[str, str] = field(default_factory=dict)
    #: What the provider last told of the instrument.
    about: dict[str, str] = field(default_factory=dict)
    calendar: str | None = None
    zone: str | None = None
    lead: int = 0
    extended: bool = False
    held: Held = field(default_factory=Held)


@dataclass(frozen=True, slots=True)
class Change:
    """A series as it shall be, with the files that go and come, and quarantined ones."""

    series: Series
    remove: tuple[RowFile, ...] = ()
    add: tuple[RowFile, ...] = ()
    quarantine: tuple[RowFile, ...] = ()
    why: str = ""
    at: int = 0


@dataclass(frozen=True, slots=True)
class Denial:
    """The provider said that it does not know the symbol; asked again after `until`."""

    tries: int
    until: int
    why: str


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Rows that contradict what is held: their file, how many, since when, and why."""

    name: str
    rows: int
    at: int
    why: str


class Index:
    """One folder's index. Safe for threads and processes; a look never waits for a writer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "index.sqlite"
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None

    def close(self) -> None:
        """Give back the connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def current(self, key: Key) -> Series | None:
        """The generation of a key that is served; None if nothing is held."""
        with self._read() as index:
            row = (
                index
                and index.execute(
                    _SELECT + " where provider = ? and symbol = ? and kind = ? and interval = ?"
                    " and session = ? and current = 1",
                    (key.provider, key.symbol, key.kind, key.interval, key.session),
                ).fetchone()
            )
        return _series(row) if row else None

    def alike(self, key: Key) -> Series | None:
        """Bars of another interval of the same symbol, of which is known where they trade."""
        with self._read() as index:
            row = (
                index
                and index.execute(
                    _SELECT + " where provider = ? and symbol = ? and kind = 'bar' and current = 1"
                    " and calendar is not null order by zone is null, id desc",
                    (key.provider, key.symbol),
                ).fetchone()
            )
        return _series(row) if row else None

    def moment(self) -> tuple[int, int]:
        """Differs from an earlier one if anything was changed meanwhile, by us or by others."""
        with self._read() as index:
            if index is None:
                return (0, 0)
            (others,) = index.execute("pragma data_version").fetchone()
            return int(others), index.total_changes

    def all_series(self) -> list[Series]:
        """Every generation of every key."""
        with self._read() as index:
            rows = index.execute(_SELECT + " order by id").fetchall() if index else []
        return [_series(row) for row in rows]

    def files(self, series: Series, low: int = -(2**62), high: int = 2**62) -> list[RowFile]:
        """The files that hold rows in `[low, high)`, in order."""
        if series.id is None:
            return []
        with self._read() as index:
            rows = (
                index
                and index.execute(
                    "select name, low, high, rows, bytes, checksum from files"
                    " where series = ? and low < ? and high > ? order by low",
                    (series.id, high, low),
                ).fetchall()
            )
        return [RowFile(*row) for row in rows or ()]

    def names(self) -> tuple[set[str], set[str]]:
        """The names of all files that count, and of all that are quarantined."""
        with self._read() as index:
            if index is None:
                return set(), set()
            counted = {name for (name,) in index.execute("select name from files")}
            set_aside = {name for (name,) in index.execute("select name from quarantined")}
        return counted, set_aside

    def commit(self, changes: Sequence[Change]) -> tuple[Series, ...]:
        """All changes or none, durable when it returns; returns the series with their ids.

        Raises:
            StorageError: The index cannot be written.
        """
        with self._write() as index:
            return tuple(_apply(index, change) for change in changes)

    def denial(self, provider: str, symbol: str) -> Denial | None:
        """What the provider said when it did not know the symbol."""
        with self._read() as index:
            row = (
                index
                and index.execute(
                    "select tries, until, why from denials where provider = ? and symbol = ?",
                    (provider, symbol),
                ).fetchone()
            )
        return Denial(*row) if row else None

    def denials(self) -> dict[tuple[str, str], Denial]:
        """All of them, by provider and symbol."""
        with self._read() as index:
            rows = (
                index.execute(
                    "select provider, symbol, tries, until, why from denials order by 1, 2"
                ).fetchall()
                if index
                else []
            )
        return {(row[0], row[1]): Denial(*row[2:]) for row in rows}

    def deny(self, provider: str, symbol: str, denial: Denial | None) -> None:
        """Remember it, or (None) forget it."""
        with self._write() as index:
            index.execute(
                "delete from denials where provider = ? and symbol = ?", (provider, symbol)
            )
            if denial is not None:
                values = (provider, symbol, denial.tries, denial.until, denial.why)
                index.execute("insert into denials values (?, ?, ?, ?, ?)", values)

    def drop(self, series: Series) -> list[str]:
        """Forget a series; returns the names of its files, which nobody names any more."""
        with self._write() as index:
            names = [
                name
                for table in ("files", "quarantined")
                for (name,) in index.execute(
                    f"select name from {table} where series = ?", (series.id,)
                )
            ]
            for table in ("files", "quarantined"):
                index.execute(f"delete from {table} where series = ?", (series.id,))
            index.execute("delete from series where id = ?", (series.id,))
        return names

    def quarantined(self, series: Series) -> list[Quarantined]:
        """What is set apart of a series, the oldest first."""
        with self._read() as index:
            rows = (
                index.execute(
                    "select name, rows, at, why from quarantined where series = ? order by at",
                    (series.id,),
                ).fetchall()
                if index
                else []
            )
        return [Quarantined(*row) for row in rows]

    def forget_quarantined(self) -> list[str]:
        """Forget all quarantined rows; returns the names of their files."""
        with self._write() as index:
            names = [name for (name,) in index.execute("select name from quarantined")]
            index.execute("delete from quarantined")
        return names

    def check(self) -> list[str]:
        """What SQLite finds wrong with the file; nothing if it is sound."""
        with self._read() as index:
            found = index.execute("pragma integrity_check").fetchall() if index else []
        return [text for (text,) in found if text != "ok"]

    @contextlib.contextmanager
    def _read(self) -> Iterator[sqlite3.Connection | None]:
        with self._lock:
            if self._connection is None and not self.path.exists():
                yield None
                return
            with usable(self.folder):
                yield self._opened()

    @contextlib.contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._lock, usable(self.folder):
            index = self._opened()
            index.execute("begin immediate")
            try:
                yield index
                index.execute("commit")
            except BaseException:
                if index.in_transaction:  # a full disk may have ended it already
                    index.execute("rollback")
                raise

    def _opened(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        self.folder.mkdir(parents=True, exist_ok=True)
        index = sqlite3.connect(
            self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            _prepare(index, self.folder)
        except BaseException:
            index.close()
            raise
        self._connection = index
        return index


@contextlib.contextmanager
def usable(folder: Path) -> Iterator[None]:
    """Errors of the disk and of SQLite become `StorageError`."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise unusable(folder, error) from error


def unusable(folder: Path, error: Exception) -> StorageError:
    """The error of a cache that cannot be read or written."""
    return StorageError(
        f"The cache in {folder} cannot be used.",
        expected="a sound index, room, and the right to write",
        found=str(error),
        todo="free some room, mend the folder's rights, or run tickerlake cache repair",
    )


def _prepare(index: sqlite3.Connection, folder: Path) -> None:
    use_write_ahead_log(index, _BUSY_SECONDS)
    index.execute("pragma synchronous = full")  # a committed change outlives the loss of power
    version = _version(index)
    if version > VERSION:
        raise NewerVersionError(
            f"The cache in {folder} was written by a later tickerlake.",
            expected=f"version {VERSION}",
            found=f"version {version}",
            todo="upgrade tickerlake, or use another folder",
        )
    if version < VERSION:
        index.execute("begin immediate")
        for statement in _TABLES.split(";"):
            index.execute(statement)
        if _version(index) == 1:  # still, now that nobody else writes
            from tickerlake.cache.migration import take_over

            take_over(index, folder)
        index.execute(f"pragma user_version = {VERSION}")
        index.execute("commit")


def _version(index: sqlite3.Connection) -> int:
    (version,) = index.execute("pragma user_version").fetchone()
    return int(version)


_COLUMNS: Final = (
    "id, provider, symbol, kind, interval, session, generation, traits, about, calendar, zone,"
    " lead, extended, coverage, rechecks, quiet"
)
_SELECT: Final = f"select {_COLUMNS} from series"


def _series(row: Sequence[Any]) -> Series:
    return Series(
        Key(*row[1:6]),
        id=row[0],
        generation=row[6],
        traits=json.loads(row[7]),
        about=json.loads(row[8]),
        calendar=row[9],
        zone=row[10],
        lead=row[11],
        extended=bool(row[12]),
        held=Held(
            Coverage.from_json(row[13]),
            tuple(Recheck(*item) for item in json.loads(row[14])),
            _quiet(json.loads(row[15])) if row[15] else None,
        ),
    )


def _quiet(told: Sequence[int]) -> tuple[int, int, int]:
    """Earlier versions did not write since when."""
    start, until, *since = told
    return start, until, since[0] if since else -(2**62)


def _apply(index: sqlite3.Connection, change: Change) -> Series:
    series = change.series
    key = tuple(asdict(series.key).values())
    values = (
        series.generation,
        json.dumps(series.traits),
        json.dumps(series.about),
        series.calendar,
        series.zone,
        series.lead,
        series.extended,
        series.held.coverage.to_json(),
        json.dumps([[*asdict(recheck).values()] for recheck in series.held.rechecks]),
        json.dumps(series.held.quiet) if series.held.quiet else None,
    )
    if series.id is None:
        index.execute(
            "update series set current = 0 where provider = ? and symbol = ? and kind = ?"
            " and interval = ? and session = ?",
            key,
        )
        cursor = index.execute(
            "insert into series (provider, symbol, kind, interval, session, current, generation,"
            " traits, about, calendar, zone, lead, extended, coverage, rechecks, quiet)"
            " values (?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*key, *values),
        )
        series = replace(series, id=cursor.lastrowid)
    else:
        index.execute(
            "update series set generation = ?, traits = ?, about = ?, calendar = ?, zone = ?,"
            " lead = ?, extended = ?, coverage = ?, rechecks = ?, quiet = ? where id = ?",
            (*values, series.id),
        )
    for file in change.remove:
        index.execute("delete from files where name = ?", (file.name,))
    index.executemany(
        "insert into files (series, name, low, high, rows, bytes, checksum)"
        " values (?, ?, ?, ?, ?, ?, ?)",
        [(series.id, *asdict(file).values()) for file in change.add],
    )
    index.executemany(
        "insert into quarantined (series, name, at, rows, why) values (?, ?, ?, ?, ?)",
        [(series.id, file.name, change.at, file.rows, change.why) for file in change.quarantine],
    )
    return series

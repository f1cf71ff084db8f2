"""Every symbol that was ever found, in one SQLite file with a full-text index (FTS5).

A mere memory: a file that is damaged is set aside and begun anew, and nothing is lost but some
requests. Several processes may use it at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

from tickerlake.errors import NewerVersionError, StorageError
from tickerlake.locks import use_write_ahead_log
from tickerlake.search.folding import fold, spellings
from tickerlake.sources import Hit, Rename

__all__ = ["Changes", "Remembered", "SymbolIndex"]

_VERSION: Final = 2
_BUSY_SECONDS: Final = 30.0
_FIELDS: Final = tuple(field.name for field in dataclasses.fields(Hit))
_KEY: Final = ("provider", "provider_symbol")
_DATES: Final = ("first", "last")
#: Hits of an answer that fill the whole list of a provider stand under this text.
_WHOLE_LIST: Final = ""
_SCHEMA: Final = f"""
create table if not exists hits (id integer primary key, {", ".join(_FIELDS)}, place integer,
    unique (provider, provider_symbol));
create index if not exists by_isin on hits (isin);
create virtual table if not exists words using fts5(
    symbol, name, codes, tokenize = 'unicode61 remove_diacritics 2', prefix = '1 2 3');
create table if not exists answers (provider text, text text, asked_at text, hits text,
    primary key (provider, text)) without rowid;
create table if not exists renames (symbol text primary key, told_at text, told text)
    without rowid;
create table if not exists pauses (provider text primary key, until text) without rowid;
pragma user_version = {_VERSION};
"""


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a provider answered to a text, its best first, and when."""

    at: datetime
    hits: tuple[Hit, ...]


@dataclass(frozen=True, slots=True)
class Changes:
    """What was told of a symbol's changes, and when; none if none is told."""

    at: datetime
    renames: tuple[Rename, ...]


class SymbolIndex:
    """Remembers hits and answers; finds hits by the beginnings of words."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def remember(self, provider: str, text: str, hits: Sequence[Hit], *, at: datetime) -> None:
        """Keep an answer and its hits; what a hit does not say does not erase what is known.

        Raises:
            StorageError: The disk is full or not writable.
        """
        with self._open() as index:
            numbers = [_keep(index, hit, place) for place, hit in enumerate(hits)]
            index.execute(
                "insert or replace into answers values (?, ?, ?, ?)",
                (provider, fold(text), at.isoformat(), json.dumps(numbers)),
            )
            index.execute("delete from pauses where provider = ?", (provider,))

    def remember_all(self, provider: str, hits: Sequence[Hit], *, at: datetime) -> None:
        """Keep a provider's whole list: every text is answered by it."""
        self.remember(provider, _WHOLE_LIST, hits, at=at)

    def note(self, hits: Sequence[Hit]) -> None:
        """Keep hits that no search gave, such as what a history answer says about itself."""
        with self._open() as index:
            for hit in hits:
                _keep(index, hit, None)

    def remember_renames(self, symbol: str, renames: Sequence[Rename], *, at: datetime) -> None:
        """Keep what a provider told of a symbol's changes, nothing among it."""
        told = json.dumps([(r.old, r.new, r.on.isoformat()) for r in renames])
        with self._open() as index:
            index.execute(
                "insert or replace into renames values (?, ?, ?)",
                (symbol, at.isoformat(), told),
            )

    def renames(self, symbol: str) -> Changes | None:
        """What was told of a symbol's changes; None if nobody was asked."""
        found = self._rows("select told_at, told from renames where symbol = ?", (symbol,))
        if not found:
            return None
        told = (
            Rename(old, new, date.fromisoformat(on)) for old, new, on in json.loads(found[0][1])
        )
        return Changes(datetime.fromisoformat(found[0][0]), tuple(told))

    def pause(self, provider: str, until: datetime) -> None:
        """Leave a provider alone until then: machine time."""
        with self._open() as index:
            index.execute(
                "insert or replace into pauses values (?, ?)", (provider, until.isoformat())
            )

    def paused_until(self, provider: str) -> datetime | None:
        """When a provider may be asked again; None if it was not put off."""
        found = self._rows("select until from pauses where provider = ?", (provider,))
        return datetime.fromisoformat(found[0][0]) if found else None

    def answer(self, provider: str, text: str) -> Remembered | None:
        """What the provider answered to just this text."""
        found = self._rows(
            "select asked_at, hits from answers where provider = ? and text = ?",
            (provider, fold(text)),
        )
        if not found:
            return None
        by_id = {row[0]: _hit(row[1:]) for row in self._rows_of(json.loads(found[0][1]))}
        hits = tuple(by_id[n] for n in json.loads(found[0][1]) if n in by_id)
        return Remembered(datetime.fromisoformat(found[0][0]), hits)

    def listed_at(self, provider: str) -> datetime | None:
        """When the provider's whole list was kept."""
        return self._asked_at("provider = ? and text = ?", (provider, _WHOLE_LIST))

    def typed_towards(self, provider: str, text: str) -> datetime | None:
        """When a longer text that begins so had hits: typing towards it needs no request."""
        begin = fold(text)
        return self._asked_at(
            "provider = ? and substr(text, 1, ?) = ? and hits != '[]' and text != ''",
            (provider, len(begin), begin),
        )

    def find(self, text: str, *, limit: int) -> list[Hit]:
        """Hits whose symbol, name or numbers have words that begin so, all words of the text.

        Of many the best by FTS5's own rank; symbols count more than names.
        """
        words = re.findall(r"\w+", fold(text))
        if not words:
            return []
        match = " ".join(f'"{word}"*' for word in words)
        return [
            _hit(row)
            for row in self._rows(
                f"select {_named('hits')} from words join hits on hits.id = words.rowid"
                " where words match ? order by bm25(words, 10.0, 1.0, 1.0), place limit ?",
                (match, limit),
            )
        ]

    def of_symbol(self, symbol: str) -> list[Hit]:
        """Hits of just this symbol, by whatever provider, and whatever its case."""
        return [
            _hit(row)
            for row in self._rows(
                f"select {_named('hits')} from hits where upper(symbol) = upper(?)"
                " or upper(provider_symbol) = upper(?)",
                (symbol, symbol),
            )
        ]

    def providers(self) -> list[str]:
        """Those of which anything is known, sorted."""
        return [row[0] for row in self._rows("select distinct provider from hits order by 1", ())]

    def _asked_at(self, where: str, values: Sequence[Any]) -> datetime | None:
        found = self._rows(f"select max(asked_at) from answers where {where}", values)
        return datetime.fromisoformat(found[0][0]) if found and found[0][0] else None

    def _rows_of(self, numbers: Sequence[int]) -> list[Any]:
        return self._rows(
            f"select id, {_named('hits')} from hits where id in (select value from json_each(?))",
            (json.dumps(list(numbers)),),
        )

    def _rows(self, query: str, values: Sequence[Any]) -> list[Any]:
        if not self._path.exists():
            return []
        with self._open() as index:
            return index.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            index = self._connect()
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error
        try:
            with index:
                yield index
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        finally:
            index.close()

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return self._made()
        except sqlite3.OperationalError:  # locked, read-only, without FTS5: not its content
            raise
        except sqlite3.DatabaseError:
            self._path.replace(self._path.with_suffix(".damaged"))
            for suffix in ("-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            return self._made()

    def _made(self) -> sqlite3.Connection:
        index = sqlite3.connect(self._path, timeout=_BUSY_SECONDS)
        try:
            (version,) = index.execute("pragma user_version").fetchone()
            self._check(version)
            if version < _VERSION:
                use_write_ahead_log(index, _BUSY_SECONDS)
                index.executescript(_SCHEMA)
        except BaseException:
            index.close()
            raise
        return index

    def _check(self, version: int) -> None:
        if version > _VERSION:
            raise NewerVersionError(
                f"The index {self._path} was written by a later tickerlake.",
                expected=f"version {_VERSION}",
                found=f"version {version}",
                todo="upgrade tickerlake, or delete it: it is only a memory of searches",
            )

    def _unusable(self, error: Exception) -> StorageError:
        return StorageError(
            f"The index of symbols {self._path} cannot be used.",
            expected="room, the right to write, and SQLite with FTS5",
            found=str(error),
            todo="free some room, or name another place in [search] index",
        )


def _named(table: str) -> str:
    return ", ".join(f"{table}.{name}" for name in _FIELDS)


def _keep(index: sqlite3.Connection, hit: Hit, place: int | None) -> int:
    values = dataclasses.asdict(hit)
    for name in _DATES:
        values[name] = None if values[name] is None else values[name].isoformat()
    named = [*_FIELDS, "place"]
    kept = ", ".join(f"{n} = coalesce(excluded.{n}, {n})" for n in named if n not in _KEY)
    index.execute(
        f"insert into hits ({', '.join(named)}) values ({', '.join('?' * len(named))})"
        f" on conflict ({', '.join(_KEY)}) do update set {kept}",
        [*values.values(), place],
    )
    number, symbol, other, name, *codes = index.execute(
        "select id, symbol, provider_symbol, name, isin, figi from hits"
        " where provider = ? and provider_symbol = ?",
        (hit.provider, hit.provider_symbol),
    ).fetchone()
    index.execute("delete from words where rowid = ?", (number,))
    index.execute(
        "insert into words (rowid, symbol, name, codes) values (?, ?, ?, ?)",
        (
            number,
            f"{symbol} {other}",
            " ".join(spellings(name or "")),
            " ".join(code for code in codes if code),
        ),
    )
    return int(number)


def _hit(row: Sequence[Any]) -> Hit:
    values = dict(zip(_FIELDS, row, strict=True))
    for name in _DATES:
        values[name] = None if values[name] is None else date.fromisoformat(values[name])
    listed = values["listed"]
    return Hit(**{**values, "listed": None if listed is None else bool(listed)})

"""Looking after a cache: what it holds, whether it is sound, and what may go."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from tickerlake.cache.axis import FOREVER, instant
from tickerlake.cache.flight import flight
from tickerlake.cache.index import Change, Index, Series, usable
from tickerlake.cache.looks import flight_name
from tickerlake.cache.plan import Part, parts_of
from tickerlake.cache.planner import Held
from tickerlake.cache.row_files import RowFile, read_rows
from tickerlake.cache.rows import newest, stamps
from tickerlake.cache.store import Store
from tickerlake.errors import NotFoundError, StorageError
from tickerlake.records import Kind

__all__ = ["CacheCare", "Denied", "Finding", "Holding"]


@dataclass(frozen=True, slots=True)
class Holding:
    """One series: what is held of it. `due` counts rechecks; `current` generations are served."""

    source: str
    symbol: str
    kind: Kind
    interval: str
    session: str
    generation: int
    current: bool
    rows: int
    bytes: int
    files: int
    covered: tuple[Part, ...]
    due: int
    next_due: datetime | None
    suspect: int
    quarantined: int
    #: Why, as it was said last; "" where nothing is quarantined.
    why: str


@dataclass(frozen=True, slots=True)
class Denied:
    """A symbol that a source does not know; it is asked again after `until`, or once pruned."""

    source: str
    symbol: str
    times: int
    until: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, where, and what was done about it ("" = nothing yet)."""

    where: str
    what: str
    done: str = ""


class CacheCare:
    """What `tickerlake cache` does. Repairs and fetches of one series wait for each other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._store = Store(folder)

    def close(self) -> None:
        """Give back the index's connection."""
        self._store.close()

    def holdings(
        self, *, source: str | None = None, symbol: str | None = None, interval: str | None = None
    ) -> list[Holding]:
        """What is held, by series; only those that fit what is given."""
        return [self._holding(series) for series in self._chosen(source, symbol, interval)]

    def denials(self, *, source: str | None = None, symbol: str | None = None) -> list[Denied]:
        """Symbols that were not found; only those that fit what is given."""
        return [
            Denied(*key, denial.tries, instant(denial.until), denial.why)
            for key, denial in self._store.index.denials().items()
            if source in (None, key[0]) and _is_symbol(symbol, key[1])
        ]

    def accept(
        self, *, source: str | None = None, symbol: str | None = None, interval: str | None = None
    ) -> list[Holding]:
        """Believe the provider where its new prices contradict what is held.

        Of each series that fits and is suspect a new generation begins, of which nothing is held:
        the next fetch asks for everything. The old rows stay, and are no longer served; `prune`
        deletes them. Returns what was held of each.
        """
        accepted = []
        for series in self._chosen(source, symbol, interval):
            with flight(self._folder, flight_name(series.key)):
                served = self._store.index.current(series.key)
                if served is None or served.id != series.id:
                    continue
                if not any(recheck.why == "suspect" for recheck in served.held.rechecks):
                    continue
                holding = self._holding(served)
                about = {name: told for name, told in served.about.items() if name != "split_basis"}
                fresh = replace(
                    served, id=None, generation=served.generation + 1, about=about, held=Held()
                )
                self._store.commit([Change(fresh)])
            accepted.append(replace(holding, current=False))
        return accepted

    def verify(self) -> list[Finding]:
        """Everything that is not as it was written; reads every file, changes nothing."""
        try:
            findings = [Finding("index.sqlite", text) for text in self._store.index.check()]
            for series in self._store.index.all_series():
                findings += [finding for _, finding in self._damage(series)]
            orphans = self._store.orphans()
        except StorageError as error:
            return [Finding("index.sqlite", f"cannot be read: {error.found}")]
        return findings + [
            Finding(str(path.relative_to(self._folder)), "an orphan: a crash left it")
            for path in orphans
        ]

    def repair(self) -> list[Finding]:
        """Set damaged files aside, with what they covered, and delete orphans.

        What was damaged is asked for again by the next fetch. An index that cannot be read is set
        aside with all rows: everything is asked for again.
        """
        try:
            broken = self._store.index.check()
        except StorageError as error:
            broken = [f"cannot be read: {error.found}"]
        if broken:
            return [Finding("index.sqlite", text, self._start_anew()) for text in broken[:1]]
        findings = []
        for series in self._store.index.all_series():
            with flight(self._folder, flight_name(series.key)):
                damage = self._damage(series)
                if damage:
                    fresh = next(s for s in self._store.index.all_series() if s.id == series.id)
                    self._store.set_aside(fresh, [file for file, _ in damage])
                findings += [
                    replace(f, done="set aside; what it held is asked for again") for _, f in damage
                ]
        orphans = self._store.orphans()
        self._store.delete(orphans)
        return findings + [
            Finding(str(path.relative_to(self._folder)), "an orphan: a crash left it", "deleted")
            for path in orphans
        ]

    def prune(
        self, *, source: str | None = None, symbol: str | None = None, interval: str | None = None
    ) -> tuple[int, int]:
        """Forget the series that fit, and that their symbols were not found.

        Without any choice, forget all that is not served.

        That is older generations, quarantined and damaged files, and orphans. Returns how many
        files went, and their bytes.
        """
        everything = source is None and symbol is None and interval is None
        gone: list[Path] = []
        for series in self._chosen(source, symbol, interval):
            if everything and self._is_current(series):
                continue
            with flight(self._folder, flight_name(series.key)):
                names = self._store.index.drop(series)
            gone += [
                self._folder / part / name for part in ("rows", "quarantine") for name in names
            ]
        if interval is None and not everything:
            for denied in self.denials(source=source, symbol=symbol):
                self._store.index.deny(denied.source, denied.symbol, None)
        if everything:
            for name in self._store.index.forget_quarantined():
                gone.append(self._folder / "quarantine" / name)
            gone += sorted((self._folder / "damaged").glob("*"))
            gone += self._store.orphans()
        with usable(self._folder):
            found = [path for path in gone if path.is_file()]
            size = sum(path.stat().st_size for path in found)
        self._store.delete(found)
        return len(found), size

    def export(
        self,
        kind: Kind,
        *,
        source: str | None = None,
        symbol: str | None = None,
        interval: str | None = None,
    ) -> pa.Table:
        """The rows that are served, as they came, with the basis that they came with.

        Raises:
            NotFoundError: Nothing is held that fits.
            StorageError: A file is damaged.
        """
        tables = []
        for series in self._chosen(source, symbol, interval if kind == "bar" else None):
            if series.key.kind != kind or not self._is_current(series):
                continue
            rows, damaged = self._store.rows(series)
            if damaged:
                raise StorageError(
                    f"{len(damaged)} files of the cache are damaged.",
                    expected="the rows that were written",
                    found=damaged[0].name,
                    todo="run tickerlake cache repair, then fetch again",
                )
            tables.append(rows)
        if not tables:
            raise _nothing_fits("bars that were fetched before")
        return pa.concat_tables(tables)

    def set_apart(
        self, *, source: str | None = None, symbol: str | None = None, interval: str | None = None
    ) -> pa.Table:
        """The bars that contradict those that are served, the newest of each key.

        Raises:
            NotFoundError: None is quarantined that fits.
            StorageError: A file is damaged.
        """
        tables = [
            table
            for series in self._chosen(source, symbol, interval)
            if series.key.kind == "bar" and self._is_current(series)
            for table in self._store.set_apart(series)
        ]
        if not tables:
            raise _nothing_fits("bars that are quarantined")
        return newest(pa.concat_tables(tables), "bar")

    def _chosen(self, source: str | None, symbol: str | None, interval: str | None) -> list[Series]:
        return [
            series
            for series in self._store.index.all_series()
            if source in (None, series.key.provider)
            and _is_symbol(symbol, series.key.symbol)
            and interval in (None, series.key.interval)
        ]

    def _is_current(self, series: Series) -> bool:
        current = self._store.index.current(series.key)
        return current is not None and current.id == series.id

    def _holding(self, series: Series) -> Holding:
        key, held, files = series.key, series.held, self._store.index.files(series)
        apart = self._store.index.quarantined(series)
        dues = [recheck.due for recheck in held.rechecks if recheck.due < FOREVER]
        return Holding(
            source=key.provider,
            symbol=key.symbol,
            kind=key.kind,
            interval=key.interval,
            session=key.session,
            generation=series.generation,
            current=self._is_current(series),
            rows=sum(file.rows for file in files),
            bytes=sum(file.bytes for file in files),
            files=len(files),
            covered=parts_of(held.coverage),
            due=len(dues),
            next_due=instant(min(dues)) if dues else None,
            suspect=sum(recheck.why == "suspect" for recheck in held.rechecks),
            quarantined=sum(file.rows for file in apart),
            why=apart[-1].why if apart else "",
        )

    def _damage(self, series: Series) -> list[tuple[RowFile, Finding]]:
        found = []
        for file in self._store.index.files(series):
            what = self._wrong_with(file, series)
            if what:
                found.append((file, Finding(f"rows/{file.name}", what)))
        return found

    def _wrong_with(self, file: RowFile, series: Series) -> str:
        try:
            rows = read_rows(self._folder / "rows", file, series.key.kind)
        except FileNotFoundError:
            named = {each.name for each in self._store.index.files(series)}
            return "is lost" if file.name in named else ""  # a fetch replaced it meanwhile
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        if rows is None:
            return "is not what was written (checksum)"
        at = stamps(rows).tolist()
        unique = series.key.kind != "bar" or len(set(at)) == len(at)
        bounded = not at or (file.low <= at[0] and at[-1] < file.high)
        sound = rows.num_rows == file.rows and at == sorted(at) and unique and bounded
        return "" if sound else "holds other rows than the index says"

    def _start_anew(self) -> str:
        self._store.close()
        target = self._folder / "damaged"
        # The index goes last, so that a crash leaves no log of it beside a new one.
        index = sorted(self._folder.glob("index.sqlite*"), reverse=True)
        with usable(self._folder):
            target.mkdir(parents=True, exist_ok=True)
            for path in [*self._folder.glob("rows/*.arrow"), *index]:
                shutil.move(path, target / path.name)
        self._store.index = Index(self._folder)
        return "set aside with all rows; everything is asked for again"


def _nothing_fits(expected: str) -> NotFoundError:
    return NotFoundError(
        "Nothing in the cache fits.",
        expected=expected,
        found="none",
        todo="see tickerlake cache status",
    )


def _is_symbol(wanted: str | None, symbol: str) -> bool:
    return wanted is None or wanted.strip().upper() == symbol.upper()

"""Looking after a cache: what it holds, whether it is sound, and what may go."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from tickerlake.cache.axis import instant
from tickerlake.cache.flight import flight
from tickerlake.cache.index import Index, Series
from tickerlake.cache.looks import flight_name
from tickerlake.cache.plan import Part, parts_of
from tickerlake.cache.row_files import RowFile, read_rows
from tickerlake.cache.rows import stamps
from tickerlake.cache.store import Store
from tickerlake.errors import NotFoundError, StorageError
from tickerlake.records import Kind

__all__ = ["CacheCare", "Finding", "Holding"]


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
        for path in self._store.orphans():
            path.unlink(missing_ok=True)
            name = str(path.relative_to(self._folder))
            findings.append(Finding(name, "an orphan: a crash left it", "deleted"))
        return findings

    def prune(
        self, *, source: str | None = None, symbol: str | None = None, interval: str | None = None
    ) -> tuple[int, int]:
        """Forget the series that fit; without any choice, all that is not served.

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
        if everything:
            for name in self._store.index.forget_quarantined():
                gone.append(self._folder / "quarantine" / name)
            gone += sorted((self._folder / "damaged").glob("*"))
            gone += self._store.orphans()
        found = [path for path in gone if path.is_file()]
        size = sum(path.stat().st_size for path in found)
        for path in found:
            path.unlink(missing_ok=True)
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
            raise NotFoundError(
                "Nothing in the cache fits.", expected="bars that were fetched before",
                found="none", todo="see tickerlake cache status",
            )  # fmt: skip
        return pa.concat_tables(tables)

    def _chosen(self, source: str | None, symbol: str | None, interval: str | None) -> list[Series]:
        return [
            series
            for series in self._store.index.all_series()
            if source in (None, series.key.provider)
            and (symbol is None or symbol.strip().upper() == series.key.symbol)
            and interval in (None, series.key.interval)
        ]

    def _is_current(self, series: Series) -> bool:
        current = self._store.index.current(series.key)
        return current is not None and current.id == series.id

    def _holding(self, series: Series) -> Holding:
        key, held, files = series.key, series.held, self._store.index.files(series)
        dues = [recheck.due for recheck in held.rechecks]
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
            quarantined=self._store.index.quarantined(series),
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
        target.mkdir(parents=True, exist_ok=True)
        for path in [*self._folder.glob("index.sqlite*"), *self._folder.glob("rows/*.arrow")]:
            shutil.move(path, target / path.name)
        self._store.index = Index(self._folder)
        return "set aside with all rows; everything is asked for again"

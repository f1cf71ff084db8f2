"""`lake verify`: is every promise of the lake kept? Looks at everything, changes only the hint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from tickerlake.errors import NotFoundError, StorageError
from tickerlake.lake.base import Loaded
from tickerlake.lake.chain import Chain
from tickerlake.lake.lake import Lake
from tickerlake.lake.maintenance.history import history
from tickerlake.lake.maintenance.positions_seen import PositionsSeen
from tickerlake.lake.maintenance.status import check_state
from tickerlake.lake.manifests import LiveFile
from tickerlake.lake.positions import offsets_of, stream_ids
from tickerlake.lake.table import IcebergTable
from tickerlake.records import TABLES

__all__ = ["Finding", "VerifyReport", "verify"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A promise that is not kept."""

    table: str
    problem: str
    found: str
    todo: str


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What verification looked at, and what it found."""

    tables: int
    files: int
    rows: int
    findings: tuple[Finding, ...]
    #: Tables whose version hint was behind and is right now.
    mended_hints: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether every promise is kept."""
        return not self.findings


def verify(
    lake: Lake,
    names: Sequence[str] | None = None,
    *,
    on_table: Callable[[str], None] | None = None,
) -> VerifyReport:
    """Check files, offsets, ranges and positions of tables against each other.

    Args:
        lake: The lake.
        names: Which tables; all that exist if null.
        on_table: Told the name of each table before it is looked at.
    """
    findings: list[Finding] = []
    mended: list[str] = []
    files = rows = 0
    chosen = names or lake.names()
    for name in chosen:
        if on_table is not None:
            on_table(name)
        try:
            table = lake.table(name)
            if _hint_was_behind(table):
                mended.append(name)
            loaded = table.load()
            live = table.live_files(loaded)
        except (NotFoundError, StorageError) as error:
            found, todo = error.found or "", "restore what is missing from a backup"
            findings.append(Finding(name, error.problem, found, todo))
            continue
        files += len(live)
        rows += sum(file.row_count for file in live)
        broken = list(_check_files(table, live))
        findings.extend(broken)
        if name in TABLES.values() and not broken:
            findings.extend(_check_deliveries(lake, table, loaded))
    return VerifyReport(len(chosen), files, rows, tuple(findings), tuple(mended))


def _hint_was_behind(table: IcebergTable) -> bool:
    """Mend the hint; say whether it needed mending."""
    behind = table.hint_lags(table.metadata_location())
    if behind:
        table.mend_hint()
    return behind


def _check_files(table: IcebergTable, files: list[LiveFile]) -> Iterator[Finding]:
    for path, count in Counter(file.path for file in files).items():
        if count > 1:
            yield Finding(
                table.name,
                "A data file is live more than once, so its rows are too.",
                f"{path}, {count} times",
                "report this as a bug of tickerlake, with the output of `tickerlake lake status`",
            )
    for file in files:
        problem = _unreadable(table, file)
        if problem is not None:
            yield Finding(
                table.name,
                "A live data file cannot be read.",
                f"{file.path}: {problem}",
                "restore the file from a backup; no file below the lake may be removed by hand",
            )


def _unreadable(table: IcebergTable, file: LiveFile) -> str | None:
    if not table.store.exists(file.path):
        return "it does not exist"
    try:
        with table.parquet(file) as parquet:
            rows = sum(batch.num_rows for batch in parquet.iter_batches(batch_size=100_000))
    except (OSError, pa.ArrowException) as error:
        return str(error)
    return None if rows == file.row_count else f"{rows} rows instead of {file.row_count}"


def _check_deliveries(lake: Lake, table: IcebergTable, loaded: Loaded) -> Iterator[Finding]:
    rewind = f"run `tickerlake lake rewind {table.name}`, then deliver again"
    if check_state(table, loaded) == "disagrees":
        yield Finding(
            table.name,
            "The offsets are not what the newest checkpoint says: the table was turned back.",
            "another `tickerlake.check` than that of the offset properties",
            rewind,
        )
        return
    told = history(lake, table, loaded)
    offsets: dict[tuple[str, str], int] = {
        (stream, partition): offset
        for stream in stream_ids(loaded.properties)
        for partition, offset in offsets_of(loaded.properties, stream).items()
    }
    for key, chain in told.items():
        if key not in offsets and chain.ended and chain.next_position is not None:
            offsets[key] = chain.next_position  # Delivered to its end, and forgotten since.
    seen = PositionsSeen(told, offsets)
    for batch in table.batches(loaded, ["_stream", "_partition", "_offset", "_index", "origin"]):
        seen.add(batch)
    for key, offset in offsets.items():
        for problem, found in _problems(told.get(key), offset, seen, key):
            where = f"stream {key[0]}, partition {key[1]}: {found}"
            yield Finding(table.name, problem, where, rewind)
    for stream, partition in sorted(set(told) - set(offsets)):
        problem = "A partition that was delivered has no offset."
        yield Finding(table.name, problem, f"stream {stream}, partition {partition}", rewind)
    if seen.strangers:
        yield Finding(
            table.name,
            "Rows came from positions that no delivery tells of.",
            f"{seen.strangers} rows",
            "find out which tool wrote them; the tables are tickerlake's to write",
        )


def _problems(
    chain: Chain | None, offset: int, seen: PositionsSeen, key: tuple[str, str]
) -> Iterator[tuple[str, str]]:
    if chain is None:
        yield "An offset has no delivery that set it.", f"offset {offset}"
        return
    for broken in chain.breaks:
        yield "The ranges of the deliveries do not follow on each other.", broken
    if chain.next_position != offset:
        yield "The offset is not where the last delivery ended.", f"{offset}, {chain.next_position}"
    largest = seen.largest(key)
    if largest is not None and largest >= offset:
        yield "A row's position is not below the offset.", f"position {largest}, offset {offset}"
    doubled, rows = seen.doubled(key), seen.records(key)
    if doubled:
        yield "Positions are there more than once.", f"{doubled} positions"
    if rows < chain.rows:
        yield "Positions are missing.", f"{rows} rows, {chain.rows} delivered"
    if rows > chain.rows and not chain.cut:
        yield "Rows are there that no delivery counted.", f"{rows} rows, {chain.rows} delivered"

"""`lake compact`: many small files of closed days → few large ones, month by month.

Never by a filter: rows that arrive meanwhile would be deleted with it. The outputs are written
first; then, in a loop, a fresh state is loaded, all inputs are checked to be live in it, and one
commit deletes exactly these files and adds the outputs. Offsets stay untouched. Small months share
a commit: a history of many years would else leave a snapshot for each of its months.

All compacted files of a month are always among the inputs, so that for each key at most one
compacted row has no superseded mark.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from tickerlake import clock
from tickerlake.lake.base import Change, Loaded, WrittenFile
from tickerlake.lake.derived import latest_knows, refresh_latest
from tickerlake.lake.lake import Lake
from tickerlake.lake.maintenance.superseded import in_order_with_marks
from tickerlake.lake.manifests import LiveFile, microseconds
from tickerlake.lake.retry import commit_until_landed
from tickerlake.lake.table import IcebergTable
from tickerlake.lake.tables import LATEST
from tickerlake.lake.writer import COMPACTED, MonthWriter, sort_rows
from tickerlake.records import TABLES

__all__ = ["CompactReport", "compact"]


@dataclass(frozen=True, slots=True)
class CompactReport:
    """What compaction did to one month of one table."""

    table: str
    #: Such as `2013-02`; null for rows without a time, and in tables without months.
    month: str | None
    files_before: int
    files_after: int
    rows: int
    bytes_before: int
    bytes_after: int
    #: False: others changed these files meanwhile; what was written goes with a later sweep.
    landed: bool


@dataclass(frozen=True, slots=True)
class _Month:
    """What was read, and what was written in its place."""

    inputs: tuple[LiveFile, ...]
    outputs: tuple[WrittenFile, ...]


def compact(
    lake: Lake,
    names: Sequence[str] | None = None,
    *,
    before: datetime | None = None,
    fresh_files_min: int = 1,
) -> list[CompactReport]:
    """Compact every month in which files of closed days have come together.

    Args:
        lake: The lake.
        names: Which tables; all that exist if null.
        before: Only files all of whose rows are older than this; the start of today (UTC) if
            null. A day that is still running is left alone.
        fresh_files_min: Leave a month alone while it has fewer files that are not compacted yet.

    Raises:
        StorageError: The disk is full; what was begun is removed.
    """
    today = datetime.combine(clock.now().date(), time(), tzinfo=clock.now().tzinfo)
    cut = microseconds(before or today)
    reports: list[CompactReport] = []
    for name in names or lake.names():
        if name == LATEST:
            continue  # Its refresh writes one file each time.
        table = lake.table(name)
        known = _known_to_latest(lake, name)
        months = list(_months(table, table.load(), cut, known, fresh_files_min))
        for batch in _batches(months, lake.settings.compaction_rows_max):
            reports.extend(_compact_months(lake, table, batch))
    return reports


def _known_to_latest(lake: Lake, name: str) -> int | None:
    """Up to which commit `latest` has seen the table's rows; null: it does not look at them.

    A refresh never reads compacted files, so only what it has seen may be compacted.
    """
    refresh_latest(lake)
    return latest_knows(lake.table(LATEST).load()).get(name)


def _months(
    table: IcebergTable, loaded: Loaded, cut: int, known: int | None, fresh_files_min: int
) -> Iterator[list[LiveFile]]:
    """The inputs of each month that is worth it: all its files but those of a running day."""
    months: dict[int | None, list[LiveFile]] = defaultdict(list)
    for file in table.live_files(loaded):
        seen = known is None or file.sequence_number <= known
        if file.compacted or (seen and _closed(table, file, cut)):
            months[file.month].append(file)
    for files in months.values():
        if sum(not file.compacted for file in files) >= max(1, fresh_files_min):
            yield files


def _batches(months: Sequence[list[LiveFile]], rows_max: int) -> Iterator[list[list[LiveFile]]]:
    """Months that share a commit: about `rows_max` rows, at least one month."""
    batch: list[list[LiveFile]] = []
    rows = 0
    for files in months:
        batch.append(files)
        rows += sum(file.row_count for file in files)
        if rows >= rows_max:
            yield batch
            batch, rows = [], 0
    if batch:
        yield batch


def _closed(table: IcebergTable, file: LiveFile, cut: int) -> bool:
    if table.spec.month_of is None or file.month is None:
        return True
    _, last = file.bounds.get("ts", (None, None))
    return last is not None and last < cut


def _compact_months(
    lake: Lake, table: IcebergTable, batch: list[list[LiveFile]]
) -> list[CompactReport]:
    months: list[_Month] = []
    try:
        # One by one, so that what is written already is known if the next one fails.
        months.extend(_Month(tuple(inputs), _write(lake, table, inputs)) for inputs in batch)
    except BaseException:
        for month in months:
            table.discard(month.outputs)
        raise

    def decide(loaded: Loaded) -> Change | None:
        live = set(table.files(loaded))
        # A month that another compaction took, or that landed with a try whose answer was lost,
        # is left out; so is one whose outputs a sweep may be after: we were paused for hours.
        waiting = [
            month
            for month in months
            if live.issuperset(_paths(month.inputs)) and not _old(lake, month.outputs)
        ]
        if not waiting:
            return None
        return Change(
            append=tuple(file for month in waiting for file in month.outputs),
            delete=tuple(path for month in waiting for path in _paths(month.inputs)),
        )

    commit_until_landed(table, decide)
    live = set(table.files(table.load()))
    return [_report(table, month, live.issuperset(_paths(month.outputs))) for month in months]


def _old(lake: Lake, files: Sequence[WrittenFile]) -> bool:
    """Whether files waited so long for their commit that a sweep may take them, or one has."""
    oldest = clock.real_now() - timedelta(hours=lake.settings.sweep_age_hours / 2)
    return any(file.written_at_seconds < oldest.timestamp() or not file.is_there for file in files)


def _paths(files: Sequence[LiveFile] | Sequence[WrittenFile]) -> list[str]:
    return [file.path for file in files]


def _report(table: IcebergTable, month: _Month, landed: bool) -> CompactReport:
    return CompactReport(
        table=table.name,
        month=_month_name(month.inputs[0].month),
        files_before=len(month.inputs),
        files_after=len(month.outputs),
        rows=sum(file.row_count for file in month.outputs),
        bytes_before=sum(file.byte_count for file in month.inputs),
        bytes_after=sum(file.byte_count for file in month.outputs),
        landed=landed,
    )


def _month_name(number: int | None) -> str | None:
    return None if number is None else f"{1970 + number // 12:04d}-{number % 12 + 1:02d}"


def _write(lake: Lake, table: IcebergTable, inputs: list[LiveFile]) -> tuple[WrittenFile, ...]:
    """The rows of all inputs in order, in as few files as the row limit allows."""
    written: list[WrittenFile] = []
    handle = table.load().handle
    slices = _slices(table, inputs)
    rows = next(slices, None)
    try:
        while rows is not None:
            count = 0
            with MonthWriter(
                table.store, handle, table.spec, table.settings, inputs[0].month, prefix=COMPACTED
            ) as writer:
                while rows is not None and count < lake.settings.compacted_file_rows_max:
                    writer.write(_ordered(table, rows))
                    count += rows.num_rows
                    rows = next(slices, None)
                written.append(writer.finish())
    except BaseException:
        table.discard(tuple(written))
        raise
    return tuple(written)


def _ordered(table: IcebergTable, rows: pa.Table) -> pa.Table:
    if table.name == TABLES["bar"]:
        return in_order_with_marks(rows)
    return sort_rows(rows, table.spec.sort)


def _slices(table: IcebergTable, inputs: list[LiveFile]) -> Iterator[pa.Table]:
    """All rows, cut by symbol into pieces that fit into memory, in order of symbol."""
    first, rows_max = table.spec.sort[0], table.settings.compaction_rows_max
    if sum(file.row_count for file in inputs) <= rows_max:
        yield table.read_files(inputs, encoded=True)
        return
    symbols = table.read_files(inputs, columns=[first]).column(first).dictionary_encode()
    counts = {item["values"]: item["counts"] for item in symbols.value_counts().to_pylist()}
    if counts.pop(None, 0):
        yield table.read_files(inputs, condition=ds.field(first).is_null(), encoded=True)
    batch: list[str] = []
    rows = 0
    for symbol in sorted(counts):
        if batch and rows + counts[symbol] > rows_max:
            yield _between(table, inputs, first, batch)
            batch, rows = [], 0
        batch.append(symbol)
        rows += counts[symbol]
    if batch:
        yield _between(table, inputs, first, batch)


def _between(
    table: IcebergTable, inputs: list[LiveFile], column: str, values: list[str]
) -> pa.Table:
    # A range, not a set: row groups outside it are not even opened.
    after, until = pc.scalar(values[0]), pc.scalar(values[-1])
    inside = (ds.field(column) >= after) & (ds.field(column) <= until)
    return table.read_files(inputs, condition=inside, encoded=True)

"""Step 6: data files, written once, sorted, under names that nobody else uses.

Parquet as the lake wants it: zstd 1, dictionaries for strings and `ts`, row groups of about 120k
rows, Iceberg's field ids in the schema. One file lies in one month. Statistics come from the
metadata that the Parquet writer holds in memory: no file is opened again.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.typedef import Record

from tickerlake import clock
from tickerlake.errors import MalformedError, StorageError
from tickerlake.lake.base import WrittenFile
from tickerlake.lake.settings import LakeSettings
from tickerlake.lake.store import Output, Store, location_of, path_of
from tickerlake.lake.store_errors import storage_error
from tickerlake.lake.tables import WITHOUT_BOUNDS, TableSpec, metrics_properties
from tickerlake.records import is_constant

if TYPE_CHECKING:
    from pyiceberg.table import Table

__all__ = [
    "COMPACTED",
    "FRESH",
    "MonthWriter",
    "month_numbers",
    "sort_key",
    "sort_rows",
    "stored_type",
    "write_rows",
]

#: How names of data files begin. Compacted files carry superseded marks; see the query room.
FRESH = "fresh-"
COMPACTED = "compacted-"

#: Strings that hardly repeat: a dictionary would only cost.
_DISTINCT = frozenset({"trade_id", "origin", "dead_reason", "_sequence"})

#: Numbers that do repeat: prices have few decimals, and many symbols trade in the same minute.
_REPEATED_NUMBERS = frozenset(
    {"ts", "session_date", "open", "high", "low", "close", "adj_close", "volume", "price", "size"}
    | {"bid", "bid_size", "ask", "ask_size", "_index", "_delivered_at"}
)

#: Hashes do not shrink; and of words that are the same in whole runs of rows Parquet keeps a count,
#: which compressing makes no smaller, but each time at the price of setting it up.
_UNCOMPRESSED = frozenset(
    {"event_id", "kind", "provider", "interval", "currency", "state", "session"}
    | {"instrument_type", "_stream", "_partition"}
)

_EPOCH_MONTH = np.datetime64("1970-01", "M")


def month_numbers(instants: pa.ChunkedArray) -> np.ndarray:
    """Months since 1970-01 of each instant, as Iceberg counts them; null becomes the lowest int."""
    values = pc.cast(instants, pa.int64()).combine_chunks()
    months = (
        pc.fill_null(values, 0)
        .to_numpy(zero_copy_only=False)
        .view("datetime64[us]")
        .astype("datetime64[M]")
        .astype(np.int64)
    )
    if values.null_count:
        months = months.copy()
        months[values.is_null().to_numpy(zero_copy_only=False)] = np.iinfo(np.int64).min
    return months


def sort_rows(rows: pa.Table, by: tuple[str, ...]) -> pa.Table:
    """Sort by the given columns, nulls first; a table that is in order already is not copied."""
    if rows.num_rows < 2:
        return rows
    return _taken(rows, _order([sort_key(rows.column(name)) for name in by]))


def sort_key(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Integers that sort like the column: ranks of strings, microseconds of instants."""
    column = _whole(column)
    if pa.types.is_dictionary(column.type) or pa.types.is_string(column.type):
        coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        # Ranks of the few distinct values, looked up per row: far cheaper than comparing strings.
        values = coded.dictionary.to_pylist()
        ranks = np.empty(len(values) + 1, np.int64)
        ranks[sorted(range(len(values)), key=values.__getitem__)] = np.arange(1, len(values) + 1)
        ranks[len(values)] = 0  # null
        codes = pc.fill_null(coded.indices, len(values)).to_numpy(zero_copy_only=False)
        return ranks[codes]
    numbers = pc.fill_null(pc.cast(column, pa.int64()), np.iinfo(np.int64).min)
    return numbers.to_numpy(zero_copy_only=False)


def _order(keys: list[np.ndarray]) -> np.ndarray | None:
    """The stable order of rows by several keys, most significant first; null: as they are."""
    if _in_order(keys):
        return None
    order = np.arange(len(keys[0]))
    for key in reversed(keys):
        # Stable sorts from the least significant key on: of narrow keys by radix, and of wide ones
        # by timsort, which is fast on the runs that streams deliver.
        placed = _narrow(key)[order]
        if not _in_order([placed]):
            order = order[np.argsort(placed, kind="stable")]
    return order


def _in_order(keys: list[np.ndarray]) -> bool:
    tied = np.ones(len(keys[0]) - 1, bool)
    for key in keys:
        if bool((tied & (key[1:] < key[:-1])).any()):
            return False
        tied &= key[1:] == key[:-1]
    return True


def _narrow(key: np.ndarray) -> np.ndarray:
    """The same order in 16 bits, if the key's values lie that close together."""
    low, high = int(key.min()), int(key.max())
    return (key - low).astype(np.uint16) if high - low < 1 << 16 else key


def _taken(rows: pa.Table, order: np.ndarray | None) -> pa.Table:
    """Rows in another order. Columns that hold one value everywhere, as most do, stay."""
    if order is None:
        return rows
    places = pa.array(order)
    return pa.table([_placed(_whole(column), places) for column in rows.columns], rows.schema.names)


def _placed(column: pa.Array, places: pa.Array) -> pa.Array:
    return column if _is_constant(column) else column.take(places)


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """In one chunk: with one dictionary, because a change of dictionary ends Parquet's own."""
    if isinstance(column, pa.Array):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _is_constant(column: pa.Array) -> bool:
    if column.null_count:
        return bool(column.null_count == len(column))
    if pa.types.is_dictionary(column.type):
        return len(column.dictionary) == 1
    if pa.types.is_nested(column.type) or not column[0].equals(column[-1]):
        return False
    return bool(pc.all(pc.equal(column, column[0])).as_py())


def write_rows(
    store: Store,
    table: Table,
    spec: TableSpec,
    settings: LakeSettings,
    rows: pa.Table,
    *,
    prefix: str = FRESH,
) -> tuple[WrittenFile, ...]:
    """Write `rows` into one file per month; each is complete and durable when this returns.

    Raises:
        MalformedError: The columns are not the table's.
        StorageError: The disk is full; what was begun is removed.
    """
    if rows.column_names != spec.schema.names:
        raise MalformedError(
            f"These rows do not have the columns of {spec.name}.",
            expected=", ".join(spec.schema.names),
            found=", ".join(rows.column_names),
            todo="select the columns in this order",
        )
    written: list[WrittenFile] = []
    try:
        for month, part in _by_month(rows, spec):
            with MonthWriter(store, table, spec, settings, month, prefix=prefix) as writer:
                writer.write(part)
                written.append(writer.finish())
    except BaseException:
        with contextlib.suppress(StorageError):
            store.delete([file.path for file in written])
        raise
    return tuple(written)


def _by_month(rows: pa.Table, spec: TableSpec) -> Iterator[tuple[int | None, pa.Table]]:
    """The rows of each month as they are stored, sorted: slices of one copy."""
    if rows.num_rows == 0:
        return
    columns = dict(zip(rows.column_names, rows.columns, strict=True))
    for name in spec.sort:
        columns[name] = _stored(columns[name], spec.schema.field(name))
    keys = [sort_key(columns[name]) for name in spec.sort]
    months = (
        np.zeros(rows.num_rows, np.int64)
        if spec.month_of is None
        else month_numbers(rows[spec.month_of])
    )
    order = _order([months, *keys])
    places = None if order is None else pa.array(order)
    for field in spec.schema:
        # One column after the other: a second copy of all would be half of what a worker needs.
        stored = _stored(columns[field.name], field)
        columns[field.name] = stored if places is None else _placed(stored, places)
    ordered = pa.table(columns)
    if spec.month_of is None:
        yield None, ordered
        return
    months = months if order is None else months[order]
    starts = np.flatnonzero(np.r_[True, months[1:] != months[:-1]])
    for start, end in zip(starts, [*starts[1:], len(months)], strict=True):
        yield _month_or_null(months[start]), ordered.slice(start, end - start)


def _month_or_null(number: np.int64) -> int | None:
    return None if number == np.iinfo(np.int64).min else int(number)


class MonthWriter:
    """One data file of one month, written in pieces that are already sorted.

    Promise: after `finish` the file is complete, and as durable as its store makes it. Leaving
    the context without `finish` removes what was begun.
    """

    def __init__(
        self,
        store: Store,
        table: Table,
        spec: TableSpec,
        settings: LakeSettings,
        month: int | None,
        *,
        prefix: str,
    ) -> None:
        self._store = store
        self._table = table
        self._settings = settings
        self._month = month
        self._partitioned = spec.month_of is not None
        self._spec = spec
        self._schema = _file_schema(spec, table)
        self._path = f"{_folder(table, spec, month)}/{prefix}{uuid.uuid4()}.parquet"
        self._finished = False
        self._output: Output | None = None
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        try:
            self._output = self._store.create(self._path)
            self._writer = pq.ParquetWriter(
                self._output.file,
                self._schema,
                store_schema=False,
                **_encodings(self._schema, self._settings),
            )
        except OSError as error:
            raise storage_error(error, self._path) from error
        return self

    def write(self, rows: pa.Table) -> None:
        """Add sorted rows.

        Raises:
            StorageError: The disk is full.
        """
        assert self._writer is not None  # noqa: S101 - only inside the context
        columns = [
            _stored(column, field)
            for column, field in zip(rows.columns, self._spec.schema, strict=True)
        ]
        stored = pa.table(columns, schema=self._schema)
        try:
            self._writer.write_table(stored, row_group_size=self._settings.row_group_rows)
        except OSError as error:
            raise storage_error(error, self._path) from error

    def finish(self) -> WrittenFile:
        """Complete the file and describe it.

        Raises:
            StorageError: The disk is full.
        """
        assert self._writer is not None  # noqa: S101 - only inside the context
        assert self._output is not None  # noqa: S101
        try:
            self._writer.close()
            byte_count = self._output.finish()
        except OSError as error:
            raise storage_error(error, self._path) from error
        metadata = self._writer.writer.metadata
        self._finished = True
        return WrittenFile(
            path=self._path,
            row_count=metadata.num_rows,
            byte_count=byte_count,
            written_at_seconds=clock.real_now().timestamp(),
            data_file=self._describe(metadata, byte_count),
            store=self._store,
        )

    def __exit__(self, *_: object) -> None:
        if self._finished:
            return
        if self._writer is not None:
            # The error that brought us here says more than one of closing.
            with contextlib.suppress(OSError, pa.ArrowException):
                self._writer.close()
        if self._output is not None:
            self._output.discard()

    def _describe(self, metadata: pq.FileMetaData, byte_count: int) -> DataFile:
        columns, mapping = _statistics_plan(self._table)
        statistics = data_file_statistics_from_parquet_metadata(
            parquet_metadata=metadata, stats_columns=columns, parquet_column_mapping=mapping
        )
        file = DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=location_of(self._path),
            file_format=FileFormat.PARQUET,
            partition=Record(self._month) if self._partitioned else Record(),
            file_size_in_bytes=byte_count,
            sort_order_id=self._table.metadata.default_sort_order_id,
            equality_ids=None,
            key_metadata=None,
            **statistics.to_serialized_dict(),
        )
        file.spec_id = self._table.metadata.default_spec_id
        return file


_plans: dict[tuple[uuid.UUID, int], tuple[dict[int, Any], dict[str, int]]] = {}


def _statistics_plan(table: Table) -> tuple[dict[int, Any], dict[str, int]]:
    """Which statistics each column gets. Worked out once a schema: it costs 5 ms."""
    key = table.metadata.table_uuid, table.metadata.current_schema_id
    if key not in _plans:
        schema = table.schema()
        _plans[key] = (
            compute_statistics_plan(schema, metrics_properties()),
            parquet_path_to_id_mapping(schema),
        )
    return _plans[key]


def _folder(table: Table, spec: TableSpec, month: int | None) -> str:
    data = f"{path_of(table.location())}/data"
    if spec.month_of is None:
        return data
    name = "null" if month is None else str(_EPOCH_MONTH + np.timedelta64(month, "M"))
    return f"{data}/{spec.month_of}_month={name}"


def _file_schema(spec: TableSpec, table: Table) -> pa.Schema:
    """The table's columns with Iceberg's field ids; repeated strings as dictionaries."""
    ids = table.schema()
    return pa.schema(
        [
            pa.field(
                field.name,
                stored_type(field),
                metadata={"PARQUET:field_id": str(ids.find_field(field.name).field_id)},
            )
            for field in spec.schema
        ]
    )


def stored_type(field: pa.Field) -> pa.DataType:
    """How a column lies in memory while it is sorted: repeated strings as dictionaries."""
    repeated = pa.types.is_string(field.type) and field.name not in _DISTINCT
    return pa.dictionary(pa.int32(), pa.string()) if repeated else field.type


def _stored(column: pa.Array | pa.ChunkedArray, field: pa.Field) -> pa.Array:
    """A column in the type in which it is stored, in one chunk.

    Encoding before sorting makes both cheap: a row's strings move as one small number each.
    """
    type_ = stored_type(field)
    if column.type == type_:
        return _whole(column)
    if pa.types.is_dictionary(type_) and not pa.types.is_dictionary(column.type):
        column = _dictionary(column.cast(pa.string()))
    return _whole(column if column.type == type_ else column.cast(type_))


def _encodings(schema: pa.Schema, settings: LakeSettings) -> dict[str, Any]:
    """How each column lies in the file: measured on a million bars, see ADR 0005.

    Only encodings of Parquet's first version: Iceberg's own vectorised reader in Spark refuses
    the delta encodings of the second.
    """
    names = schema.names
    plain = _UNCOMPRESSED
    return {
        "use_dictionary": [
            field.name
            for field in schema
            if pa.types.is_dictionary(field.type) or field.name in _REPEATED_NUMBERS
        ],
        # Where values hardly repeat after all, a small limit ends the dictionary early.
        "dictionary_pagesize_limit": 128 * 1024,
        # A row group's numbers at once: in pieces of a thousand they take longer.
        "write_batch_size": 16 * 1024,
        "compression": {name: "none" if name in plain else "zstd" for name in names},
        "compression_level": {name: settings.zstd_level for name in names if name not in plain},
        "write_statistics": [name for name in names if name not in WITHOUT_BOUNDS],
    }


def _dictionary(column: pa.ChunkedArray) -> pa.DictionaryArray:
    # A copy into one chunk costs less than to look at a thousand small ones.
    values = _whole(column)
    if not is_constant(values):
        return values.dictionary_encode()
    codes = pa.array(np.zeros(len(values), np.int32))
    return pa.DictionaryArray.from_arrays(codes, values[:1])

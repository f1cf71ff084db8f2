"""What tables there are: their columns, partitions, order and properties."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from tickerlake.errors import NotFoundError
from tickerlake.lake.settings import LakeSettings
from tickerlake.records import TABLES, lake_schema

if TYPE_CHECKING:
    from pyiceberg.partitioning import PartitionSpec
    from pyiceberg.schema import Schema
    from pyiceberg.table.sorting import SortOrder

__all__ = [
    "DELIVERIES",
    "LATEST",
    "SPECS",
    "WITHOUT_BOUNDS",
    "TableSpec",
    "iceberg_schema",
    "metrics_properties",
    "partition_spec",
    "sort_order",
    "spec_of",
    "table_properties",
]

_INSTANT: Final = pa.timestamp("us", tz="UTC")

DELIVERIES: Final = "deliveries"
LATEST: Final = "latest"

#: Columns by which no file and no row group can be left out: prices and sizes lie in any order,
#: and the words about an instrument are the same in all of them. Their bounds would only cost:
#: an eighth of the time of writing.
WITHOUT_BOUNDS: Final = frozenset(
    {"open", "high", "low", "close", "adj_close", "volume", "price", "size"}
    | {"bid", "bid_size", "ask", "ask_size", "kind", "currency", "instrument_type"}
    | {"session", "state", "split_basis", "_index", "payload"}
)


@dataclass(frozen=True, slots=True)
class TableSpec:
    """One table. All columns are optional; rows are sorted by `sort` inside each file."""

    name: str
    schema: pa.Schema
    sort: tuple[str, ...]
    #: Partition by the month of this column, or not at all.
    month_of: str | None = None


_DELIVERIES_SCHEMA: Final = pa.schema(
    [
        ("table_name", pa.string()),
        ("snapshot_id", pa.int64()),
        ("committed_at", _INSTANT),
        ("event", pa.string()),  # delivered | lost | rewound
        ("stream", pa.string()),
        ("partition", pa.string()),
        ("from_position", pa.int64()),
        ("to_position", pa.int64()),  # the first position that is not in it
        ("rows", pa.int64()),
        ("dropped", pa.int64()),  # repeats that were left out
        ("lost", pa.int64()),  # positions that the stream no longer held
        ("gaps", pa.int64()),  # positions that never held a record; null: none, as all were once
        ("to_address", pa.string()),  # the log's own address of `to_position`, if it has one
    ]
)

_LATEST_SCHEMA: Final = pa.schema(
    [
        ("provider", pa.string()),
        ("symbol", pa.string()),
        ("ts", _INSTANT),
        ("price", pa.float64()),
        ("currency", pa.string()),
        ("kind", pa.string()),  # bar | trade: where the price comes from
        ("interval", pa.string()),
        ("session_date", pa.date32()),
        ("state", pa.string()),
        ("volume", pa.float64()),
        ("instrument_type", pa.string()),
        ("fetched_at", _INSTANT),
        ("event_id", pa.int64()),
    ]
)

#: Kinds whose rows come in such numbers that a month is worth a partition.
_PARTITIONED: Final = ("bar", "trade", "quote", "price_band")

SPECS: Final[dict[str, TableSpec]] = {
    **{
        name: TableSpec(
            name,
            lake_schema(kind),
            sort=("symbol", "ts"),
            month_of="ts" if kind in _PARTITIONED else None,
        )
        for kind, name in TABLES.items()
    },
    DELIVERIES: TableSpec(DELIVERIES, _DELIVERIES_SCHEMA, sort=("table_name", "committed_at")),
    LATEST: TableSpec(LATEST, _LATEST_SCHEMA, sort=("symbol", "provider")),
}


def spec_of(name: str) -> TableSpec:
    """The table's description.

    Raises:
        NotFoundError: There is no such table.
    """
    try:
        return SPECS[name]
    except KeyError:
        raise NotFoundError(
            f"There is no table {name!r}.",
            expected=", ".join(SPECS),
            found=name,
            todo="write one of the names above",
        ) from None


def iceberg_schema(schema: pa.Schema) -> Schema:
    """Iceberg's schema of an Arrow one: fields numbered from 1 in order, all optional."""
    from pyiceberg.io.pyarrow import pyarrow_to_schema
    from pyiceberg.schema import Schema
    from pyiceberg.table.name_mapping import MappedField, NameMapping
    from pyiceberg.types import NestedField

    names = NameMapping(
        [
            MappedField(field_id=number, names=[name])
            for number, name in enumerate(schema.names, start=1)
        ]
    )
    converted = pyarrow_to_schema(schema, name_mapping=names)
    return Schema(
        *[
            NestedField(field.field_id, field.name, field.field_type, required=False)
            for field in converted.fields
        ]
    )


def partition_spec(spec: TableSpec, schema: Schema) -> PartitionSpec:
    """By month of the column that the table names, or unpartitioned."""
    from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionField, PartitionSpec
    from pyiceberg.transforms import MonthTransform

    if spec.month_of is None:
        return UNPARTITIONED_PARTITION_SPEC
    source = schema.find_field(spec.month_of)
    return PartitionSpec(
        PartitionField(
            source_id=source.field_id,
            field_id=1000,
            transform=MonthTransform(),
            name=f"{spec.month_of}_month",
        )
    )


def sort_order(spec: TableSpec, schema: Schema) -> SortOrder:
    """The order of rows inside each file, told to other engines."""
    from pyiceberg.table.sorting import SortField, SortOrder
    from pyiceberg.transforms import IdentityTransform

    return SortOrder(
        *[
            SortField(source_id=schema.find_field(name).field_id, transform=IdentityTransform())
            for name in spec.sort
        ]
    )


def metrics_properties() -> dict[str, str]:
    """Which columns carry bounds: compaction, tail reads and queries prune by them."""
    return {
        "write.metadata.metrics.default": "truncate(32)",
        **{f"write.metadata.metrics.column.{name}": "none" for name in sorted(WITHOUT_BOUNDS)},
    }


def table_properties(settings: LakeSettings) -> dict[str, str]:
    """Properties of a new table, for us and for other engines that write or maintain it."""
    return {
        "format-version": "2",
        "write.parquet.compression-codec": "zstd",
        "write.parquet.compression-level": str(settings.zstd_level),
        "write.parquet.row-group-limit": str(settings.row_group_rows),
        "write.metadata.delete-after-commit.enabled": "true",
        "write.metadata.previous-versions-max": str(max(100, settings.metadata_versions_max)),
        "commit.manifest-merge.enabled": "true",
        "commit.manifest.min-count-to-merge": str(settings.manifests_merge_at),
        **metrics_properties(),
        "history.expire.min-snapshots-to-keep": str(settings.snapshots_max),
    }

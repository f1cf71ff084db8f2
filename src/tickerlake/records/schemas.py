"""Arrow schemas of every kind of record, on the stream and in the lake.

Units: prices are in `currency` as the provider gave it (`GBp` is pence); volume and sizes are in
shares or coins; `ts` and `fetched_at` are UTC with microseconds; `ts_ns` is nanoseconds since 1970
(int64, because the table format's library stores no nanosecond timestamps yet).

`ts` of intraday bars is the bar's start; of 1d and longer bars 00:00 UTC of `session_date`.
"""

from __future__ import annotations

from datetime import date
from typing import Final, Literal

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.errors import MalformedError

__all__ = [
    "INTERVALS",
    "KEYS",
    "KINDS",
    "LAKE_COLUMNS",
    "SCHEMAS",
    "STATE_RANK",
    "TABLES",
    "TOPICS",
    "Kind",
    "conform",
    "in_calendar",
    "lake_schema",
]

Kind = Literal["bar", "trade", "quote", "price_band", "corporate_action", "gap"]

KINDS: Final[tuple[Kind, ...]] = (
    "bar", "trade", "quote", "price_band", "corporate_action", "gap",
)  # fmt: skip

#: The topic of each kind inside a stream's namespace.
TOPICS: Final[dict[Kind, str]] = {
    "bar": "bars",
    "trade": "trades",
    "quote": "quotes",
    "price_band": "price_bands",
    "corporate_action": "corporate_actions",
    "gap": "gaps",
}

#: The Iceberg table that each topic feeds: one topic, one table.
TABLES: Final[dict[Kind, str]] = {kind: f"{topic}_log" for kind, topic in TOPICS.items()}

#: Every bar interval that we know, shortest first.
INTERVALS: Final[tuple[str, ...]] = (
    "1s", "1m", "2m", "5m", "15m", "30m", "1h", "90m", "4h", "1d", "5d", "1wk", "1mo", "3mo",
)  # fmt: skip

#: A bar's life: the newest by (rank, fetched_at, event_id) wins. `revised` ranks with `final`.
STATE_RANK: Final[dict[str, int]] = {"forming": 0, "provisional": 1, "final": 2, "revised": 2}

_INSTANT: Final = pa.timestamp("us", tz="UTC")

_HEAD: Final[list[tuple[str, pa.DataType]]] = [
    ("kind", pa.string()),
    ("provider", pa.string()),
    ("symbol", pa.string()),
    ("ts", _INSTANT),
    ("event_id", pa.int64()),
    ("fetched_at", _INSTANT),
]
# Position of the dead letter that a requeued record mends: "<stream>/<partition>/<offset>/<index>".
_TAIL: Final[list[tuple[str, pa.DataType]]] = [("origin", pa.string())]

SCHEMAS: Final[dict[Kind, pa.Schema]] = {
    "bar": pa.schema(
        [
            *_HEAD,
            ("interval", pa.string()),
            ("session_date", pa.date32()),
            ("open", pa.float64()),
            ("high", pa.float64()),
            ("low", pa.float64()),
            ("close", pa.float64()),
            ("adj_close", pa.float64()),
            ("volume", pa.float64()),
            ("currency", pa.string()),
            ("state", pa.string()),
            ("session", pa.string()),
            ("split_basis", pa.date32()),
            # equity | etf | fund | currency | index | future | crypto | …, null when not known.
            ("instrument_type", pa.string()),
            *_TAIL,
        ]
    ),
    "trade": pa.schema(
        [
            *_HEAD,
            ("price", pa.float64()),
            ("size", pa.float64()),
            ("venue", pa.string()),
            ("conditions", pa.string()),
            ("trade_id", pa.string()),
            ("ts_ns", pa.int64()),
            ("currency", pa.string()),
            ("instrument_type", pa.string()),
            *_TAIL,
        ]
    ),
    "quote": pa.schema(
        [
            *_HEAD,
            ("bid", pa.float64()),
            ("bid_size", pa.float64()),
            ("ask", pa.float64()),
            ("ask_size", pa.float64()),
            ("ts_ns", pa.int64()),
            ("currency", pa.string()),
            ("instrument_type", pa.string()),
            *_TAIL,
        ]
    ),
    "price_band": pa.schema(
        [
            *_HEAD,
            ("lower", pa.float64()),  # no trade below it
            ("upper", pa.float64()),  # no trade above it
            ("indicators", pa.string()),  # the vendor's codes, with commas between
            ("ts_ns", pa.int64()),
            ("currency", pa.string()),
            ("instrument_type", pa.string()),
            *_TAIL,
        ]
    ),
    "corporate_action": pa.schema(
        [
            *_HEAD,
            ("action", pa.string()),  # split | dividend | capital_gain | symbol_change
            ("ex_date", pa.date32()),
            ("amount", pa.float64()),  # dividend or capital gain, per share, in currency
            ("currency", pa.string()),
            ("numerator", pa.float64()),  # of a split: new shares
            ("denominator", pa.float64()),  # of a split: old shares
            ("new_symbol", pa.string()),
            *_TAIL,
        ]
    ),
    "gap": pa.schema(
        [
            *_HEAD,  # ts is the gap's start
            ("interval", pa.string()),
            ("gap_kind", pa.string()),  # the kind of record that is missing
            ("to_ts", _INSTANT),
            ("filled", pa.bool_()),
            ("reason", pa.string()),
            *_TAIL,
        ]
    ),
}

#: What makes two records the same thing, whatever their values.
KEYS: Final[dict[Kind, tuple[str, ...]]] = {
    "bar": ("provider", "symbol", "interval", "session", "ts"),
    "trade": ("provider", "symbol", "venue", "trade_id", "ts_ns"),
    "quote": ("provider", "symbol", "ts_ns"),
    "price_band": ("provider", "symbol", "ts_ns"),
    "corporate_action": ("provider", "symbol", "action", "ex_date"),
    "gap": ("provider", "symbol", "gap_kind", "interval", "ts", "to_ts"),
}

#: What delivery adds: where a row came from, and what was wrong with it.
LAKE_COLUMNS: Final[pa.Schema] = pa.schema(
    [
        ("_stream", pa.string()),
        ("_partition", pa.string()),
        ("_offset", pa.int64()),
        ("_sequence", pa.string()),
        ("_index", pa.int32()),
        ("_delivered_at", _INSTANT),
        ("_superseded_at", _INSTANT),
        ("dead_reason", pa.string()),
        ("payload", pa.binary()),
    ]
)


def lake_schema(kind: Kind) -> pa.Schema:
    """The columns of the kind's table: the record's own, then `LAKE_COLUMNS`, all nullable."""
    return pa.schema([*SCHEMAS[kind], *LAKE_COLUMNS])


def conform(table: pa.Table, kind: Kind) -> pa.Table:
    """Cast and reorder to `SCHEMAS[kind]`; missing columns become null, `kind` is filled in.

    Raises:
        MalformedError: A column that the kind does not have, values that cannot be cast
            without loss, times without a zone, or outside the years 1 to 9999.
    """
    schema = SCHEMAS[kind]
    if table.schema.equals(schema):
        return _within_calendar(table, kind)
    unknown = sorted(set(table.column_names) - set(schema.names))
    if unknown:
        raise MalformedError(
            f"A {kind} has no column {unknown[0]!r}.",
            expected=", ".join(schema.names),
            found=", ".join(table.column_names),
            todo="drop or rename the column",
        )
    columns: list[pa.Array | pa.ChunkedArray] = []
    for field in schema:
        if field.name in table.column_names:
            column = table.column(field.name)
            if column.type.equals(field.type):
                columns.append(column)
                continue
            _refuse_naive(column.type, field, kind)
            try:
                columns.append(column.cast(field.type))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise MalformedError(
                    f"Column {field.name!r} of a {kind} has the wrong type.",
                    expected=str(field.type),
                    found=f"{column.type}: {error}",
                    todo="convert the column before publishing",
                ) from error
        elif field.name == "kind":
            columns.append(pa.repeat(pa.scalar(kind), table.num_rows))
        else:
            columns.append(pa.nulls(table.num_rows, field.type))
    return _within_calendar(pa.table(columns, schema=schema), kind)


def in_calendar(column: pa.Array | pa.ChunkedArray) -> bool:
    """Whether all times or dates of a column lie in the years 1 to 9999, in every zone.

    Arrow can hold others. Python cannot, nor can many engines: one of them in a file would end
    every reader. Columns of other types are in the calendar.
    """
    if not pa.types.is_temporal(column.type):
        return True
    last = _DAYS if pa.types.is_date32(column.type) else _MICROS
    # As numbers: Python has no times outside of these years.
    first, latest = (each.value for each in pc.min_max(column).values())
    return first is None or (last[0] <= first and latest <= last[1])


_DAYS: Final = tuple((day - date(1970, 1, 1)).days for day in (date.min, date.max))
# A day less at each end: no zone brings an instant beyond it.
_MICROS: Final = ((_DAYS[0] + 1) * 86_400_000_000, _DAYS[1] * 86_400_000_000)


_TIMES: Final = {
    kind: [field.name for field in schema if pa.types.is_temporal(field.type)]
    for kind, schema in SCHEMAS.items()
}


def _within_calendar(table: pa.Table, kind: Kind) -> pa.Table:
    for name in _TIMES[kind]:
        if not in_calendar(table.column(name)):
            raise MalformedError(
                f"Column {name!r} of a {kind} holds a time that no calendar has.",
                expected="times in the years 1 to 9999",
                found="one outside them",
                todo="look at the column's unit: nanoseconds taken for microseconds lie far ahead",
            )
    return table


def _refuse_naive(found: pa.DataType, field: pa.Field, kind: Kind) -> None:
    """A cast would take a time without a zone for UTC, and a number for microseconds."""
    zoned = pa.types.is_timestamp(found) and found.tz is not None
    harmless = zoned or pa.types.is_string(found) or pa.types.is_null(found)
    if pa.types.is_timestamp(field.type) and not harmless:
        raise MalformedError(
            f"Column {field.name!r} of a {kind} has no time zone.",
            expected=str(field.type),
            found=str(found),
            todo="give each time its zone before publishing",
        )

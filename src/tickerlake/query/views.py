"""The views' SQL, put together from where each table's rows lie.

A bar's rows come from three places. `compacted` files hold what maintenance has settled: a row that
another has replaced carries `_superseded_at`, so a scan needs no window there. `fresh` files and
the stream's `tail` carry no marks. So the window runs only over the fresh rows and over those
compacted rows whose key is among them; all other compacted rows pass untouched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import pyarrow as pa

from tickerlake.lake.tables import DELIVERIES, LATEST, SPECS
from tickerlake.query.pruning import EVERYTHING, Wanted
from tickerlake.records import KEYS, KINDS, STATE_RANK, Kind, lake_schema

__all__ = [
    "DEFINITIONS",
    "Rows",
    "RowsOf",
    "as_of_macro",
    "bars",
    "columns_of",
    "dead_letters",
    "deliveries",
    "empty",
    "every_row",
    "history",
    "latest",
    "literal",
    "newest",
    "newest_of",
    "nothing",
]

_HEAD: Final = ("provider", "symbol", "ts")
_END: Final = ("fetched_at", "event_id")
#: `adj_close` was true only when it was fetched; `kind` is the view's name.
_HIDDEN: Final = frozenset({"kind", "adj_close", "origin"})
_CAME_FROM: Final = ("origin", "_stream", "_partition", "_offset", "_index", "_delivered_at")
#: The text that `dead-letters show` takes and that a requeued record carries as its origin.
_POSITION: Final = (
    "concat_ws('/', _stream, _partition, coalesce(_offset::varchar, _sequence), _index)"
)
_RANK: Final = (
    "case state " + " ".join(f"when '{s}' then {r}" for s, r in STATE_RANK.items()) + " end"
)
_BAR_ORDER: Final = f"{_RANK} desc, fetched_at desc, event_id desc"
#: A letter's payload as text; bytes that are none are shown as \xNN.
_TEXT: Final = "coalesce(try(decode(payload)), payload::varchar)"
_EVENT_ORDER: Final = "fetched_at desc, event_id desc"


@dataclass(frozen=True, slots=True)
class Rows:
    """Where the rows of one kind lie, as of one loaded metadata."""

    kind: Kind
    #: Compacted files that cannot share a key with anything fresh.
    settled: tuple[str, ...] = ()
    #: Compacted files that reach into the time of what is fresh.
    contested: tuple[str, ...] = ()
    #: Files that no compaction has seen.
    fresh: tuple[str, ...] = ()
    #: Name under which the decoded tail is registered; null: none.
    tail: str | None = None
    wanted: Wanted = EVERYTHING
    as_of: datetime | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """All files."""
        return self.settled + self.contested + self.fresh


#: Gives the rows of a kind.
RowsOf = Callable[[Kind], Rows]


def columns_of(kind: Kind) -> list[str]:
    """What the kind's view shows, in order: whose, what, when fetched."""
    names = [n for n in lake_schema(kind).names if not n.startswith("_") and n not in _HIDDEN]
    middle = [n for n in names if n not in {*_HEAD, *_END, "dead_reason", "payload"}]
    return [*_HEAD, *middle, *_END]


def bars(rows: Rows, also: tuple[str, ...] = ()) -> str:
    """`bars`: the newest state of each key; `also` are columns that the view does not show."""
    shown = _list([*columns_of("bar"), *also])
    if rows.as_of is not None:
        return _as_of(rows, literal(rows.as_of), also)
    sound = _where(rows, "dead_reason is null")
    current = _where(rows, "dead_reason is null and _superseded_at is null")
    parts = []
    if rows.settled:
        parts.append(f"select {shown} from {_files(rows.settled)} {current}")
    fresh = f"select {shown} from {_relation(rows.kind, rows.fresh, rows.tail)} {sound}"
    if rows.contested:
        keys = _list(KEYS["bar"])
        # Not materialised: the query's own conditions must reach the files.
        parts.append(f"""
            with fresh_rows as not materialized ({fresh}),
            fresh_keys as not materialized (select distinct {keys} from fresh_rows),
            rivals as not materialized (
                select {shown} from {_files(rows.contested)} {current}
            )
            select {shown} from rivals anti join fresh_keys using ({keys})
            union all
            select {shown} from (
                select {shown} from fresh_rows
                union all
                select {shown} from rivals semi join fresh_keys using ({keys})
            ) {_newest("bar")}""")
    elif rows.fresh or rows.tail or not parts:
        parts.append(f"{fresh} {_newest('bar')}")
    return " union all ".join(f"({part})" for part in parts)


def history(rows: Rows) -> str:
    """`bars_history`: every record that was ever delivered or waits in the tail."""
    return every_row(rows, (*columns_of("bar"), *_CAME_FROM))


def every_row(rows: Rows, columns: tuple[str, ...] | None = None) -> str:
    """Every sound row, as it came: `trades`, `quotes`, `price_bands`."""
    shown = _list(columns or columns_of(rows.kind))
    everything = _relation(rows.kind, rows.files, rows.tail)
    return f"select {shown} from {everything} {_where(rows, 'dead_reason is null')}"


def newest(rows: Rows) -> str:
    """The newest row of each key, of small tables: `corporate_actions`, `gaps`."""
    return f"{every_row(rows)} {_newest(rows.kind)}"


def newest_of(relation: str, kind: Kind) -> str:
    """The newest row of each key of any relation with the kind's columns."""
    whole = " and ".join(f'"{name}" is not null' for name in ("provider", "symbol", "ts"))
    return f"select * from {relation} where {whole} {_newest(kind)}"


def as_of_macro(rows: Rows) -> str:
    """The body of `bars_as_of(t)`: what the lake knew at that instant, without the tail."""
    return _as_of(rows, "t::timestamptz")


def latest(rows: RowsOf, table_files: tuple[str, ...]) -> str:
    """`latest`: the newest price of each symbol, from the maintained table and what is fresh.

    Args:
        rows: Gives those rows of bars and trades that the table does not know yet.
        table_files: Files of the table `latest`.
    """
    schema = SPECS[LATEST].schema
    shown = _list(schema.names)
    parts = [f"select {shown} from {_files(table_files)}"] if table_files else []
    for item in (rows("bar"), rows("trade")):
        relation = _relation(item.kind, item.files, item.tail)
        sound = _where(item, "dead_reason is null")
        parts.append(f"select {_priced(item.kind, schema)} from {relation} {sound}")
    together = " union all ".join(f"({part})" for part in parts)
    return f"""
        select {shown} from ({together})
        where price is not null
        qualify row_number() over (
            partition by provider, symbol
            order by ts desc, {_RANK} desc nulls last, {_EVENT_ORDER}
        ) = 1"""


def deliveries(files: tuple[str, ...], live: str) -> str:
    """`deliveries`: what maintenance has folded, and the snapshots that are still live.

    A snapshot that was folded between the two looks stands in both, and is shown once.
    """
    schema = SPECS[DELIVERIES].schema
    shown = _list(schema.names)
    # Files of an earlier version lack the columns that have come since.
    named = f"(from {empty(schema)} union all by name from {_files(files, united=True)})"
    folded = named if files else empty(schema)
    return f"""
        select {shown} from {folded}
        union all
        select {shown} from {live}
        anti join {folded} as folded using (table_name, snapshot_id)"""


def dead_letters(rows: RowsOf) -> str:
    """`dead_letters`: records that broke a rule, over all tables, and what became of them.

    A sound record whose `origin` names a letter mends it; a row that names it and came from no
    stream is the mark of somebody who discarded it.
    """
    # Not by fetched_at: letters that could not be decoded have none.
    parts = [replace(rows(kind), as_of=None) for kind in KINDS]
    letters = " union all ".join(
        f"""select {_POSITION} as position, '{item.kind}' as kind, dead_reason as reason,
            provider, symbol, ts, fetched_at, {_TEXT} as payload,
            _delivered_at as delivered_at, _stream as stream, _partition as partition,
            _offset as "offset", _index as "index"
            from {_relation(item.kind, item.files, item.tail)}
            {_where(item, "dead_reason is not null and _partition is not null")}"""
        for item in parts
    )
    answers = " union all ".join(
        f"""select origin, dead_reason is null as mends
            from {_relation(item.kind, item.files, item.tail)}
            {_where(item, "origin is not null and (dead_reason is null or _partition is null)")}"""
        for item in parts
    )
    return f"""
        with letters as ({letters}),
        answered as (select origin, bool_or(mends) as mended from ({answers}) group by origin)
        select position, letters.kind, reason,
            case when origin is null then 'open' when mended then 'requeued' else 'discarded' end
                as status,
            provider, symbol, ts, fetched_at, payload, delivered_at,
            stream, partition, "offset", "index"
        from letters left join answered on origin = position"""


DEFINITIONS: Final[dict[str, Callable[[RowsOf], str]]] = {
    "bars": lambda rows: bars(rows("bar")),
    "bars_history": lambda rows: history(rows("bar")),
    "trades": lambda rows: every_row(rows("trade")),
    "quotes": lambda rows: every_row(rows("quote")),
    "price_bands": lambda rows: every_row(rows("price_band")),
    "corporate_actions": lambda rows: newest(rows("corporate_action")),
    "gaps": lambda rows: newest(rows("gap")),
    "dead_letters": dead_letters,
}


def nothing(view: str) -> str:
    """The view without any row: for who asks only which views and columns there are."""
    if view == "deliveries":
        return deliveries((), empty(SPECS[DELIVERIES].schema))
    if view == "latest":
        return latest(Rows, ())
    return DEFINITIONS[view](Rows)


def empty(schema: pa.Schema) -> str:
    """A relation of this schema without rows."""
    columns = ", ".join(f'null::{_sql_type(f.type)} as "{f.name}"' for f in schema)
    return f"(select {columns} where false)"


def literal(value: datetime | str) -> str:
    """A value as an SQL literal."""
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return f"timestamptz '{value.isoformat()}'"


def _as_of(rows: Rows, instant: str, also: tuple[str, ...] = ()) -> str:
    shown = _list([*columns_of("bar"), *also])
    everything = _relation(rows.kind, rows.files, None)
    known = f"fetched_at <= {instant} and (_superseded_at is null or _superseded_at > {instant})"
    wanted = _where(Rows("bar", wanted=rows.wanted), f"dead_reason is null and {known}")
    return f"select {shown} from {everything} {wanted} {_newest('bar')}"


def _newest(kind: Kind) -> str:
    order = _BAR_ORDER if kind == "bar" else _EVENT_ORDER
    keys = _list(KEYS[kind])
    return f"qualify row_number() over (partition by {keys} order by {order}) = 1"


def _where(rows: Rows, condition: str) -> str:
    wanted = rows.wanted
    conditions = [condition]
    if wanted.symbols is not None:
        names = ", ".join(literal(name) for name in sorted(wanted.symbols))
        conditions.append(f"symbol in ({names})" if names else "false")
    if wanted.ts_from is not None:
        conditions.append(f"ts >= {literal(wanted.ts_from)}")
    if wanted.ts_to is not None:
        conditions.append(f"ts < {literal(wanted.ts_to)}")
    if rows.as_of is not None:
        conditions.append(f"fetched_at <= {literal(rows.as_of)}")
    return "where " + " and ".join(conditions)


def _relation(kind: Kind, files: tuple[str, ...], tail: str | None) -> str:
    columns = _list(lake_schema(kind).names)
    parts = [f"select {columns} from {_files(files)}"] if files else []
    if tail is not None:
        parts.append(f"select {columns} from {tail}")
    if not parts:
        return empty(lake_schema(kind))
    return "(" + " union all ".join(parts) + ")"


def _files(files: tuple[str, ...], *, united: bool = False) -> str:
    paths = ", ".join(literal(path) for path in files)
    more = ", union_by_name = true" if united else ""
    return f"read_parquet([{paths}], hive_partitioning = false{more})"


def _priced(kind: Kind, table_schema: pa.Schema) -> str:
    """The kind's columns as those of the table `latest`."""
    own = lake_schema(kind)
    renamed = {"price": "close"} if kind == "bar" else {"price": "price", "volume": "size"}

    def column(field: pa.Field) -> str:
        if field.name == "kind":
            return f"'{kind}' as kind"
        name = renamed.get(field.name, field.name)
        value = f'"{name}"' if name in own.names else f"null::{_sql_type(field.type)}"
        return f'{value} as "{field.name}"'

    return ", ".join(column(field) for field in table_schema)


def _list(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


_SQL_TYPES: Final = {
    pa.string(): "varchar",
    pa.int64(): "bigint",
    pa.int32(): "integer",
    pa.float64(): "double",
    pa.bool_(): "boolean",
    pa.date32(): "date",
    pa.binary(): "blob",
    pa.timestamp("us", tz="UTC"): "timestamptz",
}


def _sql_type(kind: pa.DataType) -> str:
    return _SQL_TYPES[kind]

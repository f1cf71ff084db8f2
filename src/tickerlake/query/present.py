"""What one query sees: one loaded state of each table it needs, as views on its connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.adjust import Basis, steps
from tickerlake.lake.derived import delivery_rows, latest_knows
from tickerlake.lake.lake import Lake
from tickerlake.lake.manifests import LiveFile
from tickerlake.lake.tables import DELIVERIES, LATEST, SPECS
from tickerlake.query import adjusted, views
from tickerlake.query.base import VIEWS
from tickerlake.query.pruning import EVERYTHING, Wanted, wanted
from tickerlake.query.sandbox import Checked
from tickerlake.query.tail import Fresh, Tail
from tickerlake.query.views import Rows
from tickerlake.records import TABLES, TOPICS, Kind, lake_schema

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["Present"]

_MACRO: Final = "bars_as_of"
_LIVE: Final = "_live_deliveries"
_STEPS: Final = "_steps_of_prices"
#: Views in which a condition on ts takes or leaves all rows of a key.
_KEYED_BY_TIME: Final = frozenset({"bars", "bars_history", "trades", "quotes", "price_bands"})
_KEYED_BY_SYMBOL: Final = frozenset({"corporate_actions", "gaps", "latest"})
_FIRST: Final = -(2**63)
_LAST: Final = 2**63 - 1


class Present:
    """The views of one query. Each table is loaded once, so that all views of it agree."""

    def __init__(
        self,
        cursor: DuckDBPyConnection,
        lake: Lake,
        tail: Tail,
        as_of: datetime | None,
        bases: Callable[[str], Basis],
    ) -> None:
        self._cursor = cursor
        self._lake = lake
        self._tail = tail
        self._as_of = as_of
        self._bases = bases
        #: Null: neither stream nor lake has met the kind.
        self._states: dict[Kind, Fresh | None] = {}
        #: Data files that the query may read.
        self.files: list[str] = []

    def prepare(self, checked: Checked) -> str:
        """Make what the query names visible on its connection; return the statement to run.

        A query that asks what there is sees every view, but only what it names has rows.
        """
        definitions = {
            view: self._definition(view, _needed(view, checked))
            for view in VIEWS
            if view in checked.tables
        }
        if _MACRO in checked.functions:
            body = views.as_of_macro(self._rows(_MACRO, EVERYTHING, "bar"))
            self._cursor.execute(f"create temp macro {_MACRO}(t) as table {body}").fetchall()
        if adjusted.MACRO in checked.functions:
            self._make_adjusted(wanted(checked, adjusted.MACRO))
        reading = checked.reading(definitions)
        if reading is not None:
            return reading
        if checked.asks_catalog:
            definitions = {view: definitions.get(view) or views.nothing(view) for view in VIEWS}
        for view, definition in definitions.items():
            self._cursor.execute(f"create temp view {view} as {definition}").fetchall()
        return checked.statement

    def warnings(self) -> Iterator[str]:
        """What the reader of the answer should know."""
        for kind, state in self._states.items():
            if state is None:
                continue
            if state.unread:
                yield (
                    f"At least {state.unread:,} more records of {TOPICS[kind]} lie in the stream "
                    "and are not visible yet: a query reads only so much of it ([query] "
                    "tail_records_max)."
                    " They become visible as `tickerlake deliver` brings them into the lake."
                )
            if state.copying:
                yield (
                    f"A copy fills the stream's {TOPICS[kind]}: its records are rows already; what "
                    "others publish there is visible once `tickerlake stream copy` has ended."
                )
            if state.turned_back:
                yield (
                    f"The table {TABLES[kind]} was turned back by another tool: records are "
                    f"missing until `tickerlake lake rewind {TABLES[kind]}` has run and they "
                    "were delivered again."
                )

    def _make_adjusted(self, needed: Wanted) -> None:
        """The macro over the steps of the symbols that the query can need."""
        of_symbols = Wanted(needed.symbols)
        rows = self._rows(f"{adjusted.MACRO}_days", of_symbols, "bar")
        days = self._arrow(adjusted.daily(views.bars(rows, ("adj_close",))))
        rows = self._rows(adjusted.MACRO, of_symbols, "corporate_action")
        self._cursor.register(
            _STEPS, steps(self._arrow(views.newest(rows)), days, bases=self._bases)
        )
        bars = views.bars(self._rows(adjusted.MACRO, needed, "bar"))
        body = adjusted.adjusted(bars, _STEPS, views.columns_of("bar"), self._bases)
        self._cursor.execute(f"create temp macro {adjusted.MACRO}(how) as table {body}").fetchall()

    def _arrow(self, query: str) -> pa.Table:
        return self._cursor.sql(query).to_arrow_table()

    def _definition(self, view: str, needed: Wanted) -> str:
        if view == "deliveries":
            return views.deliveries(*self._deliveries())
        if view == "latest":
            return self._latest(needed)
        return views.DEFINITIONS[view](partial(self._rows, view, needed))

    def _state(self, kind: Kind) -> Fresh | None:
        if kind not in self._states:
            self._states[kind] = self._look(kind)
        return self._states[kind]

    def _look(self, kind: Kind) -> Fresh | None:
        name = TABLES[kind]
        if not self._lake.has(name) and not self._tail.has(kind):
            return None  # opening a table makes it, and asking shall make nothing
        table = self._lake.table(name)
        if self._as_of is None:
            return self._tail.after(kind, table)
        # Offsets are not versioned, so the past has no tail.
        return Fresh(table.load(), lake_schema(kind).empty_table())

    def _rows(self, view: str, wanted: Wanted, kind: Kind, *, after: int = 0) -> Rows:
        """Where the kind's rows lie; of the files only those of commits `after` that one."""
        state = self._state(kind)
        if state is None:
            return Rows(kind, wanted=wanted, as_of=self._as_of)
        files = self._lake.table(TABLES[kind]).live_files(
            state.loaded,
            symbols=None if wanted.symbols is None else sorted(wanted.symbols),
            ts_from=wanted.ts_from,
            ts_to=wanted.ts_to,
        )
        files = [file for file in files if file.sequence_number > after]
        self.files += [file.path for file in files]
        tail = _narrowed(state.rows, wanted)
        name = f"_tail_of_{view}_{kind}" if tail.num_rows else None
        if name is not None:
            self._cursor.register(name, tail)
        fresh = [file for file in files if not file.compacted]
        compacted = [file for file in files if file.compacted]
        span = _span(fresh, tail)
        return Rows(
            kind,
            settled=tuple(file.path for file in compacted if not _meets(file, span)),
            contested=tuple(file.path for file in compacted if _meets(file, span)),
            fresh=tuple(file.path for file in fresh),
            tail=name,
            wanted=wanted,
            as_of=self._as_of,
        )

    def _deliveries(self) -> tuple[tuple[str, ...], str]:
        """Files of the table, and the name of what the live snapshots tell."""
        # The sources first: what expiry folds into the table meanwhile is then seen twice, and
        # united by its snapshot's id, not missed.
        there = set(self._lake.names())
        tables = [self._lake.table(name) for name in TABLES.values() if name in there]
        live = [delivery_rows(table.name, table.snapshots(table.load())) for table in tables]
        nothing = SPECS[DELIVERIES].schema.empty_table()
        self._cursor.register(_LIVE, pa.concat_tables([nothing, *live]))
        folded = self._lake.table(DELIVERIES)
        return tuple(folded.files(folded.load())), _LIVE

    def _latest(self, needed: Wanted) -> str:
        files: tuple[str, ...] = ()
        known: dict[str, int] = {}
        if self._as_of is None:
            # The table first: what its next refresh takes in meanwhile is then looked at twice.
            table = self._lake.table(LATEST)
            loaded = table.load()
            files, known = tuple(table.files(loaded)), latest_knows(loaded)

        def rows(kind: Kind) -> Rows:
            return self._rows("latest", needed, kind, after=known.get(TABLES[kind], 0))

        return views.latest(rows, files)


def _needed(view: str, checked: Checked) -> Wanted:
    """What of the view's rows the query can need; a view is narrowed by its rows' keys only."""
    found = wanted(checked, view)
    if view in _KEYED_BY_TIME:
        return found
    return Wanted(found.symbols) if view in _KEYED_BY_SYMBOL else EVERYTHING


def _span(fresh: list[LiveFile], tail: pa.Table) -> tuple[int, int] | None:
    """First and last `ts` of what is fresh, in microseconds since 1970; null: nothing is."""
    ends: list[int] = []
    for file in fresh:
        # A file that does not tell may hold anything.
        ends.extend(file.bounds.get("ts", (_FIRST, _LAST)))
    if tail.num_rows:
        extremes = pc.min_max(pc.cast(tail.column("ts"), pa.int64())).as_py()
        ends.extend(number for number in extremes.values() if number is not None)
    return (min(ends), max(ends)) if ends else None


def _meets(file: LiveFile, span: tuple[int, int] | None) -> bool:
    if span is None:
        return False
    low, high = file.bounds.get("ts", (_FIRST, _LAST))
    return bool(low <= span[1] and high >= span[0])


def _narrowed(rows: pa.Table, wanted: Wanted) -> pa.Table:
    """The tail without rows that the query cannot need."""
    if not rows.num_rows or wanted == EVERYTHING:
        return rows
    keep = None
    if wanted.symbols is not None:
        keep = pc.is_in(rows.column("symbol"), pa.array(sorted(wanted.symbols), pa.string()))
    ts = rows.column("ts")
    for bound, compare in ((wanted.ts_from, pc.greater_equal), (wanted.ts_to, pc.less)):
        if bound is not None:
            inside = compare(ts, pa.scalar(bound, ts.type))
            keep = inside if keep is None else pc.and_(keep, inside)
    return rows.filter(keep)

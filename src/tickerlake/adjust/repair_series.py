"""One series as columns of numbers that rules change, and what they changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

import pyarrow as pa

from tickerlake.adjust.events import Key, days_of
from tickerlake.records import SCHEMAS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats: TypeAlias = npt.NDArray[np.float64]

__all__ = ["CHANGES", "Series", "in_series"]

#: One changed value. Of a corporate action, `interval` and `session` are null, `session_date` is
#: its ex-date, and `column` names the action.
CHANGES: Final = pa.schema(
    [
        *(SCHEMAS["bar"].field(name) for name in ("provider", "symbol", "interval", "session")),
        SCHEMAS["bar"].field("ts"),
        SCHEMAS["bar"].field("session_date"),
        ("column", pa.string()),
        ("given", pa.float64()),
        ("repaired", pa.float64()),
        ("rule", pa.string()),
        ("why", pa.string()),
    ]
)

_SERIES: Final = ("provider", "symbol", "interval", "session")
_PRICES: Final = ("open", "high", "low", "close")


class Series:
    """Bars of one provider, symbol, interval and session, in order of time.

    Missing numbers are NaN; `prices` are (n, 4): open, high, low, close. No array is changed in
    place: a rule hands over new ones, with its name and its reason.
    """

    def __init__(self, bars: pa.Table) -> None:
        import numpy as np

        self._bars = bars
        first = bars.slice(0, 1).to_pylist()[0]
        self.key: Key = (first["provider"], first["symbol"])
        self.interval: str = first["interval"]
        self.instrument: str | None = first["instrument_type"]
        self.currency: str | None = first["currency"]
        self.dates = days_of(bars["session_date"])
        self.bases = days_of(bars["split_basis"])
        self.fetched = bars["fetched_at"].cast(pa.int64()).to_numpy()
        self.prices: Floats = np.column_stack([bars[name].to_numpy() for name in _PRICES])
        self.adjusted: Floats = bars["adj_close"].to_numpy()
        self.volume: Floats = bars["volume"].to_numpy()
        self._changes: list[pa.Table] = []

    @property
    def closes(self) -> Floats:
        """The last of the four prices."""
        return self.prices[:, 3]

    def change(
        self,
        rule: str,
        why: str,
        prices: Floats | None = None,
        *,
        adjusted: Floats | None = None,
        volume: Floats | None = None,
    ) -> None:
        """Take new values; those that differ are told as changed by this rule."""
        if prices is not None:
            for at, name in enumerate(_PRICES):
                self._note(name, self.prices[:, at], prices[:, at], rule, why)
            self.prices = prices
        if adjusted is not None:
            self._note("adj_close", self.adjusted, adjusted, rule, why)
            self.adjusted = adjusted
        if volume is not None:
            self._note("volume", self.volume, volume, rule, why)
            self.volume = volume

    def table(self) -> pa.Table:
        """The bars with the values as they are now."""
        values = {name: self.prices[:, at] for at, name in enumerate(_PRICES)}
        values |= {"adj_close": self.adjusted, "volume": self.volume}
        table = self._bars
        for name, numbers in values.items():
            position = table.schema.get_field_index(name)
            column = pa.array(numbers, pa.float64(), from_pandas=True)
            table = table.set_column(position, table.schema.field(position), column)
        return table

    def changes(self) -> pa.Table:
        """What has changed so far, in columns of `CHANGES`."""
        return pa.concat_tables([CHANGES.empty_table(), *self._changes])

    def _note(self, column: str, given: Floats, repaired: Floats, rule: str, why: str) -> None:
        import numpy as np

        differs = ~((given == repaired) | (np.isnan(given) & np.isnan(repaired)))
        if not differs.any():
            return
        rows = np.flatnonzero(differs)
        whose = self._bars.select([*_SERIES, "ts", "session_date"]).take(rows)
        columns = [
            *whose.columns,
            pa.repeat(column, len(rows)),
            pa.array(given[rows], from_pandas=True),
            pa.array(repaired[rows], from_pandas=True),
            pa.repeat(rule, len(rows)),
            pa.repeat(why, len(rows)),
        ]
        self._changes.append(pa.table(columns, schema=CHANGES))


def in_series(bars: pa.Table) -> Iterator[Series]:
    """Every series of a table; its rows keep their position in a column `row`."""
    numbered = bars.append_column("row", pa.array(range(bars.num_rows), pa.int64()))
    ordered = numbered.sort_by([(name, "ascending") for name in (*_SERIES, "ts")])
    counts = ordered.group_by(list(_SERIES), use_threads=False).aggregate([([], "count_all")])
    start = 0
    for count in counts["count_all"].to_pylist():
        part = ordered.slice(start, count)
        start += count
        yield Series(part)

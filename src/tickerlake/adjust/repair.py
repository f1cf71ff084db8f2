"""Repair of bad data that providers are known to give. Off unless asked for, never in place.

    zero      a price of 0 where others are not: nobody knows it, so it becomes null
    unit      prices a hundred times too large or small: pounds told as pence, or pence as pounds
    split     prices before a split that the provider's own adjustment has left out, or done twice
    amount    a dividend in another unit than the prices, as the adjusted close proves
    dividend  an adjusted close that leaves out a dividend which the same answer tells
    volume    no volume on a day whose price moved, or a negative one: null

Rows are judged against the others of their series; what could be either way stays as it was. Each
changed value is told with what it was, by which rule and why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.adjust.basis import Basis
from tickerlake.adjust.events import Key
from tickerlake.adjust.repair_dividends import mend_dividends
from tickerlake.adjust.repair_levels import mend_splits, mend_units
from tickerlake.adjust.repair_series import CHANGES, Series, in_series
from tickerlake.records import SCHEMAS

__all__ = ["CHANGES", "Repaired", "explained", "repair"]

#: Instruments whose volume nobody tells, or whose price may be 0 or below.
_WITHOUT_VOLUME: Final = ("currency", "index", "fund", "future", "option")
_SIGNED: Final = ("future", "option")


@dataclass(frozen=True, slots=True)
class Repaired:
    """New tables, rows and columns as in those given, and what was changed in them."""

    bars: pa.Table
    actions: pa.Table
    #: One row a changed value, in columns of `CHANGES`.
    changes: pa.Table


def repair(bars: pa.Table, actions: pa.Table, *, bases: Callable[[str], Basis]) -> Repaired:
    """Mend what is certainly wrong.

    Args:
        bars: Bars as they were given, in their schema; the more of a series, the better judged.
        actions: The corporate actions of the same symbols.
        bases: What a provider's numbers include, by its name.
    """
    changes = [CHANGES.empty_table()]
    mended: dict[str, list[pa.Table]] = {"bars": [], "amounts": []}
    for series in in_series(bars):
        own = _of(actions, series.key)
        _mend_zeros(series)
        mend_units(series)
        # Prices as traded jump at splits by right, and their adjusted close is made from them.
        if bases(series.key[0]).prices == "splits":
            mend_splits(series, own)
            if series.interval == "1d":
                mended["amounts"].append(mend_dividends(series, own, bases))
        _mend_volume(series)
        mended["bars"].append(series.table())
        changes.append(series.changes())
    if not mended["bars"]:
        return Repaired(bars, actions, changes[0])
    together = pa.concat_tables(mended["bars"]).sort_by("row").drop_columns("row")
    amounts = pa.concat_tables([CHANGES.empty_table(), *mended["amounts"]])
    return Repaired(
        bars=together.cast(bars.schema),
        actions=_with_amounts(actions, amounts),
        changes=pa.concat_tables([*changes, amounts]),
    )


def explained(bars: pa.Table, changes: pa.Table) -> pa.Array:
    """For each bar what was changed in it, in words; null where nothing was."""
    keys = ["provider", "symbol", "interval", "session", "ts"]
    told: dict[tuple[object, ...], dict[str, list[str]]] = {}
    for change in changes.filter(pc.is_valid(changes["interval"])).to_pylist():
        whys = told.setdefault(tuple(change[key] for key in keys), {})
        given = "none" if change["given"] is None else f"{change['given']:.10g}"
        whys.setdefault(change["why"], []).append(f"{change['column']} was {given}")
    if not told:
        return pa.nulls(bars.num_rows, pa.string())
    schema = pa.schema([*(bars.schema.field(key) for key in keys), ("told", pa.string())])
    rows = [
        dict(zip(keys, key, strict=True))
        | {"told": "; ".join(f"{why}: {', '.join(what)}" for why, what in whys.items())}
        for key, whys in told.items()
    ]
    texts = pa.Table.from_pylist(rows, schema=schema)
    numbered = bars.select(keys).append_column("row", pa.array(range(bars.num_rows)))
    joined = numbered.join(texts, keys, join_type="left outer").sort_by("row")
    return joined["told"].combine_chunks()


def _mend_zeros(series: Series) -> None:
    import numpy as np

    if series.instrument in _SIGNED:
        return
    is_zero = series.prices <= 0
    # A series of nothing but zeros is no series with a few bad prices.
    if not (series.prices > 0).any():
        return
    series.change("zero", "a price of 0 is none", np.where(is_zero, np.nan, series.prices))
    is_zero = series.adjusted <= 0
    mended = np.where(is_zero, np.nan, series.adjusted)
    series.change("zero", "a price of 0 is none", adjusted=mended)


def _mend_volume(series: Series) -> None:
    import numpy as np

    volume, prices = series.volume, series.prices
    negative = volume < 0
    mended = np.where(negative, np.nan, volume)
    series.change("volume", "a volume cannot be negative", volume=mended)
    traded = (volume > 0).sum()
    if series.instrument in _WITHOUT_VOLUME or traded * 2 < len(volume):
        return  # of many instruments nobody tells a volume
    untold = (series.volume == 0) & (prices[:, 1] > prices[:, 2])
    mended = np.where(untold, np.nan, series.volume)
    series.change("volume", "the price moved, so there was a volume", volume=mended)


def _of(actions: pa.Table, key: Key) -> pa.Table:
    mine = pc.and_(pc.equal(actions["provider"], key[0]), pc.equal(actions["symbol"], key[1]))
    return actions.filter(mine)


def _with_amounts(actions: pa.Table, amounts: pa.Table) -> pa.Table:
    if not amounts.num_rows:
        return actions
    named = ("provider", "symbol", "column", "session_date")
    found = {tuple(row[name] for name in named): row["repaired"] for row in amounts.to_pylist()}
    wanted = [
        found.get((row["provider"], row["symbol"], row["action"], row["ex_date"]), row["amount"])
        for row in actions.to_pylist()
    ]
    position = actions.schema.get_field_index("amount")
    column = pa.array(wanted, SCHEMAS["corporate_action"].field("amount").type)
    return actions.set_column(position, actions.schema.field(position), column)

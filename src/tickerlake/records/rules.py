"""Value rules: judged where records enter the lake, never by sources.

A rule is a mask over the whole table and the sentence that a dead letter will carry. The first
rule that a record breaks is its reason, with the values that broke it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.records.schemas import INTERVALS, KINDS, SCHEMAS, STATE_RANK, Kind

__all__ = ["dead_reasons"]

SESSIONS: Final = ("regular", "extended")
ACTIONS: Final = ("split", "dividend", "capital_gain", "symbol_change")

#: Instruments whose price may be below zero (CL=F closed at -37.63 on 2020-04-20).
SIGNED_INSTRUMENTS: Final = ("future", "index", "option", "rate")

#: How far open and close may lie outside [low, high]: providers that keep 32-bit floats and
#: divide by splits round each of the four on its own (noise of 4.1e-7 was seen).
ROUNDING: Final = 2e-6

# Nulls here make a record that no key, order or as-of question can find. Venue and trade_id are
# not among them: providers without them exist, and null is then part of the key.
_REQUIRED: Final[dict[Kind, tuple[str, ...]]] = {
    "bar": ("provider", "symbol", "ts", "fetched_at", "interval", "session", "state"),
    "trade": ("provider", "symbol", "ts", "fetched_at", "ts_ns", "price"),
    "quote": ("provider", "symbol", "ts", "fetched_at", "ts_ns"),
    "price_band": ("provider", "symbol", "ts", "fetched_at", "ts_ns"),
    "corporate_action": ("provider", "symbol", "ts", "fetched_at", "action", "ex_date"),
    "gap": ("provider", "symbol", "ts", "fetched_at", "gap_kind", "to_ts"),
}

_CHOICES: Final[dict[Kind, dict[str, tuple[str, ...]]]] = {
    "bar": {"interval": INTERVALS, "session": SESSIONS, "state": tuple(STATE_RANK)},
    "trade": {},
    "quote": {},
    "price_band": {},
    "corporate_action": {"action": ACTIONS},
    "gap": {"gap_kind": KINDS},
}

_PRICES: Final[dict[Kind, tuple[str, ...]]] = {
    "bar": ("open", "high", "low", "close"),
    "trade": ("price",),
    "quote": ("bid", "ask"),
    "price_band": ("lower", "upper"),
    "corporate_action": (),
    "gap": (),
}

_AMOUNTS: Final[dict[Kind, tuple[str, ...]]] = {
    "bar": ("volume",),
    "trade": ("size",),
    "quote": ("bid_size", "ask_size"),
    "price_band": (),
    "corporate_action": ("amount",),
    "gap": (),
}

# A broken rule: where (true or null = not broken is settled below), why, and which columns show it.
_Broken = tuple[pa.Array, str, tuple[str, ...]]

# All strings of a column, or each different one.
_Words: TypeAlias = pa.Array | pa.ChunkedArray


def dead_reasons(table: pa.Table, kind: Kind) -> pa.Array:
    """Why each record may not enter `bars` and its sisters; null = sound.

    Args:
        table: Columns of `SCHEMAS[kind]`, types included; further columns are not looked at.
        kind: What the records ought to be.

    Returns:
        One string a row.
    """
    reasons: list[str | None] | None = None
    for mask, why, columns in _broken(table, kind):
        if not pc.any(mask).as_py():
            continue
        reasons = reasons if reasons is not None else [None] * table.num_rows
        for row in pc.indices_nonzero(pc.fill_null(mask, False)).to_pylist():
            if reasons[row] is None:
                shown = ", ".join(f"{name}={table.column(name)[row]}" for name in columns)
                reasons[row] = f"{why} ({shown})" if shown else why
    if reasons is None:
        return pa.nulls(table.num_rows, pa.string())
    return pa.array(reasons, pa.string())


def _broken(table: pa.Table, kind: Kind) -> Iterator[_Broken]:
    other = _of_words(table["kind"], lambda words: pc.not_equal(words, kind))
    yield other, f"this topic holds records of kind {kind}", ("kind",)
    for name in _REQUIRED[kind]:
        yield _absent(table[name]), f"{name} is missing", ()
    for name, choices in _CHOICES[kind].items():
        yield _none_of(table[name], choices), f"{name} is none of {' '.join(choices)}", (name,)
    for field in SCHEMAS[kind]:
        if pa.types.is_floating(field.type):
            wrong = _not_finite(table[field.name])
            yield wrong, f"{field.name} is not a finite number", (field.name,)
    for name in _PRICES[kind]:
        yield _negative_price(table, name), f"{name} is negative", (name,)
    for name in _AMOUNTS[kind]:
        yield pc.less(table[name], 0.0), f"{name} is negative", (name,)
    if kind == "bar":
        yield from _bar_rules(table)
    elif kind == "corporate_action":
        yield from _action_rules(table)
    elif kind == "gap":
        yield from _gap_rules(table)


def _of_words(column: pa.ChunkedArray, judge: Callable[[_Words], pa.Array]) -> pa.Array:
    """Where `judge` finds a string broken; of coded ones it looks at each different one once."""
    if not pa.types.is_dictionary(column.type):
        return judge(column)
    coded = column.combine_chunks()
    broken = judge(coded.dictionary)
    return broken.take(coded.indices) if pc.any(broken).as_py() else pa.scalar(False)


def _none_of(column: pa.ChunkedArray, choices: tuple[str, ...]) -> pa.Array:
    known = pa.array(choices)
    return _of_words(column, lambda words: pc.invert(pc.is_in(words, value_set=known)))


def _absent(column: pa.ChunkedArray) -> pa.Array:
    empty = pa.scalar(False)
    if pa.types.is_string(column.type) or pa.types.is_dictionary(column.type):
        empty = _of_words(column, lambda words: pc.equal(words, ""))
    if column.null_count == 0:
        return empty
    return pc.or_(pc.is_null(column), pc.fill_null(empty, False))


def _not_finite(column: pa.ChunkedArray) -> pa.Array:
    # A sum is finite only if all numbers are.
    if math.isfinite(pc.sum(column).as_py() or 0.0):
        return pa.scalar(False)
    return pc.invert(pc.is_finite(column))


def _negative_price(table: pa.Table, name: str) -> pa.Array:
    negative = pc.less(table[name], 0.0)
    if not pc.any(negative).as_py():
        return pa.scalar(False)
    instrument = table["instrument_type"]
    future = _of_words(table["symbol"], lambda words: pc.ends_with(words, "=F"))
    signed = pc.or_(
        pc.fill_null(
            _of_words(
                instrument, lambda words: pc.is_in(words, value_set=pa.array(SIGNED_INSTRUMENTS))
            ),
            False,
        ),
        # Yahoo's name for a future, where nobody said what the instrument is.
        pc.and_(pc.is_null(instrument), pc.fill_null(future, False)),
    )
    return pc.and_not(negative, signed)


def _bar_rules(table: pa.Table) -> Iterator[_Broken]:
    low, high = table["low"], table["high"]
    yield pc.less(high, low), "high is below low", ("high", "low")
    if not any(_outside(table[name], low, high) for name in ("open", "close")):
        return
    slack = pc.multiply(pc.max_element_wise(pc.abs(low), pc.abs(high)), ROUNDING)
    floor, ceiling = pc.subtract(low, slack), pc.add(high, slack)
    for name in ("open", "close"):
        yield pc.less(table[name], floor), f"{name} is below low", (name, "low")
        yield pc.greater(table[name], ceiling), f"{name} is above high", (name, "high")


def _outside(column: pa.ChunkedArray, low: pa.ChunkedArray, high: pa.ChunkedArray) -> bool:
    found = pc.any(pc.less(column, low)).as_py() or pc.any(pc.greater(column, high)).as_py()
    return bool(found)


def _action_rules(table: pa.Table) -> Iterator[_Broken]:
    action = table["action"]
    needs = (
        ("split", ("numerator", "denominator")),
        ("dividend", ("amount",)),
        ("capital_gain", ("amount",)),
        ("symbol_change", ("new_symbol",)),
    )
    for name, columns in needs:
        of_this = _of_words(action, functools.partial(pc.equal, name))
        lacks = _any_absent(table, columns)
        yield pc.and_(of_this, lacks), f"a {name} needs {' and '.join(columns)}", ()
    for name in ("numerator", "denominator"):
        yield pc.less_equal(table[name], 0.0), f"{name} of a split is not above zero", (name,)


def _any_absent(table: pa.Table, columns: tuple[str, ...]) -> pa.Array:
    return functools.reduce(pc.or_, [_absent(table[name]) for name in columns])


def _gap_rules(table: pa.Table) -> Iterator[_Broken]:
    of_bars = _of_words(table["gap_kind"], lambda words: pc.equal(words, "bar"))
    unknown = pc.or_(pc.is_null(table["interval"]), _none_of(table["interval"], INTERVALS))
    yield pc.and_(of_bars, unknown), f"interval is none of {' '.join(INTERVALS)}", ("interval",)
    yield (
        pc.less_equal(table["to_ts"], table["ts"]),
        "the gap ends before it starts",
        ("ts", "to_ts"),
    )

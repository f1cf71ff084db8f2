"""From the fields of a record, as its producer wrote them, to the columns of its kind.

A `Layout` says for each column where its values come from. That of our own records is plain: each
from the field of its name. What a foreign producer's look like, a mapping says (`mapping.py`).
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.records import CODED, SCHEMAS, Kind
from tickerlake.streams.conversion import PLAIN, Written, convert, expected

__all__ = ["Aside", "Layout", "Rule", "Shape", "plain_layout"]

#: What JSON holds for a column.
Shape = Literal["number", "text", "whole", "truth"]

#: What stands beside a record: the broker's key, and when the log took it in.
Side = Literal["key", "time"]


@dataclass(frozen=True, slots=True)
class Rule:
    """Where one column comes from: a field of the record, what stands beside it, or a constant.

    With none of the three it is null.
    """

    field: pa.Field
    name: str | None = None
    side: Side | None = None
    value: pa.Scalar | None = None
    written: Written = PLAIN

    @property
    def shape(self) -> Shape:
        """How the field stands in a JSON record that is as it should be."""
        type_ = self.field.type
        if pa.types.is_floating(type_):
            return "number"
        if type_ == pa.bool_():
            return "truth"
        whole = type_ == pa.int64() and not self.written.is_time
        return "whole" if whole or self.written.unit is not None else "text"


@dataclass(frozen=True, slots=True)
class Aside:
    """What stands beside the records, one a row: keys (binary) and times (UTC, microseconds)."""

    keys: pa.Array
    times: pa.Array

    def slice(self, start: int, length: int) -> Aside:
        """Of some of the rows."""
        return Aside(self.keys.slice(start, length), self.times.slice(start, length))

    def take(self, rows: pa.Array) -> Aside:
        """Of some of the rows, by their numbers."""
        return Aside(self.keys.take(rows), self.times.take(rows))


@dataclass(frozen=True, slots=True)
class Layout:
    """How a topic's records are written. `rules` stand in the order of the kind's schema."""

    kind: Kind
    rules: tuple[Rule, ...]
    #: Written by others, by a mapping; our own records may stand between them.
    foreign: bool = False

    @property
    def names(self) -> list[str]:
        """The fields of a record that are looked at."""
        return list(dict.fromkeys(rule.name for rule in self.rules if rule.name is not None))

    @property
    def shapes(self) -> dict[str, Shape] | None:
        """How each of these fields should stand; null if two columns want one differently."""
        return _shapes(self)

    def wants(self, side: Side) -> bool:
        """Whether the reader of a topic must say what stands beside each record."""
        return any(rule.side == side for rule in self.rules)

    def records(
        self,
        columns: Mapping[str, pa.Array],
        count: int,
        aside: Aside | None,
        reasons: dict[int, str] | None,
    ) -> pa.Table:
        """The kind's columns from the fields of `count` records, each in its type or as text.

        Args:
            columns: Those of `names` that are there.
            count: How many rows each has.
            aside: What stands beside the records; not asked for by a plain layout.
            reasons: Where to note why a row's value is not what it should be (it becomes null);
                None refuses the whole instead.

        Raises:
            pa.ArrowInvalid: A value is not of its column's type, and `reasons` is None.
        """
        found = []
        for rule in self.rules:
            values = _values(rule, columns, count, aside)
            found.append(
                _strict(values, rule) if reasons is None else _typed(values, rule, reasons)
            )
        place = SCHEMAS[self.kind].get_field_index("kind")
        if found[place].null_count:
            found[place] = pc.fill_null(found[place], self.kind)
        return pa.table(found, schema=pa.schema([rule.field for rule in self.rules]))

    def coded(self, names: Collection[str]) -> Layout:
        """The same, but that these columns stay what `records` is given of them: dictionaries."""
        rules = [
            replace(rule, field=rule.field.with_type(CODED)) if rule.name in names else rule
            for rule in self.rules
        ]
        return replace(self, rules=tuple(rules))


@functools.lru_cache(maxsize=32)
def _shapes(layout: Layout) -> dict[str, Shape] | None:
    found: dict[str, Shape] = {}
    for rule in layout.rules:
        if rule.name is not None and found.setdefault(rule.name, rule.shape) != rule.shape:
            return None
    return found


@functools.lru_cache(maxsize=8)
def plain_layout(kind: Kind) -> Layout:
    """Our own records: every column is the field of its name."""
    return Layout(kind, tuple(Rule(field, field.name) for field in SCHEMAS[kind]))


def _values(
    rule: Rule, columns: Mapping[str, pa.Array], count: int, aside: Aside | None
) -> pa.Array:
    if rule.value is not None:
        return pa.repeat(rule.value, count)
    if rule.side is not None and aside is not None:
        return aside.keys if rule.side == "key" else aside.times
    values = columns.get(rule.name) if rule.name is not None else None
    return pa.nulls(count, rule.field.type) if values is None else values


def _strict(values: pa.Array, rule: Rule) -> pa.Array:
    try:
        return convert(values, rule.field.type, rule.written)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise pa.ArrowInvalid(f"{_wanted(rule)}: {error}") from error


def _wanted(rule: Rule) -> str:
    name = rule.name or rule.field.name
    return f"{name} is not {expected(rule.field.type, rule.written)}"


def _typed(values: pa.Array, rule: Rule, reasons: dict[int, str]) -> pa.Array:
    """The column in its type; what is not of it becomes null, with its row's reason noted."""
    wrong = list(_wrong_rows(values, rule, 0))
    if wrong:
        for row in wrong:
            reasons.setdefault(row, f"{_wanted(rule)}: {str(values[row].as_py())[:80]}")
        sound = np.ones(len(values), bool)
        sound[wrong] = False
        values = pc.if_else(pa.array(sound), values, pa.scalar(None, values.type))
    return convert(values, rule.field.type, rule.written)


def _wrong_rows(values: pa.Array, rule: Rule, first: int) -> Iterator[int]:
    """Rows whose values are not of the type, found by halves: mostly there are few, or none."""
    try:
        convert(values, rule.field.type, rule.written)
    except pa.ArrowInvalid:
        if len(values) == 1:
            yield first
            return
        half = len(values) // 2
        yield from _wrong_rows(values.slice(0, half), rule, first)
        yield from _wrong_rows(values.slice(half), rule, first + half)

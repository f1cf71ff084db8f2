"""From the fields of a record, as its producer wrote them, to the columns of its kind.

A `Layout` says for each column where its values come from. That of our own records is plain: each
from the field of its name. What a foreign producer's look like, a mapping says (`mapping.py`).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.records import SCHEMAS, Kind, in_calendar

__all__ = ["Layout", "Rule", "converted", "plain_layout", "typed"]

#: What JSON holds for a column: a number, a text, or something else that is read as text.
Shape = Literal["number", "text", "other"]

# Without a zone nobody knows which instant was meant.
_ZONED: Final = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*(Z|[+-]\d\d(:?\d\d)?)$"
#: The shortest that Arrow reads and `_ZONED` allows: 2013-03-01T14:30Z.
_ZONED_LENGTH_MIN: Final = 17

_EXPECTED: Final = {
    pa.float64(): "a number",
    pa.int64(): "a whole number of 64 bits",
    pa.bool_(): "true or false",
    pa.date32(): "a date such as 2013-03-01",
    pa.timestamp("us", tz="UTC"): "a time with its zone, such as 2013-03-01T14:30:00Z",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """Where one column comes from: a field of the record, by its name there."""

    field: pa.Field
    name: str

    @property
    def shape(self) -> Shape:
        """How the field stands in a JSON record that is as it should be."""
        type_ = self.field.type
        if pa.types.is_floating(type_):
            return "number"
        return "other" if type_ in (pa.int64(), pa.bool_()) else "text"

    @property
    def expected(self) -> str:
        """What the field should have held, in words."""
        return _EXPECTED[self.field.type]


@dataclass(frozen=True, slots=True)
class Layout:
    """How a topic's records are written. `rules` stand in the order of the kind's schema."""

    kind: Kind
    rules: tuple[Rule, ...]

    @property
    def names(self) -> list[str]:
        """The fields of a record that are looked at."""
        return list(dict.fromkeys(rule.name for rule in self.rules))

    def records(self, columns: Mapping[str, pa.Array], reasons: dict[int, str] | None) -> pa.Table:
        """The kind's columns from a record's fields, each either in its type or as text.

        Args:
            columns: One array for each of `names`.
            reasons: Where to note why a row's value is not what it should be (it becomes null);
                None refuses the whole instead.

        Raises:
            pa.ArrowInvalid: A value is not of its column's type, and `reasons` is None.
        """
        found = []
        for rule in self.rules:
            values = columns[rule.name]
            found.append(
                converted(values, rule) if reasons is None else typed(values, rule, reasons)
            )
        place = SCHEMAS[self.kind].get_field_index("kind")
        found[place] = pc.fill_null(found[place], self.kind)
        return pa.table(found, schema=SCHEMAS[self.kind])


@functools.lru_cache(maxsize=8)
def plain_layout(kind: Kind) -> Layout:
    """Our own records: every column is the field of its name."""
    return Layout(kind, tuple(Rule(field, field.name) for field in SCHEMAS[kind]))


def typed(values: pa.Array, rule: Rule, reasons: dict[int, str]) -> pa.Array:
    """The column in its type; what is not of it becomes null, with its row's reason noted."""
    try:
        return converted(values, rule)
    except pa.ArrowInvalid:
        pass
    # Something in this column is wrong: look at each value by itself.
    sound: list[Any] = []
    for row, value in enumerate(values):
        if value.is_valid and not _can_be(value, rule):
            found = f"{rule.name} is not {rule.expected}: {str(value.as_py())[:80]}"
            reasons.setdefault(row, found)
            sound.append(None)
        else:
            sound.append(value.as_py())
    return converted(pa.array(sound, values.type), rule)


def _can_be(value: pa.Scalar, rule: Rule) -> bool:
    try:
        converted(pa.array([value.as_py()], value.type), rule)
    except pa.ArrowInvalid:
        return False
    return True


def converted(values: pa.Array, rule: Rule) -> pa.Array:
    """The column in its type.

    Raises:
        pa.ArrowInvalid: A value is not of that type, has no zone, or lies in no calendar.
    """
    type_ = rule.field.type
    if values.type == type_:
        return values
    if values.null_count == len(values):
        return pa.nulls(len(values), type_)
    found = _instants(values, type_) if pa.types.is_timestamp(type_) else values.cast(type_)
    if not in_calendar(found):
        raise pa.ArrowInvalid("a time lies outside the years 1 to 9999")
    return found


def _instants(values: pa.Array, type_: pa.DataType) -> pa.Array:
    if not _all_zoned(values):
        raise pa.ArrowInvalid("a time has no zone")
    try:
        return values.cast(type_)
    except pa.ArrowInvalid:
        # Some producers write nanoseconds.
        return values.cast(pa.timestamp("ns", tz="UTC")).cast(type_, safe=False)


def _all_zoned(values: pa.Array) -> bool:
    # What ends in Z and is long enough has its zone, if it is a time at all: the cast will say.
    if pc.all(pc.ends_with(values, "Z")).as_py() is not False:
        shortest = pc.min(pc.binary_length(values)).as_py()
        if shortest is None or shortest >= _ZONED_LENGTH_MIN:
            return True
    return pc.all(pc.match_substring_regex(values, _ZONED)).as_py() is not False

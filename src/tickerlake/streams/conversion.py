"""Values as producers write them, in the types of our columns."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.records import in_calendar

__all__ = ["PLAIN", "UNITS", "Unit", "Written", "convert", "expected"]

Unit = Literal["s", "ms", "us", "ns"]
#: Microseconds in each unit that is not shorter.
_MICROSECONDS: Final[dict[str, int]] = {"s": 1_000_000, "ms": 1_000, "us": 1}
UNITS: Final = (*_MICROSECONDS, "ns")

# Without a zone nobody knows which instant was meant.
_ZONED: Final = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*(Z|[+-]\d\d(:?\d\d)?)$"
#: The shortest that Arrow reads and `_ZONED` allows: 2013-03-01T14:30Z.
_ZONED_LENGTH_MIN: Final = 17

_INSTANT: Final = pa.timestamp("us", tz="UTC")
_NANOSECONDS: Final = pa.timestamp("ns", tz="UTC")

_EXPECTED: Final = {
    pa.string(): "a text",
    pa.float64(): "a number",
    pa.int64(): "a whole number of 64 bits",
    pa.bool_(): "true or false",
    pa.date32(): "a date such as 2013-03-01",
    _INSTANT: "a time with its zone, such as 2013-03-01T14:30:00Z",
}


@dataclass(frozen=True, slots=True)
class Written:
    """How a foreign producer writes a value; as it stands, ours are.

    Attributes:
        format: Of a time or date, as in C's strptime; null is ISO 8601.
        zone: Where clocks show that time.
        unit: The time is a number of these since 1970.
        scale: A number is multiplied by this.
        instant: The column counts nanoseconds since 1970, but the value is written as a time.
    """

    format: str | None = None
    zone: str | None = None
    unit: Unit | None = None
    scale: float | None = None
    instant: bool = False

    @property
    def is_time(self) -> bool:
        """Whether what is written is a time, whatever the column's type."""
        return self.instant or (self.unit or self.format or self.zone) is not None


#: Ours: numbers as numbers, times in ISO 8601 with their zone.
PLAIN: Final = Written()


def expected(type_: pa.DataType, written: Written) -> str:
    """What a value should have been, in words."""
    if written.unit is not None:
        return f"a time in {written.unit} since 1970"
    if written.format is not None:
        return f"a time written as {written.format} in {written.zone or 'no zone'}"
    if written.zone is not None:
        return f"a time without a zone, such as 2013-03-01 14:30:00, in {written.zone}"
    return _EXPECTED[_INSTANT if written.instant else type_]


def convert(values: pa.Array, type_: pa.DataType, written: Written) -> pa.Array:
    """The column in its type.

    Raises:
        pa.ArrowInvalid: A value is not of that type, has no zone, or lies in no calendar.
    """
    if values.null_count == len(values):
        return pa.nulls(len(values), type_)
    if pa.types.is_dictionary(values.type) and values.type != type_:
        if len(values.dictionary) == 1 and not values.null_count:
            return pa.repeat(convert(values.dictionary, type_, written)[0], len(values))
        values = values.dictionary_decode()
    if written == PLAIN and values.type == type_:
        found = values
    elif pa.types.is_timestamp(type_):
        instants = _instants(values, written)
        # Some producers write nanoseconds.
        found = instants.cast(type_, safe=instants.type.unit != "ns")
    elif pa.types.is_date(type_):
        found = _dates(values, written)
    elif pa.types.is_int64(type_) and written.is_time:
        found = _instants(values, written).cast(_NANOSECONDS).cast(type_)
    elif written.scale is not None:
        found = pc.multiply(values.cast(type_), written.scale)
    else:
        found = values.cast(type_)
    if not in_calendar(found):
        raise pa.ArrowInvalid("a time lies outside the years 1 to 9999")
    return found


def _dates(values: pa.Array, written: Written) -> pa.Array:
    if written.unit is not None or (written.zone and pa.types.is_timestamp(values.type)):
        instants = _instants(values, written).cast(pa.timestamp("us", tz=written.zone), safe=False)
        return pc.local_timestamp(instants).cast(pa.date32(), safe=False)
    if written.format is not None:
        return _parsed(values, written.format).cast(pa.date32(), safe=False)
    return values.cast(pa.date32())


def _instants(values: pa.Array, written: Written) -> pa.Array:
    type_ = values.type
    if pa.types.is_timestamp(type_) and type_.tz is not None:
        return values
    if written.unit is not None:
        return _since_1970(values, written.unit)
    if written.zone is not None:
        naive = values if pa.types.is_temporal(type_) else _naive(values, written.format)
        naive = naive.cast(pa.timestamp("us")) if pa.types.is_date(naive.type) else naive
        return pc.assume_timezone(naive, written.zone)
    if not pa.types.is_string(type_) or not _all_zoned(values):
        raise pa.ArrowInvalid("a time has no zone")
    return _cast(values, "UTC")


def _naive(values: pa.Array, format_: str | None) -> pa.Array:
    return _cast(values, None) if format_ is None else _parsed(values, format_)


def _cast(values: pa.Array, zone: str | None) -> pa.Array:
    micros, nanos = pa.timestamp("us", tz=zone), pa.timestamp("ns", tz=zone)
    try:
        return values.cast(micros)
    except pa.ArrowInvalid:
        try:
            return values.cast(nanos)
        except pa.ArrowInvalid:  # some in nanoseconds, some too far off to be counted in these
            fine = pc.match_substring_regex(values, r"\.\d{7}")
            fine_ones = pc.if_else(fine, values, None).cast(nanos).cast(micros, safe=False)
            return pc.coalesce(fine_ones, pc.if_else(fine, None, values).cast(micros))


def _parsed(values: pa.Array, format_: str) -> pa.Array:
    # A day or a minute stands in many records, and parsing is slow.
    coded = values.dictionary_encode()
    texts = coded.dictionary
    parsed = pc.strptime(texts, format=format_, unit="s", error_is_null=True)
    # C's function takes the 30th of February for the 2nd of March.
    sure = pc.fill_null(pc.equal(pc.strftime(parsed, format=format_), texts), False)
    parsed = parsed.cast(pa.timestamp("us"))
    if not pc.all(sure).as_py():
        looked = [_strictly(text, format_) for text in texts.to_pylist()]
        parsed = pa.array(looked, pa.timestamp("us"))
    return parsed.take(coded.indices)


@functools.lru_cache(maxsize=1 << 14)
def _strictly(text: str, format_: str) -> datetime:
    try:
        return datetime.strptime(text, format_)  # noqa: DTZ007 - its zone is stated beside it
    except ValueError as error:
        raise pa.ArrowInvalid(str(error)) from error


def _since_1970(values: pa.Array, unit: Unit) -> pa.Array:
    try:
        numbers = values.cast(pa.int64())
    except pa.ArrowInvalid:
        numbers = values.cast(pa.float64())
    if unit == "ns":
        return numbers.cast(pa.int64()).cast(_NANOSECONDS)
    micros = pc.multiply_checked(numbers, _MICROSECONDS[unit])
    if pa.types.is_floating(micros.type):
        micros = pc.round(micros).cast(pa.int64())
    return micros.cast(_INSTANT)


def _all_zoned(values: pa.Array) -> bool:
    # What ends in Z and is long enough has its zone, if it is a time at all: the cast will say.
    if pc.all(pc.ends_with(values, "Z")).as_py() is not False:
        shortest = pc.min(pc.binary_length(values)).as_py()
        if shortest is None or shortest >= _ZONED_LENGTH_MIN:
            return True
    return pc.all(pc.match_substring_regex(values, _ZONED)).as_py() is not False

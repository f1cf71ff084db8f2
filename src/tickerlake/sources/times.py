"""A file's column of dates or times → UTC starts and session dates, with every zone explicit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.errors import RangeError
from tickerlake.sources.tables import Rows

__all__ = ["DAILY_AND_LONGER", "Times", "read_times", "zone"]

DAILY_AND_LONGER: Final = ("1d", "5d", "1wk", "1mo", "3mo")

_UTC: Final = pa.timestamp("us", tz="UTC")
_NAIVE: Final = pa.timestamp("us")
_DATE: Final = r"^\s*\d{4}-\d{2}-\d{2}\s*$"
_CLOCK: Final = r"^\s*\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?"
_FORMS: Final = {
    "a date": _DATE,
    "a time with its zone": _CLOCK + r"\s*(Z|[+-]\d{2}(:?\d{2})?)\s*$",
    "a time without zone": _CLOCK + r"\s*$",
    "a number of seconds, ms, µs or ns since 1970": r"^\s*\d{9,19}\s*$",
}


@dataclass(frozen=True, slots=True)
class Times:
    """`instants` in UTC (null where the file has dates), and `local`: the same as written there.

    `local` carries no zone: it is the exchange's wall clock, whose date is the session's.
    """

    instants: pa.Array | None
    local: pa.Array

    def are_midnights(self) -> bool:
        """Whether every row stands at 00:00 of the wall clock, as dates written by tools do."""
        midnights = pc.equal(pc.floor_temporal(self.local, unit="day"), self.local)
        return pc.all(midnights).as_py() is not False


def zone(name: str) -> ZoneInfo:
    """A time zone by its name.

    Raises:
        RangeError: There is none of this name.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise RangeError(
            f"There is no time zone {name!r}.",
            expected="a name such as America/New_York or UTC",
            found=name,
            todo="write an IANA name",
        ) from error


def read_times(
    rows: Rows, column: str, *, time_zone: str | None, dates_may_be_naive: bool
) -> Times:
    """Read one column, whose rows must all have the form of the first.

    Args:
        rows: The file.
        column: Which of its columns.
        time_zone: The zone of naive times, and of session dates of zoned ones.
        dates_may_be_naive: Midnights without a zone are dates (the interval says so).

    Raises:
        MalformedError: A row is empty or of another form than the first; names file and line.
        RangeError: Times without a zone, and no `time_zone`.
    """
    values = rows.table[column].combine_chunks()
    if time_zone is not None:
        zone(time_zone)
    empty = pc.index(pc.is_null(values), pa.scalar(True)).as_py()
    if empty >= 0:
        raise rows.malformed(empty, "a row without a time.", expected=column, found="nothing")
    form = "a date"
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        form, values = _read_text(rows, column, values)
    if pa.types.is_integer(values.type):
        values = _from_epoch(values)
    if pa.types.is_date(values.type):
        return Times(None, values.cast(_NAIVE))
    if not pa.types.is_timestamp(values.type):
        raise rows.malformed(
            0, f"{column} holds no times.", expected="dates or times", found=values.type
        )
    if values.type.tz is not None:
        instants = values.cast(_UTC, safe=False)
        if time_zone is not None:
            return Times(instants, _wall_clock(instants, time_zone))
        if form == "a time with its zone":
            return Times(instants, _as_written(rows.table[column].combine_chunks()))
        return Times(instants, _wall_clock(instants, values.type.tz))
    local = values.cast(_NAIVE, safe=False)
    if time_zone is not None:
        instants = pc.assume_timezone(
            local, time_zone, ambiguous="earliest", nonexistent="earliest"
        )
        return Times(instants.cast(_UTC), local)
    dates = Times(None, local)
    if dates_may_be_naive and dates.are_midnights():
        return dates
    raise RangeError(
        f"{rows.file}, {rows.place_of(0)}: the times in {column} have no zone.",
        expected="a zone in each time, such as Z, or the file's time_zone",
        found=str(local[0]) if len(local) else "naive times",
        todo='name the zone: [sources.files] time_zone = "America/New_York", for instance',
    )


def _read_text(rows: Rows, column: str, texts: pa.Array) -> tuple[str, pa.Array]:
    if not len(texts):
        return "a date", texts.cast(pa.date32())
    first = texts[0].as_py()
    fits = {form: pc.match_substring_regex(texts, pattern) for form, pattern in _FORMS.items()}
    form = next((form for form, mask in fits.items() if mask[0].as_py()), None)
    if form is None:
        raise rows.malformed(
            0, f"{column} {first!r} is no time.", expected=" or ".join(_FORMS), found=first
        )
    other = pc.index(fits[form], pa.scalar(False)).as_py()
    if other >= 0:
        raise rows.malformed(
            other, f"{column} is not {form}.", expected=f"{form}, as in the first row",
            found=repr(texts[other].as_py()),
        )  # fmt: skip
    plain = pc.utf8_trim_whitespace(texts)
    types = {"a date": pa.date32(), "a time with its zone": _UTC, "a time without zone": _NAIVE}
    target = types.get(form, pa.int64())
    try:
        return form, _micros(plain).cast(target)
    except pa.ArrowInvalid:
        bad = next(
            at for at in range(len(plain)) if not _castable(_micros(plain[at : at + 1]), target)
        )
    raise rows.malformed(
        bad, f"{column} is not {form}.", expected=form, found=repr(texts[bad].as_py())
    )


def _micros(texts: pa.Array) -> pa.Array:
    """Cut fractions of a second after six digits: bars start at whole seconds anyway."""
    return pc.replace_substring_regex(texts, r"(\.\d{6})\d+", r"\1")


def _castable(text: pa.Array, target: pa.DataType) -> bool:
    try:
        text.cast(target)
    except pa.ArrowInvalid:
        return False
    return True


def _as_written(texts: pa.Array) -> pa.Array:
    """The wall clock of "2023-04-14 09:30:00+09:00" is what stands before the offset."""
    cut = pc.replace_substring_regex(
        pc.utf8_trim_whitespace(texts), r"\s*(Z|[+-]\d{2}(:?\d{2})?)$", ""
    )
    return _micros(cut).cast(_NAIVE)


def _wall_clock(instants: pa.Array, time_zone: str) -> pa.Array:
    return pc.local_timestamp(instants.cast(pa.timestamp("us", tz=time_zone)))


def _from_epoch(numbers: pa.Array) -> pa.Array:
    """Seconds, ms, µs or ns since 1970, told apart by size (from 1973 to 5138)."""
    if not len(numbers):
        return numbers.cast(pa.int64()).cast(_UTC)
    largest = pc.max(pc.abs(numbers)).as_py()
    unit = next(
        u
        for u, top in (("s", 10**11), ("ms", 10**14), ("us", 10**17), ("ns", 10**20))
        if largest < top
    )
    return numbers.cast(pa.int64()).cast(pa.timestamp(unit, tz="UTC"))

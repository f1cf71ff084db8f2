"""From the bytes of an answer to columns: JSON and CSV, texts to numbers and days.

What is not as it should be is a `MalformedError` that names the provider and the place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.errors import MalformedError
from tickerlake.records import INTERVALS, SCHEMAS, Kind, conform

__all__ = [
    "LaxDecoder",
    "csv_rows",
    "days_of",
    "decoded",
    "floats",
    "json_rows",
    "malformed",
    "next_page",
    "of_one_type",
    "table_of",
    "unnamed_interval",
]

_FIRST_DAY: Final = date(1800, 1, 1)
_LAST_DAY: Final = date(2200, 1, 1)


def table_of(kind: Kind, columns: Mapping[str, Any], count: int) -> pa.Table:
    """A table of the kind's schema; a single value stands for a whole column."""
    schema = SCHEMAS[kind]
    filled = {
        name: value
        if isinstance(value, pa.Array | pa.ChunkedArray)
        else pa.repeat(pa.scalar(value, schema.field(name).type), count)
        for name, value in columns.items()
    }
    return conform(pa.table(filled), kind)


def decoded(payload: bytes, provider: str) -> Any:  # noqa: ANN401 - JSON is any
    """The JSON document; a decimal becomes the nearest float64, once.

    Raises:
        MalformedError: It is none, or was cut.
    """
    try:
        return msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise malformed(provider, "", "JSON", payload[:60], why="no JSON, or was cut") from error


class LaxDecoder:
    """Decodes JSON as a type; numbers that stand as texts are taken, too, once it must be.

    A text such as "NaN" that is no number of a market is null.
    """

    def __init__(self, type_: Any) -> None:  # noqa: ANN401 - whatever msgspec takes
        self._strict = msgspec.json.Decoder(type_)
        self._lax = msgspec.json.Decoder(type_, strict=False)

    def decode(self, raw: bytes | str | msgspec.Raw) -> Any:  # noqa: ANN401 - of the type
        """The value.

        Raises:
            msgspec.DecodeError, UnicodeError, RecursionError: It is none.
        """
        try:
            return self._strict.decode(raw)
        except msgspec.ValidationError:
            # What is not finite is written as null.
            return self._strict.decode(msgspec.json.encode(self._lax.decode(raw)))


def json_rows(payload: bytes, fields: Mapping[str, pa.DataType], provider: str) -> pa.Table:
    """A list of flat objects as columns, without a Python object for each; absent is null.

    Raises:
        MalformedError: No such list, or a value of another type.
    """
    import pyarrow.json as reader

    try:
        # Proven first: Arrow's reader takes more for JSON than JSON is, and may crash over it.
        rows = bytes(msgspec.json.decode(payload, type=msgspec.Raw)).strip()
        rows.decode()  # neither of the two looks at that
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise malformed(provider, "", "JSON", payload[:60], why="no JSON, or was cut") from error
    if not rows.startswith(b"["):
        raise malformed(provider, "", "a list of rows", rows[:60])
    # Inside a JSON text no newline stands as itself.
    line = b'{"rows":' + rows.replace(b"\n", b" ").replace(b"\r", b" ") + b"}"
    schema = pa.schema([("rows", pa.list_(pa.struct(list(fields.items()))))])
    try:
        table = reader.read_json(
            pa.BufferReader(line),
            read_options=reader.ReadOptions(use_threads=False, block_size=len(line) + 1),
            parse_options=reader.ParseOptions(
                explicit_schema=schema, unexpected_field_behavior="ignore"
            ),
        )
        return pa.Table.from_struct_array(table["rows"].combine_chunks().flatten())
    except (pa.ArrowException, OverflowError) as error:
        found = _rows_one_by_one(rows, fields, provider)
        if found is None:
            raise malformed(provider, "its rows", "rows of values", str(error)) from error
        return found


def _rows_one_by_one(
    rows: bytes, fields: Mapping[str, pa.DataType], provider: str
) -> pa.Table | None:
    """By a slower road, which takes numbers that stand as texts; None if that is not it."""
    try:
        told = msgspec.json.decode(rows, type=list[dict[str, Any]])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    columns = {}
    for name, kind in fields.items():
        values = [row.get(name) for row in told]
        try:
            is_number = pa.types.is_floating(kind)
            columns[name] = floats(values, provider, name) if is_number else pa.array(values, kind)
        except (pa.ArrowException, OverflowError, UnicodeError):
            return None
    return pa.table(columns)


def csv_rows(payload: bytes, provider: str) -> pa.Table:
    """CSV with a header as columns of text, as they stand there; without rows, none.

    Raises:
        MalformedError: No UTF-8, or rows of other lengths than the header's.
    """
    import pyarrow.csv as reader

    header = payload.lstrip(b"\xef\xbb\xbf\r\n").partition(b"\n")[0]
    names = [name.strip(' "\r') for name in header.decode(errors="replace").split(",")]
    if len(set(names)) < len(names):
        raise malformed(provider, "its header", "each name once", names)
    try:
        return reader.read_csv(
            pa.BufferReader(payload + b"\n"),
            read_options=reader.ReadOptions(
                column_names=names, skip_rows=1, use_threads=False, block_size=len(payload) + 2
            ),
            convert_options=reader.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except (pa.ArrowException, OverflowError) as error:
        if "Empty CSV" in str(error):
            return pa.schema([(name, pa.string()) for name in names]).empty_table()
        raise malformed(provider, "its rows", "CSV", str(error)) from error


def days_of(texts: pa.Array | pa.ChunkedArray, provider: str) -> pa.Array:
    """Calendar days from texts that begin with YYYY-MM-DD, or are YYYYMMDD.

    Raises:
        MalformedError: Anything else, or a day that no market has seen.
    """
    column = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    plain = pc.utf8_slice_codeunits(pc.utf8_trim_whitespace(column), 0, 10)
    plain = pc.replace_substring_regex(plain, r"^(\d{4})(\d{2})(\d{2})$", r"\1-\2-\3")
    try:
        days = plain.cast(pa.date32())
    except pa.ArrowException as error:
        raise malformed(provider, "its dates", "YYYY-MM-DD", str(error)) from error
    bounds = pc.min_max(days).as_py()
    outside = bounds["min"] is not None and not (
        bounds["min"] >= _FIRST_DAY and bounds["max"] < _LAST_DAY
    )
    if days.null_count or outside:
        raise malformed(provider, "its dates", "days between 1800 and 2200", bounds)
    return days


def floats(
    values: Sequence[Any] | pa.Array | pa.ChunkedArray, provider: str, where: str
) -> pa.Array:
    """Numbers, or texts of numbers, as float64; null, "" and "None" are null.

    Raises:
        MalformedError: Anything else.
    """
    try:
        if isinstance(values, pa.ChunkedArray):
            column = values.combine_chunks()
        elif isinstance(values, pa.Array):
            column = values
        else:
            column = of_one_type(values, pa.float64())
        if pa.types.is_string(column.type):
            plain = pc.utf8_trim_whitespace(column)
            nothing = pc.is_in(
                plain, value_set=pa.array(["", "None", "null", "NaN", "nan", "-", "N/A"])
            )
            column = pc.if_else(nothing, pa.scalar(None, pa.string()), plain)
        numbers = column.cast(pa.float64())
    except (pa.ArrowException, OverflowError, UnicodeError) as error:
        raise malformed(provider, where, "numbers", str(error)) from error
    if pc.all(pc.is_finite(numbers)).as_py() is False:
        raise malformed(provider, where, "finite numbers", "one that is not")
    return numbers


def of_one_type(values: Sequence[Any], numbers: pa.DataType) -> pa.Array:
    """Texts if any value is one, which the numbers among them become; else numbers of this type.

    Raises:
        ArrowException, OverflowError: A value is neither.
    """
    kinds = set(map(type, values))
    if kinds <= {str, type(None)}:
        return pa.array(values, pa.string())
    if kinds - {str, int, float, type(None)}:
        raise pa.ArrowTypeError("neither numbers nor texts")
    if str not in kinds:
        return pa.array(values, numbers)
    told = [str(value) if type(value) in (int, float) else value for value in values]
    return pa.array(told, pa.string())


def next_page(provider: str, named: str | None, seen: set[str]) -> str | None:
    """The page that an answer names, kept in `seen`; None after the last one.

    Raises:
        MalformedError: It was there before: following would never end.
    """
    if not named:
        return None
    if named in seen:
        raise malformed(provider, "its pages", "each page once", "a page that comes again")
    seen.add(named)
    return named


def unnamed_interval(provider: str, found: str | None) -> MalformedError:
    """The error of bars whose length is none of ours, or that nobody tells."""
    if found is None:
        return MalformedError(
            f"This answer of {provider} does not say how long its bars are.",
            expected="several bars, whose distance tells it, or an interval told beside it",
            found="neither",
            todo="name it: --interval 1m, for instance",
        )
    return MalformedError(
        f"{provider}'s bars are of an interval that has no name here.",
        expected=" ".join(INTERVALS),
        found=found,
        todo="ask for one of these",
    )


def malformed(
    provider: str,
    where: str,
    expected: str,
    found: object,
    *,
    why: str = "of another shape than it should be",
) -> MalformedError:
    """The error of an answer that is not what the provider gives."""
    return MalformedError(
        f"{provider}'s answer is {why}{f' in {where}' if where else ''}.",
        expected=expected,
        found=repr(found)[:160],
        todo=f"try again; if it stays, {provider} has changed: report it",
    )

"""Tabular bytes (CSV, newline JSON, Parquet) → Arrow, and which line a row came from."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from tickerlake.errors import MalformedError

__all__ = ["Rows", "read_rows"]


@dataclass(frozen=True, slots=True)
class Rows:
    """Columns as the file has them (CSV: all text), and how to name a row to the user.

    `place_of(i)` is "line 7" or "row 7": looked up only when an error needs it, so that reading
    sound files costs nothing for it.
    """

    file: str
    table: pa.Table
    place_of: Callable[[int], str]

    def malformed(self, row: int, problem: str, *, expected: str, found: object) -> MalformedError:
        """An error that names file and line."""
        return MalformedError(
            f"{self.file}, {self.place_of(row)}: {problem}",
            expected=expected,
            found=str(found),
            todo="mend the line and publish again; nothing of this file was published",
        )


def read_rows(payload: bytes, *, file: str, delimiter: str = ",") -> Rows:
    """Tell the format from the bytes themselves, and read it.

    Raises:
        MalformedError: The bytes are none of the three, or a line is broken (named).
    """
    if payload[:4] == b"PAR1":
        return _parquet(payload, file)
    start = payload[:64].removeprefix(b"\xef\xbb\xbf").lstrip()
    if start[:1] == b"{":
        return _json_lines(payload, file)
    if start[:2] in (b"[{", b"[\n", b"[\r", b"[ ", b"[]"):
        return _json_array(payload, file)
    return _csv(payload, file, delimiter)


def _parquet(payload: bytes, file: str) -> Rows:
    try:
        table = pyarrow.parquet.read_table(pa.BufferReader(payload))
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise MalformedError(
            f"{file} is not a sound Parquet file.",
            expected="Parquet",
            found=str(error),
            todo="write the file again",
        ) from error
    for at, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):  # what pandas calls a category
            table = table.set_column(at, field.name, table[at].cast(field.type.value_type))
    return Rows(file, table, lambda row: f"row {row + 1}")


def _lines(text: str, delimiter: str) -> Any:  # noqa: ANN401 - the csv module's reader has no name
    """The fields of each line, whatever ends it and however long a field is."""
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)


def _csv(payload: bytes, file: str, delimiter: str) -> Rows:
    text = _text(payload, file)
    reader = _lines(text, delimiter)
    header = next((row for row in reader if row), None)
    if header is None:
        raise MalformedError(
            f"{file} is empty.",
            expected="a header line and rows",
            found=f"{len(payload)} bytes without a line",
            todo="check that the file was written to its end",
        )
    names = [name.strip() for name in header]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise MalformedError(
            f"{file}, line {reader.line_num}: two columns have the name {twice!r}.",
            expected="each name once",
            found=", ".join(names),
            todo="rename one of them",
        )

    def place_of(row: int) -> str:
        lines = _lines(text, delimiter)
        filled = (lines.line_num for fields in lines if fields)
        next(filled)  # the header
        return f"line {next(line for at, line in enumerate(filled) if at == row)}"

    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(payload),
            read_options=pyarrow.csv.ReadOptions(column_names=names, skip_rows=reader.line_num),
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):  # a header and nothing else: a sound file without rows
            return Rows(file, pa.schema([(name, pa.string()) for name in names]).empty_table(), str)
        raise _wrong_field_count(text, file, delimiter, error) from error
    return Rows(file, table, place_of)


def _wrong_field_count(
    text: str, file: str, delimiter: str, error: pa.ArrowInvalid
) -> MalformedError:
    reader = _lines(text, delimiter)
    wanted, begins = 0, 1
    for fields in reader:
        wanted = wanted or len(fields)
        if fields and len(fields) != wanted:
            return MalformedError(
                f"{file}, line {begins}: a row with a wrong number of fields.",
                expected=f"{wanted} fields, as in the header",
                found=f"{len(fields)}: {delimiter.join(fields)[:120]}",
                todo="mend the line and publish again; nothing of this file was published",
            )
        begins = reader.line_num + 1  # a quote that nobody closed spans many lines
    return MalformedError(
        f"{file} is not sound CSV.",
        expected=f"rows separated by {delimiter!r}",
        found=str(error),
        todo="check the file, or name its delimiter",
    )


def _json_lines(payload: bytes, file: str, *, unit: str = "line") -> Rows:
    lines: list[int] = []
    _text(payload, file)  # Arrow's reader takes any bytes for texts

    def place_of(row: int) -> str:
        if not lines:
            text = payload.splitlines()
            lines.extend(number for number, line in enumerate(text, 1) if line.strip())
        return f"{unit} {lines[row]}"

    try:
        table = pyarrow.json.read_json(pa.BufferReader(payload))
        # Texts that look like times come back as naive times, whatever zone they had: ask again
        # for the texts themselves.
        guessed = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
        if guessed:
            texts = pa.schema([(name, pa.string()) for name in guessed])
            options = pyarrow.json.ParseOptions(explicit_schema=texts)
            table = pyarrow.json.read_json(pa.BufferReader(payload), parse_options=options)
    except pa.ArrowInvalid as error:
        raise _wrong_object(payload, file, unit, error) from error
    return Rows(file, table, place_of)


def _json_array(payload: bytes, file: str) -> Rows:
    """`fetch --output x.json` and `sql --json` write their rows so."""
    try:
        found = json.loads(payload)
    except ValueError as error:
        raise MalformedError(
            f"{file} is not sound JSON.",
            expected="an array of objects, or one object a line",
            found=str(error),
            todo="write the file again; nothing of it was published",
        ) from error
    lines = "".join(json.dumps(item) + "\n" for item in found)
    if not lines:
        raise MalformedError(
            f"{file} is an empty array.",
            expected="an array of objects",
            found="[]",
            todo="check that the file was written to its end",
        )
    return _json_lines(lines.encode(), file, unit="item")


def _wrong_object(payload: bytes, file: str, unit: str, error: pa.ArrowInvalid) -> MalformedError:
    types: dict[str, type] = {}
    for number, line in enumerate(payload.splitlines(), 1):
        if not line.strip():
            continue
        found: object
        try:
            found = json.loads(line)
        except ValueError as broken:
            return _bad_line(
                file, f"{unit} {number}", "one JSON object a line", f"{broken}: {line[:120]!r}"
            )
        if not isinstance(found, dict):
            return _bad_line(file, f"{unit} {number}", "one JSON object a line", repr(line[:120]))
        for name, value in found.items():
            kind = float if isinstance(value, int) else type(value)
            if value is not None and types.setdefault(name, kind) is not kind:
                expected = f"{name} as a {types[name].__name__}, as in the lines before"
                return _bad_line(file, f"{unit} {number}", expected, repr(value))
    return MalformedError(
        f"{file} is not sound newline JSON.",
        expected="one JSON object a line",
        found=str(error),
        todo="write the file again",
    )


def _bad_line(file: str, place: str, expected: str, found: str) -> MalformedError:
    return MalformedError(
        f"{file}, {place}: it cannot be read.",
        expected=expected,
        found=found,
        todo="mend the line and publish again; nothing of this file was published",
    )


def _text(payload: bytes, file: str) -> str:
    try:
        return payload.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = payload[: error.start].count(b"\n") + 1
        raise MalformedError(
            f"{file}, line {line}: not UTF-8 text.",
            expected="UTF-8, CSV or newline JSON, or a Parquet file",
            found=repr(payload[error.start : error.start + 8]),
            todo="convert the file to UTF-8",
        ) from error

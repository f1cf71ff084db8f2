"""Bars from files: CSV, newline JSON and Parquet.

Columns are found by name, whatever their case and spelling ("Adj Close", `adj_close`,
"Adjusted Close"), or as `[sources.files] columns` says. A file whose columns name no symbol,
interval or currency takes those of the settings.

A row that cannot be read stops the whole file, named by line. A row whose *values* are wrong
(high < low, a negative price) passes: where records enter the lake it becomes a dead letter.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Final

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake import clock
from tickerlake.errors import MalformedError, NotFoundError, RangeError, StorageError
from tickerlake.records import INTERVALS, SCHEMAS, conform
from tickerlake.sources.base import Answer, BarsRequest, Limits, select
from tickerlake.sources.tables import Rows, read_rows
from tickerlake.sources.times import DAILY_AND_LONGER, Times, read_times

__all__ = ["FilesSettings", "FilesSource"]

#: Our column: the names that we take for it, lower-case letters and digits only.
_ALIASES: Final[dict[str, tuple[str, ...]]] = {
    "ts": ("ts", "datetime", "timestamp", "date", "time", "sessiondate", "day", "t"),
    "session_date": ("sessiondate",),
    "symbol": ("symbol", "ticker"),
    "open": ("open", "openprice", "o"),
    "high": ("high", "highprice", "h"),
    "low": ("low", "lowprice", "l"),
    "close": ("close", "closeprice", "closelast", "c"),
    "adj_close": ("adjclose", "adjustedclose", "adjcloseprice"),
    "volume": ("volume", "vol", "v"),
    "currency": ("currency",),
    "interval": ("interval",),
    "state": ("state",),
    "session": ("session",),
    "provider": ("provider",),
    "instrument_type": ("instrumenttype",),
    "split_basis": ("splitbasis",),
    "fetched_at": ("fetchedat",),
}
_NUMBERS: Final = ("open", "high", "low", "close", "adj_close", "volume")
_NOTHING: Final = ("", "null", "none", "nan", "n/a", "#n/a", "na", "-")
_FORMATS: Final = (".csv", ".json", ".jsonl", ".ndjson", ".parquet", ".txt")


@dataclass(frozen=True, slots=True)
class FilesSettings:
    """`[sources.files]`: where files lie, and what they do not say themselves."""

    #: A file, or a folder of files.
    path: str | None = None
    #: Our column = the file's, where the names differ: {open = "Px"}; in a text "open=Px,volume=Q".
    columns: dict[str, str] = field(default_factory=dict)
    #: The zone of times that carry none, and of session dates.
    time_zone: str | None = None
    #: The bars' interval, where no column says it; dates alone are 1d.
    interval: str | None = None
    #: The symbol, where no column says it.
    symbol: str | None = None
    #: The currency, where no column says it.
    currency: str | None = None
    #: Whose prices these are: half of every record's key.
    provider: str = "files"
    #: Between the fields of CSV.
    delimiter: str = ","


class FilesSource:
    """Bars that somebody already has. Not promised: that a file is complete, or still the same."""

    name = "files"
    limits = Limits(intervals=INTERVALS, local=True)
    settings_type: ClassVar[type[FilesSettings]] = FilesSettings

    def __init__(self, settings: FilesSettings | None = None) -> None:
        self._settings = settings or FilesSettings()
        unknown = sorted(set(self._settings.columns) - set(_ALIASES))
        if unknown:
            raise NotFoundError(
                f"A bar has no column {unknown[0]!r}.",
                expected=", ".join(_ALIASES),
                found=unknown[0],
                todo="mend [sources.files] columns",
            )
        if self._settings.interval is not None:
            self.limits.require(self._settings.interval, source=self.name)

    def bars(self, request: BarsRequest) -> Answer:
        """The symbol's bars of the interval inside the range, out of `path`.

        Raises:
            NotFoundError: No such file, or no file holds the symbol.
            MalformedError: A line cannot be read; names file and line.
            RangeError: Times without a zone.
        """
        everything = self.read_all()
        bars = everything.bars
        symbols = pc.unique(bars["symbol"]).to_pylist()
        if request.symbol not in symbols:
            raise NotFoundError(
                f"No file in {self._settings.path} has the symbol {request.symbol!r}.",
                expected=", ".join(sorted(map(str, symbols))[:20]) or "rows",
                found=request.symbol,
                todo="choose one of these, or another path",
            )
        wanted = pc.and_(
            pc.equal(bars["symbol"], request.symbol), pc.equal(bars["interval"], request.interval)
        )
        return dataclasses.replace(everything, bars=select(bars.filter(wanted), request))

    def symbols(self) -> Iterator[str]:
        """Every symbol in the files, sorted."""
        bars = self.read_all().bars
        return iter(sorted(pc.unique(pc.drop_null(bars["symbol"])).to_pylist()))

    def read_all(self) -> Answer:
        """Everything that `path` holds, whatever the symbol."""
        if self._settings.path is None:
            raise NotFoundError(
                "The source 'files' has no path.",
                expected="[sources.files] path, a file or a folder",
                found="nothing",
                todo="set it, or publish one file with publish --file",
            )
        return _joined([self.read_file(path) for path in _paths(Path(self._settings.path))])

    def read_file(self, path: Path, *, received_at: datetime | None = None) -> Answer:
        """Everything in one file.

        Raises:
            NotFoundError: There is no such file, or a column is missing.
            MalformedError: A line cannot be read; names file and line.
            RangeError: Times without a zone.
        """
        try:
            payload = path.read_bytes()
        except FileNotFoundError as error:
            raise NotFoundError(
                f"There is no file {path}.",
                expected="a file",
                found="nothing",
                todo="check its name",
            ) from error
        except OSError as error:
            raise StorageError(
                f"{path} cannot be read.",
                expected="a file",
                found=str(error),
                todo="check its rights",
            ) from error
        return _answer(payload, str(path), self._settings, received_at or clock.now())

    def parse(
        self,
        payload: bytes,
        *,
        symbol: str | None = None,
        interval: str | None = None,
        received_at: datetime | None = None,
    ) -> Answer:
        """The bars of a file's bytes; `symbol` and `interval` stand in for missing columns.

        Raises:
            MalformedError: A line cannot be read; names the line.
            RangeError: Times without a zone, or an unknown interval.
        """
        if interval is not None:
            self.limits.require(interval, source=self.name)
        settings = dataclasses.replace(
            self._settings,
            symbol=symbol or self._settings.symbol,
            interval=interval or self._settings.interval,
        )
        return _answer(payload, "the file", settings, received_at or clock.now())


def _paths(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(item for item in path.iterdir() if item.suffix.lower() in _FORMATS)
    if not found:
        raise NotFoundError(
            f"The folder {path} holds no files of bars.",
            expected=" ".join(_FORMATS),
            found="none",
            todo="check [sources.files] path",
        )
    return found


def _joined(answers: list[Answer]) -> Answer:
    return Answer(
        bars=pa.concat_tables([answer.bars for answer in answers]),
        actions=answers[0].actions,
        notes=tuple(note for answer in answers for note in answer.notes),
    )


def _answer(payload: bytes, file: str, settings: FilesSettings, received_at: datetime) -> Answer:
    rows = read_rows(payload, file=file, delimiter=settings.delimiter)
    names = _columns(rows, settings)
    intervals = _intervals(rows, names, settings)
    times = _times(rows, names, intervals, settings)
    columns: dict[str, pa.Array | pa.ChunkedArray] = {
        name: _number(rows, names[name]) for name in _NUMBERS if name in names
    }
    columns |= _texts(rows, names, settings)
    columns |= _dated(rows, names, intervals, times)
    columns["fetched_at"] = _fetched_at(rows, names, received_at)
    bars = conform(pa.table(columns), "bar")
    left = sorted(set(rows.table.column_names) - set(names.values()))
    notes = (f"{file}: columns left out: {', '.join(left)}",) if left else ()
    return Answer(
        bars=bars.sort_by([("symbol", "ascending"), ("ts", "ascending")]),
        actions=SCHEMAS["corporate_action"].empty_table(),
        notes=notes,
    )


_INSTANT: Final = SCHEMAS["bar"].field("ts").type


def _columns(rows: Rows, settings: FilesSettings) -> dict[str, str]:
    """Our column → the file's, as told by the settings, else by alias."""
    plain = {_plain(name): name for name in reversed(rows.table.column_names)}
    names: dict[str, str] = {}
    for ours, aliases in _ALIASES.items():
        told = settings.columns.get(ours)
        found = told if told is not None else next((plain[a] for a in aliases if a in plain), None)
        if told is not None and told not in rows.table.column_names:
            raise _missing(rows, f"no column {told!r} (asked for as {ours!r})", told)
        if found is not None:
            names[ours] = found
    if names.get("ts") == names.get("session_date"):
        names.pop("session_date", None)
    for ours in ("ts", "open", "high", "low", "close"):
        if ours not in names:
            raise _missing(rows, f"no column for {ours!r}", " or ".join(_ALIASES[ours]))
    if "symbol" not in names and settings.symbol is None:
        raise _missing(
            rows, "no column for 'symbol'", "symbol or ticker, or a symbol named beside --file"
        )
    return names


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _missing(rows: Rows, what: str, expected: str) -> NotFoundError:
    return NotFoundError(
        f"{rows.file} has {what}.",
        expected=expected,
        found=", ".join(rows.table.column_names),
        todo='name the file\'s own column: [sources.files] columns = {open = "theirs"}',
    )


def _intervals(rows: Rows, names: dict[str, str], settings: FilesSettings) -> pa.Array | None:
    if "interval" in names:
        return _text(rows, names["interval"])
    if settings.interval is not None:
        return pa.repeat(pa.scalar(settings.interval), rows.table.num_rows)
    return None  # the times will tell whether these are days


def _times(
    rows: Rows, names: dict[str, str], intervals: pa.Array | None, settings: FilesSettings
) -> Times:
    daily = intervals is not None and pc.all(_is_daily(intervals)).as_py() is not False
    times = read_times(rows, names["ts"], time_zone=settings.time_zone, dates_may_be_naive=daily)
    if times.instants is None and intervals is not None and not daily:
        raise RangeError(
            f"{rows.file} has dates, but its interval is shorter than a day.",
            expected="the start of each bar, with its zone",
            found="dates",
            todo="give the times, or the interval 1d",
        )
    if times.instants is not None and intervals is None and not times.are_midnights():
        raise RangeError(
            f"{rows.file} has times, but does not say of which interval.",
            expected="a column 'interval', or the option interval",
            found="neither",
            todo="add --interval, such as --interval 1m",
        )
    return times


def _is_daily(intervals: pa.Array) -> pa.Array:
    return pc.is_in(intervals, value_set=pa.array(DAILY_AND_LONGER))


def _dated(
    rows: Rows, names: dict[str, str], intervals: pa.Array | None, times: Times
) -> dict[str, pa.Array]:
    """`ts`, `session_date`, `interval` and `split_basis`: days start at 00:00 UTC of their date."""
    if intervals is None:
        intervals = pa.repeat(pa.scalar("1d"), rows.table.num_rows)
    dates = times.local.cast(pa.date32(), safe=False)
    dated = {"interval": intervals}
    for name in ("session_date", "split_basis"):
        if name in names:
            dated[name] = _date(rows, names[name])
    dated.setdefault("session_date", dates)
    midnights = dated["session_date"].cast(pa.timestamp("us")).cast(_INSTANT)
    starts = midnights if times.instants is None else times.instants
    return dated | {"ts": pc.if_else(_is_daily(intervals), midnights, starts)}


def _date(rows: Rows, column: str) -> pa.Array:
    """Dates that may be missing."""
    values = rows.table[column].combine_chunks()
    if pa.types.is_string(values.type):
        texts = pc.utf8_trim_whitespace(values)
        values = pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)
    try:
        return values.cast(pa.date32())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise MalformedError(
            f"{rows.file}: the column {column!r} holds no dates.",
            expected="dates such as 2013-03-01",
            found=str(error),
            todo="mend the column, or leave it out",
        ) from error


def _fetched_at(rows: Rows, names: dict[str, str], received_at: datetime) -> pa.Array:
    if "fetched_at" not in names:
        return pa.repeat(pa.scalar(received_at, _INSTANT), rows.table.num_rows)
    told = read_times(rows, names["fetched_at"], time_zone=None, dates_may_be_naive=False)
    if told.instants is None:
        raise RangeError(
            f"{rows.file}: fetched_at holds dates.",
            expected="times with their zone",
            found=str(told.local[:1]),
            todo="write the time, or leave the column out",
        )
    return told.instants


def _texts(rows: Rows, names: dict[str, str], settings: FilesSettings) -> dict[str, pa.Array]:
    standing_in = {
        "symbol": settings.symbol,
        "currency": settings.currency,
        "provider": settings.provider,
        "state": "final",
        "session": "regular",
        "instrument_type": None,
    }
    texts: dict[str, pa.Array] = {}
    for name, value in standing_in.items():
        default = pa.scalar(value, pa.string())
        if name not in names:
            texts[name] = pa.repeat(default, rows.table.num_rows)
            continue
        told = _text(rows, names[name])
        texts[name] = pc.if_else(pc.equal(pc.fill_null(told, ""), ""), default, told)
    unnamed = pc.index(pc.is_null(texts["symbol"]), pa.scalar(True)).as_py()
    if unnamed >= 0:
        raise rows.malformed(unnamed, "a row without symbol.", expected="a symbol", found="nothing")
    return texts


def _text(rows: Rows, column: str) -> pa.Array:
    values = rows.table[column].combine_chunks()
    try:
        return pc.utf8_trim_whitespace(values.cast(pa.string()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise MalformedError(
            f"{rows.file}: the column {column!r} holds no texts.",
            expected="texts",
            found=str(values.type),
            todo="convert the column",
        ) from error


def _number(rows: Rows, column: str) -> pa.Array:
    values = rows.table[column].combine_chunks()
    if pa.types.is_null(values.type):
        return values.cast(pa.float64())
    if not pa.types.is_string(values.type) and not pa.types.is_large_string(values.type):
        try:
            return values.cast(pa.float64(), safe=False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise MalformedError(
                f"{rows.file}: the column {column!r} holds no numbers.",
                expected="numbers",
                found=str(values.type),
                todo="convert the column",
            ) from error
    texts = pc.utf8_trim_whitespace(values)
    nothing = pc.is_in(pc.utf8_lower(texts), value_set=pa.array(_NOTHING))
    texts = pc.if_else(nothing, pa.scalar(None, pa.string()), texts)
    try:
        return texts.cast(pa.float64())
    except pa.ArrowInvalid:
        bad = pc.index(
            pc.fill_null(pc.match_substring_regex(texts, _NUMBER), True), pa.scalar(False)
        ).as_py()
    raise rows.malformed(
        max(bad, 0),
        f"{column} is not a number.",
        expected="a number",
        found=repr(texts[bad].as_py()),
    )


_NUMBER: Final = r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$|^[+-]?inf(inity)?$"

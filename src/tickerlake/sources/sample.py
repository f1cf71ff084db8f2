"""The bundled real sample: daily bars of AAPL, FB, GOOG, IBM and MSFT from 2000 to 2013.

The 12,154 bars come from the package bokeh-sampledata. It is found without being imported (its
import drags in pandas), and its one file is parsed once per process.

Prices are as traded (not adjusted for splits), so each bar's `split_basis` is its own
`session_date`. All are long settled, so every `state` is `final`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from tickerlake import clock
from tickerlake.errors import MalformedError, MissingExtraError, NotFoundError
from tickerlake.records import SCHEMAS, conform
from tickerlake.sources.base import Answer, BarsRequest, Limits, select

__all__ = ["SampleSettings", "SampleSource"]

_NAMES = {
    "Ticker": "symbol",
    "Date": "session_date",
    "Open": "open",
    "High": "high",
    "Low": "low",
    "Close": "close",
    "Volume": "volume",
    "Adj Close": "adj_close",
}
_TYPES = {column: SCHEMAS["bar"].field(name).type for column, name in _NAMES.items()}


@dataclass(frozen=True, slots=True)
class SampleSettings:
    """`[sources.sample]` has nothing to set."""


class SampleSource:
    """Real daily bars that need no network. Complete and final: asking again gives the same."""

    name = "sample"
    limits = Limits(intervals=("1d",), local=True)
    settings_type: ClassVar[type[SampleSettings]] = SampleSettings

    def __init__(self, settings: SampleSettings | None = None) -> None:
        del settings  # one shape for all sources

    def bars(self, request: BarsRequest) -> Answer:
        """The symbol's bars inside the range; `fetched_at` is now.

        Raises:
            NotFoundError: None of the five symbols.
            RangeError: Another interval than 1d.
            MissingExtraError: The sample's package is not installed.
        """
        self.limits.require(request.interval, source=self.name)
        symbol = request.symbol.upper()
        bars = _sample(_path())
        if symbol not in self.symbols():
            raise NotFoundError(
                f"The sample has no symbol {request.symbol!r}.",
                expected=", ".join(self.symbols()),
                found=request.symbol,
                todo="choose one of these, or another --source",
            )
        wanted = select(bars.filter(pc.equal(bars["symbol"], symbol)), request)
        return _answer(wanted, clock.now())

    def symbols(self) -> Iterator[str]:
        """The five symbols, sorted."""
        return iter(sorted(pc.unique(_sample(_path())["symbol"]).to_pylist()))

    def parse(
        self,
        payload: bytes,
        *,
        symbol: str | None = None,
        interval: str | None = None,
        received_at: datetime | None = None,
    ) -> Answer:
        """The bars of a CSV file with the sample's columns; it has no corporate actions.

        Raises:
            MalformedError: Not CSV, or other columns.
            RangeError: Another interval than 1d.
        """
        self.limits.require(interval or "1d", source=self.name)
        bars = _parsed(pa.BufferReader(payload))
        if symbol is not None:
            bars = bars.filter(pc.equal(bars["symbol"], symbol))
        return _answer(bars, received_at or clock.now())


def _answer(bars: pa.Table, fetched_at: datetime) -> Answer:
    column = pa.repeat(pa.scalar(fetched_at, bars.schema.field("fetched_at").type), bars.num_rows)
    position = bars.schema.get_field_index("fetched_at")
    dated = bars.set_column(position, bars.schema.field(position), column)
    return Answer(bars=dated, actions=SCHEMAS["corporate_action"].empty_table())


def _path() -> Path:
    spec = find_spec("bokeh_sampledata")  # of a top-level package: imports nothing
    found = Path(spec.origin).parent / "_data" / "stocks.csv.gz" if spec and spec.origin else None
    if found is None or not found.is_file():
        raise MissingExtraError(
            "The bundled sample is not installed.",
            expected="the package bokeh-sampledata with its _data/stocks.csv.gz",
            found="no such package" if found is None else f"no file {found}",
            todo="pip install 'tickerlake[sample]'",
        )
    return found


@functools.lru_cache(maxsize=1)
def _sample(path: Path) -> pa.Table:
    with pa.input_stream(path, compression="gzip") as stream:
        return _parsed(stream)


def _parsed(stream: pa.NativeFile) -> pa.Table:
    try:
        rows = pyarrow.csv.read_csv(
            stream,
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=_TYPES, include_columns=list(_NAMES)
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise MalformedError(
            "This is not the sample's file.",
            expected="CSV with the columns " + ", ".join(_NAMES),
            found=str(error),
            todo="install bokeh-sampledata again",
        ) from error
    rows = rows.rename_columns(list(_NAMES.values()))
    dates = rows["session_date"]

    def constant(text: str) -> pa.Array:
        return pa.repeat(pa.scalar(text), rows.num_rows)

    columns = {name: rows[name] for name in rows.column_names}
    columns |= {
        "provider": constant("sample"),
        "ts": dates.cast(pa.timestamp("us")).cast(SCHEMAS["bar"].field("ts").type),
        "interval": constant("1d"),
        "currency": constant("USD"),
        "state": constant("final"),
        "session": constant("regular"),
        "split_basis": dates,
        "instrument_type": constant("equity"),
    }
    return conform(pa.table(columns), "bar").sort_by([("symbol", "ascending"), ("ts", "ascending")])

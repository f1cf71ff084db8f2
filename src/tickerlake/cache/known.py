"""Which series the cache holds, and from where each is to be gone on with."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from tickerlake import clock
from tickerlake.cache.axis import DAY, date_at, instant, is_intraday, micros
from tickerlake.cache.index import Index, Series
from tickerlake.cache.row_files import read_rows

__all__ = ["Known", "known_series"]


@dataclass(frozen=True, slots=True)
class Known:
    """Bars of one symbol and interval that are held, by whom they came."""

    provider: str
    #: As the provider spells it (`tBTCUSD`); the cache's own keys are in upper case.
    symbol: str
    interval: str
    #: From here on something may be new: the end of what is covered, or what is due before it.
    #: None where nothing is covered: copies of local sources, which are read anew each time.
    since: date | datetime | None


def known_series(folder: Path) -> list[Known]:
    """Every series of bars in a cache's folder, sorted; nothing where there is no cache.

    Raises:
        StorageError: The index cannot be read.
    """
    index = Index(folder)
    try:
        newest: dict[tuple[str, str, str], Series] = {}
        for series in sorted(index.all_series(), key=lambda series: series.generation):
            if series.key.kind == "bar":
                key = series.key
                newest[key.provider, key.symbol, key.interval] = series
        return [
            Known(provider, _spelled(index, folder, series), interval, _since(series))
            for (provider, _, interval), series in sorted(newest.items())
        ]
    finally:
        index.close()


def _spelled(index: Index, folder: Path, series: Series) -> str:
    """The symbol as the rows have it, from the smallest file of them."""
    for file in sorted(index.files(series), key=lambda file: file.bytes):
        with contextlib.suppress(OSError):  # lost or damaged: the next fetch finds that, too
            rows = read_rows(folder / "rows", file, "bar")
            if rows is not None and rows.num_rows:
                symbol = str(rows["symbol"][0].as_py())
                return symbol if symbol.upper() == series.key.symbol.upper() else series.key.symbol
    return series.key.symbol


def _since(series: Series) -> date | datetime | None:
    if not series.held.coverage:
        return None
    now = micros(clock.now())
    end = min(max(high for _, high in series.held.coverage), now)
    due = [recheck.start for recheck in series.held.rechecks if recheck.due <= now]
    first = min([end, *due])
    if is_intraday(series.key.interval):
        return instant(first)
    return date_at(first - DAY)  # the last day that is held: one of the overlap, at no cost

"""Which series the cache holds, and from where each is to be gone on with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from tickerlake import clock
from tickerlake.cache.axis import DAY, date_at, instant, is_intraday, micros
from tickerlake.cache.index import Index, Series

__all__ = ["Known", "known_series"]


@dataclass(frozen=True, slots=True)
class Known:
    """Bars of one symbol and interval that are held, by whom they came."""

    provider: str
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
    finally:
        index.close()
    return [Known(*key, _since(series)) for key, series in sorted(newest.items())]


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

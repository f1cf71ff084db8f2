"""A source that keeps what it was given: wraps a Source and is a Source."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pyarrow.compute as pc

from tickerlake.cache.store import Store
from tickerlake.errors import NotFoundError
from tickerlake.sources import Answer, BarsRequest, Limits, Source, select

__all__ = ["CachedSource"]


class CachedSource:
    """Writes every answer through to disk, and answers from disk alone when `offline`.

    Online it always asks the provider: coverage, plans that skip what is settled, and overlap
    checks are a later piece of work, and this class is their place. Rows that say nothing new are
    not kept twice. Not promised: that an offline answer has no holes; it has what was ever given.
    """

    def __init__(self, source: Source, folder: Path, *, offline: bool = False) -> None:
        self._source = source
        self._store = Store(folder)
        self._offline = offline

    @property
    def name(self) -> str:
        """The wrapped source's name."""
        return self._source.name

    @property
    def limits(self) -> Limits:
        """The wrapped source's limits."""
        return self._source.limits

    def bars(self, request: BarsRequest) -> Answer:
        """Ask the source and keep its answer; offline, see `cached`.

        Raises:
            StorageError: The answer could not be kept.
            TickerlakeError: What the source raises.
        """
        if self._offline:
            return self.cached(request)
        answer = self._source.bars(request)
        self._store.keep(self.name, "bar", answer.bars)
        self._store.keep(self.name, "corporate_action", answer.actions)
        return answer

    def cached(self, request: BarsRequest) -> Answer:
        """The newest row of each bar inside the range that was ever kept; asks nobody.

        `fetched_at` is when those values first came.

        Raises:
            NotFoundError: Nothing is kept of this symbol and interval.
            RangeError: The source does not have this interval.
        """
        self.limits.require(request.interval, source=self.name)
        symbol = self._store.symbol_like(self.name, request.symbol)
        kept = self._store.rows(self.name, "bar", symbol or request.symbol)
        of_interval = kept.filter(pc.equal(kept["interval"], request.interval))
        if not of_interval.num_rows:
            raise NotFoundError(
                f"No {request.interval} bars of {request.symbol!r} from {self.name} are cached.",
                expected="bars that were fetched before",
                found="none",
                todo="fetch once without --offline",
            )
        actions = self._store.rows(self.name, "corporate_action", symbol or request.symbol)
        has_actions = request.interval == "1d"
        return Answer(
            bars=select(of_interval, request),
            actions=actions if has_actions else actions.slice(0, 0),
            notes=(f"{request.symbol} {request.interval}: from the cache alone",),
        )

    def requests(self, request: BarsRequest) -> int:
        """How many requests `bars` would send; one, where the source does not tell.

        Raises:
            RangeError: The source does not have this interval, or nothing of this range.
        """
        self.limits.require(request.interval, source=self.name)
        if self._offline:
            return 0
        told = getattr(self._source, "requests", None)  # no part of what a source must have
        return 1 if told is None else int(told(request))

    def symbols(self) -> Iterator[str]:
        """The wrapped source's symbols."""
        return self._source.symbols()

    def parse(
        self,
        payload: bytes,
        *,
        symbol: str | None = None,
        interval: str | None = None,
        received_at: datetime | None = None,
    ) -> Answer:
        """As the wrapped source; a parsed recording is not kept."""
        return self._source.parse(
            payload, symbol=symbol, interval=interval, received_at=received_at
        )

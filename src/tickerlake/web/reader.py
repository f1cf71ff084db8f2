"""What the page asks the engine: SQL composed here, answers as Arrow, each off the event loop."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import TypeVar

import anyio
import anyio.to_thread
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake import clock
from tickerlake.errors import NotFoundError, RangeError
from tickerlake.query import Engine, Result
from tickerlake.records import INTERVALS
from tickerlake.web.base import SymbolFinder
from tickerlake.web.settings import WebSettings
from tickerlake.web.symbols import Symbols, instant, search, text, with_hits

__all__ = ["BARS_COLUMNS", "BarsWish", "Reader"]

_T = TypeVar("_T")

#: The columns of a chart's data.
BARS_COLUMNS = (
    "ts", "session_date", "open", "high", "low", "close", "volume", "state", "session",
    "provider", "currency", "fetched_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class BarsWish:
    """Which bars a chart shows."""

    symbol: str
    interval: str = "1d"
    #: A date (a session date, included) or an instant with a zone.
    start: str = ""
    #: A date (a session date, included) or an instant with a zone (excluded).
    end: str = ""
    provider: str = ""
    as_of: datetime | None = None


class Reader:
    """Asks the engine in worker threads, a few questions at a time."""

    def __init__(
        self, engine: Engine, settings: WebSettings, find: SymbolFinder | None = None
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._find = find
        self._limiter = anyio.CapacityLimiter(settings.queries_max)
        # Providers are slow, and queries do not wait for them.
        self._finders = anyio.CapacityLimiter(2)
        self._symbols = Symbols(engine, self._call)

    async def sql(self, query: str, *, as_of: datetime | None = None) -> Result:
        """The reader's own SQL, which the engine's sandbox judges."""
        return await self._call(functools.partial(self._engine.sql, query, as_of=as_of))

    async def symbols(self) -> pa.Table:
        """Every symbol with its newest two closes (`SYMBOLS_SCHEMA`), sorted by symbol."""
        return await self._symbols.table()

    async def search(self, part: str, *, ask: bool | None = None) -> pa.Table:
        """Symbols of the lake that hold the text, then all others that are known to fit.

        `ask` as in `SymbolFinder`; the schema is `FOUND_SCHEMA`.
        """
        known = await self.symbols()
        found = search(known, part)
        hits = []
        if self._find is not None and part.strip():
            may_ask = False if ask is None and found.num_rows else ask
            finder = functools.partial(self._find, part, ask=may_ask)
            hits = await anyio.to_thread.run_sync(finder, limiter=self._finders)
        return with_hits(known, found, hits)

    async def bars(self, wish: BarsWish) -> Result:
        """Bars of one series, oldest first, of one provider; the newest that fit into a chart.

        Raises:
            RangeError: An unknown interval, a range that ends before it starts, a naive time.
            NotFoundError: A symbol that the lake and the stream do not hold.
        """
        where = _range(wish)
        known = await self.symbols()
        rows = known.filter(pc.equal(known.column("symbol"), wish.symbol))
        if not rows.num_rows:
            known = await self._symbols.table(anew=True)  # it may have arrived meanwhile
            rows = known.filter(pc.equal(known.column("symbol"), wish.symbol))
        if not rows.num_rows:
            raise _unknown_symbol(wish.symbol, known.column("symbol").to_pylist())
        provider = wish.provider or _provider(rows, wish.interval)
        limit = self._settings.chart_bars_max
        query = f"""
            select {", ".join(BARS_COLUMNS)} from bars
            where symbol = {text(wish.symbol)} and interval = {text(wish.interval)}
              and provider = {text(provider)}{where}
            order by ts desc limit {limit + 1}"""
        answer = await self.sql(query, as_of=wish.as_of)
        newest = answer.table.slice(0, limit).sort_by("ts")
        cut = answer.truncated or answer.table.num_rows > limit
        return Result(newest, answer.warnings, cut)

    async def _call(self, question: Callable[[], _T]) -> _T:
        return await anyio.to_thread.run_sync(question, limiter=self._limiter)


def _provider(rows: pa.Table, interval: str) -> str:
    """Of several providers the one that has the interval, and of those the freshest."""
    best = max(
        rows.to_pylist(),
        key=lambda row: (interval in row["intervals"], row["ts"], row["provider"]),
    )
    return str(best["provider"])


def _range(wish: BarsWish) -> str:
    if wish.interval not in INTERVALS:
        raise RangeError(
            f"There is no interval {wish.interval!r}.",
            expected=", ".join(INTERVALS),
            found=repr(wish.interval),
            todo="take one of these",
        )
    start = _bound(wish.start, "start")
    end = _bound(wish.end, "end")
    if start and end and _day(end) < _day(start):
        raise RangeError(
            "The range ends before it starts.",
            expected="a start that is not after the end",
            found=f"{wish.start} … {wish.end}",
            todo="swap them",
        )
    conditions = ""
    if isinstance(start, datetime):
        conditions += f" and ts >= {instant(start)}"
    elif start:
        conditions += f" and session_date >= date '{start}'"
    if isinstance(end, datetime):
        conditions += f" and ts < {instant(end)}"
    elif end:
        conditions += f" and session_date <= date '{end}'"
    return conditions


def _bound(written: str, name: str) -> datetime | date | None:
    if not written:
        return None
    try:
        return date.fromisoformat(written)
    except ValueError:
        return clock.parse_instant(
            written.replace(" ", "+"), name=name
        )  # an unescaped `+` in a URL


def _day(bound: datetime | date) -> date:
    return bound.date() if isinstance(bound, datetime) else bound


def _unknown_symbol(symbol: str, known: list[str]) -> NotFoundError:
    near = difflib.get_close_matches(symbol.upper(), known, 3, 0.5)
    return NotFoundError(
        f"There are no bars of {symbol!r}.",
        expected="a symbol that the lake or the stream holds",
        found=repr(symbol),
        todo=f"did you mean {', '.join(near)}?"
        if near
        else f"tickerlake publish {symbol}, then look again",
    )

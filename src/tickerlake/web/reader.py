"""What the page asks the engine: SQL composed here, answers as Arrow, each off the event loop."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

import anyio
import anyio.to_thread
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake import clock
from tickerlake.errors import NotFoundError, RangeError
from tickerlake.query import Engine, Result
from tickerlake.records import INTERVALS
from tickerlake.web.conflate import INTERVAL_SPANS
from tickerlake.web.settings import WebSettings

__all__ = ["BARS_COLUMNS", "SYMBOLS_SCHEMA", "BarsWish", "Reader"]

_T = TypeVar("_T")
_INSTANT = pa.timestamp("us", tz="UTC")

#: The columns of a chart's data.
BARS_COLUMNS = (
    "ts", "session_date", "open", "high", "low", "close", "volume", "state", "session",
    "provider", "currency", "fetched_at",
)  # fmt: skip

#: The columns of the list of symbols; `last` and `previous` are the newest two closes.
SYMBOLS_SCHEMA = pa.schema(
    [
        ("symbol", pa.string()),
        ("provider", pa.string()),
        ("intervals", pa.list_(pa.string())),
        ("interval", pa.string()),
        ("ts", _INSTANT),
        ("last", pa.float64()),
        ("previous", pa.float64()),
        ("currency", pa.string()),
    ]
)

#: The list of symbols is read again after this many times the seconds that reading took.
_SYMBOLS_REST = 20
_SYMBOLS_AGE_SECONDS_MIN = 1.0
_NO_RANK = 3


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

    def __init__(self, engine: Engine, settings: WebSettings) -> None:
        self._engine = engine
        self._settings = settings
        self._limiter = anyio.CapacityLimiter(settings.queries_max)
        self._symbols: pa.Table | None = None
        self._symbols_until = 0.0
        self._symbols_lock = anyio.Lock()

    async def sql(self, query: str, *, as_of: datetime | None = None) -> Result:
        """The reader's own SQL, which the engine's sandbox judges."""
        return await self._call(functools.partial(self._engine.sql, query, as_of=as_of))

    async def symbols(self) -> pa.Table:
        """Every series' symbol with its newest two closes (`SYMBOLS_SCHEMA`), sorted by symbol."""
        async with self._symbols_lock:  # a crowd of pages asks once
            if self._symbols is None or clock.monotonic_seconds() > self._symbols_until:
                started = clock.monotonic_seconds()
                self._symbols = await self._call(self._read_symbols)
                took = clock.monotonic_seconds() - started
                rest = max(_SYMBOLS_AGE_SECONDS_MIN, _SYMBOLS_REST * took)
                self._symbols_until = clock.monotonic_seconds() + rest
            return self._symbols

    async def search(self, text: str) -> pa.Table:
        """Symbols that hold the text: equal first, then beginning with it, then the others."""
        table = await self.symbols()
        wanted = text.strip().upper()
        if not wanted:
            return table
        ranks = [
            (_rank(symbol.upper(), wanted), row)
            for row, symbol in enumerate(table.column("symbol").to_pylist())
        ]
        rows = [row for rank, row in sorted(ranks) if rank < _NO_RANK]
        return table.take(pa.array(rows, pa.int64()))

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
            self._symbols_until = 0.0  # it may have arrived meanwhile
            known = await self.symbols()
            rows = known.filter(pc.equal(known.column("symbol"), wish.symbol))
        if not rows.num_rows:
            raise _unknown_symbol(wish.symbol, known.column("symbol").to_pylist())
        provider = wish.provider or _provider(rows, wish.interval)
        limit = self._settings.chart_bars_max
        query = f"""
            select {", ".join(BARS_COLUMNS)} from bars
            where symbol = {_text(wish.symbol)} and interval = {_text(wish.interval)}
              and provider = {_text(provider)}{where}
            order by ts desc limit {limit + 1}"""
        answer = await self.sql(query, as_of=wish.as_of)
        newest = answer.table.slice(0, limit).sort_by("ts")
        return Result(newest, answer.warnings, answer.table.num_rows > limit)

    async def _call(self, question: Callable[[], _T]) -> _T:
        return await anyio.to_thread.run_sync(question, limiter=self._limiter)

    def _read_symbols(self) -> pa.Table:
        series = self._engine.sql(
            "select symbol, provider, interval, max(ts) as ts from bars_history group by 1, 2, 3"
        ).table.to_pylist()
        by_symbol: dict[tuple[str, str], dict[str, datetime]] = {}
        for row in series:
            key = (row["symbol"], row["provider"])
            by_symbol.setdefault(key, {})[row["interval"]] = row["ts"]
        shown = {key: _main_interval(newest) for key, newest in by_symbol.items()}
        closes = self._closes(shown, by_symbol)
        rows = []
        for (symbol, provider), newest in sorted(by_symbol.items()):
            interval = shown[symbol, provider]
            last = closes.get((symbol, provider), [])
            rows.append(
                {
                    "symbol": symbol,
                    "provider": provider,
                    "intervals": sorted(newest, key=_interval_order),
                    "interval": interval,
                    "ts": newest[interval],
                    "last": last[-1]["close"] if last else None,
                    "previous": last[-2]["close"] if len(last) > 1 else None,
                    "currency": last[-1]["currency"] if last else None,
                }
            )
        return pa.Table.from_pylist(rows, schema=SYMBOLS_SCHEMA)

    def _closes(
        self,
        shown: dict[tuple[str, str], str],
        newest: dict[tuple[str, str], dict[str, datetime]],
    ) -> dict[tuple[str, str], list[dict[str, object]]]:
        """The newest bars of each symbol, only from the days in which any of them can be."""
        closes: dict[tuple[str, str], list[dict[str, object]]] = {}
        for interval in set(shown.values()):
            latest = max(newest[key][interval] for key, used in shown.items() if used == interval)
            since = latest - max(timedelta(days=7), 10 * _span(interval))
            answer = self._engine.sql(
                "select symbol, provider, ts, close, currency from bars "
                f"where interval = {_text(interval)} and ts >= {_instant(since)} order by ts"
            )
            for row in answer.table.to_pylist():
                key = (row["symbol"], row["provider"])
                if shown.get(key) == interval:
                    closes.setdefault(key, []).append(row)
        return closes


def _rank(symbol: str, wanted: str) -> int:
    if symbol == wanted:
        return 0
    if symbol.startswith(wanted):
        return 1
    return 2 if wanted in symbol else _NO_RANK


def _interval_order(interval: str) -> int:
    return INTERVALS.index(interval) if interval in INTERVALS else len(INTERVALS)


def _span(interval: str) -> timedelta:
    return INTERVAL_SPANS.get(interval, timedelta(days=1))


def _main_interval(intervals: Iterable[str]) -> str:
    """Daily where there is one, else the shortest."""
    return min(intervals, key=lambda name: (name != "1d", _interval_order(name)))


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
        conditions += f" and ts >= {_instant(start)}"
    elif start:
        conditions += f" and session_date >= date '{start}'"
    if isinstance(end, datetime):
        conditions += f" and ts < {_instant(end)}"
    elif end:
        conditions += f" and session_date <= date '{end}'"
    return conditions


def _bound(text: str, name: str) -> datetime | date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return clock.parse_instant(text.replace(" ", "+"), name=name)  # an unescaped `+` in a URL


def _day(bound: datetime | date) -> date:
    return bound.date() if isinstance(bound, datetime) else bound


def _instant(moment: datetime) -> str:
    return f"timestamp with time zone '{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00:00'"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _unknown_symbol(symbol: str, known: list[str]) -> NotFoundError:
    near = difflib.get_close_matches(symbol.upper(), known, 3, 0.5)
    return NotFoundError(
        f"There are no bars of {symbol!r}.",
        expected="a symbol that the lake or the stream holds",
        found=repr(symbol),
        todo=f"did you mean {', '.join(near)}?" if near else f"publish {symbol}, then look again",
    )

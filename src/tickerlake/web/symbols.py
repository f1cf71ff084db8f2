"""The list of symbols: what the lake and the stream hold, with the newest two closes of each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Generic, Protocol, TypeVar

import anyio
import pyarrow as pa

from tickerlake import clock
from tickerlake.query import Engine
from tickerlake.records import INTERVALS
from tickerlake.web.conflate import INTERVAL_SPANS

__all__ = ["FOUND_SCHEMA", "SYMBOLS_SCHEMA", "Symbols", "instant", "search", "text", "with_hits"]

_T = TypeVar("_T")
#: A symbol of one provider.
_Key = tuple[str, str]
#: When the newest bar of each interval began.
_Newest = Mapping[str, datetime]

#: The columns of the list of symbols; `last` and `previous` are the newest two closes.
SYMBOLS_SCHEMA: Final = pa.schema(
    [
        ("symbol", pa.string()),
        ("provider", pa.string()),
        ("intervals", pa.list_(pa.string())),
        ("interval", pa.string()),
        ("ts", pa.timestamp("us", tz="UTC")),
        ("last", pa.float64()),
        ("previous", pa.float64()),
        ("currency", pa.string()),
    ]
)
_TOLD: Final = ("name", "exchange", "type", "country", "isin")
#: The columns of a search: `stored` tells whether the lake or the stream holds bars of it.
FOUND_SCHEMA: Final = pa.schema(
    [
        *SYMBOLS_SCHEMA,
        *((name, pa.string()) for name in ("provider_symbol", *_TOLD)),
        ("stored", pa.bool_()),
    ]
)
_NO_RANK: Final = 3


class _Ask(Protocol):
    """Runs a question in a worker thread."""

    def __call__(self, question: Callable[[], _T]) -> Awaitable[_T]: ...


class Symbols:
    """Which series there are is asked seldom (every row counts); their newest closes often."""

    def __init__(self, engine: Engine, ask: _Ask) -> None:
        self._engine = engine
        self._series = _Kept(lambda: ask(self._read_series), rests=20.0)
        self._table = _Kept(lambda: self._read(ask), rests=3.0)

    async def table(self, *, anew: bool = False) -> pa.Table:
        """The list (`SYMBOLS_SCHEMA`), sorted by symbol; `anew` asks for what has just come."""
        if anew:
            await self._series.get(anew=True)
        return await self._table.get(anew=anew)

    async def _read(self, ask: _Ask) -> pa.Table:
        series = await self._series.get()
        return await ask(lambda: self._with_closes(series))

    def _read_series(self) -> dict[_Key, _Newest]:
        answer = self._engine.sql(
            "select symbol, provider, interval, max(ts) as ts from bars_history group by 1, 2, 3"
        )
        series: dict[_Key, dict[str, datetime]] = {}
        for row in answer.table.to_pylist():
            series.setdefault((row["symbol"], row["provider"]), {})[row["interval"]] = row["ts"]
        return dict(sorted(series.items()))

    def _with_closes(self, series: dict[_Key, _Newest]) -> pa.Table:
        shown = {key: _main_interval(newest) for key, newest in series.items()}
        closes = self._closes(shown, series)
        latest = self._latest() if closes.keys() != series.keys() else {}
        rows = []
        for (symbol, provider), newest in series.items():
            interval = shown[symbol, provider]
            found = closes.get((symbol, provider)) or latest.get((symbol, provider)) or [{}]
            rows.append(
                {
                    "symbol": symbol,
                    "provider": provider,
                    "intervals": sorted(newest, key=_interval_order),
                    "interval": interval,
                    "ts": found[-1].get("ts", newest[interval]),
                    "last": found[-1].get("close"),
                    "previous": found[-2]["close"] if len(found) > 1 else None,
                    "currency": found[-1].get("currency"),
                }
            )
        return pa.Table.from_pylist(rows, schema=SYMBOLS_SCHEMA)

    def _closes(
        self, shown: Mapping[_Key, str], series: Mapping[_Key, _Newest]
    ) -> dict[_Key, list[dict[str, Any]]]:
        """The newest two bars of the last days, oldest first: few files, however large the lake."""
        closes: dict[_Key, list[dict[str, Any]]] = {}
        for interval in set(shown.values()):
            newest = max(series[key][interval] for key, used in shown.items() if used == interval)
            since = newest - max(timedelta(days=7), 10 * INTERVAL_SPANS.get(interval, timedelta(1)))
            answer = self._engine.sql(
                "select symbol, provider, ts, close, currency from bars "
                f"where interval = {text(interval)} and ts >= {instant(since)} qualify "
                "row_number() over (partition by provider, symbol order by ts desc) <= 2 "
                "order by ts"
            )
            for row in answer.table.to_pylist():
                key = (row["symbol"], row["provider"])
                if shown.get(key) == interval:
                    closes.setdefault(key, []).append(row)
        return closes

    def _latest(self) -> dict[_Key, list[dict[str, Any]]]:
        """For symbols that have had no bar of late: their last price, whenever it was."""
        answer = self._engine.sql("select symbol, provider, ts, price, currency from latest")
        return {
            (row["symbol"], row["provider"]): [{**row, "close": row["price"]}]
            for row in answer.table.to_pylist()
        }


class _Kept(Generic[_T]):
    """An answer that is kept for some time: at least a second, and `rests` times what it took."""

    def __init__(self, read: Callable[[], Awaitable[_T]], *, rests: float) -> None:
        self._read = read
        self._rests = rests
        self._lock = anyio.Lock()
        self._answer: tuple[_T] | None = None
        self._until_seconds = 0.0

    async def get(self, *, anew: bool = False) -> _T:
        """The kept answer, or a fresh one; a crowd that asks at once makes one question."""
        async with self._lock:
            if anew or self._answer is None or clock.monotonic_seconds() > self._until_seconds:
                began = clock.monotonic_seconds()
                self._answer = (await self._read(),)
                now = clock.monotonic_seconds()
                self._until_seconds = now + max(1.0, self._rests * (now - began))
            return self._answer[0]


def search(symbols: pa.Table, part: str) -> pa.Table:
    """Rows whose symbol holds the part: equal first, then beginning with it, then the others."""
    wanted = part.strip().upper()
    ranks = [
        (_rank(symbol.upper(), wanted), row)
        for row, symbol in enumerate(symbols.column("symbol").to_pylist())
    ]
    rows = [row for rank, row in sorted(ranks) if rank < _NO_RANK]
    return symbols.take(pa.array(rows, pa.int64()))


def with_hits(known: pa.Table, found: pa.Table, hits: list[dict[str, Any]]) -> pa.Table:
    """The found rows of the lake, told more by hits of the same symbol; then further hits."""
    stored = {(row["provider"], row["symbol"]): row for row in known.to_pylist()}
    names = {(hit["provider"], hit["provider_symbol"]): hit for hit in hits}
    order = [(row["provider"], row["symbol"]) for row in found.to_pylist()]
    order += [key for key in names if key not in order]
    rows = []
    for key in order:
        hit = names.get(key, {})
        row = stored.get(key)
        rows.append(
            {
                "symbol": hit.get("symbol") or key[1],
                "provider": key[0],
                "intervals": [],
                "currency": hit.get("currency"),
                **(row or {}),
                "provider_symbol": key[1],
                **{name: hit.get(name) for name in _TOLD},
                "stored": row is not None,
            }
        )
    return pa.Table.from_pylist(rows, schema=FOUND_SCHEMA)


def instant(moment: datetime) -> str:
    """The moment as SQL."""
    return f"timestamp with time zone '{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00:00'"


def text(value: str) -> str:
    """The text as SQL."""
    return "'" + value.replace("'", "''") + "'"


def _rank(symbol: str, wanted: str) -> int:
    if symbol == wanted:
        return 0
    if symbol.startswith(wanted):
        return 1
    return 2 if wanted in symbol else _NO_RANK


def _interval_order(interval: str) -> int:
    return INTERVALS.index(interval) if interval in INTERVALS else len(INTERVALS)


def _main_interval(intervals: Iterable[str]) -> str:
    """Daily where there is one, else the shortest."""
    return min(intervals, key=lambda name: (name != "1d", _interval_order(name)))

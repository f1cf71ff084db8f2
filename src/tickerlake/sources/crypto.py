"""Markets that never close: what the crypto exchanges' sources have in common.

A session is a UTC day, and all of it is `regular`. Prices are as traded: `split_basis` is the bar's
own day. A bar is `forming` until its time is over, then `provisional`, and `final` once the bar
after it is over, too (ADR 0017, with the next bar in the place of the next session).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake import clock
from tickerlake.errors import MalformedError, RangeError, TickerlakeError
from tickerlake.records import SCHEMAS, Kind, conform
from tickerlake.sources.answers import each_once
from tickerlake.sources.base import (
    About,
    Answer,
    BarsRequest,
    Hit,
    TicksRequest,
    empty_answer,
    select,
)
from tickerlake.sources.columns import unnamed_interval
from tickerlake.sources.crypto_shape import Int64s, Told, floats, instants, malformed, texts

__all__ = [
    "INTERVAL_SECONDS",
    "Candles",
    "Span",
    "completed",
    "fits",
    "gather",
    "interval_of",
    "is_last",
    "milliseconds",
    "next_start",
    "noted",
    "other_answer",
    "reaches",
    "records",
    "require_trades",
    "sides",
    "trades",
    "with_trades",
    "within",
]

INTERVAL_SECONDS: Final[dict[str, int]] = {
    "1m": 60, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "4h": 14_400,
    "1d": 86_400, "1wk": 604_800,
}  # fmt: skip

_DAY: Final = timedelta(days=1)
_DAY_US: Final = 86_400_000_000
_LEFT_OUT: Final = "without prices, or of a bar told twice"
#: 1970-01-01 was a Thursday.
_MONDAY: Final = 4
_SKEW: Final = timedelta(seconds=60)
_INSTANT: Final = pa.timestamp("us", tz="UTC")
_NO_TRADES: Final = SCHEMAS["trade"].empty_table()
_NO_BARS: Final = SCHEMAS["bar"].empty_table()


@dataclass(frozen=True, slots=True)
class Candles:
    """One answer's bars as columns: starts in ns since 1970, prices and volume as float64."""

    starts: Int64s
    open: pa.Array
    high: pa.Array
    low: pa.Array
    close: pa.Array
    volume: pa.Array

    def answer(self, told: Told, *, currency: str | None, own: str | None = None) -> Answer:
        """The bars, and notes of what became of the rows; `own`: the interval that they tell.

        Raises:
            MalformedError: Nobody says how long the bars are, or weeks do not start on Monday.
        """
        asked = own or told.interval
        interval = interval_of(self.starts, asked, told.title)
        if interval == "1wk" and (self.starts // (_DAY_US * 1000) % 7 != _MONDAY).any():
            raise MalformedError(
                f"{told.title}'s weeks do not start on Monday.",
                expected="Monday",
                found=f"{_days(self.starts // 1000)[0]}",
                todo="ask for 1d",
            )
        bars = self.bars(told, interval=interval, currency=currency)
        notes = [] if asked else [f"bars of {interval}, by their distance: nothing says it"]
        gone = len(self.starts) - bars.num_rows
        if gone:
            what = "1 row" if gone == 1 else f"{gone:,} rows"
            notes.append(f"{told.symbol} {interval}: {what} {_LEFT_OUT}")
        return dataclasses.replace(empty_answer(), bars=bars, notes=tuple(notes))

    def bars(self, told: Told, *, interval: str, currency: str | None) -> pa.Table:
        """In our schema, in order of time, each start once: the later row counts.

        Rows without any price are left out.

        `told.received_at` None: a recording that does not say when it was received speaks as of the
        start of its newest bar, unless the story's clock was set (ADR 0017).
        """
        received = told.received_at or clock.now()
        as_of = int(received.timestamp() * 1_000_000)
        starts = self.starts // 1000
        if told.received_at is None and clock.pinned_now() is None and len(starts):
            as_of = min(as_of, int(starts.max()))
        table = records(
            "bar",
            {
                "provider": told.provider,
                "symbol": told.require_symbol(),
                "interval": interval,
                "currency": currency,
                "instrument_type": "crypto",
                "session": "regular",
                "fetched_at": received,
                "ts": pa.array(starts, pa.int64()).cast(_INSTANT),
                "session_date": _days(starts),
                "split_basis": _days(starts),
                "state": _states(starts, interval, as_of),
                "open": self.open,
                "high": self.high,
                "low": self.low,
                "close": self.close,
                "volume": self.volume,
            },
            len(starts),
        )
        prices = [pc.is_valid(table[name]) for name in ("open", "high", "low", "close")]
        return each_once(table.filter(functools.reduce(pc.or_, prices)))


@dataclass(frozen=True, slots=True)
class Span:
    """The asked range as `[start, end)` in ms since 1970, cut at now."""

    start: int
    end: int
    request: BarsRequest

    @classmethod
    def of(cls, request: BarsRequest, *, first: date) -> Span:
        """Dates are UTC days; weeks and months are asked for from their first day on.

        Args:
            request: What is asked for.
            first: Before it the exchange has nothing: where an open start begins.
        """
        start = request.start
        if start is not None and request.interval in ("1wk", "1mo"):
            day = start.astimezone(UTC).date() if isinstance(start, datetime) else start
            back = day.weekday() if request.interval == "1wk" else day.day - 1
            start = day - timedelta(days=back)
        now = clock.now()
        begin = _instant(start if start is not None else first)
        last = request.end
        end = now if last is None else _instant(last)
        if last is not None and not isinstance(last, datetime):
            end += _DAY
        asked = dataclasses.replace(request, start=start)
        return cls(milliseconds(begin), milliseconds(min(end, now), up=True), asked)

    def buckets(self, interval: str) -> int:
        """How many bars start inside, at most."""
        length = INTERVAL_SECONDS.get(interval, 28 * 86_400) * 1000
        return max(0, -(-self.end // length) - -(-self.start // length))

    def windows(self, rows: int) -> Iterable[tuple[int, int]]:
        """First and last start of each stretch of so many bars, both included, in ms."""
        length = INTERVAL_SECONDS[self.request.interval] * 1000
        start = -(-self.start // length) * length
        while start < self.end:
            stop = min(start + rows * length, self.end)
            yield start, stop - 1 - (stop - 1) % length
            start = stop


def gather(pages: Iterable[Answer], request: BarsRequest, *, provider: str) -> Answer:
    """All pages in one answer, in order of time; one that failed after others is `missing`.

    Raises:
        TickerlakeError: What the first page raised.
    """
    got: list[Answer] = []
    failed: TickerlakeError | None = None
    try:
        got.extend(pages)
    except TickerlakeError as error:
        failed = error
    parts = [answer.bars for answer in got]
    bars = select(each_once(pa.concat_tables([_NO_BARS, *parts])), request)
    if failed is not None and not bars.num_rows:
        raise failed
    if not got:
        return noted("the range lies in the future")
    missing: tuple[str, ...] = ()
    if failed is not None:
        # What came is kept: asking for all of it again would only meet the limit again.
        part = f"{request.symbol} {request.interval} after {bars['ts'][-1].as_py():%F %R}Z"
        missing = (f"{part}: {failed.problem} ({failed.todo})",)
    notes = tuple(dict.fromkeys(note for answer in got for note in answer.notes))
    if not bars.num_rows and not notes:
        notes = (f"{request.symbol} {request.interval}: {provider} answered without bars",)
    return dataclasses.replace(got[-1], bars=bars, notes=notes, missing=missing)


def other_answer(document: Any, known: Mapping[str, str]) -> Answer | None:  # noqa: ANN401
    """A note for an answer without records, told by a key of its object, or of its first one."""
    first = document[0] if isinstance(document, list) and document else document
    if not isinstance(first, Mapping):
        return None
    what = next((said for key, said in known.items() if key in first), None)
    return None if what is None else noted(f"{what}, no records")


def records(kind: Kind, columns: dict[str, Any], count: int) -> pa.Table:
    """A table of the kind's schema; a single value stands for a whole column.

    Raises:
        MalformedError: A time that no calendar has.
    """
    schema = SCHEMAS[kind]
    filled = {
        name: value
        if isinstance(value, pa.Array)
        else pa.repeat(pa.scalar(value, schema.field(name).type), count)
        for name, value in columns.items()
    }
    return conform(pa.table(filled), kind)


def trades(
    told: Told,
    *,
    symbol: str | pa.Array,
    currency: str | pa.Array | None,
    ids: Sequence[Any],
    prices: Sequence[Any],
    sizes: Sequence[Any],
    times: Int64s,
    sides: Sequence[str | None],
    fetched_at: datetime | pa.Array | None = None,
) -> pa.Table:
    """Trades as columns; `conditions` says what the taker did: buy or sell.

    Raises:
        MalformedError: A column of another type.
    """
    return records(
        "trade",
        {
            "provider": told.provider,
            "symbol": symbol,
            "currency": currency,
            "venue": told.provider.upper(),
            "instrument_type": "crypto",
            "fetched_at": fetched_at or told.received_at or clock.now(),
            "ts": instants(times),
            "ts_ns": pa.array(times, pa.int64()),
            "trade_id": texts(ids, told.title, "the id of a trade"),
            "price": floats(prices, told.title, "the price of a trade"),
            "size": floats(sizes, told.title, "the size of a trade"),
            "conditions": pa.array(sides, pa.string()),
        },
        len(times),
    )


def sides(told: Sequence[Any], takers: Mapping[Any, str]) -> list[str | None]:
    """What the takers did, by what the exchange says; null where it says something else."""
    return [takers.get(one) if isinstance(one, str | bool) else None for one in told]


def require_trades(request: TicksRequest, provider: str) -> None:
    """Refuse quotes: of those there is no history.

    Raises:
        RangeError: Quotes are asked for.
    """
    if request.kind != "trade":
        raise RangeError(
            f"{provider} has no history of {request.kind}s.",
            expected="trade",
            found=request.kind,
            todo="ask for trades, or listen live",
        )


def with_trades(answer: Answer, trades: pa.Table | None = None) -> Answer:
    """The answer with these trades; or with a table of trades even where it has none."""
    told = answer.ticks.get("trade", _NO_TRADES) if trades is None else trades
    return dataclasses.replace(answer, ticks={"trade": told})


def within(answer: Answer, request: TicksRequest) -> Answer | None:
    """The answer with its trades inside the range; None where there are none."""
    table = answer.ticks["trade"]
    start, end = (pa.scalar(moment, _INSTANT) for moment in (request.start, request.end))
    inside = pc.and_(pc.greater_equal(table["ts"], start), pc.less(table["ts"], end))
    kept = table.filter(inside)
    return dataclasses.replace(answer, ticks={"trade": kept}) if kept.num_rows else None


def reaches(table: pa.Table, end: datetime) -> bool:
    """Whether the last trade lies at or after the end."""
    return bool(table["ts"][-1].as_py() >= end)


def is_last(page: Answer, rows: int) -> bool:
    """Whether a page of bars ends the range: it is not full, though no row of it was left out."""
    left_out = any(note.endswith(_LEFT_OUT) for note in page.notes)
    return not page.bars.num_rows or (page.bars.num_rows < rows and not left_out)


def next_start(bars: pa.Table, interval: str, *, after: int, title: str) -> int:
    """Where the next page begins: when the last bar's time is over, in ms.

    Raises:
        MalformedError: That is no further than this page began.
    """
    last = bars["ts"][-1:].cast(pa.int64()).to_numpy()
    following = int(_ends(last, interval, 1)[0]) // 1000
    if following <= after:
        raise malformed(title, "its pages", f"bars from {after} on", following)
    return following


def completed(answer: Answer, about: About, notes: tuple[str, ...]) -> Answer:
    """The answer with what stood around it."""
    return dataclasses.replace(answer, about=about, notes=notes + answer.notes)


def noted(note: str, about: About | None = None) -> Answer:
    """An answer without records that says what it was instead."""
    return dataclasses.replace(empty_answer(), notes=(note,), about=about or About())


def milliseconds(moment: datetime, *, up: bool = False) -> int:
    """Cut; or rounded up, for an end that is excluded."""
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return -(-since // timedelta(milliseconds=1)) if up else since // timedelta(milliseconds=1)


def interval_of(nanos: Int64s, told: str | None, provider: str) -> str:
    """The bars' interval: as told, or the shortest distance between two of them.

    Raises:
        MalformedError: Neither says one that we know, or the two contradict.
    """
    steps = np.diff(np.unique(nanos))
    shortest = int(steps.min()) // 10**9 if len(steps) else None
    if told is not None:
        least = INTERVAL_SECONDS.get(told, 28 * 86_400)
        if shortest is not None and shortest < least:
            raise malformed(provider, "its times", f"bars of {told}", f"{shortest} s apart")
        return told
    known = {seconds: name for name, seconds in INTERVAL_SECONDS.items()}
    if shortest is not None and 28 * 86_400 <= shortest <= 31 * 86_400:
        return "1mo"
    if shortest not in known:
        raise unnamed_interval(provider, None if shortest is None else f"{shortest:,} s")
    return known[shortest]


def fits(hits: Iterable[Hit], text: str, limit: int) -> list[Hit]:
    """Those whose symbol or name has the text in it: exact, then by base, then by start."""
    wanted = _plain(text)
    if not wanted:
        return []
    ranked: list[tuple[int, bool, int, Hit]] = []
    for at, hit in enumerate(hits):
        symbol, base = _plain(hit.symbol), _plain((hit.name or "").partition(" / ")[0])
        if symbol == wanted or _plain(hit.provider_symbol) == wanted:
            rank = 0
        elif base == wanted:
            rank = 1
        elif symbol.startswith(wanted):
            rank = 2
        elif wanted in symbol or wanted in _plain(hit.name or ""):
            rank = 3
        else:
            continue
        ranked.append((rank, hit.listed is False, at, hit))
    return [hit for *_, hit in sorted(ranked, key=lambda found: found[:3])[:limit]]


def _plain(text: str) -> str:
    return "".join(sign for sign in text.upper() if sign.isalnum())


def _states(starts: Int64s, interval: str, as_of: int) -> pa.Array:
    over, next_over = (_ends(starts, interval, bars) <= as_of for bars in (1, 2))
    words = np.array(["forming", "provisional", "final"])
    return pa.array(words[over.astype(np.int8) + next_over.astype(np.int8)], pa.string())


def _ends(starts: Int64s, interval: str, bars: int) -> Int64s:
    if interval in INTERVAL_SECONDS:
        return starts + bars * INTERVAL_SECONDS[interval] * 1_000_000
    months = starts.astype("datetime64[us]").astype("datetime64[M]") + bars
    return months.astype("datetime64[us]").astype(np.int64)


def _days(starts: Int64s) -> pa.Array:
    return pa.array((starts // _DAY_US).astype(np.int32), pa.int32()).cast(pa.date32())


def _instant(value: date | datetime) -> datetime:
    return value if isinstance(value, datetime) else datetime.combine(value, time(), UTC)

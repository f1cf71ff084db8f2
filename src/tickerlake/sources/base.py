"""The contract of a source: a provider's answers, normalised to our Arrow schemas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal, Protocol, runtime_checkable

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.errors import RangeError
from tickerlake.records import INTERVALS, SCHEMAS, Kind

__all__ = [
    "About",
    "AmountBasis",
    "Answer",
    "BarsRequest",
    "Batches",
    "Describes",
    "DividendRule",
    "Hit",
    "Limits",
    "Lists",
    "PriceBasis",
    "Rename",
    "Renames",
    "Searches",
    "Source",
    "Ticks",
    "TicksRequest",
    "empty_answer",
    "select",
]

#: What prices are adjusted for as the provider gives them: nothing, splits, or dividends too.
PriceBasis = Literal["raw", "splits", "all"]
#: What amounts of dividends are adjusted for: nothing (as paid on the ex-date), or splits.
AmountBasis = Literal["raw", "splits"]
#: What a provider's own adjusted close does to all before a dividend D: times 1 - D/C with the C
#: of the last close before the ex-date, or times C/(C + D) with the C of the ex-date itself.
DividendRule = Literal["previous_close", "ex_close"]


@dataclass(frozen=True, slots=True)
class BarsRequest:
    """Bars of one symbol in one range.

    Dates are session dates and both ends are included; a timestamp must carry a zone, and its
    end is excluded. None = as far as the provider goes.
    """

    symbol: str
    interval: str = "1d"
    start: date | datetime | None = None
    end: date | datetime | None = None

    def __post_init__(self) -> None:
        if self.interval not in INTERVALS:
            raise RangeError(
                f"The interval {self.interval!r} is not known.",
                expected=" ".join(INTERVALS),
                found=self.interval,
                todo="choose one of these",
            )
        for name, value in (("start", self.start), ("end", self.end)):
            if isinstance(value, datetime) and value.tzinfo is None:
                raise RangeError(
                    f"The {name} {value.isoformat()} has no time zone.",
                    expected="a zone at the end, such as Z, or a plain date",
                    found="a naive timestamp",
                    todo=f"write {value.isoformat()}Z if you mean UTC",
                )
        if _ends_before_it_starts(self.start, self.end):
            raise RangeError(
                "The range ends before it starts.",
                expected="start <= end",
                found=f"start {self.start}, end {self.end}",
                todo="swap the two",
            )


def _ends_before_it_starts(start: date | datetime | None, end: date | datetime | None) -> bool:
    if start is None or end is None:
        return False
    if isinstance(start, datetime) and isinstance(end, datetime):
        return end <= start  # the end of a timestamp range is excluded
    return _day(end) < _day(start)


def _day(value: date | datetime) -> date:
    return value.date() if isinstance(value, datetime) else value


@dataclass(frozen=True, slots=True)
class TicksRequest:
    """Trades or quotes of one symbol in `[start, end)`, both with a zone."""

    symbol: str
    kind: Literal["trade", "quote"]
    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None or self.end <= self.start:
            raise RangeError(
                "The range of trades or quotes is none.",
                expected="start < end, both with a zone",
                found=f"start {self.start.isoformat()}, end {self.end.isoformat()}",
                todo="swap the two, or add a zone, such as Z",
            )


@dataclass(frozen=True, slots=True)
class Limits:
    """What the provider allows, as data: planner and docs read it from here.

    Spans are days per request and look_backs days before now, by interval; a missing interval
    has no limit. `requests_per_second` is our own pace where the vendor states none.
    `rows_per_page` is by interval: where it is given, a request may take several pages.
    """

    intervals: tuple[str, ...] = ("1d",)
    span_days: dict[str, float] = field(default_factory=dict)
    look_back_days: dict[str, float] = field(default_factory=dict)
    requests_per_second: float | None = None
    #: How many of them may go at once after a pause: what a limit by the hour allows.
    requests_burst: int = 1
    needs_key: bool = False
    price_basis: PriceBasis = "raw"
    amount_basis: AmountBasis = "raw"
    dividend_rule: DividendRule = "previous_close"
    rows_per_page: dict[str, int] = field(default_factory=dict)
    #: Symbols that one request can name; see `Batches`.
    symbols_per_request: int = 1
    #: How much later than the market its newest bars are.
    delay_seconds: float = 0.0
    #: Kinds of which there is history, and kinds that come live.
    history: tuple[Kind, ...] = ("bar",)
    live: tuple[Kind, ...] = ()
    #: Those of `live` that are sent only where they are asked for by name.
    live_by_name: tuple[Kind, ...] = ()
    #: Its socket tells times of trades and quotes in so many ns, though its history is finer.
    live_unit_ns: int = 1
    #: What its search resolves beside names and symbols: isin, sedol, cusip, figi.
    identifiers: tuple[str, ...] = ()
    #: On this machine: asking costs nothing, so the cache always asks.
    local: bool = False
    #: Symbols in other letters are others: TpA and TPA. Else the cache holds them as one.
    case_matters: bool = False

    @property
    def live_unnamed(self) -> tuple[Kind, ...]:
        """What comes live where no kind is named."""
        return tuple(kind for kind in self.live if kind not in self.live_by_name)

    def require(self, interval: str, *, source: str) -> None:
        """Refuse an interval that the provider does not have.

        Raises:
            RangeError: It is none of `intervals`.
        """
        if not self.intervals:
            raise RangeError(
                f"The source {source!r} has no history of prices here.",
                expected="another source for bars"
                + (", or what it sends live" if self.live else ""),
                found=f"a request for {interval}",
                todo=f"tickerlake publish SYMBOL --source {source} --live"
                if self.live
                else "`tickerlake sources` lists who has bars",
            )
        if interval not in self.intervals:
            raise RangeError(
                f"The source {source!r} has no bars of {interval}.",
                expected=" ".join(self.intervals),
                found=interval,
                todo="choose one of these",
            )


@dataclass(frozen=True, slots=True)
class About:
    """What an answer says beside its records; all of it may be unknown.

    Type, currency, exchange, ISIN and FIGI together tell one holder of a symbol from the next.
    """

    name: str | None = None
    #: The provider's own code: `calendars.calendar_for` leads from it to sessions.
    exchange: str | None = None
    instrument_type: str | None = None
    currency: str | None = None
    isin: str | None = None
    figi: str | None = None
    listed: date | None = None
    #: The provider's own time: its HTTP Date, or that of the newest trade while a session runs.
    as_of: datetime | None = None
    #: Where the answer came from, without keys.
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Normalised records of one request: bars and what came with them.

    `notes` are sentences for the user: rows that were dropped and why. `missing` are the parts of
    the asked range that the provider cannot give; a verb that meets any is partly done (exit 3).
    `ticks` holds trades, quotes and all other kinds, where there are any. `stale`: the provider
    could not be asked, and what was cached before is all there is.
    """

    bars: pa.Table
    actions: pa.Table
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    ticks: Mapping[Kind, pa.Table] = field(default_factory=dict)
    about: About = field(default_factory=About)
    stale: bool = False

    def tables(self) -> list[tuple[Kind, pa.Table]]:
        """All records by kind, bars first; kinds without any are left out."""
        found: list[tuple[Kind, pa.Table]] = [
            ("bar", self.bars),
            ("corporate_action", self.actions),
            *self.ticks.items(),
        ]
        return [(kind, table) for kind, table in found if table.num_rows]


@dataclass(frozen=True, slots=True)
class Hit:
    """One symbol that a search found."""

    symbol: str
    name: str | None
    #: equity | etf | fund | currency | index | future | crypto | …, null when not known.
    type: str | None
    exchange: str | None
    currency: str | None
    provider: str
    #: How this provider writes it: what its `bars` takes.
    provider_symbol: str
    isin: str | None = None
    figi: str | None = None
    country: str | None = None
    #: Still traded; null when the provider does not say.
    listed: bool | None = None
    #: First and last day of trading, where told.
    first: date | None = None
    last: date | None = None


@dataclass(frozen=True, slots=True)
class Rename:
    """A symbol that became another one."""

    old: str
    new: str
    #: The first session of the new one.
    on: date


def empty_answer() -> Answer:
    """No bars, no corporate actions."""
    kinds: tuple[Kind, Kind] = ("bar", "corporate_action")
    bars, actions = (SCHEMAS[kind].empty_table() for kind in kinds)
    return Answer(bars=bars, actions=actions)


def select(bars: pa.Table, request: BarsRequest) -> pa.Table:
    """The rows inside the request's range: dates compare with `session_date`, times with `ts`."""
    inside: list[pa.ChunkedArray] = []
    if request.start is not None:
        is_time = isinstance(request.start, datetime)
        column, type_ = ("ts", bars.schema.field("ts").type) if is_time else _DATE
        inside.append(pc.greater_equal(bars[column], pa.scalar(request.start, type_)))
    if request.end is not None:
        if isinstance(request.end, datetime):
            end = pa.scalar(request.end, bars.schema.field("ts").type)
            inside.append(pc.less(bars["ts"], end))
        else:
            inside.append(pc.less_equal(bars["session_date"], pa.scalar(request.end, _DATE[1])))
    for mask in inside[1:]:
        inside[0] = pc.and_(inside[0], mask)
    return bars.filter(inside[0]) if inside else bars


_DATE = ("session_date", pa.date32())


@runtime_checkable
class Source(Protocol):
    """A provider of bars.

    Not promised: that an answer is complete (providers drop bars) or final (see a bar's `state`).
    """

    @property
    def name(self) -> str:
        """What `--source` calls it, and every record's `provider`."""
        ...

    @property
    def limits(self) -> Limits:
        """What the provider allows."""
        ...

    def bars(self, request: BarsRequest) -> Answer:
        """Fetch and normalise.

        Raises:
            NotFoundError: The provider says that it does not know the symbol.
            RangeError: The interval or range is beyond `limits`.
            MalformedError: The answer is not of the shape that the provider promises.
            RateLimitedError: Asked to come back later.
            UnreachableError: Nobody answers.
        """
        ...

    def symbols(self) -> Iterator[str]:
        """Symbols that can be listed without a search; may be empty."""
        ...

    def parse(
        self,
        payload: bytes,
        *,
        symbol: str | None = None,
        interval: str | None = None,
        received_at: datetime | None = None,
    ) -> Answer:
        """One recorded answer, normalised: its bars, corporate actions and notes.

        `received_at` takes the place of "now" for everything that depends on it.

        Raises:
            NotFoundError, RangeError, RateLimitedError, UnreachableError: What the recorded
                answer itself says.
            MalformedError: No answer of this provider, or one that this version cannot read.
        """
        ...


@runtime_checkable
class Searches(Protocol):
    """A source that can be asked for symbols."""

    def search(self, text: str, *, limit: int = 20) -> Sequence[Hit]:
        """Symbols that fit a name, a symbol, or an ISIN, the provider's best first.

        Raises:
            RateLimitedError, UnreachableError, MalformedError: As `bars`.
        """
        ...


@runtime_checkable
class Describes(Protocol):
    """A source that says more of a symbol than its search does, such as its currency."""

    def describe(self, symbols: Sequence[str]) -> Sequence[Hit]:
        """What is known of these symbols; unknown ones are left out.

        Raises:
            ConfigError, RateLimitedError, UnreachableError, MalformedError: As `bars`.
        """
        ...


@runtime_checkable
class Lists(Protocol):
    """A source whose symbols come all at once: once listed, a search needs no request."""

    def listing(self) -> Sequence[Hit]:
        """Every symbol, those no longer traded among them where the provider tells them.

        Raises:
            RateLimitedError, UnreachableError, MalformedError: As `bars`.
        """
        ...


@runtime_checkable
class Renames(Protocol):
    """A source that tells which symbols became others."""

    def renames(self, symbol: str) -> Sequence[Rename]:
        """The changes that led to this symbol and away from it, oldest first; none if none is told.

        Not promised: that a symbol which another firm took over later is told apart.

        Raises:
            NotFoundError, RateLimitedError, UnreachableError, MalformedError: As `bars`.
        """
        ...


@runtime_checkable
class Batches(Protocol):
    """A source that can be asked for many symbols at once: `limits.symbols_per_request`."""

    def bars_of(
        self, symbols: Sequence[str], request: BarsRequest
    ) -> Mapping[str, Answer | Exception]:
        """As `bars` of each symbol, in as few requests as the provider allows.

        `request.symbol` does not count. What fails for one symbol stands in its place; what fails
        for all is raised.
        """
        ...


@runtime_checkable
class Ticks(Protocol):
    """A source that has history of single trades or quotes: `limits.history`."""

    def ticks(self, request: TicksRequest) -> Iterator[Answer]:
        """Page by page, in order of time, each page in `Answer.ticks[request.kind]`.

        Raises:
            NotFoundError, RangeError, MalformedError, RateLimitedError, UnreachableError: As
                `bars`.
        """
        ...

"""Tiingo: daily prices with dividends and splits, intraday prices of IEX, search, and IEX's socket.

What is known of it stands, with how sure it is, in docs/sources/tiingo.md.
"""

from __future__ import annotations

import dataclasses
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import ClassVar, Final

import pyarrow.compute as pc

from tickerlake import clock
from tickerlake.errors import (
    ConfigError,
    MalformedError,
    NotFoundError,
    RangeError,
    RateLimitedError,
    TickerlakeError,
)
from tickerlake.records import Kind
from tickerlake.sources.answers import joined, received_of, require_symbol
from tickerlake.sources.base import Answer, BarsRequest, Hit, Limits
from tickerlake.sources.captures import is_capture, parse_capture
from tickerlake.sources.columns import decoded
from tickerlake.sources.http import HttpSettings, Reply, Session
from tickerlake.sources.listed import (
    INTRADAY_SECONDS,
    NEW_YORK,
    gathered,
    key_of,
)
from tickerlake.sources.live import Dialect
from tickerlake.sources.recordings import Recorded, plain, recorded
from tickerlake.sources.refusals import LIMIT_SECONDS
from tickerlake.sources.tiingo_answers import hits, parse_prices, parse_recorded, refused
from tickerlake.sources.tiingo_talk import TiingoTalk

__all__ = ["TiingoSettings", "TiingoSource"]

_NAME: Final = "tiingo"
_DAY: Final = timedelta(days=1)
_MICROSECOND: Final = timedelta(microseconds=1)
#: The vendor in an issue of 2019.
_BEGINNINGS: Final = {"1m": date(2017, 1, 1), "intraday": date(2016, 10, 1)}
#: Rows per answer are capped by some thousands, say users; no source was found (uncertain).
_ROWS_CUT_MIN: Final = 1000
_HOLIDAYS: Final = timedelta(days=5)
_KEYS_AT: Final = "https://www.tiingo.com/account/api/token"
#: Level 6 = reference prices, 5 = top of the book and trades, 0 = all of it.
_LEVELS: Final = (0, 5, 6)


@dataclass(frozen=True, slots=True)
class TiingoSettings(HttpSettings):
    """`[sources.tiingo]`."""

    #: Our pace: the free plan's 50 requests an hour (reported 2023; others say 500 a day).
    requests_per_second: float | None = 50 / 3600
    #: How many requests may go at once: the free plan counts by the hour, not by the second.
    requests_burst: int = 50
    #: Where the API is; the vendor's own paths are appended unchanged.
    base_url: str = "https://api.tiingo.com"
    #: Where the socket is; `/iex` is appended.
    socket_url: str = "wss://api.tiingo.com"
    #: The key of your account (Tiingo calls it token); better in the environment or the keyring.
    api_key: str | None = None
    #: Intraday bars before the open and after the close too, marked `extended`.
    prepost: bool = False
    #: Of the socket: 6 = reference prices (every account); 0, 5 = IEX's book (needs an agreement).
    threshold_level: int = 6
    #: No frame for so long, and the line is dead: heartbeats come every 30 s.
    silence_seconds: float = 95.0

    def __post_init__(self) -> None:
        super(TiingoSettings, self).__post_init__()
        if self.threshold_level not in _LEVELS:
            raise ConfigError(
                "Tiingo's socket has no such threshold_level.",
                expected="0, 5 or 6",
                found=str(self.threshold_level),
                todo="mend it in [sources.tiingo]",
            )


class TiingoSource:
    """Daily prices as traded, their dividends and splits; intraday prices and quotes of IEX.

    Not promised: that intraday bars are the whole market's (they are IEX's, and so is their
    volume), or that the day's bar stands before 20:00 New York.
    """

    name = _NAME
    settings_type: ClassVar[type[TiingoSettings]] = TiingoSettings

    def __init__(self, settings: TiingoSettings | None = None) -> None:
        self._settings = settings or TiingoSettings()
        books = self._settings.threshold_level < 6
        self.limits = Limits(
            intervals=("1m", "2m", "5m", "15m", "30m", "1h", "4h", "1d"),
            # Ours: so that an answer stays below the rows that some say are the most.
            span_days={
                "1m": 7, "2m": 14, "5m": 45, "15m": 180, "30m": 360, "1h": 720, "4h": 2000,
            },
            # The plan's seconds are those of the user's own plan with Tiingo.
            requests_per_second=self._settings.requests_per_second,
            requests_burst=self._settings.requests_burst,
            needs_key=True,
            price_basis="raw",
            # A day is ready at about 17:30 New York, an hour and a half after the close.
            delay_seconds=5400.0,
            history=("bar", "corporate_action"),
            live=("trade", "quote") if books else ("quote",),
        )  # fmt: skip

    @property
    def extended_hours(self) -> bool:
        """Whether answers hold bars before the open and after the close."""
        return self._settings.prepost

    def bars(self, request: BarsRequest) -> Answer:
        """One request for each span; of 1d, one in all, with its dividends and splits.

        Raises:
            NotFoundError: Tiingo does not know the symbol.
            RangeError: An interval that it does not have.
            ConfigError: The key is missing or refused, or its plan has not this.
            MalformedError, RateLimitedError, UnreachableError: As `Source.bars`.
        """
        self.limits.require(request.interval, source=self.name)
        periods, missing = self._periods(request)
        with closing(self._session(self._headers())) as session:
            parts = (self._fetch(session, request, first, last) for first, last in periods)
            whole = gathered(parts, request)
        return dataclasses.replace(whole, missing=missing + whole.missing)

    def requests(self, request: BarsRequest) -> int:
        """How many requests `bars` would send now.

        Raises:
            RangeError: As `bars`, before it asks.
        """
        self.limits.require(request.interval, source=self.name)
        return len(self._periods(request)[0])

    def symbols(self) -> Iterator[str]:
        """None: Tiingo can be searched."""
        return iter(())

    def search(self, text: str, *, limit: int = 20) -> Sequence[Hit]:
        """By ticker or name, in Tiingo's order; plain words find most.

        Raises:
            ConfigError: The key is missing or refused.
            MalformedError, RateLimitedError, UnreachableError: As `Source.bars`.
        """
        asked = {"query": text, "limit": str(min(limit, 100)), "includeDelisted": "true"}
        with closing(self._session(self._headers())) as session:
            told = _told(session.get("/tiingo/utilities/search", asked))
            error = _refused(session, told, None)
        if error is not None and not isinstance(error, NotFoundError):
            raise error
        return [] if error is not None else hits(decoded(told.body, "Tiingo"), limit=limit)

    def dialect(self, symbols: Sequence[str], kinds: Sequence[Kind]) -> Dialect:
        """IEX's quotes and trades, or at level 6 its reference prices, as quotes.

        Raises:
            RangeError: Another kind than the level has.
            ConfigError: The key is missing.
        """
        key = key_of(self._settings.api_key, _NAME, _KEYS_AT)
        if set(kinds) - set(self.limits.live):
            raise RangeError(
                f"Tiingo's socket has no {' '.join(sorted(set(kinds) - set(self.limits.live)))}"
                f" at level {self._settings.threshold_level}.",
                expected=" ".join(self.limits.live),
                found=" ".join(kinds),
                todo="choose other --kinds, or set threshold_level to 5 if your account has it",
            )
        return self._talk(symbols, kinds, key)

    def parse(
        self,
        payload: bytes,
        *,
        symbol: str | None = None,
        interval: str | None = None,
        received_at: datetime | None = None,
    ) -> Answer:
        """A recorded answer of prices, search or reference, or a recorded socket.

        A cassette's answers are one: of bars that it holds twice, the later answer's count.

        Raises:
            NotFoundError, RateLimitedError, ConfigError, UnreachableError: What it says.
            MalformedError: Nothing of Tiingo's.
        """
        payload = plain(payload)
        if is_capture(payload) or _is_frame(payload):
            named = [symbol] if symbol else []
            return parse_capture(
                payload,
                lambda: self._talk(named, ("trade", "quote"), ""),
                received_at=received_at,
            )
        return joined(
            [
                parse_recorded(told, symbol=symbol, interval=interval, received_at=received_at)
                for told in recorded(payload)
            ]
        )

    def _periods(self, request: BarsRequest) -> tuple[list[tuple[date, date]], tuple[str, ...]]:
        """First and last New York day of each request, in order; and what is out of reach."""
        intraday = request.interval in INTRADAY_SECONDS
        begins = _BEGINNINGS.get(request.interval, _BEGINNINGS["intraday"] if intraday else None)
        begins = begins or date(1900, 1, 1)
        zone = NEW_YORK if intraday else UTC  # a day's bar stands at midnight UTC
        today = clock.now().astimezone(NEW_YORK).date()
        first = begins if request.start is None else _day(request.start, zone)
        last = min(today, today if request.end is None else _day(request.end, zone))
        missing: tuple[str, ...] = ()
        if intraday and request.start is not None and first < begins:
            if last < begins and last < today:
                raise RangeError(
                    f"Tiingo has no {request.interval} bars of that time.",
                    expected=f"a range after {begins}",
                    found=f"an end at {request.end}",
                    todo="ask for a later range, or for 1d",
                )
            missing = (
                f"{request.symbol} {request.interval} from {first}: Tiingo begins at {begins}",
            )
            first = begins
        span = timedelta(days=self.limits.span_days.get(request.interval, 1_000_000))
        if intraday and isinstance(request.start, datetime) and isinstance(request.end, datetime):
            return _periods_of_instants(max(request.start, _midnight(first)), request.end, span), (
                missing
            )
        periods = []
        while first <= last:
            periods.append((first, min(last, first + span - _DAY)))
            first += span
        return periods, missing

    def _fetch(self, session: Session, request: BarsRequest, first: date, last: date) -> Answer:
        ticker = urllib.parse.quote(request.symbol.strip(), safe="")
        require_symbol(request.symbol)
        asked = {"startDate": first.isoformat(), "endDate": last.isoformat(), "format": "json"}
        if request.interval == "1d":
            path = f"/tiingo/daily/{ticker}/prices"
            asked["resampleFreq"] = "daily"
        else:
            path = f"/iex/{ticker}/prices"
            asked |= {
                "resampleFreq": _frequency(request.interval),
                "afterHours": "true" if self._settings.prepost else "false",
                # Without `columns` there is no volume (seen).
                "columns": "open,high,low,close,volume",
            }
        reply = session.get(path, asked)
        told = _told(reply)
        error = _refused(session, told, request.symbol)
        if error is not None:
            raise error
        received, notes = received_of(reply, "Tiingo")
        answer = parse_prices(
            told, symbol=request.symbol, interval=request.interval, received_at=received
        )
        missing = _cut_off(answer, first) if request.interval != "1d" else ()
        about = dataclasses.replace(answer.about, as_of=reply.date or received)
        return dataclasses.replace(answer, notes=notes + answer.notes, missing=missing, about=about)

    def _session(self, headers: dict[str, str]) -> Session:
        return Session(self._settings.base_url, self._settings, provider="Tiingo", headers=headers)

    def _headers(self) -> dict[str, str]:
        key = key_of(self._settings.api_key, _NAME, _KEYS_AT)
        return {"authorization": f"Token {key}"}

    def _talk(self, symbols: Sequence[str], kinds: Sequence[Kind], key: str) -> TiingoTalk:
        return TiingoTalk(
            self._settings.socket_url,
            key,
            symbols,
            kinds,
            threshold_level=self._settings.threshold_level,
            silence_seconds=self._settings.silence_seconds,
        )


def _refused(session: Session, told: Recorded, symbol: str | None) -> TickerlakeError | None:
    """What an answer without data says; a limit that comes with HTTP 200 is told to all."""
    error = refused(told, symbol)
    if isinstance(error, RateLimitedError):
        session.leave_alone(error.found or "", LIMIT_SECONDS)
    return error


def _told(reply: Reply) -> Recorded:
    return Recorded(reply.body, reply.status, reply.headers, reply.url)


def _day(value: date | datetime, zone: tzinfo) -> date:
    return value.astimezone(zone).date() if isinstance(value, datetime) else value


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), NEW_YORK)


def _periods_of_instants(
    start: datetime, end: datetime, span: timedelta
) -> list[tuple[date, date]]:
    """The days that each span touches: neighbours may share one."""
    periods = []
    end = min(end, clock.now())
    while start < end:
        until = min(start + span, end)
        periods.append((_day(start, NEW_YORK), _day(until - _MICROSECOND, NEW_YORK)))
        start = until
    return periods


def _frequency(interval: str) -> str:
    number, unit = interval[:-1], interval[-1]
    return f"{number}{'min' if unit == 'm' else 'hour'}"


def _cut_off(answer: Answer, first: date) -> tuple[str, ...]:
    """An answer of just so many thousand rows that begins late was cut at its old end."""
    count = answer.bars.num_rows
    if count < _ROWS_CUT_MIN or count % _ROWS_CUT_MIN:
        return ()
    began = pc.min(answer.bars["session_date"]).as_py()
    if began - first <= _HOLIDAYS:
        return ()
    symbol, interval = (answer.bars[name][0].as_py() for name in ("symbol", "interval"))
    part = f"{symbol} {interval} from {first} to {began}"
    return (f"{part}: Tiingo sent {count:,} rows, which may be its most; ask for a shorter range",)


def _is_frame(payload: bytes) -> bool:
    """A single frame of the socket, or an array of them."""
    if b'"messageType"' not in payload:
        return False
    try:
        document = decoded(payload, "Tiingo")
    except MalformedError:
        return False
    rows = document if isinstance(document, list) else [document]
    return all(isinstance(row, dict) and "messageType" in row for row in rows)

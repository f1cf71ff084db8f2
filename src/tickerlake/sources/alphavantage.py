"""Alpha Vantage: days, weeks and months as traded, intraday bars by the month, and a search.

What is known of it stands, with how sure it is, in docs/sources/alphavantage.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, ClassVar, Final
from urllib.parse import urlencode

from tickerlake import clock
from tickerlake.errors import NotFoundError, RangeError, RateLimitedError
from tickerlake.sources.alphavantage_answers import BURST, Asked, hits, parse_answer, refused
from tickerlake.sources.answers import joined, received_of, require_symbol, widened
from tickerlake.sources.base import Answer, BarsRequest, Hit, Limits
from tickerlake.sources.columns import decoded
from tickerlake.sources.http import HttpSettings, Session
from tickerlake.sources.listed import (
    INTRADAY_SECONDS,
    NEW_YORK,
    gathered,
    key_of,
)
from tickerlake.sources.recordings import Recorded, recorded
from tickerlake.sources.refusals import LIMIT_SECONDS

__all__ = ["AlphaVantageSettings", "AlphaVantageSource"]

_NAME: Final = "alphavantage"
_KEYS_AT: Final = "https://www.alphavantage.co/support/#api-key"
_INTERVALS: Final = {"1m": "1min", "5m": "5min", "15m": "15min", "30m": "30min", "1h": "60min"}
_FUNCTIONS: Final = {
    "1d": "TIME_SERIES_DAILY",
    "1wk": "TIME_SERIES_WEEKLY",
    "1mo": "TIME_SERIES_MONTHLY",
}
#: `compact` holds the newest 100 days with a session: twenty weeks have no more.
_COMPACT_DAYS: Final = 140
_MONTHS_BEGIN: Final = date(2000, 1, 1)


@dataclass(frozen=True, slots=True)
class AlphaVantageSettings(HttpSettings):
    """`[sources.alphavantage]`."""

    #: Our pace: the free plan's 5 a minute (reported). Premium plans have 75 a minute and more.
    requests_per_second: float | None = 5 / 60
    #: Where the API is; the vendor's own path, `/query`, is appended unchanged.
    base_url: str = "https://www.alphavantage.co"
    #: The key of your account; better in the environment or the keyring.
    api_key: str | None = None
    #: The key's plan is a premium one: days with dividends and splits, and beyond the last 100.
    premium: bool = False
    #: Intraday bars before the open and after the close too, marked `extended`.
    prepost: bool = False
    #: `delayed` or `realtime`: what the plan allows of the newest US bars; none does not ask.
    entitlement: str | None = None
    #: How long to wait when the vendor asks for one request a second.
    burst_wait_seconds: float = 1.2


class AlphaVantageSource:
    """Days as traded, for premium keys with dividends and splits; weeks, months; intraday bars.

    Not promised: that a day's volume stands before the evening, or that intraday bars come with a
    free key.
    """

    name = _NAME
    settings_type: ClassVar[type[AlphaVantageSettings]] = AlphaVantageSettings

    def __init__(self, settings: AlphaVantageSettings | None = None) -> None:
        self._settings = settings or AlphaVantageSettings()
        premium = self._settings.premium
        self.limits = Limits(
            intervals=(*_INTERVALS, *_FUNCTIONS),
            look_back_days={} if premium else {"1d": _COMPACT_DAYS},
            requests_per_second=self._settings.requests_per_second,
            requests_burst=self._settings.requests_burst,
            needs_key=True,
            price_basis="raw",
            # Its adjusted close is C / (C + D), with the ex-date's close (IBM, 2024-08-09).
            dividend_rule="ex_close",
            # A page is a calendar month, 04:00 to 20:00 New York of at most 23 sessions.
            rows_per_page={
                name: 23 * 16 * 3600 // INTRADAY_SECONDS[name] for name in _INTERVALS
            },
            # Ours: the evening's bars are over by then, and the day is told (uncertain).
            delay_seconds=4 * 3600.0,
            history=("bar", "corporate_action") if premium else ("bar",),
        )  # fmt: skip

    @property
    def extended_hours(self) -> bool:
        """Whether answers hold bars before the open and after the close."""
        return self._settings.prepost

    def bars(self, request: BarsRequest) -> Answer:
        """Days, weeks and months in one request; intraday one for each calendar month.

        Raises:
            NotFoundError: Alpha Vantage does not know the symbol, by this function.
            RangeError: An interval or a time that it does not have.
            ConfigError: The key is missing or refused, or the plan does not include this.
            MalformedError, RateLimitedError, UnreachableError: As `Source.bars`.
        """
        self.limits.require(request.interval, source=self.name)
        require_symbol(request.symbol)
        request = widened(request)
        asks, missing = self._asks(request)
        key_of(self._settings.api_key, _NAME, _KEYS_AT)
        with closing(self._session()) as session:
            try:
                whole = gathered((self._fetch(session, request, ask) for ask in asks), request)
            except NotFoundError as error:
                # Said of a call that it does not like, too: who believes it forgets the symbol.
                if not self._is_listed(session, request.symbol):
                    raise
                raise RangeError(
                    f"Alpha Vantage has no {request.interval} bars of {request.symbol}.",
                    expected="another interval: foreign symbols have days and longer only",
                    found=error.found,
                    todo="ask for 1d",
                ) from error
        return dataclasses.replace(whole, missing=missing + whole.missing)

    def requests(self, request: BarsRequest) -> int:
        """How many requests `bars` would send now.

        Raises:
            RangeError: As `bars`, before it asks.
        """
        self.limits.require(request.interval, source=self.name)
        return len(self._asks(request)[0])

    def symbols(self) -> Iterator[str]:
        """None: Alpha Vantage can be searched."""
        return iter(())

    def search(self, text: str, *, limit: int = 20) -> Sequence[Hit]:
        """By symbol or name, in Alpha Vantage's order. Costs one of the day's requests.

        Raises:
            ConfigError: The key is missing or refused.
            MalformedError, RateLimitedError, UnreachableError: As `Source.bars`.
        """
        key_of(self._settings.api_key, _NAME, _KEYS_AT)
        with closing(self._session()) as session:
            told, _, _ = self._ask(session, {"function": "SYMBOL_SEARCH", "keywords": text}, None)
        return hits(decoded(told.body, "Alpha Vantage"), limit=limit)

    def parse(
        self,
        payload: bytes,
        *,
        symbol: str | None = None,
        interval: str | None = None,
        received_at: datetime | None = None,
    ) -> Answer:
        """A recorded answer: a series, JSON or CSV; searches and quotes are noted.

        Raises:
            NotFoundError, RangeError, RateLimitedError, ConfigError, UnreachableError: What it
                says.
            MalformedError: Nothing of Alpha Vantage's.
        """
        asked = Asked(symbol=symbol, interval=interval, received_at=received_at)
        return joined([parse_answer(told, asked) for told in recorded(payload)])

    def _asks(self, request: BarsRequest) -> tuple[list[dict[str, str]], tuple[str, ...]]:
        """The parameters of each request, oldest first; and what is out of reach."""
        if request.interval in INTRADAY_SECONDS:
            return self._months(request)
        today = clock.now().astimezone(NEW_YORK).date()
        first = _day(request.start, UTC) if request.start is not None else None
        last = _day(request.end, UTC) if request.end is not None else today
        if first is not None and first > today + timedelta(days=1):
            return [], ()
        ask = {"function": _FUNCTIONS[request.interval], "symbol": request.symbol}
        if request.interval != "1d":
            return [ask], ()
        compact = today - timedelta(days=_COMPACT_DAYS)
        if self._settings.premium:
            ask["function"] += "_ADJUSTED"
            is_near = first is not None and first >= compact
            return [ask | {"outputsize": "compact" if is_near else "full"}], ()
        if last < compact:
            raise RangeError(
                f"Alpha Vantage gives free keys the last 100 days of {request.symbol} only.",
                expected=f"a range after {compact}",
                found=f"an end at {request.end}",
                todo="ask for a later range or for 1wk, or set [sources.alphavantage] premium ="
                " true if the key's plan is one",
            )
        missing: tuple[str, ...] = ()
        if first is not None and first < compact:
            part = f"{request.symbol} 1d from {first} to {compact}"
            missing = (f"{part}: Alpha Vantage gives free keys the last 100 days",)
        return [ask | {"outputsize": "compact"}], missing

    def _months(self, request: BarsRequest) -> tuple[list[dict[str, str]], tuple[str, ...]]:
        now = clock.now().astimezone(NEW_YORK)
        last = now.date()
        if isinstance(request.end, datetime):
            last = min(last, _day(request.end - timedelta(microseconds=1), NEW_YORK))
        elif request.end is not None:
            last = min(last, request.end)
        first = last.replace(day=1) if request.start is None else _day(request.start, NEW_YORK)
        missing: tuple[str, ...] = ()
        if first < _MONTHS_BEGIN:
            if last < _MONTHS_BEGIN:
                raise RangeError(
                    f"Alpha Vantage has no {request.interval} bars of that time.",
                    expected=f"a range after {_MONTHS_BEGIN}",
                    found=f"an end at {request.end}",
                    todo="ask for a later range, or for 1wk",
                )
            part = f"{request.symbol} {request.interval} from {first}"
            missing = (f"{part}: Alpha Vantage begins at {_MONTHS_BEGIN}",)
            first = _MONTHS_BEGIN
        ask = {
            "function": "TIME_SERIES_INTRADAY",
            "symbol": request.symbol,
            "interval": _INTERVALS[request.interval],
            # Both are true by default (documented): adjusted prices could not be told from raw.
            "adjusted": "false",
            "extended_hours": "true" if self._settings.prepost else "false",
            "outputsize": "full",
        }
        if self._settings.entitlement is not None:
            ask["entitlement"] = self._settings.entitlement
        asks = []
        month = first.replace(day=1)
        while month <= last:
            asks.append({**ask, "month": f"{month:%Y-%m}"})
            month = (month + timedelta(days=31)).replace(day=1)
        return (asks if first <= last else []), missing

    def _fetch(self, session: Session, request: BarsRequest, ask: Mapping[str, str]) -> Answer:
        told, received, notes = self._ask(session, ask, request.symbol)
        answer = parse_answer(
            told,
            Asked(
                symbol=request.symbol,
                interval=request.interval,
                received_at=received,
                basis="raw",
            ),
        )
        about = dataclasses.replace(
            answer.about,
            as_of=told.date or received,
            # Without the key, which is one of the parameters: there is no other way to send it.
            url=f"{self._settings.base_url.rstrip('/')}/query?{urlencode(ask)}",
        )
        return dataclasses.replace(answer, notes=notes + answer.notes, about=about)

    def _is_listed(self, session: Session, symbol: str) -> bool:
        """Whether a search finds the symbol itself."""
        told, _, _ = self._ask(session, {"function": "SYMBOL_SEARCH", "keywords": symbol}, symbol)
        found = hits(decoded(told.body, "Alpha Vantage"), limit=50)
        return symbol.upper() in {hit.symbol.upper() for hit in found}

    def _ask(
        self, session: Session, ask: Mapping[str, str], symbol: str | None
    ) -> tuple[Recorded, datetime, tuple[str, ...]]:
        """One answer with data, and when it came."""
        for _ in range(self._settings.attempts_max - 1):
            try:
                return self._ask_once(session, ask, symbol)
            except RateLimitedError as error:
                # Every burst would look like a spent day: its text names the daily limit, too.
                if not _is_burst(error):
                    raise
                clock.sleep(self._settings.burst_wait_seconds)
        return self._ask_once(session, ask, symbol)

    def _ask_once(
        self, session: Session, ask: Mapping[str, str], symbol: str | None
    ) -> tuple[Recorded, datetime, tuple[str, ...]]:
        reply = session.get("/query", {**ask, "apikey": self._settings.api_key or ""})
        told = Recorded(reply.body, reply.status, reply.headers, "")
        start = told.body.lstrip()[:1]
        document: Any = decoded(told.body, "Alpha Vantage") if start == b"{" else None
        error = refused(told, document, symbol)
        if isinstance(error, RateLimitedError) and not _is_burst(error):
            by_the_minute = "minute" in (error.found or "") and "day" not in (error.found or "")
            session.leave_alone(error.found or "", 60.0 if by_the_minute else LIMIT_SECONDS)
        if error is not None:
            raise error
        received, notes = received_of(reply, "Alpha Vantage")
        return told, received, notes

    def _session(self) -> Session:
        return Session(self._settings.base_url, self._settings, provider="Alpha Vantage")


def _is_burst(error: RateLimitedError) -> bool:
    return any(words in (error.found or "").lower() for words in BURST)


def _day(value: date | datetime, zone: tzinfo) -> date:
    return value.astimezone(zone).date() if isinstance(value, datetime) else value

"""Yahoo: price history (the chart API, daily and intraday), search, and a live ticker.

Unofficial: no vendor documents it, so limits are what people met in practice, and all of them can
be changed in `[sources.yahoo]` or by a mirror at `base_url`.
"""

from __future__ import annotations

import dataclasses
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import ClassVar, Final

import msgspec
import pyarrow as pa

from tickerlake import clock
from tickerlake.errors import MalformedError, RangeError, TickerlakeError
from tickerlake.records import Kind
from tickerlake.sources.answers import first_day, joined, received_of, require_symbol, widened
from tickerlake.sources.base import Answer, BarsRequest, Hit, Limits, empty_answer, select
from tickerlake.sources.captures import is_capture, parse_capture
from tickerlake.sources.http import HttpSettings, Reply, Session, paced
from tickerlake.sources.live import Dialect, require_kinds
from tickerlake.sources.recordings import Recorded, plain, recorded
from tickerlake.sources.yahoo_chart import parse_chart
from tickerlake.sources.yahoo_crumb import Crumbs
from tickerlake.sources.yahoo_recording import (
    chart_of,
    open_body,
    open_recording,
    other_note,
    without_crumb,
)
from tickerlake.sources.yahoo_search import parse_quotes, parse_search, reference_notes
from tickerlake.sources.yahoo_stream import YahooTalk, is_pricing

__all__ = ["YahooSettings", "YahooSource"]

_DAY: Final = timedelta(days=1)
#: Before the first bar that anybody has.
_BEGINNING: Final = datetime(1900, 1, 1, tzinfo=UTC)
#: A request is on its way for a while: the look-back's edge keeps this much away.
_EDGE: Final = timedelta(hours=1)
_SKEW: Final = timedelta(seconds=60)
#: Symbols that one quote request names: longer addresses are cut on the way (uncertain).
_QUOTES_MAX: Final = 50
#: Longer lines are no frames of the streamer.
_FRAME_BYTES_MAX: Final = 10_000
_MINUTES_60_DAYS: Final = ("2m", "5m", "15m", "30m", "90m")


@dataclass(frozen=True, slots=True)
class YahooSettings(HttpSettings):
    """`[sources.yahoo]`."""

    #: Our pace. Yahoo publishes none; two a second is what it has borne.
    requests_per_second: float | None = 2.0
    #: Where the chart API is; the vendor's own path is appended unchanged.
    base_url: str = "https://query2.finance.yahoo.com"
    #: Where the streamer is.
    socket_url: str = "wss://streamer.finance.yahoo.com"
    #: No frame for so long, and the line is dead; a closed market is silent, too.
    silence_seconds: float = 300.0
    #: Where the cookie comes from that quotes want.
    cookie_url: str = "https://fc.yahoo.com"
    #: Bars before the open and after the close too, marked `extended`.
    prepost: bool = False


class YahooSource:
    """Price history as Yahoo tells it: split-adjusted prices, with `adj_close` for 1d and longer.

    Not promised: that Yahoo answers at all (it turns plain clients away at will), that an answer
    is complete, or that volume stands still before the next session has closed.
    """

    name = "yahoo"
    limits = Limits(
        intervals=("1m", "2m", "5m", "15m", "30m", "1h", "90m", "1d", "5d", "1wk", "1mo", "3mo"),
        span_days={"1m": 7, **dict.fromkeys(_MINUTES_60_DAYS, 60), "1h": 730},
        look_back_days={"1m": 30, **dict.fromkeys(_MINUTES_60_DAYS, 60), "1h": 730},
        price_basis="splits",
        amount_basis="splits",
        history=("bar", "corporate_action"),
        live=("trade", "quote"),
        identifiers=("isin", "sedol"),
    )
    settings_type: ClassVar[type[YahooSettings]] = YahooSettings

    def __init__(self, settings: YahooSettings | None = None) -> None:
        self._settings = settings or YahooSettings()
        self.limits = paced(type(self).limits, self._settings)
        self._session = self._open_session("base", {})
        self._quotes = Crumbs(self._open_session)

    @property
    def extended_hours(self) -> bool:
        """Whether intraday answers hold bars before the open and after the close."""
        return self._settings.prepost

    def bars(self, request: BarsRequest) -> Answer:
        """Fetch the range in as many requests as its span needs, and clean every answer.

        Corporate actions come with 1d only. What lies before the look-back, and what follows a
        request that failed after others had come, is listed in `missing`.

        Raises:
            NotFoundError: Yahoo does not know the symbol.
            RangeError: An interval that Yahoo does not have, or a range wholly before the
                look-back or the first trade.
            MalformedError: An answer of another shape or interval.
            RateLimitedError: Yahoo asks us to come back later.
            UnreachableError: Nobody answers.
        """
        self.limits.require(request.interval, source=self.name)
        require_symbol(request.symbol)
        request = widened(request)
        now = clock.now()
        first, end, missing = self._reachable(request, now)
        answers: list[Answer] = []
        nothing: RangeError | None = None
        for period in self._periods(request.interval, first, end):
            try:
                answers.append(self._fetch(request, period))
            except RangeError as error:  # this part has no bars; others may
                nothing = error
            except TickerlakeError as error:
                if not any(answer.bars.num_rows for answer in answers):
                    raise
                # What came is kept: asking for all of it again would only meet the limit again.
                part = f"{request.symbol} {request.interval} from {period[0]:%F %R}Z on"
                missing += (f"{part}: {error.problem} ({error.todo})",)
                break
        if not answers and nothing is not None:
            raise nothing
        if not answers:
            nothing_yet = ("the range lies in the future",)
            return dataclasses.replace(empty_answer(), notes=nothing_yet, missing=missing)
        whole = joined(answers)
        return dataclasses.replace(whole, bars=select(whole.bars, request), missing=missing)

    def requests(self, request: BarsRequest) -> int:
        """How many requests `bars` would send now.

        Raises:
            RangeError: As `bars`, before it asks.
        """
        self.limits.require(request.interval, source=self.name)
        first, end, _ = self._reachable(widened(request), clock.now())
        return sum(1 for _ in self._periods(request.interval, first, end))

    def search(self, text: str, *, limit: int = 20) -> Sequence[Hit]:
        """Symbols that fit a name, a symbol, an ISIN or a SEDOL, in Yahoo's order; one request.

        Not promised: that an ISIN is known (some give nothing: seen). There is no currency.

        Raises:
            MalformedError, RateLimitedError, UnreachableError: As `bars`.
        """
        asked = {"q": text, "quotesCount": str(limit), "newsCount": "0", "listsCount": "0"}
        path = "/v1/finance/search"
        reply = self._session.get(path, {**asked, "enableFuzzyQuery": "false"})
        return parse_search(open_body(_told(reply)).body)[:limit]

    def describe(self, symbols: Sequence[str]) -> Sequence[Hit]:
        """Name, type, exchange, currency and first day of symbols; unknown ones are left out.

        From quotes, 50 symbols a request; with cookie and crumb once Yahoo asks for them.

        Raises:
            ConfigError: Yahoo wants a person's consent.
            MalformedError, RateLimitedError, UnreachableError: As `bars`.
        """
        hits: list[Hit] = []
        for at in range(0, len(symbols), _QUOTES_MAX):
            names = ",".join(symbols[at : at + _QUOTES_MAX])
            reply = self._quotes.get("/v7/finance/quote", {"symbols": names})
            hits += parse_quotes(open_body(_told(reply)).body)
        return hits

    def symbols(self) -> Iterator[str]:
        """None: Yahoo can be searched, not listed."""
        return iter(())

    def parse(
        self,
        payload: bytes,
        *,
        symbol: str | None = None,
        interval: str | None = None,
        received_at: datetime | None = None,
    ) -> Answer:
        """One recorded answer, as itself, wrapped or packed; or a recorded socket.

        Charts give bars and actions; search and quote answers hold no records: notes tell them.

        Raises:
            NotFoundError, RangeError, RateLimitedError, UnreachableError: What the answer says.
            MalformedError: No history answer of Yahoo's, or one of another interval.
        """
        payload = plain(payload)
        if payload.startswith(b'{"chart":') and b"\n" not in payload:  # the answer as it came
            return _parsed(Recorded(payload), symbol, interval, received_at)
        if is_capture(payload) or _are_frames(payload):
            every = self.limits.live
            return parse_capture(
                payload,
                lambda: self._talk([symbol] if symbol else [], every),
                received_at=received_at,
            )
        return joined([_parsed(one, symbol, interval, received_at) for one in recorded(payload)])

    def dialect(self, symbols: Sequence[str], kinds: Sequence[Kind]) -> Dialect:
        """The streamer's: a ticker, whose trades merge what traded between two frames.

        Raises:
            RangeError: Another kind than trades and quotes.
        """
        require_kinds(kinds, self.limits.live, "Yahoo")
        return self._talk(symbols, kinds)

    def _talk(self, symbols: Sequence[str], kinds: Sequence[Kind]) -> YahooTalk:
        url, silence = self._settings.socket_url, self._settings.silence_seconds
        return YahooTalk(url, symbols, kinds, silence=silence)

    def close(self) -> None:
        """Give back connections."""
        self._session.close()
        self._quotes.close()

    def _open_session(self, role: str, headers: Mapping[str, str]) -> Session:
        settings = self._settings
        url = settings.cookie_url if role == "cookie" else settings.base_url
        return Session(url, settings, provider="Yahoo", headers=headers)

    def _reachable(
        self, request: BarsRequest, now: datetime
    ) -> tuple[datetime, datetime, tuple[str, ...]]:
        """The asked range in UTC, cut at the look-back; dates with a day's margin on both sides.

        Session dates are local, and which zone is known only from the answer: the margin reaches
        every zone, and the answer is cut by its own dates.
        """
        start = _instant(request.start) if request.start is not None else _BEGINNING
        end = now + _DAY if request.end is None else _instant(request.end)
        days = self.limits.look_back_days.get(request.interval)
        exact = days is not None  # intraday: the instants of the request are those of the bars
        margin = timedelta(0) if exact and isinstance(request.start, datetime) else _DAY
        later = timedelta(0) if exact and isinstance(request.end, datetime) else 2 * _DAY
        earliest = _BEGINNING if days is None else now - timedelta(days=days) + _EDGE
        if end + later <= earliest:
            raise RangeError(
                f"Yahoo no longer has {request.symbol} {request.interval} that far back.",
                expected=f"a range within the last {days} days",
                found=f"an end at {request.end}",
                todo="ask for a later range, or a longer interval",
            )
        missing: tuple[str, ...] = ()
        if request.start is not None and start < earliest:
            part = f"{request.symbol} {request.interval} from {request.start} to {earliest:%F %R}Z"
            missing = (f"{part}: Yahoo keeps {days} days",)
        return max(start - margin, earliest), min(end + later, now + _DAY), missing

    def _periods(
        self, interval: str, first: datetime, end: datetime
    ) -> Iterator[tuple[datetime, datetime]]:
        span = timedelta(days=self.limits.span_days.get(interval, 1_000_000))
        while first < end:
            yield first, min(first + span, end)
            first += span

    def _fetch(self, request: BarsRequest, period: tuple[datetime, datetime]) -> Answer:
        daily = request.interval == "1d"
        asked = int(period[0].timestamp()), int(period[1].timestamp())
        reply = self._session.get(
            "/v8/finance/chart/" + urllib.parse.quote(request.symbol, safe=""),
            {
                "interval": request.interval,
                "period1": str(asked[0]),
                "period2": str(asked[1]),
                "includePrePost": "true" if self._settings.prepost else "false",
                "includeAdjustedClose": "true",
                **({"events": "div|split|capitalGain"} if daily else {}),
            },
        )
        recording = open_recording(_told(reply), symbol=request.symbol)
        received, notes = received_of(reply, "Yahoo")
        url = without_crumb(reply.url)
        answer = parse_chart(
            dataclasses.replace(recording, period=asked, date=reply.date, url=url),
            interval=request.interval,
            received_at=received,
        )
        _check_anchors(answer.bars, request)
        return dataclasses.replace(answer, notes=notes + answer.notes)


def _told(reply: Reply) -> Recorded:
    return Recorded(reply.body, reply.status)


def _parsed(
    told: Recorded, symbol: str | None, interval: str | None, received_at: datetime | None
) -> Answer:
    """One recorded answer: a chart as records, all else as notes."""
    opened = open_body(told, symbol=symbol)
    notes = reference_notes(opened.body)
    other = other_note(opened.body)
    if notes is None and other is not None:
        notes = (other,)
    if notes is not None:
        return dataclasses.replace(empty_answer(), notes=notes)
    return parse_chart(chart_of(opened), interval=interval, received_at=received_at)


def _are_frames(payload: bytes) -> bool:
    """Frames of the streamer: one, an array of them, or bare ones of the first version a line."""
    lines = payload[: _FRAME_BYTES_MAX + 1].split(maxsplit=1)
    if not lines or lines[0][:1] != b"[":
        single = payload if lines and lines[0][:1] == b"{" else b"".join(lines[:1])
        return is_pricing(single)
    try:
        told = msgspec.json.decode(payload)
    except (ValueError, RecursionError):
        return False
    return bool(told) and all(isinstance(one, dict) and "message" in one for one in told)


def _instant(value: date | datetime) -> datetime:
    return value if isinstance(value, datetime) else datetime.combine(value, time(), UTC)


def _check_anchors(bars: pa.Table, request: BarsRequest) -> None:
    """Every week starts on Monday; months and quarters on their first day."""
    if request.interval not in ("1wk", "1mo", "3mo"):
        return
    for day in bars["session_date"].to_pylist()[1:]:  # the first may be the day of the listing
        if first_day(day, request.interval) != day:
            raise MalformedError(
                f"Yahoo's {request.interval} bars of {request.symbol} are off their anchor.",
                expected=first_day(day, request.interval).isoformat(),
                found=day.isoformat(),
                todo="ask for 1d",
            )

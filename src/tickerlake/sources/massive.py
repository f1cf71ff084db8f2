"""Massive, which was Polygon: bars, trades and quotes of US stocks, splits, dividends, tickers.

Facts are the vendor's documentation's and official SDK's of 2026-08, unless
docs/sources/massive.md says otherwise.
"""

from __future__ import annotations

import dataclasses
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import ClassVar, Final
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake import clock
from tickerlake.errors import ConfigError, NotFoundError, TickerlakeError
from tickerlake.records import SCHEMAS, Kind
from tickerlake.sources.answers import joined as joined_answers
from tickerlake.sources.answers import received_of, require_symbol, widened
from tickerlake.sources.base import (
    About,
    Answer,
    BarsRequest,
    Hit,
    Limits,
    Rename,
    TicksRequest,
    empty_answer,
    select,
)
from tickerlake.sources.captures import is_capture, parse_capture
from tickerlake.sources.columns import next_page
from tickerlake.sources.http import HttpSettings, Session
from tickerlake.sources.listed import key_of
from tickerlake.sources.live import Dialect, require_kinds
from tickerlake.sources.massive_addresses import (
    BASE_BARS,
    EVENTS,
    ROWS_PER_PAGE,
    SPANS,
    bars_path,
    nanoseconds,
    quoted,
)
from tickerlake.sources.massive_answers import (
    Page,
    What,
    currency_of,
    joined,
    open_page,
    ticks_of,
)
from tickerlake.sources.massive_recorded import bars_of, parse_recorded
from tickerlake.sources.massive_reference import Reference, actions_of, hits_of, renames_of
from tickerlake.sources.massive_talk import LIVE_INTERVALS, MassiveTalk
from tickerlake.sources.recordings import plain, recorded
from tickerlake.sources.refusals import NoSuchAddressError
from tickerlake.sources.tagged import has_tag
from tickerlake.sources.us_market import (
    NEW_YORK,
    bars_at_most,
    new_york_midnight,
    patience,
)

__all__ = ["MassiveSettings", "MassiveSource"]

_TICKS_PER_PAGE: Final = 50_000
#: The vendor's oldest bars of stocks.
_BEGINNING: Final = date(2003, 9, 10)
#: An empty answer for so many days makes us ask whether there is such a symbol.
_DOUBTFUL_DAYS: Final = 8
_FREE_PER_SECOND: Final = 5 / 60
_HOSTS: Final = ("api.massive.com", "api.polygon.io")


@dataclass(frozen=True, slots=True)
class MassiveSettings(HttpSettings):
    """`[sources.massive]`."""

    #: The key of massive.com; those of polygon.io are the same.
    api_key: str | None = None
    #: Where the API is; https://api.polygon.io is the same.
    base_url: str = "https://api.massive.com"
    #: Where trades, quotes and bars come live; wss://delayed.massive.com for delayed plans.
    socket_url: str = "wss://socket.massive.com"
    #: Prices adjusted for splits instead of prices as traded.
    adjusted: bool = False
    #: How much later than the market the plan's data are; the free plan: 15 minutes.
    delay_seconds: float = 900.0
    #: How far back the plan reaches (free: about two years); null: do not look.
    history_days: int | None = None
    #: With days, ask for splits and dividends too: two requests more.
    corporate_actions: bool = True
    #: How long the bars are that come live: 1m, 1s, or both.
    live_intervals: tuple[str, ...] = ("1m",)
    #: No frame for so long while the exchange is open (30 times that while it is closed), and the
    #: line is dead; seldom traded symbols need more.
    silence_seconds: float = 120.0
    #: Our pace; null: 5 a minute, as the free plan has, but none at a mirror. Paid plans: 100.
    requests_per_second: float | None = None


class MassiveSource:
    """US stocks as traded since 2003, extended hours too.

    Not promised: that an empty answer means that there is nothing (AAPL came back empty under
    load, seen by users in 2020).
    """

    name = "massive"
    settings_type: ClassVar[type[MassiveSettings]] = MassiveSettings

    def __init__(self, settings: MassiveSettings | None = None) -> None:
        settings = settings or MassiveSettings()
        host = urllib.parse.urlsplit(settings.base_url).hostname
        if settings.requests_per_second is None and host in _HOSTS:
            settings = dataclasses.replace(settings, requests_per_second=_FREE_PER_SECOND)
        self._settings = settings
        self._opened: Session | None = None
        days = settings.history_days
        self.limits = Limits(
            intervals=tuple(SPANS),
            look_back_days={} if days is None else dict.fromkeys(SPANS, days),
            requests_per_second=settings.requests_per_second,
            requests_burst=settings.requests_burst,
            needs_key=True,
            price_basis="splits" if settings.adjusted else "raw",
            rows_per_page=ROWS_PER_PAGE,
            delay_seconds=settings.delay_seconds,
            history=("bar", "trade", "quote", "corporate_action"),
            live=("trade", "quote", "bar", "price_band"),
            live_by_name=("price_band",),
            live_unit_ns=1_000_000,
            case_matters=True,
        )

    def bars(self, request: BarsRequest) -> Answer:
        """Fetch the range page by page; with days, splits and dividends too.

        What follows a page that failed after others had come is listed in `missing`. An empty
        answer for more than a week is doubted: then the symbol is looked up, a request more.

        Raises:
            NotFoundError: Massive does not know the symbol.
            RangeError: An interval that Massive does not have.
            ConfigError: No key, a wrong one, or a plan without this data, or not so far back.
            MalformedError: An answer of another shape, or a next page on another host.
            RateLimitedError: Massive asks us to come back later.
            UnreachableError: Nobody answers.
        """
        self.limits.require(request.interval, source=self.name)
        require_symbol(request.symbol)
        request = widened(request)
        first, last, missing = self._period(request)
        if last < first:
            return dataclasses.replace(
                empty_answer(), notes=("the range lies in the future",), missing=missing
            )
        # Events first: bars without the splits that belong to them must not count as known.
        notes: tuple[str, ...] = ()
        actions = SCHEMAS["corporate_action"].empty_table()
        if request.interval == "1d" and self._settings.corporate_actions:
            actions, notes = self._actions(request.symbol, first, last)
        told: list[_Told] = []
        failed: TickerlakeError | None = None
        try:
            told.extend(self._pages(bars_path(request, first, last), self._asked(), "bars"))
        except TickerlakeError as error:
            if not any(one.page.count for one in told):
                raise
            failed = error
        columns = joined([one.page for one in told])
        if failed is not None:
            after = columns["start"][-1].as_py()
            part = f"{request.symbol} {request.interval} after {after:%F %R}Z"
            missing += (f"{part}: {failed.problem} ({failed.todo})",)
        answer = self._answer(request, columns, told)
        if not columns and last - first >= timedelta(days=_DOUBTFUL_DAYS):
            self._confirm(request.symbol)
        notes += answer.notes
        return dataclasses.replace(answer, actions=actions, notes=notes, missing=missing)

    def requests(self, request: BarsRequest) -> int:
        """How many requests `bars` would send now, at most, where all goes well.

        Raises:
            RangeError: As `bars`, before it asks.
        """
        self.limits.require(request.interval, source=self.name)
        first, last, _ = self._period(widened(request))
        if last < first:
            return 0
        rows = bars_at_most(first, last, request.interval)
        pages = -(-rows // ROWS_PER_PAGE[request.interval])
        has_events = request.interval == "1d" and self._settings.corporate_actions
        return pages + (len(EVENTS) if has_events else 0)

    def ticks(self, request: TicksRequest) -> Iterator[Answer]:
        """Trades or quotes, page by page, in order of time.

        Raises:
            TickerlakeError: As `bars`.
        """
        what: What = "trades" if request.kind == "trade" else "quotes"
        asked = {
            "timestamp.gte": str(nanoseconds(request.start)),
            "timestamp.lt": str(nanoseconds(request.end)),
            "limit": str(_TICKS_PER_PAGE),
            "order": "asc",
            "sort": "timestamp",
        }
        for one in self._pages(f"/v3/{what}/{quoted(request.symbol)}", asked, what):
            page = dataclasses.replace(one.page, ticker=request.symbol)
            table = ticks_of(page, request.kind, provider=self.name, received_at=one.received_at)
            ticks: dict[Kind, pa.Table] = {request.kind: table}
            yield dataclasses.replace(empty_answer(), ticks=ticks, notes=one.notes, about=one.about)

    def search(self, text: str, *, limit: int = 20) -> Sequence[Hit]:
        """Tickers whose symbol or name has the text; delisted ones where there is room left.

        Raises:
            TickerlakeError: As `bars`.
        """
        found: dict[str, Hit] = {}
        for active in ("true", "false"):
            if len(found) < limit:
                count = str(min(1000, limit))
                asked = {"search": text, "active": active, "market": "stocks", "limit": count}
                page = next(iter(self._pages("/v3/reference/tickers", asked, "tickers"))).page
                for hit in hits_of(page.listed, provider=self.name):
                    found.setdefault(hit.symbol, hit)
        exact = text.strip().casefold()
        ranked = sorted(found.values(), key=lambda hit: hit.symbol.casefold() != exact)
        return ranked[:limit]

    def renames(self, symbol: str) -> Sequence[Rename]:
        """The changes of the symbol's firm: META's tell of FB.

        Asked by a symbol, Massive tells of its holder today. One that nobody holds today is found
        by the identifier of its last holder.

        Raises:
            TickerlakeError: As `bars`.
        """
        try:
            return self._renames(symbol)
        except NotFoundError:
            asked = {"ticker": symbol, "active": "false", "market": "stocks"}
            page = next(iter(self._pages("/v3/reference/tickers", asked, "tickers"))).page
            figis = [hit.figi for hit in hits_of(page.listed, provider=self.name) if hit.figi]
            if not figis:
                raise
            return self._renames(figis[-1])

    def dialect(self, symbols: Sequence[str], kinds: Sequence[Kind]) -> Dialect:
        """Trades, quotes, bars (`live_intervals`), price bands; `*` stands for all symbols.

        Raises:
            RangeError: Another kind.
            ConfigError: The key is missing, or no length of bars is chosen.
        """
        require_kinds(kinds, self.limits.live, "Massive")
        lengths = self._settings.live_intervals
        if "bar" in kinds and not (lengths and set(lengths) <= set(LIVE_INTERVALS)):
            raise ConfigError(
                "[sources.massive] live_intervals names no bars that come live.",
                expected=" or ".join(LIVE_INTERVALS),
                found=", ".join(lengths) or "an empty list",
                todo="choose of these, or leave bar out of --kinds",
            )
        patience(1.0)  # loads the calendar, which the socket's reader must not wait for
        return self._talk(symbols, kinds, self.key())

    def symbols(self) -> Iterator[str]:
        """None: tickers are searched, a thousand a page."""
        return iter(())

    def close(self) -> None:
        """Give back the connection; the next request opens another."""
        if self._opened is not None:
            self._opened.close()

    def parse(
        self,
        payload: bytes,
        *,
        symbol: str | None = None,
        interval: str | None = None,
        received_at: datetime | None = None,
    ) -> Answer:
        """A recorded answer, bare, gzipped, or wrapped with its request; or a recorded socket.

        Raises:
            TickerlakeError: What the answer says.
            MalformedError: No answer of Massive's, or bars whose length nobody tells.
        """
        payload = plain(payload)
        if is_capture(payload) or has_tag(payload, "ev"):
            keyless = partial(self._talk, (), (), "")
            return parse_capture(payload, keyless, received_at=received_at, batches=False)
        delay = self.limits.delay_seconds
        return joined_answers(
            [
                parse_recorded(
                    one,
                    symbol=symbol,
                    interval=interval,
                    received_at=received_at or one.date or clock.now(),
                    delay_seconds=delay,
                )
                for one in recorded(payload)
            ]
        )

    def _talk(self, symbols: Sequence[str], kinds: Sequence[Kind], key: str) -> MassiveTalk:
        settings = self._settings
        return MassiveTalk(
            f"{settings.socket_url.rstrip('/')}/stocks",
            key,
            symbols,
            kinds,
            provider=self.name,
            silence_seconds=settings.silence_seconds,
            intervals=settings.live_intervals,
        )

    def _answer(
        self, request: BarsRequest, columns: Mapping[str, pa.Array], told: Sequence[_Told]
    ) -> Answer:
        last = told[-1]
        if not columns:
            note = f"{request.symbol} {request.interval}: Massive answered without bars"
            return dataclasses.replace(empty_answer(), notes=(*last.notes, note), about=last.about)
        says = last.page.adjusted
        bars, notes = bars_of(
            {**columns, "symbol": pa.repeat(request.symbol, len(columns["start"]))},
            interval=request.interval,
            received_at=last.received_at,
            adjusted=self._settings.adjusted if says is None else says,
            delay_seconds=self.limits.delay_seconds,
        )
        notes = (*last.notes, *notes)
        return dataclasses.replace(
            empty_answer(), bars=select(bars, request), notes=notes, about=last.about
        )

    def _period(self, request: BarsRequest) -> tuple[datetime, datetime, tuple[str, ...]]:
        """First and last instant, both included, and what lies before the plan's history."""
        start: date | datetime = request.start or _BEGINNING
        first = start if isinstance(start, datetime) else new_york_midnight(start)
        now = clock.now()
        if request.end is None:
            last = now
        elif isinstance(request.end, datetime):
            last = request.end - timedelta(milliseconds=1)
        else:
            last = new_york_midnight(request.end + timedelta(days=1)) - timedelta(milliseconds=1)
        last = min(last, now)
        days = self._settings.history_days
        if days is None:
            return first, last, ()
        earliest = now - timedelta(days=days) + timedelta(hours=1)
        if first >= earliest:
            return first, last, ()
        part = f"{request.symbol} {request.interval} from {start} to {earliest:%F %R}Z"
        lost = () if request.start is None else (f"{part}: the plan reaches back {days} days",)
        return earliest, last, lost

    def _asked(self) -> dict[str, str]:
        adjusted = "true" if self._settings.adjusted else "false"
        return {"adjusted": adjusted, "sort": "asc", "limit": str(BASE_BARS)}

    def _actions(
        self, symbol: str, first: datetime, last: datetime
    ) -> tuple[pa.Table, tuple[str, ...]]:
        """Splits and dividends, with notes on what the plan does not have."""
        found = [SCHEMAS["corporate_action"].empty_table()]
        notes: tuple[str, ...] = ()
        zone = ZoneInfo(NEW_YORK)
        for what, (by, paths) in EVENTS.items():
            asked = {
                "ticker": symbol,
                f"{by}.gte": first.astimezone(zone).date().isoformat(),
                f"{by}.lte": last.astimezone(zone).date().isoformat(),
                "limit": "1000",
                "order": "asc",
                "sort": by,
            }
            try:
                found += self._events(what, paths, asked)
            except (ConfigError, NotFoundError, NoSuchAddressError) as error:  # not in this plan
                notes += (f"{what} were not given: {error.problem}",)
        actions = pa.concat_tables(found)
        return actions.filter(pc.equal(actions["symbol"], symbol)), notes

    def _events(
        self, what: Reference, paths: tuple[str, ...], asked: Mapping[str, str]
    ) -> list[pa.Table]:
        try:
            told = list(self._pages(paths[0], asked, what))
        except (NotFoundError, NoSuchAddressError):  # gone
            told = list(self._pages(paths[1], {**asked, "sort": f"{asked['sort']}.asc"}, what))
        return [
            actions_of(what, one.page.listed, provider=self.name, received_at=one.received_at)
            for one in told
            if one.page.count
        ]

    def _confirm(self, symbol: str) -> None:
        """Raises NotFoundError if Massive says that there is no such symbol."""
        reply = self._session().get(f"/v3/reference/tickers/{quoted(symbol)}", {})
        if reply.status == 404:
            with suppress(NoSuchAddressError):  # a mirror that has no such address: nobody says
                open_page(reply.body, symbol=symbol, status=reply.status)

    def _renames(self, identifier: str) -> Sequence[Rename]:
        path = f"/vX/reference/tickers/{quoted(identifier)}/events"
        told = self._pages(path, {"types": "ticker_change"}, "events")
        return [change for one in told for each in one.page.listed for change in renames_of(each)]

    def _pages(self, path: str, params: Mapping[str, str], what: What) -> Iterator[_Told]:
        reply = self._session().get(path, params)
        seen: set[str] = set()
        while True:
            name = urllib.parse.unquote(path.split("/")[4 if what == "bars" else -1])
            page = open_page(reply.body, what=what, symbol=name, status=reply.status)
            currency = currency_of(name)
            exchange = None if currency is None else "US"
            about = About(exchange=exchange, currency=currency, as_of=reply.date, url=reply.url)
            yield _Told(page, *received_of(reply, "Massive"), about)
            if (url := next_page("Massive", page.next_url, seen)) is None:
                return
            reply = self._session().follow(url, own_hosts=_HOSTS)

    def _session(self) -> Session:
        if self._opened is None:
            headers = {"authorization": f"Bearer {self.key()}"}
            settings = self._settings
            self._opened = Session(settings.base_url, settings, provider="Massive", headers=headers)
        return self._opened

    def key(self) -> str:
        """The key.

        Raises:
            ConfigError: There is none.
        """
        return key_of(self._settings.api_key, self.name, "massive.com")


@dataclass(frozen=True, slots=True)
class _Told:
    """One page, and when it came."""

    page: Page
    received_at: datetime
    notes: tuple[str, ...]
    about: About

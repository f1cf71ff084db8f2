"""Alpaca: bars, trades and quotes of US stocks, corporate actions, the list of assets.

Facts are the vendor's documentation's and official SDKs' of 2026-07, unless docs/sources/alpaca.md
says otherwise.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import ClassVar, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake import clock
from tickerlake.errors import ConfigError, NotFoundError, TickerlakeError
from tickerlake.records import SCHEMAS, Kind
from tickerlake.sources.alpaca_answers import (
    Page,
    actions_of,
    joined,
    open_page,
    ticks_of,
)
from tickerlake.sources.alpaca_recorded import TIMEFRAMES, parse_recorded
from tickerlake.sources.alpaca_reference import ranked, read_assets
from tickerlake.sources.alpaca_settings import DATA_URL, AlpacaSettings, provider_of
from tickerlake.sources.alpaca_talk import AlpacaTalk
from tickerlake.sources.answers import joined as joined_answers
from tickerlake.sources.answers import received_of, require_symbol, widened
from tickerlake.sources.base import (
    About,
    Answer,
    BarsRequest,
    Hit,
    Limits,
    TicksRequest,
    empty_answer,
    select,
)
from tickerlake.sources.captures import is_capture, parse_capture
from tickerlake.sources.columns import malformed, next_page
from tickerlake.sources.http import Reply, Session
from tickerlake.sources.live import Dialect, require_kinds
from tickerlake.sources.recordings import plain, recorded
from tickerlake.sources.refusals import NoSuchAddressError
from tickerlake.sources.tagged import has_tag
from tickerlake.sources.us_market import (
    NEW_YORK,
    bars_at_most,
    new_york_midnight,
    patience,
    us_bars,
    with_prices,
)

__all__ = ["AlpacaSettings", "AlpacaSource"]

_BEGINNING: Final = date(2016, 1, 1)
_ROWS_PER_PAGE: Final = 10_000
_EVENTS_PER_PAGE: Final = 1000
#: Who pays dividends more often than each month does so each week.
_DAYS_PER_EVENT: Final = 7
_ACTIONS: Final = "forward_split,reverse_split,stock_dividend,cash_dividend,name_change"
#: An empty answer for so long makes us ask whether there is such a symbol.
_DOUBTFUL: Final = timedelta(days=8)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class _Told:
    """One page, and when it came."""

    page: Page
    received_at: datetime
    notes: tuple[str, ...]
    about: About


class AlpacaSource:
    """US stocks as traded, since 2016, of one feed.

    Each feed is a provider of its own in our records: `alpaca` is sip, others are `alpaca_iex` and
    so on, since their prices and volumes must never mix. Not promised: that symbols without bars
    are told from unknown ones; Alpaca answers both with nothing.
    """

    settings_type: ClassVar[type[AlpacaSettings]] = AlpacaSettings

    def __init__(self, settings: AlpacaSettings | None = None) -> None:
        self._settings = settings = settings or AlpacaSettings()
        self._data: Session | None = None
        self._assets: Sequence[Hit] | None = None
        self.name = provider_of(settings.feed, default="alpaca")
        delay = 900.0 if settings.feed in ("sip", "delayed_sip") else 0.0
        self.limits = Limits(
            intervals=tuple(TIMEFRAMES),
            requests_per_second=settings.requests_per_second,
            requests_burst=settings.requests_burst,
            needs_key=True,
            price_basis="raw",
            rows_per_page=dict.fromkeys(TIMEFRAMES, _ROWS_PER_PAGE),
            symbols_per_request=100,
            delay_seconds=delay if settings.delay_seconds is None else settings.delay_seconds,
            history=("bar", "trade", "quote", "corporate_action"),
            live=("trade", "quote", "bar", "price_band"),
            live_by_name=("price_band",),
        )

    def bars(self, request: BarsRequest) -> Answer:
        """Fetch the range page by page; with days, corporate actions too.

        What follows a page that failed after others had come is listed in `missing`. An empty
        answer for more than a week is doubted: then the symbol is looked up, a request more.

        Raises:
            NotFoundError: Alpaca does not know the symbol.
            RangeError: An interval that Alpaca does not have.
            ConfigError: No key, a wrong one, or a plan without this data.
            MalformedError: An answer of another shape.
            RateLimitedError: Alpaca asks us to come back later.
            UnreachableError: Nobody answers.
        """
        found = self.bars_of([request.symbol], request)[request.symbol]
        if isinstance(found, Exception):
            raise found
        period = self._period(widened(request))
        if not found.bars.num_rows and period and period[1] - period[0] >= _DOUBTFUL:
            return dataclasses.replace(found, notes=found.notes + self._doubts(request.symbol))
        return found

    def bars_of(
        self, symbols: Sequence[str], request: BarsRequest
    ) -> Mapping[str, Answer | Exception]:
        """As `bars` of each, a hundred symbols a request.

        Raises:
            TickerlakeError: As `bars`: one name that is no symbol fails all, and is named.
        """
        self.limits.require(request.interval, source=self.name)
        for symbol in symbols:
            require_symbol(symbol)
        request = widened(request)
        period = self._period(request)
        if period is None:
            nothing = dataclasses.replace(empty_answer(), notes=(self._too_new(),))
            return dict.fromkeys(symbols, nothing)
        answers: dict[str, Answer | Exception] = {}
        step = self.limits.symbols_per_request
        for at in range(0, len(symbols), step):
            answers |= self._batch(symbols[at : at + step], request, period)
        return answers

    def requests(self, request: BarsRequest) -> int:
        """How many requests `bars` would send now, at most, where all goes well.

        Raises:
            RangeError: As `bars`, before it asks.
        """
        return self.requests_of(1, request)

    def requests_of(self, symbols: int, request: BarsRequest) -> int:
        """The same of `bars_of` of so many symbols.

        Raises:
            RangeError: As `bars`, before it asks.
        """
        self.limits.require(request.interval, source=self.name)
        period = self._period(widened(request))
        if period is None:
            return 0
        bars = bars_at_most(*period, request.interval)
        events = (period[1] - period[0]).days // _DAYS_PER_EVENT + 2
        count, step = 0, self.limits.symbols_per_request
        for at in range(0, symbols, step):
            together = min(step, symbols - at)
            # A last page that is full has an empty one after it.
            count += together * bars // _ROWS_PER_PAGE + 1
            if self._has_actions(request):
                count += together * events // _EVENTS_PER_PAGE + 1
        return count

    def ticks(self, request: TicksRequest) -> Iterator[Answer]:
        """Trades or quotes, page by page, in order of time.

        What the feed's delay holds back is `missing` in a last answer.

        Raises:
            TickerlakeError: As `bars`.
        """
        end = min(request.end, self._newest())
        if end < request.end:
            part = f"{request.symbol} {request.kind} after {max(end, request.start):%F %T}Z"
            late = dataclasses.replace(empty_answer(), missing=(f"{part}: {self._too_new()}",))
        else:
            late = None
        if end <= request.start:
            if late is not None:
                yield late
            return
        rows = "trades" if request.kind == "trade" else "quotes"
        asked = {**self._range(request.start, end), **self._common(), "symbols": request.symbol}
        for one in self._pages(f"/v2/stocks/{rows}", asked, request.symbol):
            table = ticks_of(
                one.page, request.kind, provider=self.name, received_at=one.received_at
            )
            ticks: dict[Kind, pa.Table] = {request.kind: table}
            yield dataclasses.replace(empty_answer(), ticks=ticks, about=one.about)
        if late is not None:
            yield late

    def search(self, text: str, *, limit: int = 20) -> Sequence[Hit]:
        """Assets whose symbol or name has the text: exact symbols, then prefixes, then words.

        The list of all is asked for once a process.

        Raises:
            TickerlakeError: As `bars`.
        """
        if self._assets is None:
            self._assets = self.listing()
        return ranked(self._assets, text)[:limit]

    def listing(self) -> Sequence[Hit]:
        """All assets, those no longer traded among them, in one request.

        Raises:
            TickerlakeError: As `bars`.
        """
        reply = self._traded("/v2/assets", {"asset_class": "us_equity"})
        found = read_assets(reply.body, status=reply.status)
        return [dataclasses.replace(hit, provider=self.name) for hit in found]

    def close(self) -> None:
        """Give back the connection; the next request opens another."""
        if self._data is not None:
            self._data.close()

    def dialect(self, symbols: Sequence[str], kinds: Sequence[Kind]) -> Dialect:
        """Trades, quotes, minute bars, price bands; `*` stands for all symbols.

        Raises:
            RangeError: Another kind.
            ConfigError: The key is missing.
        """
        require_kinds(kinds, self.limits.live, "Alpaca")
        patience(1.0)  # loads the calendar, which the socket's reader must not wait for
        return self._talk(symbols, kinds, *self.key_and_secret())

    def symbols(self) -> Iterator[str]:
        """None without a search."""
        return iter(())

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
            MalformedError: No answer of Alpaca's, or bars whose length nobody tells.
        """
        payload = plain(payload)
        if is_capture(payload) or has_tag(payload, "T"):
            return parse_capture(
                payload,
                lambda: self._talk((), (), "", ""),
                received_at=received_at,
                batches=False,
            )
        return joined_answers(
            [
                parse_recorded(
                    one,
                    symbol=symbol,
                    interval=interval,
                    received_at=received_at or one.date or clock.now(),
                    provider=provider_of(one.query.get("feed"), default=self.name),
                    delay_seconds=self.limits.delay_seconds,
                )
                for one in recorded(payload)
            ]
        )

    def _talk(
        self, symbols: Sequence[str], kinds: Sequence[Kind], key: str, secret: str
    ) -> AlpacaTalk:
        settings = self._settings
        return AlpacaTalk(
            f"{settings.socket_url.rstrip('/')}/v2/{settings.feed}",
            key,
            secret,
            symbols,
            kinds,
            provider=self.name,
            silence_seconds=settings.silence_seconds,
        )

    def _traded(self, path: str, params: Mapping[str, str]) -> Reply:
        """An answer of the trading host, which knows the assets."""
        settings, headers = self._settings, self._authorization()
        is_paper = (settings.api_key or "").startswith("PK")
        usual = "https://paper-api.alpaca.markets" if is_paper else "https://api.alpaca.markets"
        base = settings.trading_url or usual
        with closing(Session(base, settings, provider="Alpaca", headers=headers)) as session:
            return session.get(path, params)

    def _doubts(self, symbol: str) -> tuple[str, ...]:
        """Raises NotFoundError if there is no such asset; a note where that cannot be asked."""
        if self._settings.trading_url is None and self._settings.base_url != DATA_URL:
            return ()  # a mirror of the data alone
        try:
            reply = self._traded(f"/v2/assets/{quote(symbol, safe='')}", {})
            if reply.status == 404:
                open_page(reply.body, symbol=symbol, status=reply.status)
        except NotFoundError:
            raise
        except TickerlakeError as error:
            return (f"whether Alpaca knows {symbol} could not be asked: {error.problem}",)
        return ()

    def _batch(
        self, symbols: Sequence[str], request: BarsRequest, period: tuple[datetime, datetime]
    ) -> dict[str, Answer | Exception]:
        asked = {
            **self._range(*period),
            **self._common(),
            "symbols": ",".join(symbols),
            "timeframe": TIMEFRAMES[request.interval],
            "adjustment": "raw",
        }
        only = symbols[0] if len(symbols) == 1 else None
        # Events first: bars without the splits that belong to them must not count as known.
        actions, notes = self._actions(symbols, request, period)
        told: list[_Told] = []
        failed: TickerlakeError | None = None
        try:
            told.extend(self._pages("/v2/stocks/bars", asked, only))
        except TickerlakeError as error:
            if not any(one.page.count for one in told):
                raise
            failed = error
        columns, gone = with_prices(joined([one.page for one in told]))
        bars = SCHEMAS["bar"].empty_table()
        if columns:
            bars = us_bars(
                columns,
                provider=self.name,
                interval=request.interval,
                received_at=told[-1].received_at,
                delay_seconds=self.limits.delay_seconds,
            )
            bars = select(bars, request)
        answers: dict[str, Answer | Exception] = {}
        # Pages go on by symbol, then by time: who was followed by another is complete.
        seen = columns["symbol"].unique().to_pylist() if columns else []
        for symbol in symbols:
            own = _of(bars, symbol)
            lost: tuple[str, ...] = ()
            if failed is not None and symbol not in seen:
                answers[symbol] = failed
                continue
            if failed is not None and symbol == seen[-1]:
                part = f"{symbol} {request.interval} after page {len(told)}"
                lost = (f"{part}: {failed.problem} ({failed.todo})",)
            nothing = f"{symbol} {request.interval}: Alpaca answered without bars"
            answers[symbol] = Answer(
                bars=own,
                actions=_of(actions, symbol),
                notes=(*told[-1].notes, *gone, *notes, *(() if own.num_rows else (nothing,))),
                missing=lost,
                about=told[-1].about,
            )
        return answers

    def _actions(
        self, symbols: Sequence[str], request: BarsRequest, period: tuple[datetime, datetime]
    ) -> tuple[pa.Table, tuple[str, ...]]:
        """Corporate actions of days, with notes; none where the plan has none."""
        actions = SCHEMAS["corporate_action"].empty_table()
        if not self._has_actions(request):
            return actions, ()
        zone = ZoneInfo(NEW_YORK)
        asked = {
            "symbols": ",".join(symbols),
            "types": _ACTIONS,
            "start": period[0].astimezone(zone).date().isoformat(),
            "end": period[1].astimezone(zone).date().isoformat(),
            "limit": str(_EVENTS_PER_PAGE),
            "sort": "asc",
        }
        try:
            found = [
                actions_of(one.page.events, provider=self.name, received_at=one.received_at)
                for one in self._pages("/v1/corporate-actions", asked, None)
            ]
        except (ConfigError, NotFoundError, NoSuchAddressError) as error:
            # Not in this plan, or not at this mirror.
            return actions, (f"corporate actions were not given: {error.problem}",)
        notes = tuple(note for _, told in found for note in told)
        return pa.concat_tables([actions, *(table for table, _ in found)]), notes

    def _has_actions(self, request: BarsRequest) -> bool:
        return self._settings.corporate_actions and request.interval == "1d"

    def _period(self, request: BarsRequest) -> tuple[datetime, datetime] | None:
        """First and last instant, both included; None where Alpaca has nothing yet."""
        intraday = request.interval.endswith(("m", "h"))
        start: date | datetime = request.start or _BEGINNING
        end = request.end
        if not intraday:  # days are stamped by New York's midnight, whatever the time of day
            start = start.date() if isinstance(start, datetime) else start
            end = end.date() if isinstance(end, datetime) else end
        first = new_york_midnight(start) if not isinstance(start, datetime) else start
        if end is None:
            until = self._newest()
        elif isinstance(end, datetime):
            until = end - _MICROSECOND
        else:
            until = new_york_midnight(end + timedelta(days=1)) - _MICROSECOND
        until = min(until, self._newest())
        return None if until < first else (first, until)

    def _newest(self) -> datetime:
        return clock.now() - timedelta(seconds=self.limits.delay_seconds)

    def _too_new(self) -> str:
        delay = self.limits.delay_seconds
        return f"the range is too new: Alpaca's newest records are {delay:g} s old on this feed"

    def _range(self, start: datetime, end: datetime) -> dict[str, str]:
        return {"start": _rfc3339(start), "end": _rfc3339(end)}

    def _common(self) -> dict[str, str]:
        rest = {"limit": str(_ROWS_PER_PAGE), "sort": "asc", "feed": self._settings.feed}
        return rest if self._settings.asof is None else {**rest, "asof": self._settings.asof}

    def _pages(self, path: str, params: Mapping[str, str], symbol: str | None) -> Iterator[_Told]:
        paged: dict[str, str] = {}
        seen: set[str] = set()
        while True:
            reply = self._session().get(path, {**params, **paged})
            page = open_page(reply.body, symbol=symbol, status=reply.status)
            if page.count and page.rows not in path:
                raise malformed("Alpaca", "", f"what {path} tells", page.rows)
            about = About(exchange="US", currency="USD", as_of=reply.date, url=reply.url)
            yield _Told(page, *received_of(reply, "Alpaca"), about)
            if (token := next_page("Alpaca", page.token, seen)) is None:
                return
            paged = {"page_token": token}

    def _session(self) -> Session:
        if self._data is None:
            own, headers = self._settings, self._authorization()
            self._data = Session(own.base_url, own, provider="Alpaca", headers=headers)
        return self._data

    def _authorization(self) -> dict[str, str]:
        key, secret = self.key_and_secret()
        if key.startswith("C"):  # a broker's key
            pair = base64.b64encode(f"{key}:{secret}".encode()).decode()
            return {"authorization": f"Basic {pair}"}
        return {"apca-api-key-id": key, "apca-api-secret-key": secret}

    def key_and_secret(self) -> tuple[str, str]:
        """The key.

        Raises:
            ConfigError: There is none.
        """
        key, secret = self._settings.api_key, self._settings.api_secret
        if key and secret:
            return key, secret
        name = "API_SECRET" if key else "API_KEY"
        raise ConfigError(
            "Alpaca needs a key.",
            expected="an id and a secret, which a free account at alpaca.markets gives",
            found=f"no {name.lower()}",
            todo=f"set TICKERLAKE_SOURCES_ALPACA_{name}, or keep it in the system's keyring",
        )


def _of(table: pa.Table, symbol: str) -> pa.Table:
    return table.filter(pc.equal(table["symbol"], symbol))


def _rfc3339(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")

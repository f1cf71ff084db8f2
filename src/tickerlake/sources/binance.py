"""Binance and Binance.US: klines and aggregate trades over REST.

One implementation, two sources: their markets, volumes and limits are not the same. Limits are
those of the vendor's documentation (2026-07) unless a line says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, ClassVar, Final

from tickerlake.errors import NotFoundError
from tickerlake.sources import crypto
from tickerlake.sources import crypto_shape as shape
from tickerlake.sources.base import About, Answer, BarsRequest, Hit, Limits, TicksRequest
from tickerlake.sources.binance_answers import listed, parse_answer, quote_of, refusal
from tickerlake.sources.http import HttpSettings, Reply, Session

__all__ = ["BinanceSettings", "BinanceSource", "BinanceUsSettings", "BinanceUsSource"]

#: Our intervals by theirs, which tell a minute from a month by the letter's case alone. Their 3m,
#: 2h, 6h, 8h, 12h and 3d have no name of ours, and 1s is surely on binance.com only.
_INTERVALS: Final = {
    "1m": "1m", "5m": "5m", "15m": "15m", "30m": "30m", "1h": "1h", "4h": "4h",
    "1d": "1d", "1wk": "1w", "1mo": "1M",
}  # fmt: skip
_ROWS: Final = 1000


@dataclass(frozen=True, slots=True)
class BinanceSettings(HttpSettings):
    """`[sources.binance]`."""

    #: Our pace. The vendor counts weights: 2 a page of bars, 4 of trades, of 6000 a minute.
    requests_per_second: float | None = 10.0
    #: Where the REST API is. `https://data-api.binance.vision` has the same public data, and
    #: answers in places where this one does not.
    base_url: str = "https://api.binance.com"
    #: Where the streams are; `wss://data-stream.binance.vision` has the same public data.
    socket_url: str = "wss://stream.binance.com:9443"


@dataclass(frozen=True, slots=True)
class BinanceUsSettings(BinanceSettings):
    """`[sources.binance_us]`."""

    #: Our pace. The vendor said 1200 weights a minute in 2021; a page of bars weighs 2.
    requests_per_second: float | None = 5.0
    #: Where the REST API is.
    base_url: str = "https://api.binance.us"
    #: Where the streams are.
    socket_url: str = "wss://stream.binance.us:9443"


class BinanceSource:
    """Bars and trades of binance.com's spot market.

    Minutes without trades have bars, too: flat, with volume 0. Not promised: bars for the time of
    an outage of the exchange, or an answer at all in the United States and in many clouds (451).
    """

    name: ClassVar[str] = "binance"
    title: ClassVar[str] = "Binance"
    #: Before it there was nothing to trade.
    first_day: ClassVar[date] = date(2017, 7, 14)
    limits: ClassVar[Limits] = Limits(
        intervals=tuple(_INTERVALS),
        rows_per_page=dict.fromkeys(_INTERVALS, _ROWS),
        requests_per_second=10.0,
        history=("bar", "trade"),
    )
    settings_type: ClassVar[type[BinanceSettings]] = BinanceSettings

    def __init__(self, settings: BinanceSettings | None = None) -> None:
        self._settings = settings or self.settings_type()
        self._session = Session(self._settings.base_url, self._settings, provider=self.title)

    def bars(self, request: BarsRequest) -> Answer:
        """Fetch the range page by page, oldest first; an unlisted time costs no page.

        Raises:
            NotFoundError: No such symbol.
            RangeError: An interval that there is not.
            ConfigError: Refused where we are (451).
            MalformedError, RateLimitedError, UnreachableError: As every source.
        """
        self.limits.require(request.interval, source=self.name)
        span = crypto.Span.of(request, first=self.first_day)
        return crypto.gather(self._pages(span), span.request, provider=self.title)

    def requests(self, request: BarsRequest) -> int:
        """How many requests `bars` would send at most; fewer where the listing is younger.

        Raises:
            RangeError: As `bars`, before it asks.
        """
        self.limits.require(request.interval, source=self.name)
        span = crypto.Span.of(request, first=self.first_day)
        return -(-span.buckets(request.interval) // _ROWS) or int(span.start < span.end)

    def ticks(self, request: TicksRequest) -> Iterator[Answer]:
        """Aggregate trades, by their ids from the first one at or after the start.

        Raises:
            RangeError: Quotes, of which there is no history.
            NotFoundError, ConfigError, MalformedError, RateLimitedError, UnreachableError: As
                `bars`.
        """
        crypto.require_trades(request, self.title)
        # Never with an end beside it: such windows were once limited to an hour (-1127).
        place = {"startTime": str(crypto.milliseconds(request.start))}
        while True:
            asked = {"symbol": request.symbol, "limit": str(_ROWS), **place}
            answer = self._ask("/api/v3/aggTrades", asked, request.symbol)
            page = answer.ticks.get("trade")
            if page is None or not page.num_rows:
                return
            inside = crypto.within(answer, request)
            if inside is not None:
                yield inside
            if page.num_rows < _ROWS or inside is None or crypto.reaches(page, request.end):
                return
            # By id: several trades share a millisecond.
            place = {"fromId": str(int(page["trade_id"][-1].as_py()) + 1)}

    def listing(self) -> Sequence[Hit]:
        """Every symbol of exchangeInfo; those that no longer trade are not `listed`.

        Raises:
            ConfigError, MalformedError, RateLimitedError, UnreachableError: As `bars`.
        """
        reply = self._session.get("/api/v3/exchangeInfo", {})
        return listed(self._document(reply, None), shape.Told(self.name, self.title))

    def search(self, text: str, *, limit: int = 20) -> Sequence[Hit]:
        """Symbols and assets that have the text in them; downloads the listing each time.

        Raises:
            ConfigError, MalformedError, RateLimitedError, UnreachableError: As `bars`.
        """
        return crypto.fits(self.listing(), text, limit)

    def symbols(self) -> Iterator[str]:
        """None without a request: see `listing`."""
        return iter(())

    def close(self) -> None:
        """Give back the connection."""
        self._session.close()

    def parse(
        self,
        payload: bytes,
        *,
        symbol: str | None = None,
        interval: str | None = None,
        received_at: datetime | None = None,
    ) -> Answer:
        """One recorded answer: klines, aggregate or single trades, exchangeInfo, an error.

        Raises:
            NotFoundError, RangeError, ConfigError, RateLimitedError, UnreachableError: What the
                answer says.
            MalformedError: No answer of Binance's, or nobody says whose it is.
        """
        told = shape.Told(self.name, self.title, symbol, interval, received_at)
        return parse_answer(shape.decoded(payload, self.title), told)

    def _pages(self, span: crypto.Span) -> Iterator[Answer]:
        request = span.request
        start = span.start
        while start < span.end:
            asked = {
                "symbol": request.symbol,
                "interval": _INTERVALS[request.interval],
                "startTime": str(start),
                "endTime": str(span.end - 1),  # both ends are included
                "limit": str(_ROWS),
            }
            answer = self._ask("/api/v3/klines", asked, request.symbol, request.interval)
            yield answer
            if answer.bars.num_rows < _ROWS:
                return
            start = crypto.next_start(answer.bars, request.interval, after=start, title=self.title)

    def _ask(
        self, path: str, asked: dict[str, str], symbol: str, interval: str | None = None
    ) -> Answer:
        if not symbol.strip():
            raise NotFoundError(
                "A symbol is missing.", expected="a symbol", found="nothing", todo="name one"
            )
        reply = self._session.get(path, asked)
        received, notes = crypto.received_of(reply, self.title)
        told = shape.Told(self.name, self.title, symbol, interval, received)
        answer = parse_answer(self._document(reply, symbol), told)
        about = About(
            exchange=self.name.upper(),
            instrument_type="crypto",
            currency=quote_of(symbol, self.name),
            as_of=reply.date,
            url=reply.url,
        )
        return crypto.completed(answer, about, notes)

    def _document(self, reply: Reply, symbol: str | None) -> Any:  # noqa: ANN401 - JSON is any
        refused = refusal(reply.status, reply.body, reply.headers, self.title, symbol)
        if refused is not None:
            raise refused
        return shape.decoded(reply.body, self.title)


class BinanceUsSource(BinanceSource):
    """Bars and trades of binance.us: another market, whose volumes are its own."""

    name: ClassVar[str] = "binance_us"
    title: ClassVar[str] = "Binance.US"
    first_day: ClassVar[date] = date(2019, 9, 1)
    limits: ClassVar[Limits] = Limits(
        intervals=tuple(_INTERVALS),
        rows_per_page=dict.fromkeys(_INTERVALS, _ROWS),
        requests_per_second=5.0,
        history=("bar", "trade"),
    )
    settings_type: ClassVar[type[BinanceSettings]] = BinanceUsSettings

"""Binance and Binance.US: klines and aggregate trades over REST.

One implementation, two sources: their markets, volumes and limits are not the same. Limits are
those of the vendor's documentation (2026-07) unless a line says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, ClassVar, Final

from tickerlake.errors import TickerlakeError
from tickerlake.records import Kind
from tickerlake.sources import crypto
from tickerlake.sources.base import Answer, Hit, Limits, TicksRequest
from tickerlake.sources.binance_answers import listed, parse_answer, quote_of, refusal
from tickerlake.sources.binance_talk import BinanceTalk
from tickerlake.sources.crypto_shape import Told, malformed
from tickerlake.sources.crypto_source import CryptoSource
from tickerlake.sources.http import HttpSettings
from tickerlake.sources.live import Dialect, require_kinds
from tickerlake.sources.recordings import Recorded

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
    #: No frame for so long, and the line is dead: a question is asked every 20 s.
    silence_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class BinanceUsSettings(BinanceSettings):
    """`[sources.binance_us]`."""

    #: Our pace. The vendor said 1200 weights a minute in 2021: 2 a page of bars, 4 of trades.
    requests_per_second: float | None = 4.0
    #: Where the REST API is.
    base_url: str = "https://api.binance.us"
    #: Where the streams are.
    socket_url: str = "wss://stream.binance.us:9443"


class BinanceSource(CryptoSource):
    """Bars and trades of binance.com's spot market.

    Minutes without trades have bars, too: flat, with volume 0. Not promised: bars for the time of
    an outage of the exchange, or an answer at all in the United States and in many clouds (451).
    """

    name = "binance"
    title = "Binance"
    first_day = date(2017, 7, 14)
    limits = Limits(
        intervals=tuple(_INTERVALS),
        rows_per_page=dict.fromkeys(_INTERVALS, _ROWS),
        history=("bar", "trade"),
        live=("trade", "quote", "bar"),
    )
    settings_type: ClassVar[type[BinanceSettings]] = BinanceSettings

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
            if page.num_rows < _ROWS or crypto.reaches(page, request.end):
                return
            # By id: several trades share a millisecond.
            following = int(page["trade_id"][-1].as_py()) + 1
            if place.get("fromId") == str(following):
                raise malformed(self.title, "its pages", f"trades after {following - 1}", following)
            place = {"fromId": str(following)}

    def listing(self) -> Sequence[Hit]:
        """Every symbol of exchangeInfo; those that no longer trade are not `listed`.

        Raises:
            ConfigError, MalformedError, RateLimitedError, UnreachableError: As `bars`.
        """
        return listed(self._document("/api/v3/exchangeInfo"), Told(self.name, self.title))

    def dialect(self, symbols: Sequence[str], kinds: Sequence[Kind]) -> Dialect:
        """Aggregate trades, best bid and ask, and bars of 1m while they form.

        Raises:
            RangeError: Another kind, or more than 1024 streams.
        """
        require_kinds(kinds, self.limits.live, self.title)
        return BinanceTalk(
            self.name,
            self.title,
            self._settings.socket_url,
            symbols,
            kinds,
            currency=self._currency,
            silence_seconds=self._settings.silence_seconds,
        )

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
            if crypto.is_last(answer, _ROWS):
                return
            start = crypto.next_start(answer.bars, request.interval, after=start, title=self.title)

    def _count(self, span: crypto.Span) -> int:
        return -(-span.buckets(span.request.interval) // _ROWS) or int(span.start < span.end)

    def _read(self, document: Any, told: Told) -> Answer:  # noqa: ANN401 - JSON is any
        return parse_answer(document, told)

    def _refusal(self, one: Recorded, symbol: str | None) -> TickerlakeError | None:
        return refusal(one.status, one.body, one.headers, self.title, symbol)

    def _is_frame(self, document: Any) -> bool:  # noqa: ANN401 - JSON is any
        keys = document.keys() if isinstance(document, Mapping) else set()
        return "stream" in keys or ("e" in keys and "s" in keys) or {"u", "s", "B", "A"} <= keys

    def _currency(self, symbol: str) -> str | None:
        return quote_of(symbol, self.name)


class BinanceUsSource(BinanceSource):
    """Bars and trades of binance.us: another market, whose volumes are its own."""

    name = "binance_us"
    title = "Binance.US"
    first_day = date(2019, 9, 1)
    settings_type: ClassVar[type[BinanceSettings]] = BinanceUsSettings

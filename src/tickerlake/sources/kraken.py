"""Kraken's spot market: candles and trades over REST.

Limits are those of the vendor's documentation (2026) unless a line says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, ClassVar, Final

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.errors import TickerlakeError
from tickerlake.records import Kind
from tickerlake.sources import crypto
from tickerlake.sources.base import Answer, Hit, Limits, TicksRequest
from tickerlake.sources.crypto_shape import Told
from tickerlake.sources.crypto_source import CryptoSource
from tickerlake.sources.http import HttpSettings
from tickerlake.sources.kraken_answers import (
    document_of,
    listed,
    pair_of,
    parse_answer,
    quote_of,
    refusal,
)
from tickerlake.sources.kraken_talk import KrakenTalk
from tickerlake.sources.live import Dialect, require_kinds
from tickerlake.sources.recordings import Recorded

__all__ = ["KrakenSettings", "KrakenSource"]

#: Their weeks start on Thursday (uncertain) and are left out: ours start on Monday. Their fifteen
#: days have no name of ours.
_MINUTES: Final = {"1m": 1, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "4h": 240, "1d": 1440}
#: The newest ones, whatever is asked for.
_ROWS: Final = 720
_TRADES: Final = 1000


@dataclass(frozen=True, slots=True)
class KrakenSettings(HttpSettings):
    """`[sources.kraken]`."""

    #: Our pace: about one a second and address is what an old support text allows.
    requests_per_second: float | None = 1.0
    #: Where the REST API is.
    base_url: str = "https://api.kraken.com"
    #: Where the socket (v2) is.
    socket_url: str = "wss://ws.kraken.com/v2"
    #: No frame for so long, and the line is dead: a heartbeat comes each second.
    silence_seconds: float = 15.0


class KrakenSource(CryptoSource):
    """Bars and trades of Kraken's spot market: the newest 720 bars of each interval.

    Not promised: bars older than that (build them from trades), or a bar for every minute.
    """

    name = "kraken"
    title = "Kraken"
    first_day = date(2013, 9, 10)
    limits = Limits(
        intervals=tuple(_MINUTES),
        look_back_days={name: _ROWS * minutes / 1440 for name, minutes in _MINUTES.items()},
        history=("bar", "trade"),
        live=("trade", "quote"),
    )
    exact = True
    peace_seconds = 15.0
    settings_type: ClassVar[type[KrakenSettings]] = KrakenSettings

    def ticks(self, request: TicksRequest) -> Iterator[Answer]:
        """Trades, page by page from the start on.

        Raises:
            RangeError: Quotes, of which there is no history.
            NotFoundError, ConfigError, MalformedError, RateLimitedError, UnreachableError: As
                `bars`.
        """
        crypto.require_trades(request, self.title)
        # What is asked for is after `since`, which is excluded.
        since = crypto.milliseconds(request.start) * 1_000_000 - 1
        seen = pa.array([], pa.string())
        while True:
            asked = {"pair": pair_of(request.symbol), "since": str(since), "count": str(_TRADES)}
            answer = crypto.with_trades(self._ask("/0/public/Trades", asked, request.symbol))
            page = answer.ticks["trade"]
            # Times are cut to µs, so a page begins with trades of the end of the one before.
            fresh = page.filter(pc.invert(pc.is_in(page["trade_id"], seen)))
            inside = crypto.within(crypto.with_trades(answer, fresh), request)
            if inside is not None:
                yield inside
            if page.num_rows < _TRADES or not fresh.num_rows or crypto.reaches(page, request.end):
                return
            since, seen = int(page["ts_ns"][-1].as_py()), page["trade_id"]

    def dialect(self, symbols: Sequence[str], kinds: Sequence[Kind]) -> Dialect:
        """Trades, and the ticker as quotes.

        Raises:
            RangeError: Another kind.
        """
        require_kinds(kinds, self.limits.live, self.title)
        settings = self._settings
        return KrakenTalk(
            self.name,
            self.title,
            settings.socket_url,
            symbols,
            kinds,
            silence_seconds=settings.silence_seconds,
        )

    def listing(self) -> Sequence[Hit]:
        """Every pair that is traded, by its name of the socket's second version: BTC/USD.

        Raises:
            ConfigError, MalformedError, RateLimitedError, UnreachableError: As `bars`.
        """
        told = Told(self.name, self.title)
        return listed(document_of(self._document("/0/public/AssetPairs"), told), told)

    def _pages(self, span: crypto.Span) -> Iterator[Answer]:
        request = span.request
        if span.start < span.end:
            step = crypto.INTERVAL_SECONDS[request.interval]
            asked = {
                "pair": pair_of(request.symbol),
                "interval": str(_MINUTES[request.interval]),
                # One page says that it is excluded, another that it is included.
                "since": str(max(0, span.start // 1000 - step - 1)),
            }
            yield self._ask("/0/public/OHLC", asked, request.symbol, request.interval)

    def _count(self, span: crypto.Span) -> int:
        return int(span.start < span.end)

    def _read(self, document: Any, told: Told) -> Answer:  # noqa: ANN401 - JSON is any
        return parse_answer(document, told)

    def _refusal(self, one: Recorded, symbol: str | None) -> TickerlakeError | None:
        return refusal(one.status, one.body, self.title, symbol)

    def _is_frame(self, document: Any) -> bool:  # noqa: ANN401 - JSON is any
        if isinstance(document, list):
            return len(document) >= 4 and isinstance(document[-1], str)
        keys = document.keys() if isinstance(document, Mapping) else set()
        return bool({"channel", "event", "method"} & keys)

    def _currency(self, symbol: str) -> str | None:
        return quote_of(symbol)

    def _symbol_in(self, one: Recorded) -> str | None:
        return one.query.get("pair")

    def _interval_in(self, one: Recorded) -> str | None:
        minutes = one.query.get("interval", "1" if one.path.endswith("/OHLC") else None)
        return next((name for name, n in _MINUTES.items() if str(n) == minutes), None)

"""Coinbase's Exchange API (not Advanced Trade, which is another one): candles and trades.

Limits are those of the vendor's documentation (2026) unless a line says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, ClassVar, Final

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.errors import TickerlakeError
from tickerlake.records import Kind
from tickerlake.sources import crypto
from tickerlake.sources.base import Answer, Hit, Limits, TicksRequest
from tickerlake.sources.coinbase_answers import listed, parse_answer, quote_of, refusal
from tickerlake.sources.coinbase_talk import CoinbaseTalk
from tickerlake.sources.crypto_shape import Told
from tickerlake.sources.crypto_source import CryptoSource
from tickerlake.sources.http import HttpSettings
from tickerlake.sources.live import Dialect, require_kinds
from tickerlake.sources.recordings import Recorded

__all__ = ["CoinbaseSettings", "CoinbaseSource"]

#: There is also a candle of six hours, which has no name of ours, and none of 30m, 4h, 1wk.
_INTERVALS: Final = ("1m", "5m", "15m", "1h", "1d")
#: 300 at most, both ends included: a few less, so that no rounding at the ends makes it 301.
_ROWS: Final = 288
_TRADES: Final = 1000


@dataclass(frozen=True, slots=True)
class CoinbaseSettings(HttpSettings):
    """`[sources.coinbase]`."""

    #: Our pace; the vendor allows ten a second and address.
    requests_per_second: float | None = 8.0
    #: Where the REST API is.
    base_url: str = "https://api.exchange.coinbase.com"
    #: Where the feed is.
    socket_url: str = "wss://ws-feed.exchange.coinbase.com"
    #: No frame for so long, and the line is dead: a heartbeat comes each second.
    silence_seconds: float = 30.0


class CoinbaseSource(CryptoSource):
    """Bars and trades of Coinbase's exchange.

    Not promised: a bar for every minute (those without trades are absent), or that a young bar is
    there at once: some are filled in later.
    """

    name = "coinbase"
    title = "Coinbase"
    first_day = date(2015, 1, 1)
    limits = Limits(
        intervals=_INTERVALS,
        span_days={name: _ROWS * crypto.INTERVAL_SECONDS[name] / 86_400 for name in _INTERVALS},
        history=("bar", "trade"),
        live=("trade", "quote"),
    )
    settings_type: ClassVar[type[CoinbaseSettings]] = CoinbaseSettings

    def ticks(self, request: TicksRequest) -> Iterator[Answer]:
        """Trades, in the order of their ids, which have no holes.

        Coinbase gives the newest first and takes an id, not a time: the first trade of the range
        is found by halving, some twenty small requests where it lies far back.

        Raises:
            RangeError: Quotes, of which there is no history.
            NotFoundError, ConfigError, MalformedError, RateLimitedError, UnreachableError: As
                `bars`.
        """
        crypto.require_trades(request, self.title)
        newest = self._trades(request.symbol, None, _TRADES)
        page = newest.ticks["trade"]
        if not page.num_rows:
            return
        last = int(page["trade_id"][-1].as_py())
        following = self._first_id(request.symbol, request.start, page)
        if following >= int(page["trade_id"][0].as_py()):
            inside = crypto.within(newest, request)
            if inside is not None:
                yield inside
            return
        # As many as it gives: whether the limit that we know still holds is not sure.
        count = min(_TRADES, page.num_rows)
        while following <= last:
            answer = self._trades(request.symbol, following + count, count)
            inside = crypto.within(answer, request)
            if inside is not None:
                yield inside
            following += count
            page = answer.ticks["trade"]
            if page.num_rows and crypto.reaches(page, request.end):
                return

    def dialect(self, symbols: Sequence[str], kinds: Sequence[Kind]) -> Dialect:
        """Matches as trades, the ticker as quotes.

        Raises:
            RangeError: Another kind.
        """
        require_kinds(kinds, self.limits.live, self.title)
        settings = self._settings
        return CoinbaseTalk(
            self.name,
            self.title,
            settings.socket_url,
            symbols,
            kinds,
            silence_seconds=settings.silence_seconds,
        )

    def listing(self) -> Sequence[Hit]:
        """Every product; those whose trading ended are not `listed`.

        Raises:
            ConfigError, MalformedError, RateLimitedError, UnreachableError: As `bars`.
        """
        return listed(self._document("/products"), Told(self.name, self.title))

    def _first_id(self, symbol: str, start: datetime, newest: pa.Table) -> int:
        """The id of the first trade at or after the start."""
        inside = newest.filter(pc.greater_equal(newest["ts"], pa.scalar(start)))
        if inside.num_rows < newest.num_rows:
            whole = inside["trade_id"] if inside.num_rows else newest["trade_id"][-1:]
            return int(whole[0].as_py()) + int(not inside.num_rows)
        before, after = 0, int(newest["trade_id"][0].as_py())
        while after - before > 1:  # `before` lies before the start, `after` does not
            middle = (before + after) // 2
            probe = self._trades(symbol, middle + 1, 1).ticks["trade"]
            if probe.num_rows and probe["ts"][0].as_py() >= start:
                after = int(probe["trade_id"][0].as_py())
            else:
                before = middle
        return after

    def _trades(self, symbol: str, before_id: int | None, count: int) -> Answer:
        """Trades with ids below one, the newest ones, in order of their ids."""
        asked = {"limit": str(count)}
        if before_id is not None:
            asked["after"] = str(before_id)  # their `after` leads to older ones
        answer = self._ask(f"/products/{symbol}/trades", asked, symbol)
        return crypto.with_trades(answer)

    def _pages(self, span: crypto.Span) -> Iterator[Answer]:
        request = span.request
        for first, last in span.windows(_ROWS):
            asked = {
                "granularity": str(crypto.INTERVAL_SECONDS[request.interval]),
                "start": str(first // 1000),
                "end": str(last // 1000),
            }
            path = f"/products/{request.symbol}/candles"
            yield self._ask(path, asked, request.symbol, request.interval)

    def _count(self, span: crypto.Span) -> int:
        return sum(1 for _ in span.windows(_ROWS))

    def _read(self, document: Any, told: Told) -> Answer:  # noqa: ANN401 - JSON is any
        return parse_answer(document, told)

    def _refusal(self, one: Recorded, symbol: str | None) -> TickerlakeError | None:
        return refusal(one.status, one.body, self.title, symbol)

    def _is_frame(self, document: Any) -> bool:  # noqa: ANN401 - JSON is any
        return isinstance(document, Mapping) and isinstance(document.get("type"), str)

    def _currency(self, symbol: str) -> str | None:
        return quote_of(symbol)

    def _symbol_in(self, one: Recorded) -> str | None:
        parts = one.path.split("/")
        return parts[2] if len(parts) > 3 and parts[1] == "products" else None

    def _interval_in(self, one: Recorded) -> str | None:
        seconds = one.query.get("granularity")
        named = crypto.INTERVAL_SECONDS.items()
        return next((name for name, length in named if str(length) == seconds), None)

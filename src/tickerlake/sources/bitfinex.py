"""Bitfinex's exchange: candles and trades over REST.

Limits are those of the vendor's documentation (2026) unless a line says otherwise.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, ClassVar, Final

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.errors import NotFoundError, TickerlakeError
from tickerlake.records import Kind
from tickerlake.sources import crypto
from tickerlake.sources.base import Answer, Hit, Limits, TicksRequest
from tickerlake.sources.bitfinex_answers import listed, parse_answer, quote_of, refusal
from tickerlake.sources.bitfinex_talk import BitfinexTalk
from tickerlake.sources.crypto_shape import Told
from tickerlake.sources.crypto_source import CryptoSource
from tickerlake.sources.http import HttpSettings, Reply
from tickerlake.sources.live import Dialect, require_kinds
from tickerlake.sources.recordings import Recorded

__all__ = ["BitfinexSettings", "BitfinexSource"]

#: Their 3h, 6h, 12h and 14D have no name of ours, and they have no 4h.
_FRAMES: Final = {
    "1m": "1m", "5m": "5m", "15m": "15m", "30m": "30m", "1h": "1h",
    "1d": "1D", "1wk": "1W", "1mo": "1M",
}  # fmt: skip
#: Up to 10,000 by newer clients; above what it takes it says "limit: invalid" (uncertain).
_ROWS: Final = 1000


@dataclass(frozen=True, slots=True)
class BitfinexSettings(HttpSettings):
    """`[sources.bitfinex]`."""

    #: Our pace: 25 a minute. The vendor's page on candles says 30, a copy of it 90.
    requests_per_second: float | None = 25 / 60
    #: Where the REST API is.
    base_url: str = "https://api-pub.bitfinex.com"
    #: Where the socket is.
    socket_url: str = "wss://api-pub.bitfinex.com/ws/2"
    #: No frame for so long, and the line is dead: a heartbeat comes every 15 s.
    silence_seconds: float = 40.0


class BitfinexSource(CryptoSource):
    """Bars and trades of Bitfinex's exchange; its funding market is left out.

    Not promised: a bar for every minute (those without trades are absent).
    """

    name = "bitfinex"
    title = "Bitfinex"
    first_day = date(2013, 3, 31)
    limits = Limits(
        intervals=tuple(_FRAMES),
        rows_per_page=dict.fromkeys(_FRAMES, _ROWS),
        history=("bar", "trade"),
        live=("trade", "quote"),
    )
    settings_type: ClassVar[type[BitfinexSettings]] = BitfinexSettings

    def ticks(self, request: TicksRequest) -> Iterator[Answer]:
        """Trades, page by page from the start on.

        Raises:
            RangeError: Quotes, of which there is no history.
            NotFoundError, ConfigError, MalformedError, RateLimitedError, UnreachableError: As
                `bars`.
        """
        crypto.require_trades(request, self.title)
        start, end = crypto.milliseconds(request.start), crypto.milliseconds(request.end, up=True)
        seen = pa.array([], pa.string())
        while start < end:
            asked = {
                "start": str(start), "end": str(end - 1), "limit": str(_ROWS), "sort": "1",
            }  # fmt: skip
            path = f"/v2/trades/{_pair(request.symbol)}/hist"
            answer = crypto.with_trades(self._ask(path, asked, request.symbol))
            page = answer.ticks["trade"]
            # Pages meet inside a millisecond: the next one begins with trades of this one.
            fresh = page.filter(pc.invert(pc.is_in(page["trade_id"], seen)))
            inside = crypto.within(crypto.with_trades(answer, fresh), request)
            if inside is not None:
                yield inside
            if page.num_rows < _ROWS:
                return
            last = int(page["ts_ns"][-1].as_py()) // 1_000_000
            start, seen = max(last, start + int(last == start)), page["trade_id"]

    def dialect(self, symbols: Sequence[str], kinds: Sequence[Kind]) -> Dialect:
        """Trades, and the ticker as quotes.

        Raises:
            RangeError: Another kind, or more than 25 channels.
        """
        require_kinds(kinds, self.limits.live, self.title)
        settings = self._settings
        return BitfinexTalk(
            self.name,
            self.title,
            settings.socket_url,
            symbols,
            kinds,
            silence_seconds=settings.silence_seconds,
        )

    def listing(self) -> Sequence[Hit]:
        """Every pair that is traded.

        Raises:
            ConfigError, MalformedError, RateLimitedError, UnreachableError: As `bars`.
        """
        document = self._document("/v2/conf/pub:list:pair:exchange")
        return listed(document, Told(self.name, self.title))

    def _pages(self, span: crypto.Span) -> Iterator[Answer]:
        request = span.request
        start = span.start
        path = f"/v2/candles/trade:{_FRAMES[request.interval]}:{_pair(request.symbol)}/hist"
        while start < span.end:
            asked = {
                "start": str(start),
                "end": str(span.end - 1),  # both ends are included
                "limit": str(_ROWS),
                "sort": "1",  # the oldest first
            }
            answer = self._ask(path, asked, request.symbol, request.interval)
            yield answer
            if crypto.is_last(answer, _ROWS):
                return
            start = crypto.next_start(answer.bars, request.interval, after=start, title=self.title)

    def _count(self, span: crypto.Span) -> int:
        return -(-span.buckets(span.request.interval) // _ROWS) or int(span.start < span.end)

    def _read(self, document: Any, told: Told) -> Answer:  # noqa: ANN401 - JSON is any
        return parse_answer(document, told)

    def _refusal(self, one: Recorded, symbol: str | None) -> TickerlakeError | None:
        return refusal(one.status, one.body, self.title, symbol)

    def _is_frame(self, document: Any) -> bool:  # noqa: ANN401 - JSON is any
        if isinstance(document, list):
            is_frame = len(document) > 1 and type(document[0]) is int
            return is_frame and isinstance(document[1], list | str)
        return isinstance(document, Mapping) and "event" in document

    def _currency(self, symbol: str) -> str | None:
        return quote_of(symbol)

    def _is_final(self, reply: Reply) -> bool:
        """Bad parameters and unknown symbols come with HTTP 500, too, and say so in the body."""
        return reply.status == 500 and reply.body.replace(b" ", b"").startswith(b'["error",10020')

    def _symbol_in(self, one: Recorded) -> str | None:
        parts = urllib.parse.unquote(one.path).replace(":hist", "/hist").split("/")
        if "trades" in parts:
            return parts[parts.index("trades") + 1]
        key = next((part for part in parts if part.startswith("trade:")), "")
        return key.split(":", 2)[2] if key.count(":") >= 2 else None

    def _interval_in(self, one: Recorded) -> str | None:
        parts = urllib.parse.unquote(one.path).split("/")
        key = next((part for part in parts if part.startswith("trade:")), "")
        frame = key.split(":")[1] if key else None
        # Weeks were 7D in older notes.
        frame = "1W" if frame == "7D" else frame
        return next((name for name, theirs in _FRAMES.items() if theirs == frame), None)


def _pair(symbol: str) -> str:
    if not symbol.startswith("t"):
        raise NotFoundError(
            f"Bitfinex does not know {symbol}.",
            expected="t and a pair in upper case, such as tBTCUSD or tAVAX:USD",
            found=symbol,
            todo="write the t; `tickerlake search` finds symbols",
        )
    return symbol

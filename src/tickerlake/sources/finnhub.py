"""Finnhub: live trades over its socket, and a search; no history on a free key.

Candles are a paid endpoint (403 "You don't have access to this resource." for free keys, seen in
issues of 2024 and 2025), so this source has none: after a hole on the socket a gap record says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar, Final

import msgspec

from tickerlake.errors import (
    ConfigError,
    MalformedError,
    RangeError,
    RateLimitedError,
)
from tickerlake.records import Kind
from tickerlake.sources.base import Answer, BarsRequest, Hit, Limits, empty_answer
from tickerlake.sources.captures import is_capture, parse_capture
from tickerlake.sources.finnhub_talk import KEY_TODO, PROVIDER, FinnhubTalk
from tickerlake.sources.http import HttpSettings, Session, paced
from tickerlake.sources.live import Dialect, require_kinds
from tickerlake.sources.recordings import Recorded, plain, recorded
from tickerlake.sources.refusals import Rule, page_words, refusal

__all__ = ["FinnhubSettings", "FinnhubSource"]

#: Their words for types (swagger of 2026-08), ours beside them.
_TYPES: Final[Mapping[str, str]] = {
    "Common Stock": "equity",
    "ADR": "equity",
    "GDR": "equity",
    "REIT": "equity",
    "Preference": "equity",
    "ETP": "etf",
    "Open-End Fund": "fund",
    "Closed-End Fund": "fund",
    "Mutual Fund": "fund",
    "Crypto": "crypto",
    "Forex": "currency",
    "Index": "index",
}


@dataclass(frozen=True, slots=True)
class FinnhubSettings(HttpSettings):
    """`[sources.finnhub]`."""

    #: Our pace over HTTP: a free key has 60 a minute (the vendor, 2020); every plan 30 a second.
    requests_per_second: float | None = 1.0
    #: Where the API is; the vendor's own paths, `/api/v1/…`, are appended unchanged.
    base_url: str = "https://finnhub.io"
    #: Where the socket is.
    socket_url: str = "wss://ws.finnhub.io"
    #: The key of your account; better in the environment or the keyring.
    api_key: str | None = None
    #: Search on this exchange only, such as US; none searches all.
    exchange: str | None = None
    #: No frame for so long, and the line is dead: pings come about once a minute.
    silence_seconds: float = 150.0


class FinnhubSource:
    """Trades as they happen: raw prints, and of US stocks not the full tape.

    Not promised: that a trade is told once (no trade has an id; Finnhub sent each three times for
    a day in 2020), or that what was missed can be had later.
    """

    name = PROVIDER
    limits = Limits(
        intervals=(),
        needs_key=True,
        history=(),
        live=("trade",),
        identifiers=("isin", "cusip"),
    )
    settings_type: ClassVar[type[FinnhubSettings]] = FinnhubSettings

    def __init__(self, settings: FinnhubSettings | None = None) -> None:
        self._settings = settings or FinnhubSettings()
        self.limits = paced(type(self).limits, self._settings)

    def bars(self, request: BarsRequest) -> Answer:
        """None.

        Raises:
            RangeError: Always.
        """
        raise RangeError(
            "Finnhub has no history of prices here.",
            expected="its live trades, or another source for bars",
            found=f"a request for {request.symbol} {request.interval}",
            todo=f"tickerlake publish {request.symbol} --source finnhub --live",
        )

    def requests(self, request: BarsRequest) -> int:
        """As `bars`.

        Raises:
            RangeError: Always.
        """
        return self.bars(request).bars.num_rows

    def symbols(self) -> Iterator[str]:
        """None: Finnhub can be searched."""
        return iter(())

    def search(self, text: str, *, limit: int = 20) -> Sequence[Hit]:
        """By symbol, name, ISIN or CUSIP, in Finnhub's order.

        Raises:
            ConfigError: The key is missing, or refused.
            RateLimitedError, UnreachableError, MalformedError: As `Source.bars`.
        """
        asked = {"q": text}
        if self._settings.exchange is not None:
            asked["exchange"] = self._settings.exchange
        headers = {"X-Finnhub-Token": self._key()}
        settings = self._settings
        session = Session(settings.base_url, settings, provider="Finnhub", headers=headers)
        with closing(session):
            reply = session.get("/api/v1/search", asked)
        return _hits(_document(Recorded(reply.body, reply.status)))[:limit]

    def dialect(self, symbols: Sequence[str], kinds: Sequence[Kind]) -> Dialect:
        """Trades of these symbols, as Finnhub writes them: AAPL, BINANCE:BTCUSDT, OANDA:EUR_USD.

        Raises:
            RangeError: Another kind than trades.
            ConfigError: The key is missing.
        """
        require_kinds(kinds, self.limits.live, "Finnhub")
        return self._talk(symbols, self._key())

    def parse(
        self,
        payload: bytes,
        *,
        symbol: str | None = None,
        interval: str | None = None,
        received_at: datetime | None = None,
    ) -> Answer:
        """A recorded socket, frames, or an answer over HTTP (a note: none holds records).

        Raises:
            ConfigError, RateLimitedError, UnreachableError: What a recorded answer itself says.
            MalformedError: Nothing of Finnhub's.
        """
        del interval  # trades have none
        payload = plain(payload)
        if not is_capture(payload) and not _are_frames(payload):
            notes = tuple(_note_of(_document(told)) for told in recorded(payload))
            return replace(empty_answer(), notes=notes)
        return parse_capture(
            payload, lambda: self._talk([symbol] if symbol else [], ""), received_at=received_at
        )

    def _talk(self, symbols: Sequence[str], key: str) -> FinnhubTalk:
        return FinnhubTalk(
            self._settings.socket_url,
            key,
            symbols,
            silence_seconds=self._settings.silence_seconds,
        )

    def _key(self) -> str:
        if not self._settings.api_key:
            raise ConfigError("Finnhub needs a key.", expected="a key", found="none", todo=KEY_TODO)
        return self._settings.api_key


_RULES: Final = (
    Rule(RateLimitedError, "Finnhub asks us to come back later.", "wait a minute, then try again",
         statuses=(429,), words=("limit reached", "too many requests")),
    Rule(ConfigError, "Finnhub's plan does not include this.",
         "ask for something else, or take a plan that includes it",
         words=("access to this resource",)),
    Rule(ConfigError, "Finnhub refuses the key.", KEY_TODO,
         statuses=(401, 403), words=("invalid api key", "use an api key", "token")),
)  # fmt: skip
#: Answers that hold none of our records, by keys of theirs.
_OTHERS: Final = (
    ({"result"}, "search results"), ({"c", "pc"}, "the newest quote of a symbol"),
    ({"s", "t", "c"}, "candles, which only paid keys get"), ({"s"}, "no candles"),
    ({"symbol", "mic"}, "a list of symbols"), ({"ticker", "name"}, "what a symbol is"),
    ({"headline"}, "news"),
)  # fmt: skip


def _document(told: Recorded) -> Any:  # noqa: ANN401 - JSON is any
    """The JSON of an answer; its errors, which come with 200 too, are raised."""
    try:
        found = msgspec.json.decode(told.body)
    except (ValueError, RecursionError):
        found = None
    said = found.get("error") if isinstance(found, dict) else None
    text = said if isinstance(said, str) else page_words(told.body) if found is None else ""
    error = refusal(
        _RULES,
        provider="Finnhub",
        status=told.status,
        text=text,
        symbol=None,
        expected="an answer",
    )
    if error is not None:
        raise error
    if not isinstance(found, dict | list) or said is not None:
        raise _malformed(told.body, told.status)
    return found


def _note_of(document: Any) -> str:  # noqa: ANN401 - JSON is any
    """What a recorded answer was: none of Finnhub's holds records of ours."""
    first = document[0] if isinstance(document, list) and document else document
    keys = set(first) if isinstance(first, dict) else set()
    what = next((said for marks, said in _OTHERS if marks <= keys), None)
    if what is None and document != []:
        raise _malformed(msgspec.json.encode(document))
    if "result" in keys:
        what = f"an answer of Finnhub's search: {len(_hits(document)):,} symbols"
    return f"{what or 'an empty list'}, no records"


def _are_frames(payload: bytes) -> bool:
    """A single frame of the socket, or an array of them."""
    try:
        document = msgspec.json.decode(payload)
    except (ValueError, RecursionError):
        return False
    rows = document if isinstance(document, list) else [document]
    return bool(rows) and all(
        isinstance(row, dict) and row.get("type") in ("trade", "ping", "error") for row in rows
    )


def _hits(found: Any) -> list[Hit]:  # noqa: ANN401 - JSON is any
    rows = found.get("result") if isinstance(found, dict) else None
    if not isinstance(rows, list):
        raise _malformed(msgspec.json.encode(found))
    return [_hit(row) for row in rows if isinstance(row, dict) and _word(row, "symbol")]


def _hit(row: dict[str, Any]) -> Hit:
    symbol = _word(row, "symbol") or ""
    type_ = _word(row, "type")
    return Hit(
        symbol=_word(row, "displaySymbol") or symbol,
        name=_word(row, "description"),
        type=_TYPES.get(type_, type_.lower()) if type_ else None,
        exchange=None,
        currency=None,
        provider=PROVIDER,
        provider_symbol=symbol,
    )


def _word(row: dict[str, Any], key: str) -> str | None:
    value = row.get(key)
    return value if isinstance(value, str) and value else None


def _malformed(payload: bytes, status: int = 200) -> MalformedError:
    return MalformedError(
        "This is no answer of Finnhub's that we know.",
        expected="a frame of its socket, or an answer of its search",
        found=f"HTTP {status}, {payload[:80].decode(errors='replace')!r}",
        todo="check base_url; tickerlake sources parse finnhub FILE reads recordings",
    )

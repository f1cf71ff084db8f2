"""Stooq: decades of days as CSV, adjusted for splits and dividends.

What is known of it stands, with how sure it is, in docs/sources/stooq.md. Since 2026 calls without
a key get a page that wants a browser to prove its work, with HTTP 200: that is said, not solved.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import ClassVar, Final
from urllib.parse import urlencode

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake import clock
from tickerlake.calendars import calendar_for
from tickerlake.errors import (
    ConfigError,
    NotFoundError,
    RangeError,
    RateLimitedError,
    TickerlakeError,
)
from tickerlake.sources.answers import joined, received_of, require_symbol
from tickerlake.sources.base import About, Answer, BarsRequest, Limits, empty_answer
from tickerlake.sources.columns import csv_rows, days_of, floats, malformed
from tickerlake.sources.http import HttpSettings, Session, paced
from tickerlake.sources.listed import (
    Series,
    end_of,
    gathered,
    left_out,
    moments,
    symbol_of,
    zone_of,
)
from tickerlake.sources.recordings import Recorded, recorded
from tickerlake.sources.refusals import LIMIT_SECONDS, Rule, refusal

__all__ = ["StooqSettings", "StooqSource"]

_NAME: Final = "Stooq"
_KEYS_AT: Final = "https://stooq.com/q/d/?s=spy.us&get_apikey"
#: In the order in which they stand; stooq.pl speaks Polish.
_COLUMNS: Final = (
    ("date", "data"),
    ("open", "otwarcie"),
    ("high", "najwyzszy"),
    ("low", "najnizszy"),
    ("close", "zamkniecie"),
    ("volume", "wolumen"),
)
_REQUIRED: Final = {name for name, _ in _COLUMNS[:5]}
_NAMES: Final = {name: names[0] for names in _COLUMNS for name in names}
_PLAIN: Final = str.maketrans("żźśęąłóćń", "zzsealocn")
_ROW: Final = re.compile(rb"^(?:\d{4}-\d{2}-\d{2}|\d{8})[,;]", re.MULTILINE)
_HEADER: Final = re.compile(rb"^(?:Date|Data)[,;].*$", re.MULTILINE | re.IGNORECASE)
#: The exchange of a symbol's suffix, by a code that our calendars know.
_EXCHANGES: Final = {
    "us": "US", "uk": "LON", "de": "XETRA", "jp": "TSE", "hk": "HKG", "hu": "BUD", "v": "CRYPTO",
}  # fmt: skip
_TYPES: Final = {"v": "crypto", "f": "future"}
_PAGES: Final = (b"<html", b"<!doctype", b"<head", b"<script")

_RULES: Final = (
    Rule(RateLimitedError, "Stooq's limit of hits a day is reached.",
         "try again tomorrow; the limit is not published, and low",
         words=("exceeded the daily hits limit", "przekroczony dzienny limit"), statuses=(429,)),
    Rule(ConfigError, "Stooq wants a key, or a browser that proves its work.",
         f"get a key at {_KEYS_AT} (it asks for a CAPTCHA), and export"
         " TICKERLAKE_SOURCES_STOOQ_API_KEY=…",
         words=("__verify", "proof-of-work", "proof of work", "sha-256", "crypto.subtle",
                "get_apikey", "captcha", "apikey", "enable javascript", "requires javascript"),
         statuses=(401, 403)),
    Rule(NotFoundError, "Stooq does not know {name}.", "check the spelling", statuses=(404,)),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StooqSettings(HttpSettings):
    """`[sources.stooq]`."""

    #: Our pace. Stooq publishes none; its limit of hits a day is low.
    requests_per_second: float | None = 0.5
    #: Where it is; the vendor's own path, `/q/d/l/`, is appended unchanged. stooq.pl works as well.
    base_url: str = "https://stooq.com"
    #: The key, which calls without a browser need since 2026; better in the environment or keyring.
    api_key: str | None = None


class StooqSource:
    """Days of stocks, indices, currencies and futures of many exchanges, adjusted for all events.

    Not promised: that an answer agrees with an older one (each dividend changes all prices before
    it), or that the newest day is there before the evening.
    """

    name = "stooq"
    limits = Limits(
        intervals=("1d",),
        needs_key=True,
        price_basis="all",
        # Ours: a whole day appears hours after its session (uncertain).
        delay_seconds=6 * 3600.0,
    )
    settings_type: ClassVar[type[StooqSettings]] = StooqSettings

    def __init__(self, settings: StooqSettings | None = None) -> None:
        self._settings = settings or StooqSettings()
        self.limits = paced(type(self).limits, self._settings)

    def bars(self, request: BarsRequest) -> Answer:
        """One request. Without a key it is tried all the same: mirrors need none.

        Raises:
            NotFoundError: Stooq has no data of the symbol at all.
            RangeError: Another interval than 1d; or no data in the range, or of the symbol:
                Stooq says the same of both.
            ConfigError: Stooq wants a key, or a browser.
            MalformedError, RateLimitedError, UnreachableError: As `Source.bars`.
        """
        self.limits.require(request.interval, source=self.name)
        require_symbol(request.symbol)
        with closing(Session(self._settings.base_url, self._settings, provider=_NAME)) as session:
            asks = self._asks(request)
            return gathered((self._fetch(session, request, ask) for ask in asks), request)

    def requests(self, request: BarsRequest) -> int:
        """How many requests `bars` would send now: one, or none for a range of the future.

        Raises:
            RangeError: As `bars`, before it asks.
        """
        self.limits.require(request.interval, source=self.name)
        return len(self._asks(request))

    def symbols(self) -> Iterator[str]:
        """None: Stooq's are not listed."""
        return iter(())

    def parse(
        self,
        payload: bytes,
        *,
        symbol: str | None = None,
        interval: str | None = None,
        received_at: datetime | None = None,
    ) -> Answer:
        """A recorded answer.

        Raises:
            NotFoundError, RateLimitedError, ConfigError, UnreachableError: What it says.
            MalformedError: No days of Stooq's.
        """
        self.limits.require(interval or "1d", source=self.name)
        return joined([_parsed(told, symbol, received_at) for told in recorded(payload)])

    def _asks(self, request: BarsRequest) -> list[dict[str, str]]:
        today = clock.now().date()
        first = None if request.start is None else _day(request.start)
        last = today if request.end is None else min(today, _day(request.end))
        if first is not None and first > last:
            return []
        ask = {"s": request.symbol.strip().lower(), "i": "d"}
        if first is not None or request.end is not None:
            begin = first or date(1789, 5, 1)  # before the oldest day of any index there
            ask |= {"d1": f"{begin:%Y%m%d}", "d2": f"{last:%Y%m%d}"}
        return [ask]

    def _fetch(self, session: Session, request: BarsRequest, ask: Mapping[str, str]) -> Answer:
        key = self._settings.api_key
        reply = session.get("/q/d/l/", {**ask, **({"apikey": key} if key else {})})
        received, notes = received_of(reply, _NAME)
        told = Recorded(reply.body, reply.status, reply.headers, "")
        if "d1" in ask and _has_nothing(told.body):
            raise RangeError(
                f"Stooq has no days of {request.symbol} in this range, or does not know it.",
                expected="a symbol such as aapl.us, and days on which it traded",
                found=_text(told.body),
                todo="check the spelling, or ask without --start: then Stooq tells which it is",
            )
        try:
            answer = _parsed(told, request.symbol, received)
        except RateLimitedError as error:
            session.leave_alone(error.found or "", LIMIT_SECONDS)
            raise
        about = dataclasses.replace(
            answer.about,
            as_of=reply.date or received,
            # Without the key, which is one of the parameters.
            url=f"{self._settings.base_url.rstrip('/')}/q/d/l/?{urlencode(ask)}",
        )
        return dataclasses.replace(answer, notes=notes + answer.notes, about=about)


def _parsed(told: Recorded, symbol: str | None, received_at: datetime | None) -> Answer:
    query = told.query
    name = symbol or query.get("s")
    error = _refused(told, name)
    if error is not None:
        raise error
    if query.get("i", "d") != "d":
        raise malformed(_NAME, "its request", "days, i=d", query["i"])
    name = symbol_of(name, _NAME)
    columns = _columns(told.body)
    days = days_of(columns.pop("date"), _NAME)
    if not len(days):
        return dataclasses.replace(empty_answer(), notes=(f"{name}: Stooq answered without bars",))
    exchange, kind = _market(name)
    zone = zone_of(exchange)
    received, as_of = moments(received_at, told.date, end_of(pc.max(days).as_py(), zone))
    series = Series(
        provider="stooq",
        symbol=name,
        interval="1d",
        zone=zone,
        calendar=calendar_for(exchange),
        basis="all",
        received_at=received,
        as_of=as_of,
        instrument_type=kind,
    )
    about = About(exchange=exchange, instrument_type=kind, as_of=told.date)
    bars = series.days(days, columns)
    notes = left_out(bars, len(days), series)
    return Answer(bars=bars, actions=empty_answer().actions, notes=notes, about=about)


def _refused(told: Recorded, symbol: str | None) -> TickerlakeError | None:
    """What an answer without rows says: status, then shape, then words."""
    text = _text(told.body)
    is_page = any(mark in told.body[:2000].lower() for mark in _PAGES)
    if told.status == 200 and not is_page and _ROW.search(told.body):
        return None
    if told.status == 200 and _has_nothing(told.body):
        return NotFoundError(
            f"Stooq has no data of {symbol or 'this symbol'}.",
            expected="days",
            found=text,
            todo="check the spelling: aapl.us, vod.uk, ^spx, eurusd; Polish shares have no suffix",
        )
    words = told.body[:20_000].decode(errors="replace")
    error = refusal(
        _RULES,
        provider=_NAME,
        status=told.status,
        text=words,
        symbol=symbol,
        expected="days as CSV",
    )
    if error is None and (is_page or not _HEADER.search(told.body)):
        return malformed(_NAME, "", "days as CSV", text)
    return error


def _has_nothing(body: bytes) -> bool:
    """Also said of a range without days."""
    return _text(body).lower().rstrip(".") in ("no data", "brak danych")


def _text(body: bytes) -> str:
    return body[:200].decode(errors="replace").strip()


def _columns(body: bytes) -> dict[str, pa.Array | pa.ChunkedArray]:
    """By their names in either language, else by place; warnings before the header are skipped."""
    header, row = _HEADER.search(body), _ROW.search(body)
    start = row.start() if row is not None else 0
    if header is not None and (row is None or header.start() < start):
        start = header.start()
    rest = body[start:].replace(b";", b",")
    names = rest.partition(b"\n")[0].decode(errors="replace").rstrip("\r").split(",")
    if {"time", "czas"} & set(map(_plain, names)):
        raise malformed(_NAME, "its header", "days: this source reads no times of the day", names)
    told = [_NAMES.get(_plain(name), "") for name in names]
    if not set(told) >= _REQUIRED:
        told = [name for name, _ in _COLUMNS][: len(names)]
    below = rest.partition(b"\n")[2] if _HEADER.match(rest) else rest
    if not set(told) >= _REQUIRED:
        raise malformed(_NAME, "its header", "date, open, high, low, close", names)
    # Names of ours for every column, also for those that we do not read.
    ours = [name or f"column {at}" for at, name in enumerate(told)]
    ours += [f"column {at}" for at in range(len(ours), len(names))]
    rows = csv_rows(",".join(ours).encode() + b"\n" + below, _NAME)
    found = {"date": rows["date"]}
    for name, _ in _COLUMNS[1:]:
        if name in told:  # indices and currencies have no volume
            found[name] = floats(rows[name], _NAME, name)
    return found


def _plain(name: str) -> str:
    """In lower case, with the Polish letters that a header may have written as plain ones."""
    return name.strip().lower().translate(_PLAIN)


def _market(symbol: str) -> tuple[str | None, str | None]:
    """Exchange and type by the form of a symbol: aapl.us, ^spx, eurusd, btc.v, cl.f, pkn."""
    _, dot, suffix = symbol.lower().rpartition(".")
    if symbol.startswith("^"):
        return None, "index"
    if dot:
        return _EXCHANGES.get(suffix), _TYPES.get(suffix)
    if re.fullmatch(r"[a-z]{6}", suffix):
        return "FX", "currency"
    return "WSE", None


def _day(value: date | datetime) -> date:
    return value.astimezone(UTC).date() if isinstance(value, datetime) else value

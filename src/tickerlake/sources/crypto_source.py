"""What the sources of crypto exchanges do alike: each provider says how it is asked and read."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, ClassVar, Final

from tickerlake import clock
from tickerlake.errors import RangeError, RateLimitedError, TickerlakeError
from tickerlake.records import Kind
from tickerlake.sources import crypto
from tickerlake.sources import crypto_talk as talk
from tickerlake.sources.answers import joined, received_of, require_symbol
from tickerlake.sources.base import About, Answer, BarsRequest, Hit, Limits
from tickerlake.sources.captures import is_capture, parse_capture
from tickerlake.sources.crypto_shape import Told, decoded
from tickerlake.sources.http import HttpSettings, Reply, Session, paced
from tickerlake.sources.live import Dialect
from tickerlake.sources.recordings import Recorded, plain, recorded

__all__ = ["CryptoSource"]

#: Larger documents are no frames.
_FRAME_BYTES_MAX: Final = 1_000_000


class CryptoSource(ABC):
    """A source of one exchange. What a subclass has to say stands below as abstract."""

    name: ClassVar[str]
    #: What people call it.
    title: ClassVar[str]
    #: Before it there was nothing to trade.
    first_day: ClassVar[date]
    limits: Limits
    #: Whether it tells times as decimals, of which no digit may be lost.
    exact: ClassVar[bool] = False
    #: How long the exchange is left alone once it has said that it is too much.
    peace_seconds: ClassVar[float] = 60.0
    settings_type: ClassVar[type[Any]]

    def __init__(self, settings: Any | None = None) -> None:  # noqa: ANN401 - of `settings_type`
        self._settings = settings or self.settings_type()
        base_url: str = self._settings.base_url
        http: HttpSettings = self._settings
        self.limits = paced(type(self).limits, http)
        self._session = Session(base_url, http, provider=self.title, is_final=self._is_final)

    def bars(self, request: BarsRequest) -> Answer:
        """Fetch the range, oldest first; what follows a page that failed is listed in `missing`.

        Raises:
            NotFoundError: No such symbol.
            RangeError: An interval that there is not, or a range wholly out of reach.
            ConfigError: Refused where we are.
            MalformedError, RateLimitedError, UnreachableError: As every source.
        """
        span = self._span(request)
        cut = self._cut(span)
        answer = crypto.gather(self._pages(span), span.request, provider=self.title)
        return dataclasses.replace(answer, missing=cut + answer.missing)

    def requests(self, request: BarsRequest) -> int:
        """How many requests `bars` would send now, at most.

        Raises:
            RangeError: As `bars`, before it asks.
        """
        span = self._span(request)
        self._cut(span)
        return self._count(span)

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
        """One recorded answer of any kind, bare or with its request around it, or a socket's talk.

        Raises:
            NotFoundError, RangeError, ConfigError, RateLimitedError, UnreachableError: What the
                answer says.
            MalformedError: No answer of this exchange's, or nobody says whose it is.
        """
        payload = plain(payload)
        single = payload if len(payload) < _FRAME_BYTES_MAX else b""
        document = talk.decoded_frame(single.decode(errors="replace"))
        if is_capture(payload) or self._is_frame(document) or self._are_frames(document):
            return parse_capture(
                payload, lambda: self.dialect((), self.limits.live), received_at=received_at
            )
        answers = []
        for one in recorded(payload):
            told = Told(
                self.name,
                self.title,
                symbol or self._symbol_in(one),
                interval or self._interval_in(one),
                received_at or one.date,
            )
            answers.append(self._understood(one, told))
        whole = joined(answers)
        if not whole.tables() and not whole.notes:
            return dataclasses.replace(whole, notes=(f"{self.title} answered without rows",))
        return whole

    @abstractmethod
    def dialect(self, symbols: Sequence[str], kinds: Sequence[Kind]) -> Dialect:
        """The talk of a new connection that asks for these.

        Raises:
            RangeError: A kind that does not come live, or more than one connection takes.
        """

    @abstractmethod
    def listing(self) -> Sequence[Hit]:
        """Every symbol.

        Raises:
            ConfigError, MalformedError, RateLimitedError, UnreachableError: As `bars`.
        """

    @abstractmethod
    def _pages(self, span: crypto.Span) -> Iterator[Answer]:
        """Ask for the range, request by request."""

    @abstractmethod
    def _count(self, span: crypto.Span) -> int:
        """How many requests that is at most."""

    @abstractmethod
    def _read(self, document: Any, told: Told) -> Answer:  # noqa: ANN401 - JSON is any
        """The records of a good answer."""

    @abstractmethod
    def _refusal(self, one: Recorded, symbol: str | None) -> TickerlakeError | None:
        """The error that an answer tells by its status and body; None for a good one."""

    @abstractmethod
    def _is_frame(self, document: Any) -> bool:  # noqa: ANN401 - JSON is any
        """Whether a single document is a frame of the socket, and no answer over HTTP."""

    @abstractmethod
    def _currency(self, symbol: str) -> str | None:
        """The quote asset, by the symbol."""

    def _are_frames(self, document: Any) -> bool:  # noqa: ANN401 - JSON is any
        """Whether it is an array of frames, as recorders gather them."""
        rows = document if isinstance(document, list) else []
        return bool(rows) and all(isinstance(row, dict) and self._is_frame(row) for row in rows)

    def _is_final(self, reply: Reply) -> bool:
        """Whether a 5xx says that the request is wrong: asking again would not help."""
        del reply
        return False

    def _symbol_in(self, one: Recorded) -> str | None:
        """The symbol that a recorded request names."""
        return one.query.get("symbol")

    def _interval_in(self, one: Recorded) -> str | None:
        """The interval that a recorded request names."""
        del one
        return None

    def _span(self, request: BarsRequest) -> crypto.Span:
        self.limits.require(request.interval, source=self.name)
        require_symbol(request.symbol)
        return crypto.Span.of(request, first=self.first_day)

    def _cut(self, span: crypto.Span) -> tuple[str, ...]:
        """What of the range lies before the look-back, as `missing` has it.

        Raises:
            RangeError: All of it.
        """
        request = span.request
        days = self.limits.look_back_days.get(request.interval)
        if days is None or request.start is None:
            return ()
        earliest = clock.now() - timedelta(days=days)
        if span.start >= crypto.milliseconds(earliest):
            return ()
        if span.end <= crypto.milliseconds(earliest):
            raise RangeError(
                f"{self.title} no longer has {request.symbol} {request.interval} that far back.",
                expected=f"a range within the last {days:g} days",
                found=f"an end at {request.end}",
                todo="ask for a later range, or a longer interval",
            )
        part = f"{request.symbol} {request.interval} from {request.start} to {earliest:%F %R}Z"
        return (f"{part}: {self.title} keeps {days:g} days",)

    def _understood(self, one: Recorded, told: Told) -> Answer:
        refused = self._refusal(one, told.symbol)
        if refused is not None:
            raise refused
        return self._read(decoded(one.body, self.title, exact=self.exact), told)

    def _ask(
        self,
        path: str,
        asked: Mapping[str, str],
        symbol: str | None = None,
        interval: str | None = None,
    ) -> Answer:
        """One request, understood; of the symbol and interval that are named beside it."""
        reply = self._session.get(path, asked)
        received, notes = received_of(reply, self.title)
        one = Recorded(reply.body, reply.status, reply.headers, reply.url)
        told = Told(self.name, self.title, symbol, interval, received)
        about = About(
            exchange=self.name.upper(),
            instrument_type="crypto",
            currency=self._currency(symbol) if symbol else None,
            as_of=reply.date,
            url=reply.url,
        )
        try:
            answer = self._understood(one, told)
        except RateLimitedError as error:
            # Said in the body, whatever the status: all processes of the user are told.
            self._session.leave_alone(error.found or error.problem, self.peace_seconds)
            raise
        return crypto.completed(answer, about, notes)

    def _document(self, path: str) -> Any:  # noqa: ANN401 - JSON is any
        """A good answer that has no records."""
        reply = self._session.get(path, {})
        refused = self._refusal(Recorded(reply.body, reply.status, reply.headers), None)
        if refused is not None:
            raise refused
        return decoded(reply.body, self.title)

"""A small HTTP session for providers: patient where waiting helps, clear where it does not.

- Time-outs, broken connections and 5xx are tried again a few times, with growing, jittered pauses;
  then `UnreachableError`.
- 429 is `RateLimitedError` at once, with the wait that the provider asks for: trying on would make
  it worse.
- Everything else comes back as it is: what a 404 means is the provider's file to say.

Redirects are not followed: a provider that sends us elsewhere wants a person (a consent page).
"""

from __future__ import annotations

import email.utils
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tickerlake import __version__, clock
from tickerlake.errors import ConfigError, LimitError, RateLimitedError, UnreachableError

if TYPE_CHECKING:
    import httpx

__all__ = ["HttpSettings", "Reply", "Session", "parse_http_date"]


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """How patient we are with a provider; every source that uses HTTP has these settings."""

    #: Until a connection stands.
    connect_timeout_seconds: float = 10.0
    #: Between two pieces of an answer.
    read_timeout_seconds: float = 30.0
    #: For a whole answer, however slowly it drips.
    total_timeout_seconds: float = 120.0
    #: Requests in all, the first one included, where trying again can help.
    attempts_max: int = 4
    #: Before the second attempt; doubles for each further one.
    backoff_seconds: float = 0.5
    #: The longest pause between two attempts.
    backoff_seconds_max: float = 8.0
    #: Larger answers are refused.
    body_bytes_max: int = 64 * 1024 * 1024
    #: Our pace; null for none.
    requests_per_second: float | None = None

    def __post_init__(self) -> None:
        for name in ("attempts_max", "body_bytes_max", "requests_per_second"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(
                    f"{name} must be positive.",
                    expected="more than 0" + (", or none" if name.startswith("req") else ""),
                    found=str(value),
                    todo="mend it in the source's table, [sources.NAME]",
                )


@dataclass(frozen=True, slots=True)
class Reply:
    """One complete answer. Header names are lower-case; `date` is the provider's own clock."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    date: datetime | None


class Session:
    """Requests to one provider, one at a time. Use it from one thread only."""

    def __init__(
        self,
        base_url: str,
        settings: HttpSettings,
        *,
        provider: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._settings = settings
        self._provider = provider
        self._headers = dict(headers or {})
        self._client: httpx.Client | None = None
        self._next_request_at = 0.0

    def get(self, path: str, params: Mapping[str, str]) -> Reply:
        """GET `base_url` + `path`, which is appended unchanged.

        Raises:
            RateLimitedError: 429; the message says how long to wait.
            UnreachableError: Nobody answers, or only with 5xx, after all attempts.
            LimitError: The answer is larger than `body_bytes_max`.
            ConfigError: `base_url` is no address.
        """
        url = self._base_url + path
        pause = self._settings.backoff_seconds
        for attempt in range(1, self._settings.attempts_max + 1):
            self._keep_pace()
            reply, trouble = self._try(url, params)
            if reply is not None and reply.status == 429:
                raise self._rate_limited(reply)
            if reply is not None and reply.status < 500:
                return reply
            if attempt < self._settings.attempts_max:
                # Between half and the whole pause, so that many clients do not come back together.
                clock.sleep(min(pause, self._settings.backoff_seconds_max) * _half_to_one())
                pause *= 2
        found = f"HTTP {reply.status}" if reply is not None else trouble
        raise UnreachableError(
            f"{self._provider} cannot be reached at {self._base_url}.",
            expected="an answer",
            found=f"{found}, {self._settings.attempts_max} times",
            todo="check the network, or try again later; what is cached can be read offline",
        )

    def close(self) -> None:
        """Give back the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _try(self, url: str, params: Mapping[str, str]) -> tuple[Reply | None, str]:
        import httpx

        try:
            return self._request(url, params), ""
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise ConfigError(
                f"{url} is no address.",
                expected="http://… or https://…",
                found=str(error),
                todo=f"mend the base_url of {self._provider}",
            ) from error
        except httpx.HTTPError as error:
            return None, f"{type(error).__name__}: {error}"

    def _request(self, url: str, params: Mapping[str, str]) -> Reply:
        import httpx

        settings = self._settings
        deadline = clock.monotonic_seconds() + settings.total_timeout_seconds
        pieces: list[bytes] = []
        size = 0
        with self._open_client().stream("GET", url, params=dict(params)) as answer:
            for piece in answer.iter_bytes():
                pieces.append(piece)
                size += len(piece)
                if size > settings.body_bytes_max:
                    raise LimitError(
                        f"{self._provider} sent too much for one answer.",
                        expected=f"at most {settings.body_bytes_max:,} bytes",
                        found="more",
                        todo="ask for a shorter range, or raise body_bytes_max",
                    )
                if clock.monotonic_seconds() > deadline:
                    raise httpx.ReadTimeout(
                        f"no whole answer in {settings.total_timeout_seconds:g} s"
                    )
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return Reply(
                url=str(answer.url),
                status=answer.status_code,
                headers=headers,
                body=b"".join(pieces),
                date=parse_http_date(headers.get("date")),
            )

    def _open_client(self) -> httpx.Client:
        import httpx

        if self._client is None:
            settings = self._settings
            self._client = httpx.Client(
                # The truth, no browser's.
                headers={"user-agent": f"tickerlake/{__version__}", **self._headers},
                # Proxies of the environment are used, but not for mirrors on this machine.
                mounts={f"all://{host}": None for host in ("127.0.0.1", "localhost", "[::1]")},
                timeout=httpx.Timeout(
                    settings.read_timeout_seconds, connect=settings.connect_timeout_seconds
                ),
            )
        return self._client

    def _keep_pace(self) -> None:
        if self._settings.requests_per_second is None:
            return
        wait = self._next_request_at - clock.monotonic_seconds()
        if wait > 0:
            clock.sleep(wait)
        self._next_request_at = clock.monotonic_seconds() + 1 / self._settings.requests_per_second

    def _rate_limited(self, reply: Reply) -> RateLimitedError:
        wait = _retry_after(reply)
        return RateLimitedError(
            f"{self._provider} asks us to come back later.",
            expected="an answer",
            found=f"HTTP 429, {reply.body[:80].decode(errors='replace')!r}",
            todo=f"wait {wait}, then try again" if wait else "wait some minutes, then try again",
        )


def parse_http_date(text: str | None) -> datetime | None:
    """The instant of a Date header; None if there is none that can be read."""
    try:
        moment = email.utils.parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _retry_after(reply: Reply) -> str | None:
    """Retry-After is a number of seconds, or a date."""
    text = reply.headers.get("retry-after", "").strip()
    if text.isdigit():
        return f"{text} s"
    until = parse_http_date(text)
    return f"until {until.isoformat()}" if until else None


def _half_to_one() -> float:
    return 0.5 + secrets.randbelow(500) / 1000

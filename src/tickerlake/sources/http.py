"""The HTTP session of all providers: patient where waiting helps, clear where it does not.

- Time-outs (408 too), broken connections and 5xx are tried again a few times, with growing,
  jittered pauses; then `UnreachableError`.
- A host that asks for peace (429, 418, 503 with Retry-After) is left alone by all processes of the
  user for as long as it asks. A short wait is waited for; a longer one is `RateLimitedError` at
  once, without a request: trying on would make it worse.
- A host that fails again and again is left alone, too, for a while that grows: a circuit breaker.
- All processes together keep to a pace: one token bucket a host.
- Redirects are followed on the same host only: keys go nowhere else.
- Everything else comes back as it is: what a 404 means is the provider's file to say.

How long a host is left alone is known to all processes of the user: see `hosts`.
"""

from __future__ import annotations

import logging
import secrets
import threading
import weakref
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final
from urllib.parse import SplitResult, urlencode, urljoin, urlsplit

from tickerlake import __version__, clock
from tickerlake.errors import (
    ConfigError,
    MalformedError,
    RateLimitedError,
    UnreachableError,
    hide,
    without_secrets,
)
from tickerlake.observe import tell
from tickerlake.sources.base import Limits
from tickerlake.sources.hosts import Hosts, Peace, Turn
from tickerlake.sources.wire import (
    Call,
    Patience,
    Reply,
    Trouble,
    Wire,
    open_wire,
    parse_http_date,
    without_key,
)

__all__ = ["HttpSettings", "Reply", "Session", "paced", "parse_http_date", "without_key"]

_REDIRECTS_MAX: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
#: Come back later. 418 is how some say it to those who did not listen to 429.
_LATER: Final = frozenset({418, 429})
#: The server waited in vain for our request: it may come again.
_TIMED_OUT: Final = 408
_PORTS: Final = {"http": 80, "https": 443}


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
    #: A host that asks for no more patience than this gets it; more is an error, at once.
    retry_after_seconds_max: float = 5.0
    #: Failed requests in a row, of all processes, after which the host is left alone for a while.
    circuit_failures_max: int = 5
    #: How long, the first time; doubles each time. Also after a 429 that names no time.
    circuit_seconds: float = 15.0
    #: The longest that a host is left alone without having asked for it.
    circuit_seconds_max: float = 300.0
    #: Larger answers are refused.
    body_bytes_max: int = 64 * 1024 * 1024
    #: Our pace, of all processes together; null for none.
    requests_per_second: float | None = None
    #: How many requests may go at once after a pause, where there is a pace.
    requests_burst: int = 1
    #: Goes before HTTPS_PROXY and its like: `http://user:password@host:port`, or `socks5://…`.
    proxy: str | None = None
    #: Shake hands as this browser does, such as `chrome` (extra `yahoo`); null: say who we are.
    impersonate: str | None = None

    def __post_init__(self) -> None:
        counts = ("attempts_max", "body_bytes_max", "circuit_failures_max", "requests_burst")
        for name in (*counts, "requests_per_second"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(
                    f"{name} must be positive.",
                    expected="more than 0" + (", or none" if name not in counts else ""),
                    found=str(value),
                    todo="mend it in the source's table, [sources.NAME]",
                )


def paced(limits: Limits, settings: HttpSettings) -> Limits:
    """A source's limits at the pace of its settings, which plans go by."""
    return replace(
        limits,
        requests_per_second=settings.requests_per_second,
        requests_burst=settings.requests_burst,
    )


class Session:
    """Requests to one provider. Safe from several threads; `close` when none of them asks.

    Nobody has to close it: whoever lets go of it gives back its connections, too.
    """

    def __init__(
        self,
        base_url: str,
        settings: HttpSettings,
        *,
        provider: str,
        headers: Mapping[str, str] | None = None,
        is_final: Callable[[Reply], bool] | None = None,
    ) -> None:
        """`is_final` knows a 5xx that trying again would not change: it comes back as it is."""
        self._is_final = is_final or (lambda _: False)
        self._base_url = base_url.rstrip("/")
        self._settings = settings
        self._provider = provider
        # The truth, no browser's.
        self._headers = {"user-agent": f"tickerlake/{__version__}"} | {
            name.lower(): text for name, text in (headers or {}).items()
        }
        self._hosts = Hosts()
        self._peace = Peace(
            settings.circuit_failures_max, settings.circuit_seconds, settings.circuit_seconds_max
        )
        self._wire: Wire | None = None
        self._close_wire: Callable[[], object] = lambda: None
        self._lock = threading.Lock()
        # A provider may say our key itself, in what it complains of.
        keys = (getattr(settings, name, None) for name in ("api_key", "api_secret"))
        hide(key for key in keys if key)
        if not all(text.isascii() and text.isprintable() for text in self._headers.values()):
            raise ConfigError(
                f"The key of {provider} holds what no header can carry.",
                expected="letters, digits and signs of ASCII",
                found="others, such as a line's end",
                todo="set the key again; perhaps more was copied than the key",
            )

    def get(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        follow_redirects: bool = True,
    ) -> Reply:
        """GET `base_url` + `path`, which is appended unchanged.

        Without `follow_redirects` an answer that sends us elsewhere comes back as it is.

        Raises:
            RateLimitedError: It asks us to come back later, or did so before; says when.
            UnreachableError: Nobody answers, or only with 5xx, after all attempts; it did not for
                a while; or it sends us to another host.
            LimitError: The answer is larger than `body_bytes_max`.
            ConfigError: `base_url` or `proxy` is no address.
            MissingExtraError: `impersonate` needs a package.
        """
        call = Call("GET", _with_query(self._base_url + path, params), headers or {})
        return self._send(call, follow_redirects=follow_redirects)

    def post(
        self,
        path: str,
        form: Mapping[str, str],
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """POST a form, as patient as `get`: only for what may come twice. Follows no redirect.

        Raises:
            RateLimitedError, UnreachableError, LimitError, ConfigError, MissingExtraError: As
                `get`.
        """
        told = {"content-type": "application/x-www-form-urlencoded", **(headers or {})}
        url = _with_query(self._base_url + path, params)
        return self._send(Call("POST", url, told, urlencode(form).encode()), follow_redirects=False)

    def follow(self, url: str, *, own_hosts: Collection[str] = ()) -> Reply:
        """GET the address that an answer named, such as its next page.

        One on the host of `base_url` is taken as it is. One on `own_hosts`, the vendor's own
        names, is asked for at `base_url` instead, so that mirrors work; so is one without a host.

        Raises:
            MalformedError: It leads to another host: our key would go there.
            RateLimitedError, UnreachableError, LimitError, ConfigError, MissingExtraError: As
                `get`.
        """
        parts = _split(url)
        if not _same_host(parts, _split(self._base_url)):
            if parts.netloc and parts.hostname not in own_hosts:
                raise MalformedError(
                    f"{self._provider} names a next page on another host.",
                    expected=_split(self._base_url).netloc,
                    found=parts.netloc,
                    todo="nothing was sent there; if that host is right, set it as base_url",
                )
            url = self._base_url + parts.path + (f"?{parts.query}" if parts.query else "")
        return self._send(Call("GET", url), follow_redirects=True)

    def leave_alone(self, said: str, seconds: float) -> None:
        """Tell all processes that the provider wants peace, where it said so with HTTP 200.

        Until then their requests are `RateLimitedError`, without having been sent.
        """
        self._hosts.asked(_host(_split(self._base_url)), self._peace, seconds, said)

    def close(self) -> None:
        """Give back connections; the next request opens new ones."""
        with self._lock:
            self._wire = None
            self._close_wire()

    def _send(self, call: Call, *, follow_redirects: bool) -> Reply:
        for _ in range(_REDIRECTS_MAX + 1):
            reply = self._patiently(call)
            target = reply.headers.get("location", "")
            if not follow_redirects or reply.status not in _REDIRECTS or not target:
                return reply
            url = _joined(call.url, target)
            if not _same_host(_split(url), _split(call.url)):
                raise UnreachableError(
                    f"{self._provider} sends us to another host, perhaps to a page for people.",
                    expected="an answer",
                    found=f"HTTP {reply.status} to {_split(url).netloc}",
                    todo="open the provider's site in a browser and see what it asks for;"
                    " what is cached can be read with --offline",
                )
            call = Call(call.method, url, call.headers, call.body)
        raise UnreachableError(
            f"{self._provider} sends us in circles.",
            expected="an answer",
            found=f"more than {_REDIRECTS_MAX} redirects, the last to {without_key(call.url)}",
            todo="try again later; what is cached can be read with --offline",
        )

    def _patiently(self, call: Call) -> Reply:
        """Tries until there is an answer that trying again would not change."""
        settings = self._settings
        host = _host(_split(call.url))
        began = clock.monotonic_seconds()
        pause = settings.backoff_seconds
        attempt = 0
        while True:
            attempt += 1
            self._wait_for_turn(host)
            answer = self._try(call, attempt)
            last = attempt >= settings.attempts_max
            if isinstance(answer, Reply):
                wait = _retry_after_seconds(answer)
                if answer.status in _LATER or (answer.status == 503 and wait is not None):
                    self._leave_alone(host, answer, wait, last=last)
                    continue
                is_told = answer.status < 500 and answer.status != _TIMED_OUT
                if is_told or self._is_final(answer):
                    self._hosts.answered(host)
                    return answer
            said = f"HTTP {answer.status}" if isinstance(answer, Reply) else answer.said
            closed = self._hosts.failed(host, self._peace, said)
            # Where no connection stands, more attempts help against a moment's trouble only.
            nobody = isinstance(answer, Trouble) and not answer.connected
            waited = clock.monotonic_seconds() - began
            if last or closed or (nobody and waited >= settings.connect_timeout_seconds):
                raise self._unreachable(said, f"{attempt} time{'s' if attempt > 1 else ''}")
            # Between half and the whole pause, so that many clients do not come back together.
            clock.sleep(min(pause, settings.backoff_seconds_max) * _half_to_one())
            pause *= 2

    def _wait_for_turn(self, host: str) -> None:
        settings = self._settings
        turn = self._hosts.turn(host, settings.requests_per_second, settings.requests_burst)
        while True:
            if turn.closed_seconds <= 0:
                if turn.wait_seconds <= 0:
                    return
                clock.sleep(turn.wait_seconds)
                if turn.probe:
                    return
                # Others were at it meanwhile, and may have been sent away.
                turn = self._hosts.look(host)
            elif turn.reason == "asked" and turn.closed_seconds <= settings.retry_after_seconds_max:
                clock.sleep(turn.closed_seconds)
                turn = self._hosts.turn(host, settings.requests_per_second, settings.requests_burst)
            else:
                raise self._closed(turn)

    def _try(self, call: Call, attempt: int) -> Reply | Trouble:
        began = clock.monotonic_seconds()
        answer = self._open_wire().send(call)
        seconds = round(clock.monotonic_seconds() - began, 3)
        url = without_key(call.url)
        fields = {"provider": self._provider, "url": url, "attempt": attempt, "seconds": seconds}
        if isinstance(answer, Reply):
            said = f"HTTP {answer.status}, {len(answer.body):,} bytes"
            fields |= {"status": answer.status, "bytes": len(answer.body)}
        else:
            said = answer.said
            fields |= {"trouble": said}
        tell(logging.DEBUG, "http", f"{call.method} {url}: {said}, {seconds:g} s", fields)
        return answer

    def _open_wire(self) -> Wire:
        with self._lock:
            if self._wire is None:
                settings = self._settings
                patience = Patience(
                    settings.connect_timeout_seconds,
                    settings.read_timeout_seconds,
                    settings.total_timeout_seconds,
                    settings.body_bytes_max,
                )
                self._wire = open_wire(
                    self._provider,
                    self._headers,
                    patience,
                    proxy=settings.proxy,
                    impersonate=settings.impersonate,
                )
                self._close_wire = weakref.finalize(self, self._wire.close)
            return self._wire

    def _leave_alone(self, host: str, reply: Reply, wait: float | None, *, last: bool) -> None:
        """Tell the others, and raise unless the wait is short enough to be waited for."""
        # Masked before it is cut: half a key would be shown.
        body = without_secrets(reply.body[:1000].decode(errors="replace"))
        said = f"HTTP {reply.status}, {body[:80]!r}"
        seconds = self._hosts.asked(host, self._peace, wait, said)
        if last or wait is None or seconds > self._settings.retry_after_seconds_max:
            raise self._rate_limited(said, seconds)

    def _closed(self, turn: Turn) -> UnreachableError:
        if turn.reason == "asked":
            return self._rate_limited(
                f"as before; not asked again: {turn.said}", turn.closed_seconds
            )
        again = _at(turn.closed_seconds)
        return self._unreachable(turn.said, f"again and again; not asked before {again}")

    def _rate_limited(self, said: str, seconds: float) -> RateLimitedError:
        return RateLimitedError(
            f"{self._provider} asks us to come back later.",
            expected="an answer",
            found=said,
            todo=f"wait {seconds:,.0f} s, until {_at(seconds)}, then try again;"
            " what is cached can be read with --offline",
        )

    def _unreachable(self, said: str, how_often: str) -> UnreachableError:
        through = ", through the proxy of the settings" if self._settings.proxy else ""
        return UnreachableError(
            f"{self._provider} cannot be reached at {self._base_url}.",
            expected="an answer",
            found=f"{said}, {how_often}{through}",
            todo="check the network, or try again later; what is cached can be read with --offline",
        )


def _with_query(url: str, params: Mapping[str, str] | None) -> str:
    return f"{url}?{urlencode(params)}" if params else url


def _joined(url: str, target: str) -> str:
    try:
        return urljoin(url, target)
    except ValueError:  # no address at all, so no host of ours
        return target


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # such as half of an IPv6 address: no host of ours
        return SplitResult("", "?", url, "", "")


def _host(parts: SplitResult) -> str:
    """Name and port: two servers on one machine have nothing to do with each other."""
    try:
        port = parts.port
    except ValueError:  # no number; whoever connects says so
        port = None
    return f"{parts.hostname}:{port or _PORTS.get(parts.scheme, 0)}"


def _same_host(parts: SplitResult, other: SplitResult) -> bool:
    """Whether `parts` may be asked with the keys that are `other`'s."""
    if _host(parts) == _host(other):
        return parts.scheme == other.scheme
    upgraded = other.scheme == "http" and parts.scheme == "https"
    return upgraded and _host(other) == f"{parts.hostname}:80" and _host(parts).endswith(":443")


def _retry_after_seconds(reply: Reply) -> float | None:
    """Retry-After is a number of seconds, or a date, which counts from the provider's own clock."""
    text = reply.headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(text)) if float(text) < float("inf") else None
    except ValueError:
        until = parse_http_date(text)
    if until is None:
        return None
    return max(0.0, (until - (reply.date or clock.real_now())).total_seconds())


def _at(seconds: float) -> str:
    return f"{clock.real_now() + timedelta(seconds=seconds):%H:%M:%S}Z"


def _half_to_one() -> float:
    return 0.5 + secrets.randbelow(500) / 1000

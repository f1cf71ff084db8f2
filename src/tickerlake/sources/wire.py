"""One request and its answer over a library: httpx, or curl_cffi where a browser is to be played.

What the libraries raise ends here: a request gives a `Reply`, or the `Trouble` that it met.
"""

from __future__ import annotations

import email.utils
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlencode, urlsplit, urlunsplit

from tickerlake import clock
from tickerlake.errors import ConfigError, LimitError, MissingExtraError, without_secrets

if TYPE_CHECKING:
    from http.cookiejar import CookieJar

    import curl_cffi.requests
    import httpx

__all__ = ["Call", "Reply", "Trouble", "Wire", "open_wire", "parse_http_date", "without_key"]

_LOCAL: Final = ("127.0.0.1", "localhost", "[::1]")
#: Names under which providers take keys in an address.
_KEY_NAMES: Final = frozenset(
    {"apikey", "api_key", "api_token", "token", "access_token", "key", "secret", "crumb"}
)


@dataclass(frozen=True, slots=True)
class Call:
    """One request, whole: what the session's headers do not say."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """One complete answer. Header names are lower-case; `date` is the provider's own clock."""

    #: Without keys.
    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    date: datetime | None
    #: What it asks us to send back.
    cookies: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no answer."""

    said: str
    #: A connection stood: somebody is there.
    connected: bool


class Wire(Protocol):
    """Sends one request. Safe from several threads."""

    def send(self, call: Call) -> Reply | Trouble:
        """One try.

        Raises:
            LimitError: The answer is larger than it may be.
            ConfigError: The address, or that of the proxy, is none.
        """
        ...

    def close(self) -> None:
        """Give back connections."""
        ...


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how much."""

    connect_seconds: float
    read_seconds: float
    total_seconds: float
    body_bytes_max: int


def open_wire(
    provider: str,
    headers: Mapping[str, str],
    patience: Patience,
    *,
    proxy: str | None,
    impersonate: str | None,
) -> Wire:
    """The library that is asked for.

    Raises:
        MissingExtraError: curl_cffi is not installed.
        ConfigError: The proxy's address is none.
    """
    kind = _HttpxWire if impersonate is None else _CurlWire
    return kind(provider, headers, patience, proxy, impersonate)


class _HttpxWire:
    """httpx: says who we are."""

    def __init__(
        self,
        provider: str,
        headers: Mapping[str, str],
        patience: Patience,
        proxy: str | None,
        impersonate: str | None,  # noqa: ARG002 - as the other one's
    ) -> None:
        import httpx

        self._provider = provider
        self._patience = patience
        hide_keys_of_httpx()
        try:
            self._client = httpx.Client(
                headers=dict(headers),
                proxy=proxy,
                # Proxies of the environment are used, but not for mirrors on this machine; one
                # that the settings name is used for everything.
                mounts={f"all://{host}": None for host in _LOCAL} if proxy is None else None,
                timeout=httpx.Timeout(patience.read_seconds, connect=patience.connect_seconds),
            )
        except (ValueError, ImportError, httpx.InvalidURL) as error:
            raise _bad_proxy(provider, error) from error

    def send(self, call: Call) -> Reply | Trouble:
        import httpx

        try:
            url = httpx.URL(call.url)
        except httpx.InvalidURL as error:
            raise _bad_address(self._provider, call.url, error) from error
        try:
            return self._answer(call, url)
        except httpx.UnsupportedProtocol as error:
            raise _bad_address(self._provider, call.url, error) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:  # the latter in a Location header
            nobody = httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError
            return Trouble(_said(error), connected=not isinstance(error, nobody))

    def _answer(self, call: Call, url: httpx.URL) -> Reply:
        import httpx

        patience = self._patience
        deadline = clock.monotonic_seconds() + patience.total_seconds
        pieces: list[bytes] = []
        size = 0
        headers = dict(call.headers)
        with self._client.stream(call.method, url, headers=headers, content=call.body) as answer:
            announced = answer.headers.get("content-length", "")
            if announced.isdigit() and int(announced) > patience.body_bytes_max:
                raise _too_much(self._provider, patience)
            for piece in answer.iter_bytes():
                pieces.append(piece)
                size += len(piece)
                if size > patience.body_bytes_max:
                    raise _too_much(self._provider, patience)
                if clock.monotonic_seconds() > deadline:
                    raise httpx.ReadTimeout(f"no whole answer in {patience.total_seconds:g} s")
            return _reply(
                str(answer.url),
                answer.status_code,
                answer.headers,
                b"".join(pieces),
                answer.cookies.jar,
            )

    def close(self) -> None:
        self._client.close()


class _CurlWire:
    """curl_cffi: shakes hands and speaks as a browser does, its name included."""

    def __init__(
        self,
        provider: str,
        headers: Mapping[str, str],
        patience: Patience,
        proxy: str | None,
        impersonate: str | None,
    ) -> None:
        try:
            from curl_cffi import requests
        except ImportError as error:
            raise MissingExtraError(
                f"Playing the browser {impersonate!r} needs the package curl_cffi.",
                todo="pip install 'tickerlake[yahoo]', or set impersonate to none",
            ) from error
        self._provider = provider
        self._patience = patience
        # A browser's handshake with our name on it would fool nobody, and help nobody.
        self._headers = {name: text for name, text in headers.items() if name != "user-agent"}
        self._session: curl_cffi.requests.Session[Any] = requests.Session(
            impersonate=impersonate,
            proxy=proxy,
            allow_redirects=False,
            timeout=(
                patience.connect_seconds,
                max(0.0, patience.total_seconds - patience.connect_seconds),
            ),
        )

    def send(self, call: Call) -> Reply | Trouble:
        from curl_cffi.curl import CURL_WRITEFUNC_ERROR
        from curl_cffi.requests import exceptions

        body = bytearray()
        over = threading.Event()

        def keep(piece: bytes) -> int:
            body.extend(piece)
            if len(body) > self._patience.body_bytes_max:
                over.set()
                return CURL_WRITEFUNC_ERROR
            return len(piece)

        try:
            answer = self._session.request(
                call.method,  # type: ignore[arg-type]  # GET or POST
                call.url,
                headers={**self._headers, **call.headers},
                data=call.body,
                content_callback=keep,
            )
        except (exceptions.InvalidURL, exceptions.InvalidSchema) as error:
            raise _bad_address(self._provider, call.url, error) from error
        except exceptions.ImpersonateError as error:
            raise ConfigError(
                f"curl_cffi does not know how to play this browser for {self._provider}.",
                expected="a name of its list, such as chrome",
                found=str(error),
                todo="mend the setting impersonate",
            ) from error
        except exceptions.RequestException as error:
            if over.is_set():
                raise _too_much(self._provider, self._patience) from error
            nobody = exceptions.DNSError | exceptions.ProxyError | exceptions.SSLError
            refused = type(error) is exceptions.ConnectionError
            return Trouble(_said(error), connected=not (refused or isinstance(error, nobody)))
        jar = answer.cookies.jar
        return _reply(answer.url, answer.status_code, answer.headers, bytes(body), jar)

    def close(self) -> None:
        self._session.close()


def _reply(
    url: str,
    status: int,
    headers: Mapping[str, str | None],
    body: bytes,
    cookies: CookieJar,
) -> Reply:
    plain = {name.lower(): value or "" for name, value in headers.items()}
    return Reply(
        url=without_key(url),
        status=status,
        headers=plain,
        body=body,
        date=parse_http_date(plain.get("date")),
        cookies={cookie.name: cookie.value or "" for cookie in cookies},
    )


def parse_http_date(text: str | None) -> datetime | None:
    """The instant of a Date header; None if there is none that can be read."""
    try:
        moment = email.utils.parsedate_to_datetime(text or "")
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def without_key(url: str) -> str:
    """The address as it may be seen: no key among its parameters, no secret, no password."""
    if "?" in url:
        from urllib.parse import parse_qsl

        parts = urlsplit(url)
        shown = [
            (name, value)
            for name, value in parse_qsl(parts.query, keep_blank_values=True)
            if name.lower() not in _KEY_NAMES
        ]
        url = urlunsplit(parts._replace(query=urlencode(shown, safe="/:,^=")))
    return without_secrets(url)


class _WithoutKeys(logging.Filter):
    """httpx tells each address that it asks, keys and all."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                without_key(str(value)) if type(value).__name__ == "URL" else value
                for value in record.args
            )
        return True


_FILTER: Final = _WithoutKeys()


def hide_keys_of_httpx() -> None:
    """Whoever listens to httpx's own log sees no key there."""
    logging.getLogger("httpx").addFilter(_FILTER)  # the same one is added once


def _said(error: Exception) -> str:
    return without_secrets(f"{type(error).__name__}: {error}")


def _too_much(provider: str, patience: Patience) -> LimitError:
    return LimitError(
        f"{provider} sent too much for one answer.",
        expected=f"at most {patience.body_bytes_max:,} bytes",
        found="more",
        todo="ask for a shorter range, or raise body_bytes_max",
    )


def _bad_address(provider: str, url: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"{without_key(url)} is no address.",
        expected="http://… or https://…",
        found=str(error),
        todo=f"mend the base_url of {provider}",
    )


def _bad_proxy(provider: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"The proxy for {provider} cannot be used.",
        expected="http://[user:password@]host:port; socks5://… with `pip install httpx[socks]`",
        found=str(error),
        todo=f"mend `proxy` in the table of {provider}, or HTTPS_PROXY in the environment",
    )

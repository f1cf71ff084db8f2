"""Who may ask: Host and Origin checks, the token, and headers that tie the page down.

A page on loopback is still reachable for every web site that the user opens: by its address (the
browser refuses to show the answer, but the query has run) and by a name that is made to point at
127.0.0.1 (DNS rebinding; then the answer can be read too). So every request must name one of our
hosts, and may not come from another site.
"""

from __future__ import annotations

import hmac
import ipaddress
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tickerlake.web.settings import WebSettings

__all__ = ["TOKEN_LENGTH_MIN", "Guard", "is_loopback"]

#: A shorter token could be guessed.
TOKEN_LENGTH_MIN: Final = 16
_COOKIE: Final = "tickerlake_token"
#: The one style element that lightweight-charts adds itself, for its attribution logo.
_LOGO_STYLE: Final = "'sha256-3pRED1tOXas1FXFoPb9TGCjmYe9XQsmO9OV23khV2nY='"
_HEADERS: Final = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            f"style-src 'self' {_LOGO_STYLE}",
            "img-src 'self'",
            "font-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """ASGI middleware in front of everything that the page serves."""

    def __init__(self, app: ASGIApp, *, settings: WebSettings) -> None:
        self._app = app
        self._token = settings.token.encode()
        further = (name.strip().lower() for name in settings.allowed_hosts.split(","))
        own = () if _is_any_address(settings.host) else (settings.host.lower(),)
        self._hosts = {"localhost", "127.0.0.1", "::1", *own, *filter(None, further)}
        # Bound to every address, we do not know them; a number cannot be rebound, a name can.
        self._any_number = _is_any_address(settings.host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer for the app where the request may not pass."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = _host_name(headers.get("host", ""))
        if host not in self._hosts and not (self._any_number and _is_number(host)):
            return _refuse(
                400,
                "This host name is not ours.",
                expected=", ".join(sorted(self._hosts)),
                found=host or "no Host",
                todo="open the address that `serve` printed, or add the name to allowed_hosts",
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            return _refuse(
                403,
                "Another site may not ask here.",
                expected="a request of the page itself",
                found=f"Origin: {origin}",
                todo="fetch the data from a program instead of a web page",
            )
        # A link from elsewhere may open the page, but nothing else on another site may load it.
        opens_page = headers.get("sec-fetch-mode") == "navigate" and (
            headers.get("sec-fetch-dest") == "document"
        )
        if headers.get("sec-fetch-site") in {"cross-site", "same-site"} and not opens_page:
            return _refuse(
                403,
                "Another site may not ask here.",
                expected="a request of the page itself",
                found=f"Sec-Fetch-Site: {headers['sec-fetch-site']}",
                todo="open the address in a tab of its own",
            )
        return self._token_refusal(scope, headers) if self._token else None

    def _token_refusal(self, scope: Scope, headers: Headers) -> Response | None:
        if scope["path"] == "/healthz" or self._is_token(_bearer(headers)):
            return None
        if self._is_token(cookie_parser(headers.get("cookie", "")).get(_COOKIE, "")):
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if self._is_token(dict(query).get("token", "")):
            # Into a cookie at once, so that it stands in no address that is shared or logged.
            rest = urlencode([(name, value) for name, value in query if name != "token"])
            path = "/" + scope["path"].lstrip("/")  # `//name` would lead to another host
            answer = RedirectResponse(path + (f"?{rest}" if rest else ""), status_code=303)
            answer.set_cookie(
                _COOKIE, self._token.decode(), httponly=True, samesite="strict", path="/"
            )
            return answer
        return _refuse(
            401,
            "This page asks for a token.",
            expected="header `Authorization: Bearer TOKEN`, or ?token=TOKEN once in a browser",
            found="none, or a wrong one",
            todo="ask who started the server for its token",
        )

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(), self._token)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on that host."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_any_address(host: str) -> bool:
    return host in {"0.0.0.0", "::", ""}  # noqa: S104 - recognised, not bound


def _host_name(host: str) -> str:
    """The name in a Host header, without port and brackets."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _bearer(headers: Headers) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _refuse(status: int, problem: str, *, expected: str, found: str, todo: str) -> Response:
    body = {"problem": problem, "expected": expected, "found": found, "todo": todo}
    return JSONResponse(body, status_code=status)

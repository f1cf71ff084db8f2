"""Cookie and crumb, which Yahoo wants for some answers (quotes) and not for others.

A cookie comes from a host of its own, and the crumb for it as bare text. Both are dropped and
renewed once when Yahoo calls them invalid. A page that asks a person for consent is a clear error:
nobody consents in the user's place. Source: yfinance and yahoo-finance2 (2023 to 2026), no vendor
page.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from tickerlake.errors import ConfigError, UnreachableError
from tickerlake.sources.http import Reply, Session

__all__ = ["Crumbs"]

_COOKIE: Final = re.compile(r"(?:^|[,;]\s*)(A1S?|A3|B|GUC)=([^;,\s]+)")
#: 11 characters as a rule, sometimes with escapes; never a sentence, a page or JSON.
_CRUMB: Final = re.compile(r"[\w./\\-]{4,40}")
_REFUSED: Final = (401, 403)


class Crumbs:
    """Asks plainly first; with cookie and crumb once Yahoo has refused that."""

    def __init__(self, open_session: Callable[[str, Mapping[str, str]], Session]) -> None:
        """`open_session(role, headers)`: role is `base` or `cookie`."""
        self._open = open_session
        self._session: Session | None = None
        self._crumb: str | None = None

    def get(self, path: str, params: Mapping[str, str]) -> Reply:
        """The answer; a refusal that stands even with a fresh crumb is given back as it is.

        Raises:
            ConfigError: Yahoo wants somebody's consent, or gives no crumb.
            RateLimitedError, UnreachableError, LimitError: As `Session.get`.
        """
        if self._session is None:
            self._session = self._open("base", {})
        reply = self._asked(path, params)
        if reply.status in _REFUSED:
            self._renew()
            reply = self._asked(path, params)
        return reply

    def close(self) -> None:
        """Give back the connection; the crumb goes with it."""
        if self._session is not None:
            self._session.close()
        self._session, self._crumb = None, None

    def _asked(self, path: str, params: Mapping[str, str]) -> Reply:
        assert self._session is not None  # noqa: S101 - `get` has opened it
        crumb = {} if self._crumb is None else {"crumb": self._crumb}
        return self._session.get(path, {**params, **crumb})

    def _renew(self) -> None:
        with_cookie = self._open("cookie", {})
        try:
            reply = with_cookie.get(
                "/", follow_redirects=False
            )  # a 404 as a rule; its cookie is what counts
        finally:
            with_cookie.close()
        found = dict(_COOKIE.findall(reply.headers.get("set-cookie", "")))
        if 300 <= reply.status < 400 or not found:
            raise _consent(reply)
        if self._session is not None:
            self._session.close()
        cookie = "; ".join(f"{name}={value}" for name, value in found.items())
        self._session = self._open("base", {"cookie": cookie})
        reply = self._session.get("/v1/test/getcrumb", follow_redirects=False)
        text = reply.body.decode(errors="replace").strip()
        if 300 <= reply.status < 400:
            raise _consent(reply)
        if reply.status != 200 or not _CRUMB.fullmatch(text):
            raise UnreachableError(
                "Yahoo gives us no crumb, without which it tells no quotes.",
                expected="a short word",
                found=f"HTTP {reply.status}, {text[:60]!r}",
                todo="try again in some minutes; history and search work without it",
            )
        self._crumb = text


def _consent(reply: Reply) -> ConfigError:
    return ConfigError(
        "Yahoo wants a person's consent before it tells quotes.",
        expected="a cookie",
        found=f"HTTP {reply.status} from {reply.url.split('?')[0]}",
        todo="history and search work without it; or name a mirror in [sources.yahoo] base_url",
    )

"""Recorded answers over HTTP: bare, gzipped, or wrapped with the request that they answer."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from tickerlake.errors import MalformedError
from tickerlake.sources.http import parse_http_date

__all__ = ["Recorded", "open_recorded"]

_GZIP: Final = b"\x1f\x8b"
_BYTES_MAX: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Recorded:
    """One answer, and what its recording says about it."""

    body: bytes
    status: int = 200
    #: The provider's own clock.
    date: datetime | None = None
    #: What was asked; may carry a key, so it is never shown.
    url: str = ""

    @property
    def path(self) -> str:
        """What was asked for, without host and parameters."""
        return _split(self.url).path

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the request."""
        return dict(parse_qsl(_split(self.url).query))


def open_recorded(payload: bytes) -> Recorded:
    """The answer inside `payload`: gunzipped, and out of its `{"request": …, "response": …}`.

    The body of a wrapper stands at `response.bodyJson`, or as text at `response.body`.

    Raises:
        MalformedError: A gzip file that is damaged or too large.
    """
    if payload[:2] == _GZIP:
        payload = _gunzipped(payload)
    if b'"response"' not in payload[:100_000]:
        return Recorded(payload)
    try:
        told = json.loads(payload)
    except (ValueError, RecursionError):
        return Recorded(payload)
    response = told.get("response") if isinstance(told, Mapping) else None
    if not isinstance(response, Mapping):
        return Recorded(payload)
    body = response.get("bodyJson", response.get("body"))
    status, request = response.get("status"), told.get("request")
    return Recorded(
        body=body.encode() if isinstance(body, str) else json.dumps(body).encode(),
        status=status if isinstance(status, int) else 200,
        date=parse_http_date(_date_header(response.get("headers"))),
        url=str(request.get("url") if isinstance(request, Mapping) else ""),
    )


def _gunzipped(payload: bytes) -> bytes:
    decompress = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        body = decompress.decompress(payload, _BYTES_MAX)
        whole = decompress.eof
    except zlib.error:
        whole = False
    if whole:
        return body
    raise MalformedError(
        "This gzip file is damaged, or too large.",
        expected=f"a whole file of at most {_BYTES_MAX:,} bytes",
        found=f"{len(payload):,} bytes",
        todo="record it again",
    )


def _date_header(headers: Any) -> str | None:  # noqa: ANN401 - whatever a recording says
    if not isinstance(headers, Mapping):
        return None
    found = {str(name).lower(): value for name, value in headers.items()}.get("date")
    return str(found[0] if isinstance(found, list) and found else found)


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        return SplitResult("", "", "", "", "")

"""Recorded answers over HTTP, as files keep them: the body, and what is known around it.

Read are, told apart by their first bytes, and each also packed with gzip, or in UTF-16 as some
shells write what they are given:

- a body as it came, and nothing else;
- `{"request": …, "response": …}`: the body at `response.bodyJson`, or at `response.body` as text;
- `{"url": …, "status": 200, "headers": …, "body": …}`: the same without the wrapper;
- a VCR cassette, YAML or JSON: the bodies at `interactions[i].response.body.string`;
- HAR, as browsers export it: the bodies at `log.entries[i].response.content.text`.
"""

from __future__ import annotations

import base64
import codecs
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

import msgspec

from tickerlake.errors import LimitError, MalformedError
from tickerlake.sources.http import parse_http_date

__all__ = ["Recorded", "plain", "recorded"]

#: As large as an answer over the wire may be.
_BYTES_MAX: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Recorded:
    """One answer. Header names are lower-case; `url` is "" where nobody says it."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    url: str = ""

    @property
    def date(self) -> datetime | None:
        """When the provider answered, by its own clock."""
        return parse_http_date(self.headers.get("date"))

    @property
    def path(self) -> str:
        """What was asked for, without host and parameters."""
        return _split(self.url).path

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the request; may hold a key, so it is never shown."""
        return dict(parse_qsl(_split(self.url).query))


def recorded(payload: bytes) -> list[Recorded]:
    """The answers of a file, in their order: one, but for cassettes.

    Raises:
        MalformedError: gzip, YAML or a wrapper that is broken.
        LimitError: gzip of more than 64 MiB.
    """
    payload = plain(payload)
    start = payload[:64].lstrip(b" \t\r\n")
    if start.startswith((b"interactions:", b"version:", b"---")) and b"interactions" in payload:
        return list(_cassette(_yaml(payload)))
    if start.startswith(b"{") and any(mark in payload for mark in _MARKS):
        document = _json(payload)
        if isinstance(document.get("interactions"), list):
            return list(_cassette(document))
        if isinstance(document.get("response"), Mapping):
            return [_interaction(document)]
        if type(document.get("status")) is int and document.keys() & {"body", "bodyJson"}:
            return [_interaction({"request": document, "response": document})]
        log = document.get("log")
        if isinstance(log, Mapping) and isinstance(log.get("entries"), list):
            return [_interaction(_of_har(entry)) for entry in log["entries"]]
    return [Recorded(payload)]


_MARKS: Final = (b'"response"', b'"interactions"', b'"body"', b'"bodyJson"')


def _of_har(entry: object) -> Mapping[str, Any]:
    """An entry of HAR in the shape of the others."""
    told = entry if isinstance(entry, Mapping) else {}
    response = told.get("response")
    if not isinstance(response, Mapping) or not isinstance(response.get("content"), Mapping):
        raise _broken("an entry with a response and its content", entry)
    content, headers = response["content"], response.get("headers")
    body = content.get("text") or ""
    if content.get("encoding") == "base64":
        try:
            body = base64.b64decode(body)
        except (ValueError, TypeError) as error:
            raise _broken("content in base64", body) from error
    named = (
        [one for one in headers if isinstance(one, Mapping)] if isinstance(headers, list) else []
    )
    return {
        "request": told.get("request"),
        "response": {
            "status": response.get("status"),
            "headers": {str(one.get("name")): one.get("value") for one in named},
            "body": body,
        },
    }


def plain(payload: bytes) -> bytes:
    """A file as its provider sent it: unpacked, and as UTF-8 without a mark before it.

    Raises:
        MalformedError: gzip that is broken.
        LimitError: gzip of more than 64 MiB.
    """
    payload = _unpacked(payload)
    if payload.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return payload.decode("utf-16").encode()
        except UnicodeError:
            return payload  # no text: the provider says what is wrong with its body
    return payload.removeprefix(codecs.BOM_UTF8)


def _unpacked(payload: bytes) -> bytes:
    if payload[:2] != b"\x1f\x8b":
        return payload
    try:
        with gzip.open(io.BytesIO(payload)) as stream:
            found = stream.read(_BYTES_MAX + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _broken("sound gzip", error) from error
    if len(found) > _BYTES_MAX:
        raise LimitError(
            "This recording is too large.",
            expected=f"at most {_BYTES_MAX:,} bytes",
            found="more, unpacked",
            todo="give a shorter one",
        )
    return found


def _json(payload: bytes) -> Mapping[str, Any]:
    """The document, or nothing: then the provider says what is wrong with its body."""
    try:
        found = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return {}
    return found if isinstance(found, Mapping) else {}


def _yaml(payload: bytes) -> Mapping[str, Any]:
    import yaml

    # libyaml where the wheel has it: ten times as fast.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        found = yaml.load(payload, Loader=loader)  # noqa: S506 - both are safe loaders
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise _broken("a VCR cassette in sound YAML", error) from error
    return found if isinstance(found, Mapping) else {}


def _cassette(document: Mapping[str, Any]) -> Iterator[Recorded]:
    told = document.get("interactions")
    if not isinstance(told, list) or not told:
        raise _broken("interactions, as a list", told)
    for interaction in told:
        if not isinstance(interaction, Mapping):
            raise _broken("interactions with request and response", interaction)
        yield _interaction(interaction)


def _interaction(told: Mapping[str, Any]) -> Recorded:
    request, response = told.get("request"), told.get("response")
    if not isinstance(response, Mapping):
        raise _broken("a response", response)
    url = request.get("uri") or request.get("url") if isinstance(request, Mapping) else None
    status = response.get("status")
    if isinstance(status, Mapping):
        status = status.get("code")
    headers = response.get("headers")
    return Recorded(
        body=_body(response),
        status=status if isinstance(status, int) and not isinstance(status, bool) else 200,
        headers={str(k).lower(): _text(v) for k, v in headers.items()}
        if isinstance(headers, Mapping)
        else {},
        url=url if isinstance(url, str) else "",
    )


def _body(response: Mapping[str, Any]) -> bytes:
    body = response.get("bodyJson")
    body = response.get("body") if body is None else body
    if isinstance(body, Mapping) and "string" in body:
        body = body["string"]
    if body is None:
        return b""
    if isinstance(body, str):
        body = body.encode(errors="replace")
    if isinstance(body, bytes):
        return plain(body)  # VCR keeps a compressed body as it came
    # A document inside a document. Its numbers are written as they were read, to the last digit.
    try:
        return json.dumps(body, default=str).encode()
    except (ValueError, RecursionError) as error:  # YAML can nest a thing in itself
        raise _broken("a body", error) from error


def _text(value: object) -> str:
    """A header's value; recorders keep several of one name as a list."""
    if isinstance(value, list):
        value = value[0] if value else ""
    return str(value)


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        return SplitResult("", "", "", "", "")


def _broken(expected: str, found: object) -> MalformedError:
    return MalformedError(
        "This recording is broken.",
        expected=expected,
        found=repr(found)[:160],
        todo="record the answer again",
    )

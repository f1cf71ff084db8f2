"""Yahoo's answers as bytes → the chart inside, or the error of our tree that they tell.

Errors come with every status, 200 included.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from tickerlake.errors import (
    MalformedError,
    NotFoundError,
    RangeError,
    RateLimitedError,
    TickerlakeError,
    UnreachableError,
)
from tickerlake.sources.recordings import Recorded
from tickerlake.sources.refusals import Rule
from tickerlake.sources.refusals import refusal as told_refusal

__all__ = [
    "Opened",
    "Recording",
    "chart_of",
    "open_body",
    "open_recording",
    "other_note",
    "refusal",
    "without_crumb",
]

#: What else Yahoo answers, by a key of it.
_KINDS = {
    "quoteResponse": "quotes (v7/finance/quote)",
    "quotes": "search results (v1/finance/search)",
    "quoteSummary": "a quote summary",
    "optionChain": "options",
    "spark": "sparklines",
    "timeseries": "fundamentals",
    "finance": "search or screener results",
    "ResultSet": "completions of what one types",
    "news": "news",
}


@dataclass(frozen=True, slots=True)
class Recording:
    """One answer: the chart's `result[0]`, and what stood around it.

    `period` is what was asked for, epoch seconds, end excluded; None where nobody says. `url` is
    where it came from, without the crumb.
    """

    result: Mapping[str, Any]
    #: As the caller or the recorded request names it, where one does.
    symbol: str | None
    date: datetime | None
    period: tuple[int, int] | None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """One answer as JSON, and what a wrapper told of it."""

    body: object
    symbol: str | None
    date: datetime | None
    period: tuple[int, int] | None
    url: str | None = None


def open_recording(told: Recorded, *, symbol: str | None = None) -> Recording:
    """Find the chart in an answer, recorded or fresh.

    Raises:
        NotFoundError, RangeError, RateLimitedError, UnreachableError: What the answer says.
        MalformedError: No history answer of Yahoo's.
    """
    return chart_of(open_body(told, symbol=symbol))


def chart_of(opened: Opened) -> Recording:
    """The chart in an answer that is JSON already.

    Raises:
        MalformedError: No history answer of Yahoo's.
    """
    result = _result(opened.body)
    return Recording(result, opened.symbol, opened.date, opened.period, opened.url)


def open_body(told: Recorded, *, symbol: str | None = None) -> Opened:
    """The JSON of an answer of any kind, recorded or fresh, unless it tells an error.

    Raises:
        NotFoundError, RangeError, RateLimitedError, UnreachableError: What the answer says.
        MalformedError: No JSON, or JSON that was cut.
    """
    asked, slash, last = told.path.rpartition("/")
    if symbol is None and slash and asked.endswith("/chart"):
        symbol = urllib.parse.unquote(last) or None
    body = _json(told.body, told.status, symbol)
    refused = refusal(told.status, body, symbol)
    if refused is not None:
        raise refused
    return Opened(body, symbol, told.date, _period(told.query), without_crumb(told.url) or None)


def other_note(body: object) -> str | None:
    """What an answer without history, search results or quotes is, if it is one that we know."""
    keys = body.keys() if isinstance(body, Mapping) else ()
    kind = next((said for key, said in _KINDS.items() if key in keys), None)
    return None if kind is None else f"{kind}, no records"


def without_crumb(url: str) -> str:
    """The address without what proves who asked."""
    parts = urllib.parse.urlsplit(url)
    asked = urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
    kept = urllib.parse.urlencode([pair for pair in asked if pair[0] != "crumb"], safe="/:")
    return parts._replace(query=kept).geturl()


def refusal(status: int, body: object, symbol: str | None) -> TickerlakeError | None:
    """The error that an answer tells by its status and envelope; None if it tells none."""
    code, text = _told(body)
    return _refused(status, code, text, symbol)


#: The first that fits counts: words say more than codes, and codes more than statuses.
_RULES = (
    Rule(RateLimitedError, "Yahoo asks us to come back later.", "wait some minutes",
          statuses=(429,), words=("too many requests",)),
    Rule(RangeError, "Yahoo has no bars of {name} in this range.", "ask for another range",
          words=("data doesn't exist", "timestamp data missing")),
    Rule(RangeError, "Yahoo does not give {name} for this interval and range.",
          "ask for a later or shorter range, or a longer interval",
          statuses=(422,), codes=("Unprocessable Entity",),
          words=("must be within the last", "invalid input - interval")),
    Rule(NotFoundError, "Yahoo does not know {name}.", "check the spelling of the symbol",
          codes=("Not Found",)),
    Rule(UnreachableError, "Yahoo refuses to answer us.", "try again later",
          statuses=(401, 403), codes=("Unauthorized", "Forbidden")),
    Rule(UnreachableError, "Yahoo cannot answer at the moment.", "try again later",
          codes=("internal-error", "Internal Server Error"),
          words=("will be right back",)),
    Rule(UnreachableError, "Yahoo sends us to a page for people.", "try again later",
          words=("consent.yahoo", "guce.yahoo", "collectconsent")),
)  # fmt: skip


def _refused(status: int, code: str, text: str, symbol: str | None) -> TickerlakeError | None:
    told = f"{code} {text[:4000]}".strip()
    found = told_refusal(
        _RULES,
        provider="Yahoo",
        status=status,
        text=told,
        symbol=symbol,
        expected="price history",
        code=code,
    )
    if found is not None or not code:
        return found
    return MalformedError(
        "Yahoo refuses this request.",
        expected="price history",
        found=f"HTTP {status}: {told[:200]}",
        todo="report it, with what was found",
    )


def _told(body: object) -> tuple[str, str]:
    """Code and description of whatever envelope carries an error."""
    if not isinstance(body, Mapping):
        return "", ""
    for envelope in body.values():
        error = envelope.get("error") if isinstance(envelope, Mapping) else None
        if isinstance(error, Mapping):
            return str(error.get("code") or ""), str(error.get("description") or "")
        if isinstance(error, str):
            return error, ""
    return "", ""


def _result(body: object) -> Mapping[str, Any]:
    chart = body.get("chart") if isinstance(body, Mapping) else None
    if not isinstance(chart, Mapping):
        keys = list(body) if isinstance(body, Mapping) else []
        kind = next((_KINDS[key] for key in keys if key in _KINDS), "something else")
        raise MalformedError(
            f"This is no price history of Yahoo's, but {kind}.",
            expected="an answer of v8/finance/chart, v1/finance/search or v7/finance/quote",
            found=", ".join(map(str, keys[:8])) or type(body).__name__,
            todo="give a recorded answer of one of these",
        )
    results = chart.get("result")
    if not isinstance(results, list) or not results or not isinstance(results[0], Mapping):
        raise _shapeless("a chart without a result", repr(chart)[:120])
    result: Mapping[str, Any] = results[0]
    if not isinstance(result.get("meta"), Mapping):
        raise _shapeless("a chart without meta", ", ".join(map(str, result)))
    return result


def _shapeless(what: str, found: str) -> MalformedError:
    return MalformedError(
        f"Yahoo's answer is {what}.",
        expected="chart.result[0] with meta, timestamp and indicators",
        found=found,
        todo="try again; if it stays, Yahoo has changed: report it",
    )


def _json(payload: bytes, status: int, symbol: str | None) -> Any:  # noqa: ANN401 - JSON is any
    try:
        return msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        # Pages for people and bare sentences come with any status, 200 included.
        is_cut = payload.lstrip()[:1] in (b"{", b"[")
        page = "" if is_cut else payload[:4000].decode(errors="replace")
        raise _refused(status, "", page, symbol) or MalformedError(
            "Yahoo's answer is no JSON, or was cut.",
            expected="JSON",
            found=f"{len(payload):,} bytes: {payload[:60]!r}",
            todo="try again; if it stays, Yahoo has changed: report it",
        ) from error


def _period(query: Mapping[str, str]) -> tuple[int, int] | None:
    try:
        return int(query["period1"]), int(query["period2"])
    except (KeyError, ValueError):
        return None

"""Every source with a key goes through success and every error, told at length: no key anywhere."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from command import tickerlake
from seeds import payloads
from tickerlake.errors import TickerlakeError
from tickerlake.sources import (
    BarsRequest,
    Batches,
    Describes,
    Lists,
    Live,
    Renames,
    Searches,
    Source,
    Ticks,
    TicksRequest,
    names,
    open_source,
)
from tickerlake.sources.registry import settings_type
from tickerlake.testing.provider import (
    Fault,
    ProviderAnswer,
    ProviderRequest,
    provider_server,
)
from tickerlake.testing.provider_faults import reset, too_many, truncated

KEYS = {"api_key": "Kq7-nobodys-key-x9", "api_secret": "Sz4-nobodys-secret-w2"}
STATUSES = (200, 400, 401, 403, 404, 429, 500)
QUICK = {
    "attempts_max": 1,
    "circuit_seconds": 0.0,
    "requests_per_second": None,
    "backoff_seconds": 0.0,
}


def fields(name: str) -> list[str]:
    return [field.name for field in dataclasses.fields(settings_type(name))]


KEYED = [name for name in names() if "api_key" in fields(name)]


def echo(status: int, shape: str) -> Fault:
    """Says back whatever it was told: headers, parameters, and the body."""

    def said(request: ProviderRequest, _: ProviderAnswer) -> ProviderAnswer:
        heard = f"we heard {dict(request.headers)} {dict(request.query)} {request.body!r}"
        if shape == "page":
            return ProviderAnswer(f"<html>{heard}</html>", status, {"content-type": "text/html"})
        if shape == "text":
            return ProviderAnswer(heard, status, {"content-type": "text/plain"})
        words = ("message", "error", "msg", "detail", "Information", "Error Message", "status")
        return ProviderAnswer(dict.fromkeys(words, heard), status)

    return said


def elsewhere(request: ProviderRequest, _: ProviderAnswer) -> ProviderAnswer:
    """Sends us away, with the key in the address."""
    told = "&".join(f"{name}={value}" for name, value in request.query.items())
    return ProviderAnswer("", 302, {"location": f"https://elsewhere.example/?{told}"})


FAULTS: dict[str, Fault] = {
    **{f"{status} json": echo(status, "json") for status in STATUSES},
    **{
        f"{status} {shape}": echo(status, shape)
        for status in (200, 403)
        for shape in ("text", "page")
    },
    "later": too_many("3600"),
    "reset": reset("within"),
    "cut": truncated(),
    "elsewhere": elsewhere,
}


def calls(source: Source) -> Iterator[Callable[[], object]]:
    """All that a source can be asked over HTTP."""
    interval = source.limits.intervals[0] if source.limits.intervals else "1d"
    days = BarsRequest("ACME", interval, date(2024, 1, 2), date(2024, 1, 3))
    yield lambda: source.bars(days)
    if isinstance(source, Searches):
        yield lambda: source.search("acme")
    if isinstance(source, Describes):
        yield lambda: source.describe(["ACME"])
    if isinstance(source, Lists):
        yield source.listing
    if isinstance(source, Renames):
        yield lambda: source.renames("ACME")
    if isinstance(source, Batches):
        yield lambda: dict(source.bars_of(["ACME", "EMCA"], days))
    if isinstance(source, Ticks):
        start = datetime(2024, 1, 2, 15, tzinfo=UTC)
        for kind in {"trade", "quote"} & set(source.limits.history):
            asked = TicksRequest("ACME", kind, start, start + timedelta(minutes=1))  # type: ignore[arg-type]
            yield lambda asked=asked: list(source.ticks(asked))  # type: ignore[misc]


@contextlib.contextmanager
def everything_told() -> Iterator[list[str]]:
    """What any library logs, as the most curious of users would have it."""
    lines: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage() + json.dumps(record.__dict__, default=repr))

    handler, root = Kept(), logging.getLogger()
    ours = logging.getLogger("tickerlake")
    before = root.level, ours.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    ours.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        root.removeHandler(handler)
        root.setLevel(before[0])
        ours.setLevel(before[1])


def keyless(text: str) -> bool:
    return not any(key in text for key in KEYS.values())


@pytest.mark.parametrize("name", KEYED)
def test_no_answer_error_or_log_line_holds_a_key(name: str) -> None:
    """Refused, mocked by an echo, cut off or sent away: what is said of it holds no key."""
    good = next(answer for answer in payloads(name) if b'page_token": "' not in answer)
    with provider_server(lambda _: ProviderAnswer(good)) as server:
        addresses = {key: server.base_url for key in fields(name) if key.endswith("_url")}
        secrets = {key: KEYS[key] for key in KEYS if key in fields(name)}
        known = {key: value for key, value in QUICK.items() if key in fields(name)}
        source = open_source(name, settings=known | addresses | secrets)
        with everything_told() as lines:
            for fault in (None, *FAULTS.values()):
                for call in calls(source):
                    server.order(*([fault] * 4 if fault else []))
                    try:
                        lines.append(repr(call()))
                    except TickerlakeError:
                        lines.append(traceback.format_exc())
                    server.faults.clear()
            if isinstance(source, Live):
                lines.append(repr(source.dialect(["ACME"], source.limits.live)))
        heard = [f"{dict(request.headers)} {dict(request.query)}" for request in server.requests]
    assert any(not keyless(text) for text in heard), "the key was sent nowhere: nothing was tried"
    assert any("http" in line for line in lines), "nothing was logged: nothing was tried"
    assert [line for line in lines if not keyless(line)] == []


@pytest.mark.slow
def test_the_command_line_keeps_it_too(tmp_path: Path) -> None:
    """`fetch --debug --log-level debug` in words and JSON: no key in what it says or leaves."""
    day = {"open": 10, "high": 11, "low": 9, "close": 10.5, "volume": 9, "adjClose": 10.5}
    good = ProviderAnswer([{"date": "2024-01-02T00:00:00.000Z", **day}])
    tickerlake("init", ".", cwd=tmp_path)
    with provider_server(lambda _: good) as server:
        env = {
            "TICKERLAKE_SOURCES_TIINGO_API_KEY": KEYS["api_key"],
            "TICKERLAKE_SOURCES_TIINGO_BASE_URL": server.base_url,
            "TICKERLAKE_SOURCES_TIINGO_CIRCUIT_SECONDS": "0",
            "TICKERLAKE_SOURCES_TIINGO_ATTEMPTS_MAX": "1",
        }
        fetch = ("fetch", "--source", "tiingo", "--start", "2024-01-02", "--end", "2024-01-02")
        words, objects = ("--log-level", "debug"), ("--json", "--log-format", "json")
        for fault, how in ((None, words), ("401 json", objects), ("200 page", words)):
            server.order(*([FAULTS[fault]] * 3 if fault else []))
            symbol = f"A{len(server.requests)}"  # one that is not cached yet
            said = tickerlake(*fetch, symbol, *how, cwd=tmp_path, expect=None, **env)
            server.faults.clear()
            assert keyless(said.out + said.err), fault
            assert (said.code == 0) == (fault is None)
        shown = tickerlake("config", "show", cwd=tmp_path, **env)
        assert keyless(shown.out + shown.err)
        assert KEYS["api_key"] in str(server.requests)
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or keyless(path.read_bytes().decode("latin-1")), path

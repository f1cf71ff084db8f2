"""What Yahoo is asked, how ranges are split, and what happens when the wire is bad."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tickerlake import __version__, clock
from tickerlake.cache import CachedSource
from tickerlake.errors import (
    ConfigError,
    LimitError,
    MalformedError,
    NotFoundError,
    RangeError,
    RateLimitedError,
    TickerlakeError,
    UnreachableError,
)
from tickerlake.sources import BarsRequest, Source, open_source
from yahoo_double import Answer, YahooServer, at, chart, encoded, error, yahoo_server

GOOD = (10.0, 11.0, 9.0, 10.5, 100.0)
NOW = "2024-03-08T22:00:00Z"
PATIENCE = {
    "requests_per_second": None,
    "attempts_max": 3,
    "backoff_seconds": 0.01,
    "read_timeout_seconds": 20.0,
    "body_bytes_max": 10_000,
}


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKERLAKE_NOW", NOW)
    clock._offset.cache_clear()  # the story starts anew with each test


@contextmanager
def yahoo(
    answer: Callable[[str, dict[str, str]], Answer], **settings: Any
) -> Iterator[tuple[Source, YahooServer]]:
    with yahoo_server(answer) as server:
        told = PATIENCE | {"base_url": server.base_url} | settings
        yield open_source("yahoo", settings=told), server


def good(symbol: str, query: dict[str, str]) -> Answer:
    body = chart(
        {"2024-03-06T14:30": GOOD, "2024-03-07T14:30": GOOD, "2024-03-08T14:30": GOOD},
        symbol=symbol,
        dataGranularity=query["interval"],
        regular=("2024-03-08T14:30", "2024-03-08T21:00"),
    )
    return Answer(encoded(body))


def in_turn(*answers: Answer) -> Callable[[str, dict[str, str]], Answer]:
    """Each request gets the next answer; the last one stays."""
    left = list(answers)
    return lambda symbol, query: left.pop(0) if len(left) > 1 else left[0]


def asked(server: YahooServer) -> list[tuple[datetime, datetime]]:
    return [
        tuple(datetime.fromtimestamp(int(query[name]), UTC) for name in ("period1", "period2"))
        for _, query in server.requests
    ]  # type: ignore[misc]


def test_a_day_range_is_one_request_with_margins_for_every_zone() -> None:
    """Session dates are local: a day before and after are asked for, and the answer is cut."""
    with yahoo(good) as (source, server):
        bars = source.bars(BarsRequest("^AB=C", "1d", date(2024, 3, 6), date(2024, 3, 7))).bars
    ((path, query),) = server.requests
    assert path == "/v8/finance/chart/%5EAB%3DC"
    assert query["interval"] == "1d"
    assert query["events"] == "div|split|capitalGain"
    assert query["includePrePost"] == "false"
    assert asked(server) == [(datetime(2024, 3, 5, tzinfo=UTC), datetime(2024, 3, 9, tzinfo=UTC))]
    assert bars["session_date"].to_pylist() == [date(2024, 3, 6), date(2024, 3, 7)]
    assert server.agents == {f"tickerlake/{__version__}"}


def test_a_mirror_may_live_under_a_path() -> None:
    """The vendor's path is appended unchanged to whatever base_url is set."""
    with yahoo_server(good) as server:
        base_url = server.base_url + "/mirror/"
        source = open_source("yahoo", settings=PATIENCE | {"base_url": base_url})
        source.bars(BarsRequest("ACME"))
    assert server.requests[0][0] == "/mirror/v8/finance/chart/ACME"


def test_a_mirror_on_this_machine_needs_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the environment is for the world outside, not for this machine."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with yahoo(good) as (source, _):
        assert source.bars(BarsRequest("ACME")).bars.num_rows == 3


def test_minutes_are_asked_for_in_spans_of_seven_days() -> None:
    """1m: at most 7 days a request; parts follow each other without hole or overlap."""
    with yahoo(good, prepost=True) as (source, server):
        start, end = datetime(2024, 2, 20, tzinfo=UTC), datetime(2024, 3, 8, tzinfo=UTC)
        source.bars(BarsRequest("ACME", "1m", start, end))
    parts = asked(server)
    assert parts[0][0] == start
    assert parts[-1][1] == end
    assert all(later[0] == earlier[1] for earlier, later in pairwise(parts))
    assert max(last - first for first, last in parts) == timedelta(days=7)
    assert all(query["includePrePost"] == "true" for _, query in server.requests)
    assert all("events" not in query for _, query in server.requests)


def test_parts_of_a_range_are_joined_without_doubles() -> None:
    """Each part is cut to what it was asked for, so that a repeated row stands once."""
    with yahoo(good) as (source, _):
        bars = source.bars(BarsRequest("ACME", "1m", date(2024, 2, 20), date(2024, 3, 8))).bars
    assert bars["session_date"].to_pylist() == [date(2024, 3, day) for day in (6, 7, 8)]


def test_what_lies_before_the_look_back_is_listed() -> None:
    """A range that reaches too far back is fetched as far as it goes, and the rest is named."""
    with yahoo(good) as (source, server):
        answer = source.bars(BarsRequest("ACME", "1m", date(2024, 1, 1)))
    edge = datetime(2024, 2, 7, 23, tzinfo=UTC)
    assert timedelta(0) <= asked(server)[0][0] - edge < timedelta(minutes=1)
    assert answer.bars.num_rows == 3
    (missing,) = answer.missing
    assert missing == "ACME 1m from 2024-01-01 to 2024-02-07 23:00Z: Yahoo keeps 30 days"


def test_without_a_start_the_look_back_is_the_start() -> None:
    """None = as far as the provider goes: nothing is missing then."""
    with yahoo(good) as (source, server):
        answer = source.bars(BarsRequest("ACME", "5m"))
    edge = datetime(2024, 1, 8, 23, tzinfo=UTC)
    assert timedelta(0) <= asked(server)[0][0] - edge < timedelta(minutes=1)
    assert answer.missing == ()


def test_a_range_wholly_before_the_look_back_asks_nobody() -> None:
    """Nothing is asked for what Yahoo certainly refuses."""
    with yahoo(good) as (source, server):
        with pytest.raises(RangeError, match="last 30 days"):
            source.bars(BarsRequest("ACME", "1m", date(2023, 1, 1), date(2023, 2, 1)))
        assert source.bars(BarsRequest("ACME", "1d", date(2025, 1, 1))).bars.num_rows == 0
    assert server.requests == []


def test_weeks_and_months_are_asked_for_from_their_first_day() -> None:
    """A range that starts inside a month holds that month's bar."""
    body = chart(
        {"2024-02-01T05:00": GOOD, "2024-03-01T05:00": GOOD}, dataGranularity="1mo",
        regular=("2024-03-08T14:30", "2024-03-08T21:00"),
    )  # fmt: skip
    with yahoo(in_turn(Answer(encoded(body)))) as (source, _):
        bars = source.bars(BarsRequest("ACME", "1mo", date(2024, 2, 20))).bars
    assert bars["session_date"].to_pylist() == [date(2024, 2, 1), date(2024, 3, 1)]


def test_bars_off_their_anchor_are_an_error() -> None:
    """A week that starts on a Wednesday would have a key of its own."""
    body = chart({"2024-02-19T05:00": GOOD, "2024-02-28T05:00": GOOD}, dataGranularity="1wk")
    with (
        yahoo(in_turn(Answer(encoded(body)))) as (source, _),
        pytest.raises(MalformedError, match="off their anchor"),
    ):
        source.bars(BarsRequest("ACME", "1wk"))


def test_a_part_before_the_listing_is_no_failure() -> None:
    """400 "Data doesn't exist" for one part leaves the others; for all parts it is the error."""
    early = Answer(encoded(error("Bad Request", "Data doesn't exist for startDate = 1")), 400)

    def listed(symbol: str, query: dict[str, str]) -> Answer:
        return good(symbol, query) if int(query["period2"]) > at("2024-03-06T00:00") else early

    request = BarsRequest("ACME", "1m", date(2024, 2, 20))
    with yahoo(listed) as (source, _):
        assert source.bars(request).bars.num_rows == 3
    with yahoo(in_turn(early)) as (source, _), pytest.raises(RangeError, match="no bars of ACME"):
        source.bars(request)


@pytest.mark.parametrize(
    "request_",
    [
        BarsRequest("ACME", "1m", date(2024, 3, 1), date(2024, 3, 7)),
        BarsRequest("ACME", "1m", date(2020, 1, 1)),
        BarsRequest("ACME", "5m"),
        BarsRequest("ACME", "1d", date(1990, 1, 1)),
        BarsRequest("ACME", "1d", date(2025, 1, 1)),
    ],
)
def test_the_plan_counts_the_requests_that_are_sent(request_: BarsRequest, tmp_path: Path) -> None:
    """What `fetch --plan` says is what the provider then hears."""
    with yahoo(good) as (source, server):
        cached = CachedSource(source, tmp_path)
        planned = cached.requests(request_)
        assert server.requests == []
        with suppress(RangeError):  # the double knows one week only
            cached.bars(request_)
        assert len(server.requests) == planned


@pytest.mark.parametrize("trouble", [Answer(b"slow", 429), Answer(b"oops", 503), Answer(b"{")])
def test_what_came_before_a_failure_is_kept(trouble: Answer) -> None:
    """When a later part fails, the parts before it are the answer, and the rest is named."""
    first = good("ACME", {"interval": "1m"})
    with yahoo(in_turn(first, trouble), attempts_max=1) as (source, server):
        answer = source.bars(BarsRequest("ACME", "1m", date(2024, 3, 1), date(2024, 3, 8)))
        assert len(server.requests) == 2
    assert answer.bars.num_rows == 1
    (missing,) = answer.missing
    assert missing.startswith("ACME 1m from 2024-03-07 00:00Z on: Yahoo")


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_server_error_is_tried_again(status: int) -> None:
    """After two failures the third attempt succeeds, and nobody notices."""
    bad = Answer(b"oops", status)
    answers = in_turn(bad, bad, good("ACME", {"interval": "1d"}))
    with yahoo(answers) as (source, server):
        assert source.bars(BarsRequest("ACME")).bars.num_rows == 3
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("answer", "kind", "message", "requests"),
    [
        (Answer(b"oops", 503), UnreachableError, r"HTTP 503, 3 times", 3),
        (Answer(b'{"chart"', bytes_missing=50), UnreachableError, r"RemoteProtocolError", 3),
        (Answer(b"slow", 429, {"Retry-After": "7"}), RateLimitedError, "wait 7 s", 1),
        (Answer(b"slow", 429, {"Retry-After": "Fri, 08 Mar 2024 23:00:00 GMT",
                               "Date": "Fri, 08 Mar 2024 22:00:00 GMT"}), RateLimitedError,
         "wait 3,600 s", 1),
        (Answer(b"Too Many Requests", 429), RateLimitedError, "wait 15 s", 1),
        (Answer(b"x" * 20_000), LimitError, "at most 10,000 bytes", 1),
        (Answer(b'{"chart": {"result": [{"meta"'), MalformedError, "no JSON, or was cut", 1),
        (Answer(b"<html>Will be right back</html>"), UnreachableError, "right back|cannot ans", 1),
        (Answer(b"", 302, {"Location": "https://guce.yahoo.com/"}), UnreachableError, "page", 1),
        (Answer(encoded(error("Not Found", "No data found")), 404), NotFoundError, "know ACME", 1),
    ],
)  # fmt: skip
def test_what_goes_wrong_on_the_wire_has_a_name(
    answer: Answer, kind: type[TickerlakeError], message: str, requests: int
) -> None:
    """Patience where waiting helps, an error of our tree everywhere, no error of the library's."""
    with yahoo(in_turn(answer)) as (source, server):
        with pytest.raises(kind, match=message):
            source.bars(BarsRequest("ACME"))
        assert len(server.requests) == requests


def test_silence_is_given_up_after_all_attempts() -> None:
    """A provider that takes the request and says nothing is asked again, then unreachable."""
    with yahoo(in_turn(Answer(silent=True)), read_timeout_seconds=0.2) as (source, server):
        with pytest.raises(UnreachableError, match=r"ReadTimeout.*3 times"):
            source.bars(BarsRequest("ACME"))
        assert len(server.requests) == 3


def test_an_answer_that_drips_is_given_up() -> None:
    """A whole answer has a deadline of its own, however alive the connection looks."""
    with (
        yahoo(good, total_timeout_seconds=0.0, attempts_max=1) as (source, _),
        pytest.raises(UnreachableError, match="no whole answer in 0 s"),
    ):
        source.bars(BarsRequest("ACME"))


def test_nobody_there_and_no_address() -> None:
    """A closed port is unreachable; a base_url that is none is a matter of configuration."""
    with yahoo_server(good) as server:
        gone = server.base_url
    with pytest.raises(UnreachableError, match="cannot be reached"):
        open_source("yahoo", settings=PATIENCE | {"base_url": gone}).bars(BarsRequest("ACME"))
    for address in ("ftp://x", "query2.finance.yahoo.com"):
        source = open_source("yahoo", settings=PATIENCE | {"base_url": address})
        with pytest.raises(ConfigError, match="no address"):
            source.bars(BarsRequest("ACME"))


@pytest.mark.parametrize("name", ["attempts_max", "body_bytes_max", "requests_per_second"])
def test_settings_that_would_never_ask_are_refused(name: str) -> None:
    """No attempts, no bytes, no pace: a matter of configuration, told before anything is asked."""
    with pytest.raises(ConfigError, match=f"{name} must be positive"):
        open_source("yahoo", settings={name: 0})


def test_a_clock_that_is_off_takes_yahoos_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a minute apart, the Date header counts and a note says so, unless ours was set."""
    yahoos = clock.real_now().replace(microsecond=0) - timedelta(hours=1)
    dated = good("ACME", {"interval": "1d"})
    dated.headers["Date"] = format_datetime(yahoos, usegmt=True)
    with yahoo(in_turn(dated)) as (source, _):
        assert source.bars(BarsRequest("ACME")).notes == ()
        monkeypatch.delenv("TICKERLAKE_NOW")
        answer = source.bars(BarsRequest("ACME"))
    assert answer.bars["fetched_at"][0].as_py() == yahoos
    (note,) = answer.notes
    assert re.fullmatch(r"our clock is \+36\d\d s off Yahoo's, whose time was taken", note)

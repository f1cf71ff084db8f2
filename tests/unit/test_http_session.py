"""The session of all providers: patient where waiting helps, and never with our key elsewhere."""

from __future__ import annotations

import dataclasses
import gzip
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from command import environment
from tickerlake import __version__, clock
from tickerlake.errors import (
    ConfigError,
    LimitError,
    MalformedError,
    RateLimitedError,
    UnreachableError,
)
from tickerlake.sources import names, open_source
from tickerlake.sources.hosts import Hosts, Peace, state_folder
from tickerlake.sources.http import HttpSettings, Session
from tickerlake.sources.registry import settings_type
from tickerlake.testing.provider import (
    ProviderAnswer,
    ProviderRequest,
    ProviderServer,
    provider_server,
)
from tickerlake.testing.provider_faults import (
    answers,
    bodies,
    circle,
    drip,
    elsewhere,
    huge,
    reset,
    too_many,
)

Handler = Callable[[ProviderRequest], ProviderAnswer]


def settings(**changes: object) -> HttpSettings:
    """Patience that a test can bear."""
    return HttpSettings(**({"attempts_max": 3, "backoff_seconds": 0.01} | changes))  # type: ignore[arg-type]


@contextmanager
def session(handler: Handler, **changes: object) -> Iterator[tuple[Session, ProviderServer]]:
    with provider_server(handler) as server:
        opened = Session(server.base_url, settings(**changes), provider="Acme")
        yield opened, server
        opened.close()


def ok(_: ProviderRequest) -> ProviderAnswer:
    return ProviderAnswer({"ok": True})


def short(_: ProviderRequest, healthy: ProviderAnswer) -> ProviderAnswer:
    return dataclasses.replace(healthy, bytes_missing=9)


def test_we_say_who_we_are_and_send_what_we_are_told() -> None:
    """The name is ours, headers of session and call go along, parameters are encoded."""
    with provider_server(ok) as server:
        asking = Session(
            server.base_url + "/mirror/", settings(), provider="Acme", headers={"X-Key": "k1234"}
        )
        asking.get("/v1/bars/%5EA", {"q": "a b|ü"}, headers={"X-More": "1"})
        asking.post("/login", {"agree": "yes & no"}, params={"id": "7"})
        asking.close()
    bars, login = server.requests
    assert bars.path == "/mirror/v1/bars/^A"
    assert bars.query == {"q": "a b|ü"}
    assert bars.headers["user-agent"] == f"tickerlake/{__version__}"
    assert (bars.headers["x-key"], bars.headers["x-more"]) == ("k1234", "1")
    assert (login.method, login.query, login.body) == ("POST", {"id": "7"}, b"agree=yes+%26+no")


def test_the_reply_tells_cookies_and_no_key() -> None:
    """Every cookie is there by its name; the address is shown without what only we may know."""
    with session(ok) as (asking, server):
        server.order(answers(200, "{}", set_cookie="A3=secret-crumb; Path=/"))
        reply = asking.get("/v1", {"symbol": "A", "apikey": "k-4711", "Token": "t-4711"})
    assert reply.cookies == {"A3": "secret-crumb"}
    assert reply.url == f"{server.base_url}/v1?symbol=A"


def test_a_short_retry_after_is_waited_for() -> None:
    """Who asks for little patience gets it, and nobody notices; a date counts by its own clock."""
    date = "Fri, 08 Mar 2024 23:00:00 GMT"
    with session(ok) as (asking, server):
        server.order(too_many("0.05"), answers(503, "down", retry_after=date, date=date))
        assert asking.get("/v1").status == 200
    assert server.count() == 3


def test_who_asks_for_peace_is_left_alone_by_everybody() -> None:
    """A long Retry-After ends the call at once, and the next ones do not even ask."""
    with session(ok) as (asking, server):
        server.order(too_many("600"))
        with pytest.raises(RateLimitedError, match=r"(?s)HTTP 429, 'Too Many.*wait 600 s"):
            asking.get("/v1")
        other = Session(server.base_url, settings(), provider="Acme")
        with pytest.raises(
            RateLimitedError, match=r"(?s)before; not asked again.*wait (600|5\d\d) s"
        ):
            other.get("/v2")
        assert server.count() == 1


def test_peace_without_a_time_grows_each_time() -> None:
    """A 429 that names no time is left alone for longer each time; an answer forgets all that."""
    with session(ok, circuit_seconds=0.001, circuit_seconds_max=50.0) as (asking, server):
        server.order(too_many(), too_many(status=418))
        for _ in range(2):
            with pytest.raises(RateLimitedError):
                asking.get("/v1")
            _wait_until_open(server)
        assert asking.get("/v1").status == 200
    hosts, peace = Hosts(), Peace(failures_max=3, seconds=10, seconds_max=50)
    waits = [hosts.asked("h:1", peace, None, "429") for _ in range(4)]
    assert waits == [10, 20, 40, 50]
    hosts.answered("h:1")  # an answer to a request of before: the host is still left alone
    assert hosts.look("h:1").reason == "asked"


def test_a_silent_host_is_left_alone_until_one_probe_finds_it_again() -> None:
    """After failures in a row nobody asks; then one does, and after its answer all do."""
    with session(ok, circuit_failures_max=4, circuit_seconds=600.0) as (asking, server):
        server.order(*[answers(500, "oops")] * 4)
        with pytest.raises(UnreachableError, match="HTTP 500, 3 times"):
            asking.get("/v1")
        with pytest.raises(UnreachableError, match="HTTP 500, 1 time"):  # the fourth in a row
            asking.get("/v1")
        with pytest.raises(UnreachableError, match=r"HTTP 500, again and again; not asked before"):
            asking.get("/v1")
        assert server.count() == 4
    hosts, peace = Hosts(), Peace(failures_max=1, seconds=0.0, seconds_max=1.0)
    hosts.failed("h:1", peace, "silence")
    assert hosts.turn("h:1", None).probe  # its time, none at all, is over
    hosts.answered("h:1")
    assert not hosts.turn("h:1", None).probe


def test_while_one_probes_the_others_wait() -> None:
    """Half open is open for one: whoever comes beside the probe is told to wait."""
    hosts, peace = Hosts(), Peace(failures_max=1, seconds=2.0, seconds_max=2.0)
    hosts.failed("h:1", peace, "silence")
    while not (turn := hosts.turn("h:1", None)).probe:
        clock.sleep(turn.closed_seconds)
    assert hosts.turn("h:1", None).closed_seconds > 0
    hosts.answered("h:1")
    assert hosts.turn("h:1", None).closed_seconds == 0


def test_many_threads_share_one_session_and_one_pace() -> None:
    """A session serves threads; together they wait for as many turns as requests, less a burst."""
    with session(ok, requests_per_second=50.0, requests_burst=2) as (asking, server):
        began = clock.monotonic_seconds()
        threads = [threading.Thread(target=asking.get, args=("/v1",)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.count() == 8
        assert clock.monotonic_seconds() - began >= (8 - 2) / 50


def test_many_processes_keep_one_pace(tmp_path: Path) -> None:
    """Four processes with three turns each: together they waited as one would have."""
    code = """
import sys
from tickerlake.clock import real_now
from tickerlake.sources.http import HttpSettings, Session
from tickerlake.sources.registry import settings_type
asking = Session(sys.argv[1], HttpSettings(requests_per_second=20.0), provider="Acme")
for _ in range(3):
    asking.get("/v1")
"""
    with provider_server(ok) as server:
        began = clock.monotonic_seconds()
        running = [
            subprocess.Popen([sys.executable, "-c", code, server.base_url], env=environment())
            for _ in range(4)
        ]
        assert [process.wait(60) for process in running] == [0] * 4
        assert server.count() == 12
        assert clock.monotonic_seconds() - began >= 11 / 20


def test_a_process_knows_what_another_was_told() -> None:
    """One process is sent away for an hour; the next one does not ask."""
    code = """
import sys
from tickerlake.errors import RateLimitedError
from tickerlake.sources.http import HttpSettings, Session
from tickerlake.sources.registry import settings_type
try:
    Session(sys.argv[1], HttpSettings(), provider="Acme").get("/v1")
except RateLimitedError as error:
    print(error)
"""
    with provider_server(ok) as server:
        server.order(too_many("3600"))
        said = [
            subprocess.run(
                [sys.executable, "-c", code, server.base_url],
                env=environment(), capture_output=True, text=True, check=True,
            ).stdout
            for _ in range(2)
        ]  # fmt: skip
    assert "wait 3,600 s" in said[0]
    assert "not asked again" in said[1]
    assert server.count() == 1


def test_a_clock_that_was_turned_back_locks_nobody_out(tmp_path: Path) -> None:
    """A stored time in the future counts as now: an hour's peace is an hour from now at most."""
    peace = Peace(failures_max=1, seconds=10.0, seconds_max=10.0)
    hosts = Hosts(tmp_path)
    hosts.failed("h:1", peace, "silence")
    hosts.turn("h:2", 1.0)
    with sqlite3.connect(tmp_path / "hosts-1.sqlite") as book:
        book.execute("update hosts set closed_at = 4e9, counted_at = 4e9")
    book.close()
    assert 9 < hosts.look("h:1").closed_seconds <= 10
    assert 0.9 < hosts.turn("h:2", 1.0).wait_seconds <= 1


def test_the_storys_clock_moves_no_turn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Pace and peace are real time, whatever day is played."""
    Hosts(tmp_path).asked("h:1", Peace(1, 1.0, 1.0), 3600.0, "later")
    monkeypatch.setenv("TICKERLAKE_NOW", "2099-01-01T00:00:00Z")
    assert Hosts(tmp_path).look("h:1").closed_seconds > 3590


def test_a_damaged_book_is_made_anew_and_a_forbidden_one_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is known of hosts may be lost, and never stops a request."""
    (tmp_path / "hosts-1.sqlite").write_bytes(b"no database, by any means" * 100)
    assert Hosts(tmp_path).turn("h:1", 0.01).wait_seconds == 0
    assert Hosts(tmp_path).turn("h:1", 0.01).wait_seconds > 0
    (tmp_path / "file").write_text("where a folder should be")
    alone = Hosts(tmp_path / "file")
    assert alone.turn("h:1", 0.01).wait_seconds == 0
    assert alone.turn("h:1", 0.01).wait_seconds > 0
    (told,) = caplog.messages
    assert "TICKERLAKE_STATE names another folder" in told


def test_redirects_stay_on_the_host() -> None:
    """A move on the same host is followed; another host never hears of us, nor of our key."""
    with (
        provider_server(ok) as foreign,
        session(ok, circuit_failures_max=50) as (asking, server),
    ):
        server.order(answers(301, location="/v2/bars?x=1"))
        assert asking.get("/v1/bars").url == f"{server.base_url}/v2/bars?x=1"
        server.order(elsewhere(foreign.base_url + "/consent"))
        with pytest.raises(UnreachableError, match=r"(?s)another host.*302 to 127\.0\.0\.1"):
            asking.get("/v1/bars")
        server.order(elsewhere(foreign.base_url + "/consent"))
        assert asking.get("/v1/bars", follow_redirects=False).status == 302
        for nonsense in ("ftp://x", "mailto:me", "https://[::1"):
            server.order(*[answers(302, location=nonsense)] * 3)  # what is no address is tried on
            with pytest.raises(UnreachableError, match=r"another host|Invalid URL|absolute"):
                asking.get("/v1/bars")
            server.faults.clear()
        server.order(*[circle()] * 6)
        with pytest.raises(UnreachableError, match="in circles"):
            asking.get("/v1/bars")
    assert foreign.requests == []


def test_a_next_page_is_followed_at_our_own_address_only() -> None:
    """A vendor's own name leads to base_url, so that mirrors work; a foreign one nowhere."""
    with session(ok) as (asking, server):
        own = ("api.acme.example", "api.old-acme.example")
        asking.follow(server.base_url + "/v3/x?cursor=1")
        asking.follow("https://api.old-acme.example/v3/x?cursor=2", own_hosts=own)
        asking.follow("/v3/x?cursor=3")
        for foreign in ("https://evil.example/v3/x?cursor=4", "//evil.example/x", "https://[::1"):
            with pytest.raises(MalformedError, match="nothing was sent there"):
                asking.follow(foreign, own_hosts=own)
    assert [request.query["cursor"] for request in server.requests] == ["1", "2", "3"]
    assert {request.path for request in server.requests} == {"/v3/x"}


def test_a_proxy_of_the_settings_is_used_for_everything() -> None:
    """The proxy hears the whole address; where it does not answer, the message says that it is."""
    with provider_server(ok) as proxy:
        told = settings(proxy=proxy.base_url.replace("://", "://me:geheim@"))
        asking = Session("http://127.0.0.1:9", told, provider="Acme")
        assert asking.get("/v1").status == 200
        (heard,) = proxy.requests
        assert heard.headers["host"] == "127.0.0.1:9"
        assert heard.headers["proxy-authorization"].startswith("Basic ")
        asking.close()
    with pytest.raises(UnreachableError, match="through the proxy of the settings"):
        asking.get("/v1")
    asking.close()
    for address in ("no address", "ftp://x:1"):
        wrong = Session("http://127.0.0.1:9", settings(proxy=address), provider="Acme")
        with pytest.raises(ConfigError, match="proxy for Acme cannot be used"):
            wrong.get("/v1")


def test_a_key_with_a_lines_end_is_a_matter_of_configuration() -> None:
    """What no header can carry is said at once, and shows nothing of the key."""
    for key in ("k-4711\n", "k-47\u00e911"):
        with pytest.raises(ConfigError, match="more was copied") as caught:
            Session("http://x", settings(), provider="Acme", headers={"x-key": key})
        assert "47" not in str(caught.value)


def test_what_takes_too_long_or_too_much_is_given_up() -> None:
    """A drip has its deadline, a flood its measure, announced or not."""
    with session(ok, body_bytes_max=100_000) as (asking, server):
        server.order(huge(), bodies(b"x" * 200_000))
        for _ in range(2):
            with pytest.raises(LimitError, match="at most 100,000 bytes"):
                asking.get("/v1")
    with session(ok, total_timeout_seconds=0.2, attempts_max=1) as (asking, server):
        server.order(drip(0.05))
        with pytest.raises(UnreachableError, match=r"no whole answer in 0\.2 s"):
            asking.get("/v1")


@pytest.mark.parametrize("impersonate", [None, "chrome"])
def test_a_small_answer_that_unpacks_to_a_flood_is_refused(impersonate: str | None) -> None:
    """A hundred megabytes of nothing, in a hundred kilobytes: counted as they are unpacked."""
    bomb = ProviderAnswer(gzip.compress(bytes(100_000_000), 1), 200, {"content-encoding": "gzip"})
    measure = {"body_bytes_max": 1_000_000, "impersonate": impersonate}
    with (
        session(lambda _: bomb, **measure) as (asking, _),
        pytest.raises(LimitError, match="at most 1,000,000 bytes"),
    ):
        asking.get("/v1")


def test_a_server_that_waited_in_vain_is_asked_again() -> None:
    """408 is a matter of the line, as 5xx are."""
    with session(ok) as (asking, server):
        server.order(answers(408, "Request Timeout"))
        assert asking.get("/v1").status == 200
        assert server.count() == 2


def test_a_retry_after_may_be_a_date_of_the_servers_clock() -> None:
    """A server whose clock is a year off asks for two seconds all the same."""
    headers = {"date": "Tue, 02 Jan 2024 10:00:00 GMT",
               "retry-after": "Tue, 02 Jan 2024 10:00:02 GMT"}  # fmt: skip
    with (
        session(lambda _: ProviderAnswer("", 429, headers), retry_after_seconds_max=1) as (told, _),
        pytest.raises(RateLimitedError, match="wait 2 s"),
    ):
        told.get("/v1")


def test_what_a_provider_says_of_our_key_is_kept_masked() -> None:
    """Neither the error nor the book that other processes read shows any part of the key."""
    key = "k-4711-" + "long" * 20
    keyed = dataclasses.make_dataclass(
        "Keyed", [("api_key", str, key)], bases=(HttpSettings,), frozen=True
    )
    said = f"We have detected your API key as {key}: 25 requests per day"
    with provider_server(lambda _: ProviderAnswer(said, 429, {"retry-after": "60"})) as server:
        asking = Session(server.base_url, keyed(attempts_max=1), provider="Acme")
        with pytest.raises(RateLimitedError) as caught:
            asking.get("/v1")
        asking.leave_alone(said, 60.0)
        asking.close()
    assert "k-4711" not in str(caught.value)
    assert b"k-4711" not in (state_folder() / "hosts-1.sqlite").read_bytes()


@pytest.mark.parametrize("impersonate", [None, "chrome"])
def test_broken_connections_are_tried_again(impersonate: str | None) -> None:
    """Resets and answers that end early are met by asking again, over either library."""
    with session(ok, attempts_max=4, impersonate=impersonate) as (asking, server):
        server.order(reset("before"), reset("within"), short)
        assert asking.get("/v1").body == b'{"ok": true}'
        assert server.count() == 4
        server.order(reset("after"))  # all of it came, or not: who knows
        assert asking.get("/v1").body == b'{"ok": true}'


def test_a_browser_is_played_only_where_it_is_asked_for() -> None:
    """With curl_cffi the name is a browser's; limits, time and addresses are watched as ever."""
    with session(ok, impersonate="chrome", body_bytes_max=1000, attempts_max=1) as (asking, server):
        reply = asking.get("/v1", {"a": "1", "token": "t-4711"})
        assert (reply.status, reply.url) == (200, f"{server.base_url}/v1?a=1")
        assert "Chrome" in server.requests[0].headers["user-agent"]
        server.order(huge(), answers(302, location="http://elsewhere.example/"))
        with pytest.raises(LimitError):
            asking.get("/v1")
        with pytest.raises(UnreachableError, match="another host"):
            asking.get("/v1")
        gone = server.base_url
    asking = Session(gone, settings(impersonate="chrome"), provider="Acme")
    with pytest.raises(UnreachableError, match="3 times"):
        asking.get("/v1")
    asking = Session(gone, settings(impersonate="netscape"), provider="Acme")
    with pytest.raises(ConfigError, match="impersonate"):
        asking.get("/v1")
    asking = Session("gopher2://x", settings(impersonate="chrome"), provider="Acme")
    with pytest.raises(ConfigError, match="no address"):
        asking.get("/v1")


def _wait_until_open(server: ProviderServer) -> None:
    host = server.base_url.removeprefix("http://")
    while (left := Hosts().look(host).closed_seconds) > 0:
        clock.sleep(left)


@pytest.mark.parametrize(
    "name", [name for name in names() if issubclass(settings_type(name), HttpSettings)]
)
def test_plans_go_by_the_pace_of_the_settings(name: str) -> None:
    """What a user sets as pace is what the source's limits say, of every source over HTTP."""
    limits = open_source(name, settings={"requests_per_second": 0.25, "requests_burst": 7}).limits
    assert (limits.requests_per_second, limits.requests_burst) == (0.25, 7)

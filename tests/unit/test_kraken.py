"""Kraken over REST: errors with HTTP 200, other names in answers, 720 rows, exact times, pairs."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

import crypto_doubles as doubles
from crypto_doubles import at, played
from tickerlake import clock
from tickerlake.errors import (
    ConfigError,
    MalformedError,
    NotFoundError,
    RangeError,
    RateLimitedError,
    TickerlakeError,
    UnreachableError,
)
from tickerlake.sources import BarsRequest, Lists, Searches, Ticks, TicksRequest, open_source
from tickerlake.sources.refusals import NoSuchAddressError
from tickerlake.testing.provider import ProviderAnswer, ProviderRequest


@pytest.fixture(autouse=True)
def _in_the_middle_of_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """No bar ends between the exchange's answer and our look at the clock."""
    monkeypatch.setenv("TICKERLAKE_NOW", "2024-03-01T12:30:20Z")


def hours_ago(hours: float) -> datetime:
    return (clock.now() - timedelta(hours=hours)).replace(second=0, microsecond=0)


def test_a_range_within_the_look_back_is_one_request() -> None:
    """The answer names the pair differently and holds a bar before `since`: neither matters."""
    start = hours_ago(3)
    request = BarsRequest("ACME/USD", "1m", start, start + timedelta(hours=1))
    with played("kraken", doubles.kraken) as (source, server):
        assert source.requests(request) == 1  # type: ignore[attr-defined]
        answer = source.bars(request)
        assert len(server.requests) == 1
        assert server.requests[0].query["pair"] == "ACMEUSD"
    assert answer.bars.num_rows == 60
    assert answer.missing == ()
    bar = answer.bars.to_pylist()[0]
    assert (bar["symbol"], bar["currency"], bar["ts"]) == ("ACME/USD", "USD", start)
    price = int(start.timestamp()) // 60 % 100_000
    assert [bar[name] for name in ("open", "high", "low", "close", "volume")] == [
        price + 0.5, price + 3, price, price + 2, 12.5,
    ]  # fmt: skip


def test_the_running_bar_is_forming() -> None:
    """Kraken's last row is always the one that runs."""
    with played("kraken", doubles.kraken) as (source, _):
        states = source.bars(BarsRequest("ACME/USD", "1h", hours_ago(5))).bars["state"].to_pylist()
    assert states[-2:] == ["provisional", "forming"]
    assert set(states[:-2]) == {"final"}


def test_what_lies_before_the_look_back_is_missing_or_refused() -> None:
    """720 minutes are 12 hours: part of a longer range is given, an older one is refused."""
    with played("kraken", doubles.kraken) as (source, server):
        answer = source.bars(BarsRequest("ACME/USD", "1m", hours_ago(20)))
        assert answer.bars.num_rows == 720
        assert "keeps 0.5 days" in answer.missing[0]
        count = len(server.requests)
        with pytest.raises(RangeError, match=r"last 0\.5 days"):
            source.bars(BarsRequest("ACME/USD", "1m", hours_ago(20), hours_ago(13)))
        assert len(server.requests) == count


@pytest.mark.parametrize(
    ("errors", "error"),
    [
        (["EQuery:Unknown asset pair"], NotFoundError),
        (["EGeneral:Too many requests"], RateLimitedError),
        (["EAPI:Rate limit exceeded"], RateLimitedError),
        (["EService:Throttled: 1700000000"], RateLimitedError),
        (["EService:Unavailable"], UnreachableError),
        (["EService:Busy"], UnreachableError),
        (["EGeneral:Invalid arguments"], RangeError),
        (["EGeneral:Permission denied"], ConfigError),
        (["EWorld:Something new"], MalformedError),
    ],
)
def test_errors_come_with_http_200(errors: list[str], error: type[TickerlakeError]) -> None:
    """The list `error` decides; each is an error of our tree."""
    body = {"error": errors}
    with (
        played("kraken", lambda _: ProviderAnswer(body)) as (source, _),
        pytest.raises(error) as raised,
    ):
        source.bars(BarsRequest("ACME/USD", "1d"))
    assert type(raised.value) is error


def test_a_limit_told_with_http_200_keeps_all_requests_back() -> None:
    """Whoever asks next, in whichever process, is told so without a request."""
    body = {"error": ["EGeneral:Too many requests"]}
    with played("kraken", lambda _: ProviderAnswer(body)) as (source, server):
        for _ in range(2):
            with pytest.raises(RateLimitedError):
                source.bars(BarsRequest("ACME/USD", "1d"))
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "error"), [(429, RateLimitedError), (403, ConfigError), (404, NoSuchAddressError)]
)
def test_pages_of_a_firewall_are_understood_by_their_status(
    status: int, error: type[TickerlakeError]
) -> None:
    """What stands before Kraken answers in HTML."""
    page = ProviderAnswer(b"<html>1020</html>", status, {"content-type": "text/html"})
    with played("kraken", lambda _: page) as (source, _), pytest.raises(error) as raised:
        source.bars(BarsRequest("ACME/USD", "1d"))
    assert type(raised.value) is error


def test_a_warning_is_no_error() -> None:
    """Texts that begin with W leave the answer good."""

    def answer(request: ProviderRequest) -> ProviderAnswer:
        told = json.loads(doubles.kraken(request).payload)
        return ProviderAnswer({**told, "error": ["WGeneral:Deprecated"]})

    with played("kraken", answer) as (source, _):
        assert source.bars(BarsRequest("ACME/USD", "1d", hours_ago(72))).bars.num_rows == 3


def test_names_of_the_first_version_and_of_rest_are_understood() -> None:
    """BTC is XBT there, and XXBTZUSD ends in dollars; a recording says whose it is by its key."""
    asked: list[str] = []

    def answer(request: ProviderRequest) -> ProviderAnswer:
        asked.append(request.query["pair"])
        row = doubles.kraken_candle(at("2024-01-02"))
        return ProviderAnswer({"error": [], "result": {"XXBTZUSD": [row], "last": 1}})

    with played("kraken", answer) as (source, _):
        for symbol in ("BTC/USD", "XBT/USD", "XBTUSD", "DOGE/BTC"):
            source.bars(BarsRequest(symbol, "1d"))
        bare = answer(ProviderRequest("", {"pair": ""}, {})).payload
        [bar] = source.parse(bare, interval="1d").bars.to_pylist()
    assert asked[:4] == ["XBTUSD", "XBTUSD", "XBTUSD", "XDGXBT"]
    assert (bar["symbol"], bar["currency"]) == ("XXBTZUSD", "USD")


def test_trades_keep_the_digits_of_their_times() -> None:
    """Seconds with nine digits would not survive a float; they are cut to the socket's six."""
    start = datetime(2024, 1, 1, 0, 10, tzinfo=UTC)
    asked = TicksRequest("ACME/USD", "trade", start, start + timedelta(minutes=25))
    with played("kraken", doubles.kraken) as (source, server):
        assert isinstance(source, Ticks)
        trades = [
            row for answer in source.ticks(asked) for row in answer.ticks["trade"].to_pylist()
        ]
        assert len(server.requests) == 2
    assert [int(trade["trade_id"]) for trade in trades] == list(range(601, 601 + 1500))
    assert trades[0]["ts_ns"] == at("2024-01-01T00:10") * 10**9 + 123_456_000
    assert [trade["conditions"] for trade in trades[:2]] == ["sell", "buy"]


def test_older_trades_have_no_id() -> None:
    """Rows of six values are trades, too."""
    rows = [["1.5", "2", "<1704067200.5>", "s", "l", ""]]
    payload = doubles.kraken_text({"XACMEZUSD": rows, "last": "1704067200500000000"}).encode()
    trades = open_source("kraken").parse(payload).ticks["trade"]
    assert trades["trade_id"].to_pylist() == [None]
    assert trades["ts_ns"].to_pylist() == [1_704_067_200_500_000_000]


def test_pairs_have_the_names_of_the_second_version() -> None:
    """XBT/USD is listed as BTC/USD; pairs of the dark pool have no name and are left out."""
    with played("kraken", doubles.kraken) as (source, _):
        assert isinstance(source, Lists)
        assert isinstance(source, Searches)
        assert [hit.symbol for hit in source.listing()] == ["ACME/USD", "BTC/USD"]
        assert [hit.symbol for hit in source.search("btc")] == ["BTC/USD"]
    note = source.parse(json.dumps({"error": [], "result": doubles.KRAKEN_PAIRS}).encode()).notes
    assert note == ("a list of 3 pairs, no records",)

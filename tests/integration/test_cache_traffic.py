"""What a provider is asked, over simulated days: only for what is new, and a few bars as proof."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from pretended_time import Now
from stock_double import Stock, told, values
from tickerlake import clock
from tickerlake.cache import CachedSource, CacheSettings
from tickerlake.errors import NotFoundError, RangeError
from tickerlake.sources import BarsRequest, Limits, open_source
from yahoo_double import Answer, at, chart, encoded, yahoo_server

DAYS = BarsRequest("ACME", "1d", date(2024, 1, 2))


def test_twice_is_once_and_a_later_day_costs_what_is_new(now: Now, tmp_path: Path) -> None:
    """The second fetch asks nobody; a later day asks for what is new and five settled bars."""
    stock = Stock()
    cached = CachedSource(stock, tmp_path)
    now("2024-03-01T22:00:00Z")
    first = cached.bars(DAYS)
    assert first.bars.num_rows == 42
    assert cached.bars(DAYS).bars.equals(first.bars)
    now("2024-03-04T13:00:00Z")  # a weekend and a morning without session later
    assert cached.bars(DAYS).bars.equals(first.bars)
    assert told(stock.asked) == [(date(2024, 1, 2), None)]
    now("2024-03-05T22:00:00Z")
    assert cached.plan([DAYS]).requests_max == 1
    assert cached.bars(DAYS).bars.num_rows == 44
    # Friday was provisional; before it, five final bars overlap.
    assert told(stock.asked[1:]) == [(date(2024, 2, 23), None)]
    assert cached.bars(DAYS).bars.equals(CachedSource(stock, tmp_path).bars(DAYS).bars)
    assert len(stock.asked) == 2


def test_yahoo_is_asked_once_over_http(now: Now, tmp_path: Path) -> None:
    """The same through the real provider and a real server: what the plan says is what it hears."""

    def yahoo(symbol: str, query: dict[str, str]) -> Answer:
        opens = (date(2024, 2, 1) + timedelta(days=n) for n in range(60))
        rows = {
            f"{day}T14:30": (10.0, 11.0, 9.0, 10.5, 100.0)
            for day in opens
            if day.weekday() < 5 and day != date(2024, 2, 19)
        }
        low, high = int(query["period1"]), min(int(query["period2"]), clock.now().timestamp())
        inside = {stamp: row for stamp, row in rows.items() if low <= at(stamp) < high}
        today = max(inside)[:10]
        return Answer(
            encoded(chart(inside, symbol=symbol, regular=(f"{today}T14:30", f"{today}T21:00")))
        )

    request = BarsRequest("ACME", "1d", date(2024, 2, 1))
    with yahoo_server(yahoo) as server:
        settings = {"base_url": server.base_url, "requests_per_second": None}
        cached = CachedSource(open_source("yahoo", settings=settings), tmp_path, host="mirror")
        for day, rows, requests in (("03-05", 23, 1), ("03-05", 23, 1), ("03-07", 25, 2)):
            now(f"2024-{day}T22:00:00Z")
            (item,) = cached.plan([request]).items
            assert item.host == "mirror"
            assert len(server.requests) + item.requests_max == requests
            assert cached.bars(request).bars.num_rows == rows
            assert len(server.requests) == requests
    (_, query) = server.requests[-1]
    assert int(query["period1"]) >= at("2024-02-25T00:00")


def test_while_a_session_runs_its_bar_is_asked_for_once_a_minute(now: Now, tmp_path: Path) -> None:
    """A forming bar is fresh, but not for each call; after the close it is settled in two steps."""
    stock = Stock()
    cached = CachedSource(stock, tmp_path)
    states = []
    for moment, requests in (
        ("2024-03-04T16:00:00Z", 1),
        ("2024-03-04T16:00:30Z", 1),
        ("2024-03-04T16:02:00Z", 2),
        ("2024-03-04T21:05:00Z", 3),  # a quarter of an hour after the close it is not told yet
        ("2024-03-04T21:16:00Z", 4),
        ("2024-03-05T10:00:00Z", 4),
        ("2024-03-05T21:16:00Z", 5),
    ):
        now(moment)
        bars = cached.bars(BarsRequest("ACME", "1d", date(2024, 3, 1))).bars
        states.append(bars["state"][1].as_py())
        assert len(stock.asked) == requests, moment
    assert states == ["forming"] * 3 + ["provisional"] * 3 + ["final"]


def test_minutes_are_covered_as_they_end(now: Now, tmp_path: Path) -> None:
    """In a session coverage grows by whole minutes; after it nothing is asked until the next."""
    stock = Stock()
    cached = CachedSource(stock, tmp_path)
    request = BarsRequest("ACME", "1m", date(2024, 3, 7))
    counts = []
    for moment in ("03-07T15:00:30", "03-07T15:00:40", "03-07T15:05:30", "03-07T23:00:00",
                   "03-08T04:00:00", "03-08T14:00:00"):  # fmt: skip
        now(f"2024-{moment}Z")
        rows = cached.bars(request).bars.num_rows
        counts.append((rows, len(stock.asked)))
    assert counts == [(31, 1), (31, 1), (36, 2), (390, 3), (390, 3), (390, 3)]


def test_an_hour_that_runs_is_not_covered(now: Now, tmp_path: Path) -> None:
    """A range that ends with the running hour: once that is over, it is asked for again."""
    stock = Stock()
    cached = CachedSource(stock, tmp_path)
    start = datetime(2024, 3, 7, 14, 30, tzinfo=UTC)
    request = BarsRequest("ACME", "1h", start, start + timedelta(hours=2))
    states = []
    for moment in ("15:45", "16:45"):
        now(f"2024-03-07T{moment}:00Z")
        states.append(cached.bars(request).bars["state"].to_pylist())
    assert states == [["provisional", "forming"], ["provisional", "provisional"]]


def test_long_ranges_are_cut_and_what_is_too_old_is_listed(now: Now, tmp_path: Path) -> None:
    """Seven days a request, thirty days back with an hour's margin; the rest is named."""
    stock = Stock()
    cached = CachedSource(stock, tmp_path)
    now("2024-03-12T22:00:00Z")
    request = BarsRequest("ACME", "1m", date(2024, 1, 7))
    (item,) = cached.plan([request]).items
    answer = cached.bars(request)
    assert len(stock.asked) == item.requests_max == len(item.asks)
    spans = [high - low for low, high in told(stock.asked)]
    assert max(spans) <= timedelta(days=7)
    edge = datetime(2024, 2, 11, 23, tzinfo=UTC)
    assert edge < stock.asked[0].start < edge + timedelta(minutes=10)  # type: ignore[operator]
    (missing,) = answer.missing
    assert "acme keeps 30 days" in missing
    assert item.out_of_reach[0].why == "acme keeps 30 days of 1m"
    with pytest.raises(RangeError, match="that far back"):
        cached.bars(BarsRequest("ACME", "1m", date(2023, 2, 7), date(2023, 2, 8)))
    now("2024-04-30T22:00:00Z")  # what is held outlives the look-back
    old = BarsRequest(
        "ACME", "1m", datetime(2024, 2, 20, tzinfo=UTC), datetime(2024, 2, 22, tzinfo=UTC)
    )
    assert cached.bars(old).missing == ()
    assert cached.bars(old).bars.num_rows == 780


def test_gaps_become_one_request_where_the_hole_is_small(now: Now, tmp_path: Path) -> None:
    """Two gaps around a few cached bars are one request; around years they are two."""
    now("2024-03-01T22:00:00Z")
    for middle, requests in (
        ((date(2023, 6, 1), date(2023, 6, 30)), 1),
        ((date(2023, 3, 1), date(2023, 12, 30)), 2),
    ):
        stock = Stock()
        settings = CacheSettings(merge_bars=100)
        cached = CachedSource(stock, tmp_path / str(requests), settings=settings)
        cached.bars(BarsRequest("ACME", "1d", *middle))
        whole = BarsRequest("ACME", "1d", date(2023, 1, 3), date(2024, 2, 1))
        assert cached.requests(whole) == requests
        rows = cached.bars(whole).bars
        assert len(stock.asked) == 1 + requests
        assert values(rows) == values(stock.bars(whole).bars)


def test_days_without_session_are_never_asked_for(now: Now, tmp_path: Path) -> None:
    """Once the exchange is known, a weekend or a holiday alone costs nothing."""
    stock = Stock()
    cached = CachedSource(stock, tmp_path)
    now("2024-03-06T22:00:00Z")
    cached.bars(BarsRequest("ACME", "1d", date(2024, 3, 5), date(2024, 3, 5)))
    for first, last in (
        (date(2024, 2, 17), date(2024, 2, 19)),
        (date(2023, 12, 25), date(2023, 12, 25)),
    ):
        assert cached.bars(BarsRequest("ACME", "1d", first, last)).bars.num_rows == 0
    assert len(stock.asked) == 1


@pytest.mark.parametrize("merge_bars", [100, 1000])
@pytest.mark.parametrize("seed", range(6))
def test_the_answer_does_not_depend_on_the_order_of_requests(
    now: Now, tmp_path: Path, seed: int, merge_bars: int
) -> None:
    """Whatever was asked before, in whatever order, over days with a split: one truth."""
    random_ = random.Random(seed)
    stock = Stock(splits={date(2024, 2, 14): 4.0}, dividends={date(2024, 1, 17): 0.5})
    cached = CachedSource(stock, tmp_path, settings=CacheSettings(merge_bars=merge_bars))
    day = date(2024, 1, 8)
    while day < date(2024, 3, 1):
        now(f"{day}T{random_.choice(('12:00', '16:00', '22:00'))}:00Z")
        start = date(2023, 1, 3) + timedelta(days=random_.randrange(300))
        end = random_.choice([None, start + timedelta(days=random_.randrange(200))])
        cached.bars(BarsRequest("ACME", "1d", start, end))
        day += timedelta(days=random_.randrange(1, 8))
    now("2024-03-01T23:00:00Z")
    whole = BarsRequest("ACME", "1d", date(2023, 1, 3))
    answer = cached.bars(whole)
    truth = stock.bars(whole)
    assert answer.actions.num_rows == 2
    got, wanted = values(answer.bars), values(truth.bars)
    assert [row["ts"] for row in got] == [row["ts"] for row in wanted]
    for mine, theirs in zip(got, wanted, strict=True):
        assert mine["close"] == pytest.approx(theirs["close"], rel=2e-6)
        assert mine["volume"] == pytest.approx(theirs["volume"], rel=2e-6)
        assert mine["state"] in ("final", theirs["state"])
        assert mine["split_basis"] == theirs["split_basis"]


def test_an_unknown_symbol_is_asked_for_less_and_less_often(now: Now, tmp_path: Path) -> None:
    """A clear "not found" is remembered for an hour, then for longer; it ends when it is found."""
    stock = Stock()
    cached = CachedSource(stock, tmp_path)
    unknown = NotFoundError("acme does not know ACME.", todo="check the spelling")
    for moment, requests in (("10:00", 1), ("10:59", 1), ("11:01", 2), ("16:00", 2), ("18:00", 3)):
        now(f"2024-03-06T{moment}:00Z")
        stock.fails = [unknown]
        with pytest.raises(NotFoundError, match="does not know ACME"):
            cached.bars(DAYS)
        assert len(stock.asked) == requests
    now("2024-03-08T18:00:00Z")
    stock.fails = []
    assert cached.bars(DAYS).bars.num_rows == 47


def test_a_provider_without_calendar_trades_every_day(now: Now, tmp_path: Path) -> None:
    """An exchange that nobody knows: every day may trade, and nothing is asked for twice."""
    stock = Stock(exchange="NOWHERE", limits=Limits(intervals=("1d",)))
    cached = CachedSource(stock, tmp_path)
    now("2024-03-08T23:00:00Z")
    cached.bars(DAYS)
    cached.bars(DAYS)
    assert len(stock.asked) == 1
    now("2024-03-10T12:00:00Z")
    cached.bars(DAYS)
    assert len(stock.asked) == 2

"""What is asked for again, and when: each part of a range waits for its own time."""

from __future__ import annotations

import contextlib
import dataclasses
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pretended_time import Now
from stock_double import Stock, told
from tickerlake import clock
from tickerlake.cache import CacheCare, CachedSource
from tickerlake.errors import MalformedError, NotFoundError, RangeError
from tickerlake.sources import Answer, BarsRequest

DAYS = BarsRequest("ACME", "1d", date(2024, 1, 2))
NOTHING = RangeError("acme has no bars of ACME in this range.", todo="another")


def asks(stock: Stock, cached: CachedSource, request: BarsRequest) -> int:
    """How often the provider was asked, who has nothing in this range."""
    before = len(stock.asked)
    stock.fails = [NOTHING]
    with contextlib.suppress(RangeError):
        cached.bars(request)
    stock.fails = []
    return len(stock.asked) - before


def test_a_symbol_without_any_bar_is_never_given_up(now: Now, tmp_path: Path) -> None:
    """Nothing proves that its provider is well: asked again after 1 h, 1 d, 7 d, then each 30 d."""
    stock = Stock()
    cached = CachedSource(stock, tmp_path)
    request = BarsRequest("ACME", "1d", date(2020, 3, 2), date(2020, 3, 6))
    story = [
        ("03-01T10:00", 1), ("03-01T10:59", 0), ("03-01T11:01", 1),
        ("03-02T11:00", 0), ("03-02T11:02", 1),
        ("03-09T11:01", 0), ("03-09T11:03", 1),
        ("04-08T11:02", 0), ("04-08T11:04", 1),
        ("05-08T11:03", 0), ("05-08T11:05", 1),
    ]  # fmt: skip
    for moment, expected in story:
        now(f"2024-{moment}:00Z")
        assert asks(stock, cached, request) == expected, moment


def test_a_part_that_is_empty_again_says_nothing_of_the_rest(now: Now, tmp_path: Path) -> None:
    """Two months were empty once. A week of them, asked for again, leaves the rest to be asked."""
    stock = Stock()
    cached = CachedSource(stock, tmp_path)
    whole = BarsRequest("ACME", "1d", date(2020, 3, 2), date(2020, 4, 30))
    week = BarsRequest("ACME", "1d", date(2020, 3, 9), date(2020, 3, 13))
    now("2024-03-01T10:00:00Z")
    assert asks(stock, cached, whole) == 1
    now("2024-03-01T12:00:00Z")
    assert asks(stock, cached, week) == 1
    rest = BarsRequest("ACME", "1d", date(2020, 3, 16), date(2020, 4, 30))
    assert asks(stock, cached, week) == 0
    assert asks(stock, cached, rest) == 1


def test_a_new_part_is_not_believed_because_its_neighbour_was_empty_twice(
    now: Now, tmp_path: Path
) -> None:
    """Each part counts for itself, though one request asks for both."""
    stock = Stock()
    cached = CachedSource(stock, tmp_path)
    now("2024-02-29T10:00:00Z")
    cached.bars(DAYS)
    march = BarsRequest("ACME", "1d", date(2020, 3, 2), date(2020, 3, 31))
    both = BarsRequest("ACME", "1d", date(2020, 3, 2), date(2020, 4, 30))
    for moment, request in (("01T10:00", march), ("01T11:01", march), ("02T11:02", both)):
        now(f"2024-03-{moment}:00Z")
        assert asks(stock, cached, request) == 1
    now("2024-03-02T13:00:00Z")
    assert asks(stock, cached, march) == 0
    april = BarsRequest("ACME", "1d", date(2020, 4, 1), date(2020, 4, 30))
    assert asks(stock, cached, april) == 1


def test_an_empty_answer_is_as_old_as_its_providers_clock(tmp_path: Path) -> None:
    """Our clock runs ten days ahead: what is empty because it has not happened is not believed."""
    stock = Stock()
    told = clock.now() - timedelta(days=10)
    stock.meddle = lambda answer: dataclasses.replace(
        answer, bars=answer.bars.slice(0, 0), about=dataclasses.replace(answer.about, as_of=told)
    )
    cached = CachedSource(stock, tmp_path)
    days = [clock.now().date() - timedelta(days=back) for back in (9, 4)]
    for count in (1, 2):
        assert cached.bars(BarsRequest("ACME", "1d", *days)).bars.num_rows == 0
        assert len(stock.asked) == count


def test_a_clock_that_was_set_back_forgets_what_it_said_of_the_future(
    now: Now, tmp_path: Path
) -> None:
    """Fetched with a clock three months ahead: what is quiet "until June" is asked for in March."""
    stock = Stock()
    cached = CachedSource(stock, tmp_path)
    real = datetime(2024, 3, 6, 22, tzinfo=UTC)

    def as_of_real(answer: Answer) -> Answer:
        bars = answer.bars.filter(pc.less(answer.bars["ts"], pa.scalar(real)))
        return dataclasses.replace(
            answer, bars=bars, about=dataclasses.replace(answer.about, as_of=real)
        )

    stock.meddle = as_of_real
    now("2024-06-03T16:00:00Z")
    assert cached.bars(DAYS).bars.num_rows == 45
    stock.meddle = lambda answer: answer
    now("2024-03-08T22:00:00Z")
    assert cached.bars(DAYS).bars.num_rows == 47


def test_suspect_prices_of_a_part_leave_the_rest_suspect(now: Now, tmp_path: Path) -> None:
    """Some of what is quarantined, asked for alone, still contradicts: the rest stays due."""
    stock = Stock()
    cached = CachedSource(stock, tmp_path)
    hours = BarsRequest("ACME", "1h", date(2024, 2, 20))
    now("2024-03-01T22:00:00Z")
    cached.bars(hours)
    stock.bent = {date(2024, 2, 28): {"close": 9000.0}, date(2024, 2, 29): {"close": 9000.0}}
    now("2024-03-08T23:00:00Z")
    answer = cached.bars(hours)
    assert any("suspect" in note for note in answer.notes)
    now("2024-03-09T01:00:00Z")
    cached.bars(BarsRequest("ACME", "1h", date(2024, 2, 28), date(2024, 3, 1)))
    stock.bent = {}
    healed = cached.bars(BarsRequest("ACME", "1h", date(2024, 3, 5), date(2024, 3, 7)))
    assert healed.bars.num_rows == 3 * 7


def test_where_a_symbol_trades_is_known_from_its_days(now: Now, tmp_path: Path) -> None:
    """Seven days of minutes are one request, not two for the sake of all zones on earth."""
    stock = Stock()
    now("2024-03-12T22:00:00Z")
    minutes = BarsRequest("ACME", "1m", date(2024, 3, 4), date(2024, 3, 10))
    assert CachedSource(stock, tmp_path / "new").plan([minutes]).requests_max == 2
    cached = CachedSource(stock, tmp_path / "known")
    cached.bars(DAYS)
    assert cached.plan([minutes]).requests_max == 1
    assert cached.bars(minutes).bars.num_rows == 5 * 390
    assert len(stock.asked) == 2
    cached.bars(minutes)
    assert len(stock.asked) == 2


def test_a_week_that_begins_on_a_tuesday_is_refused(now: Now, tmp_path: Path) -> None:
    """Beside the true week it would be a second bar of it; nothing of it is kept."""
    stock = Stock()

    def shifted(answer: Answer) -> Answer:
        days = answer.bars.slice(0, 3)
        dates = pa.array([date(2024, 1, 8), date(2024, 1, 15), date(2024, 1, 23)], pa.date32())
        starts = dates.cast(pa.timestamp("us")).cast(days.schema.field("ts").type)
        columns = {"session_date": dates, "ts": starts, "interval": pa.array(["1wk"] * 3)}
        for name, column in columns.items():
            days = days.set_column(days.schema.get_field_index(name), name, column)
        return dataclasses.replace(answer, bars=days.cast(answer.bars.schema))

    daily = stock.bars

    class Weekly(Stock):
        def bars(self, request: BarsRequest) -> Answer:
            return shifted(daily(BarsRequest("ACME", "1d", date(2024, 1, 2), date(2024, 2, 29))))

    now("2024-03-12T22:00:00Z")
    cached = CachedSource(Weekly(), tmp_path)
    with pytest.raises(MalformedError, match="off its anchor"):
        cached.bars(BarsRequest("ACME", "1wk", date(2024, 1, 8), date(2024, 1, 26)))
    assert CacheCare(tmp_path).holdings() == []


def test_what_is_pruned_may_be_asked_for_at_once(now: Now, tmp_path: Path) -> None:
    """`cache prune --symbol` forgets that a symbol was not found, too."""
    stock = Stock()
    cached = CachedSource(stock, tmp_path)
    now("2024-03-06T10:00:00Z")
    stock.fails = [NotFoundError("acme does not know ACME.", todo="check the spelling")]
    with pytest.raises(NotFoundError):
        cached.bars(DAYS)
    (denial,) = CacheCare(tmp_path).denials()
    assert (denial.source, denial.symbol) == ("acme", "ACME")
    CacheCare(tmp_path).prune(symbol="OTHER")
    with pytest.raises(NotFoundError, match="does not know"):
        cached.bars(DAYS)
    assert len(stock.asked) == 1
    CacheCare(tmp_path).prune(symbol="acme")
    assert cached.bars(DAYS).bars.num_rows
    assert told(stock.asked)[-1] == (date(2024, 1, 2), None)

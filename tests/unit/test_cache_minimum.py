"""The cache's plan against the fewest requests that can do, found by trying all."""

from __future__ import annotations

import dataclasses
import itertools
import os
import tempfile
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tickerlake.cache import CachedSource
from tickerlake.sources import BarsRequest
from tickerlake.testing.exchange import LIMITS, Exchange, ExchangeSource

#: The long form (`make prove-cache`) tries other cases each time, the short one always the same.
EXAMPLES = os.environ.get("TICKERLAKE_TEST_EXAMPLES")
FIRST = date(2024, 2, 1)
DAYS = 24
SPAN = 6
OVERLAP = 5
DAY = timedelta(days=1)

EXCHANGE = Exchange(first=date(2024, 1, 2), last=date(2024, 6, 28))
SESSIONS = {session.date for session in EXCHANGE.sessions}
WINDOW = [FIRST + n * DAY for n in range(-10, DAYS + 10)]

ranges = st.tuples(st.integers(0, DAYS - 1), st.integers(0, 9)).map(
    lambda told: (FIRST + told[0] * DAY, FIRST + (told[0] + told[1]) * DAY)
)


def days_of(request: BarsRequest) -> set[date]:
    """The days that a request was for; of ends that are instants, the whole days before them."""
    assert request.start is not None
    start = request.start if type(request.start) is date else request.start.date()  # type: ignore[union-attr]
    if request.end is None:
        return {day for day in WINDOW if day >= start}
    end = request.end if type(request.end) is date else request.end.date() - DAY  # type: ignore[union-attr]
    return {day for day in WINDOW if start <= day <= end}


def touching(day: date, step: timedelta, held: set[date]) -> list[date]:
    """Up to five held sessions that follow on a day without one that is not held between."""
    found: list[date] = []
    while len(found) < OVERLAP:
        day += step
        if (day in SESSIONS and day not in held) or day not in WINDOW:
            return found
        if day in SESSIONS:
            found.append(day)
    return found


def must_ask(wanted: set[date], held: set[date]) -> set[date]:
    """Sessions that are wanted and not held, and those that prove what touches them."""
    missing = {day for day in wanted & SESSIONS if day not in held}
    proof = {
        other for day in missing for step in (-DAY, DAY) for other in touching(day, step, held)
    }
    return missing | proof


def fewest(days: Iterable[date]) -> int:
    """How many requests of at most `SPAN` days hold all of these: the smallest choice that does."""
    needed = set(days)
    starts = [day for day in WINDOW if needed & {day + n * DAY for n in range(SPAN)}]
    for count in itertools.count():
        for chosen in itertools.combinations(starts, count):
            if needed <= {day + n * DAY for day in chosen for n in range(SPAN)}:
                return count
    raise AssertionError


@settings(
    max_examples=int(EXAMPLES or 60),
    derandomize=EXAMPLES is None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(before=st.lists(ranges, max_size=3), wanted=ranges)
def test_no_plan_could_do_with_less(
    monkeypatch_now: None, before: list[tuple[date, date]], wanted: tuple[date, date]
) -> None:
    """Whatever was fetched before, the plan has as few requests as any that fetches what it must.

    That is: what is wanted and not held, and five settled bars of the coverage that it touches.
    """
    limits = dataclasses.replace(LIMITS, span_days={"1d": SPAN}, look_back_days={})
    source = ExchangeSource(EXCHANGE, limits=limits)
    with tempfile.TemporaryDirectory() as folder:
        cache = CachedSource(source, Path(folder))
        # Far away from all that follows: from now on it is known when this exchange trades.
        cache.bars(BarsRequest("AAA", "1d", date(2024, 5, 6), date(2024, 5, 8)))
        for first, last in before:
            cache.bars(BarsRequest("AAA", "1d", first, last))
        held = set().union(*map(days_of, source.asked)) if source.asked else set()
        plan = cache.plan([BarsRequest("AAA", "1d", *wanted)])
        days = {day for day in WINDOW if wanted[0] <= day <= wanted[1]}
        assert plan.requests_max == fewest(must_ask(days, held)), plan.items[0].asks
        cache.close()


@pytest.fixture(scope="module")
def monkeypatch_now() -> Iterable[None]:
    """A story in which all of these days are long settled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TICKERLAKE_NOW", "2024-06-03T03:00:00Z")
        yield

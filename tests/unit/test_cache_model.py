"""The cache against a market that is wholly known: whatever was asked in whatever order.

The model knows nothing of the cache's code. It knows the market's truth at every moment, and the
rules of a bar's life: until when an old look at a bar may be served.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tickerlake.cache import CachedSource
from tickerlake.errors import NotFoundError, RangeError, RateLimitedError, UnreachableError
from tickerlake.sources import Answer, BarsRequest
from tickerlake.testing.exchange import Exchange, ExchangeSource, Split

#: A closed bar stands in an answer by then.
GRACE = timedelta(minutes=16)
#: What runs is looked at again after so long.
LIVE = timedelta(seconds=61)
LOST_ALONE_DAYS = 20
START = datetime(2024, 3, 4, 12, tzinfo=UTC)
VALUES = ("open", "high", "low", "close", "volume")


class CacheMachine(RuleBasedStateMachine):
    """Fetches, in a story that goes on: sessions, splits, dividends, throttling, new processes."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="cache-model-"))
        self.exchange = Exchange(first=date(2024, 1, 2), last=date(2024, 6, 28))
        self.source = ExchangeSource(self.exchange)
        self.cache = CachedSource(self.source, self.folder)
        self.before = os.environ.get("TICKERLAKE_NOW")
        self.now = START
        self.wishes: list[BarsRequest] = []
        #: The splits of which the cache was told.
        self.told: set[Split] = set()

    @initialize(hour=st.integers(0, 24 * 7), back=st.integers(1, 30))
    def begin(self, hour: int, back: int) -> None:
        self._go_to(START + timedelta(hours=hour, minutes=7))
        for interval in ("1d", "1h"):  # up to today: later only what is due is asked for
            self.fetch("AAA", interval, back, back, is_open=False)

    @rule(
        minutes=st.sampled_from([0, 2, 40, 61, 200, 24 * 60, 3 * 24 * 60, 12 * 24 * 60]),
        number=st.integers(0, 99),
    )
    def time_passes(self, minutes: int, number: int) -> None:
        """And heals; then somebody wants what was wanted before, of which only the age has changed.

        In a rule that is drawn often: a story without fetches would prove nothing.
        """
        self._go_to(self.now + timedelta(minutes=minutes))
        self.source.trouble = None
        self._fetch(self.wishes[number % len(self.wishes)])

    @rule(
        symbol=st.sampled_from(["AAA", "BBB"]),
        ratio=st.sampled_from([2.0, 4.0, 0.1]),
        late=st.sampled_from([0, 0, 2]),
    )
    def a_split_comes(self, symbol: str, ratio: float, late: int) -> None:
        day = self._next_session()
        near = [
            split
            for split in self.exchange.splits
            if split.symbol == symbol and (day - split.ex_date).days <= LOST_ALONE_DAYS
        ]
        if any(split.ex_date == day for split in near):
            return
        # One that is lost comes alone: of several that hide one another nobody can tell.
        if not near or not (late or any(split.late_days for split in near)):
            self.exchange.splits.append(Split(symbol, day, ratio, late))

    @rule(symbol=st.sampled_from(["AAA", "BBB"]), amount=st.sampled_from([0.5, 1.25]))
    def a_dividend_comes(self, symbol: str, amount: float) -> None:
        day = self._next_session()
        if all(told[:2] != (symbol, day) for told in self.exchange.dividends):
            self.exchange.dividends.append((symbol, day, amount))

    @rule(error=st.sampled_from([RateLimitedError, UnreachableError]))
    def trouble_begins(self, error: type[UnreachableError]) -> None:
        self.source.trouble = error("The exchange is in trouble.", todo="wait")

    @rule()
    def another_process_goes_on(self) -> None:
        self.cache.close()
        self.cache = CachedSource(self.source, self.folder)

    @rule(
        symbol=st.sampled_from(["AAA", "BBB"]),
        interval=st.sampled_from(["1d", "1h"]),
        back=st.integers(0, 45),
        length=st.integers(0, 30),
        is_open=st.booleans(),
    )
    def fetch(self, symbol: str, interval: str, back: int, length: int, *, is_open: bool) -> None:
        first = self.now.date() - timedelta(days=back)
        last = None if is_open else first + timedelta(days=length)
        request = BarsRequest(symbol, interval, first, last)
        self.wishes.append(request)
        self._fetch(request)

    def _fetch(self, request: BarsRequest) -> None:
        symbol = request.symbol
        planned = self.cache.plan([request])
        before = len(self.source.asked)
        try:
            answer = self._answer(request)
        except (NotFoundError, RangeError, UnreachableError) as error:
            self._check_error(request, error)
            return
        asked = len(self.source.asked) - before
        if self.source.trouble is not None:
            if asked:
                assert answer.stale
            self._check_rows(request, answer.bars.to_pylist(), fresh=False)
            return
        # Prices that a split moved are doubted until the split is known: no plan foresees that.
        splits = any(split.symbol == symbol for split in self.exchange.splits)
        doubts = planned.requests_max + 2 if splits else 0
        assert planned.requests_min <= asked <= planned.requests_max + doubts
        self._check_rows(request, answer.bars.to_pylist(), fresh=True)
        again = len(self.source.asked)
        assert self.cache.bars(request).bars.equals(answer.bars)
        assert len(self.source.asked) == again, "a second time nobody is asked"

    def _answer(self, request: BarsRequest) -> Answer:
        """What the cache says; and what it was told of splits to say so."""
        before = len(self.source.asked)
        try:
            return self.cache.bars(request)
        finally:
            asked = [] if self.source.trouble is not None else self.source.asked[before:]
            for split in self.exchange.splits:
                for ask in asked:
                    if (ask.symbol, ask.interval) == (split.symbol, "1d") and self._has(ask, split):
                        self.told.add(split)

    def _has(self, ask: BarsRequest, split: Split) -> bool:
        assert isinstance(ask.start, date)
        last = self.now.date() if ask.end is None else ask.end
        assert isinstance(last, date)
        opened = next(s.open for s in self.exchange.sessions if s.date == split.ex_date)
        return opened <= self.now and ask.start <= split.ex_date <= last

    def _check_error(self, request: BarsRequest, error: Exception) -> None:
        if self.source.trouble is not None:
            return
        assert isinstance(error, RangeError), error
        assert not self._expected(request, self.now), "there are bars"

    def _expected(self, request: BarsRequest, at: datetime) -> dict[datetime, dict[str, Any]]:
        """What the exchange tells of the range now, within what it can still be asked for."""
        days = self.source.limits.look_back_days.get(request.interval)
        # The edge moves on while one asks: two hours of it are nobody's promise.
        edge = at - timedelta(days=days or 10_000) + timedelta(hours=2)
        assert isinstance(request.start, date)
        return {
            row["ts"]: row
            for row in self.exchange.bars(request.symbol, request.interval, at)
            if row["session_date"] >= request.start
            and (request.end is None or row["session_date"] <= request.end)
            and (days is None or row["ts"] >= edge)
        }

    def _check_rows(self, request: BarsRequest, rows: list[dict[str, Any]], *, fresh: bool) -> None:
        found = {row["ts"]: row for row in rows}
        assert len(found) == len(rows), "each bar once"
        assert list(found) == sorted(found)
        truths: dict[datetime, dict[datetime, dict[str, Any]]] = {}
        for ts, row in found.items():
            at = row["fetched_at"]
            if at not in truths:
                bars = self.exchange.bars(request.symbol, request.interval, at)
                truths[at] = {bar["ts"]: bar for bar in bars}
            told = truths[at]
            assert ts in told, f"{ts} was never told"
            factor = self._splits_since(row)
            if factor is None:
                continue
            for name in VALUES:
                was = told[ts][name] * (factor if name == "volume" else 1 / factor)
                assert row[name] == pytest.approx(was, rel=2e-6), f"{ts} is not as it was told"
            if fresh:
                self._check_age(ts, row)
        if fresh:
            expected = self._expected(request, self.now)
            for ts in expected.keys() - found.keys():
                length = timedelta(hours=1) if request.interval == "1h" else timedelta(hours=24)
                assert self.now < ts + length + GRACE, f"{ts} is missing"

    def _splits_since(self, row: dict[str, Any]) -> float | None:
        """What splits that came after a row was fetched, up to its basis, do to it when it is read.

        Rows keep the values that they came with; reading converts them all to the newest basis.
        None where the provider lost a split, of which it did not tell either: nobody can know.
        """
        factor = 1.0
        if row["split_basis"] is None:
            return factor  # nothing proves it, and an answer says so: as it was told
        for split in self.exchange.splits:
            opened = next(s.open for s in self.exchange.sessions if s.date == split.ex_date)
            moved = opened + timedelta(days=split.late_days)
            since = row["fetched_at"] < moved and split.ex_date <= row["split_basis"]
            assert not since or opened <= self.now, "a basis of the future"
            if split.symbol == row["symbol"] and row["session_date"] < split.ex_date and since:
                if opened <= row["fetched_at"] and split not in self.told:
                    return None
                factor *= split.ratio
        return factor

    def _check_age(self, ts: datetime, row: dict[str, Any]) -> None:
        """No bar is older than its life allows."""
        days = self.source.limits.look_back_days.get(row["interval"])
        if days is not None and ts < self.now - timedelta(days=days) + timedelta(hours=2):
            return  # nobody tells of it any more
        day, seen = row["session_date"], row["fetched_at"]
        session = next(s for s in self.exchange.sessions if s.date == day)
        after = self.exchange.following[day]
        if seen < session.close:  # it ran, or its day did
            ends = session.close
            if row["interval"] == "1h":
                ends = min(ends, ts + timedelta(hours=1))
            if seen < ends:
                assert self.now < ends + GRACE or self.now - seen < LIVE, f"{ts} stands still"
                assert self.now - seen < LIVE, f"{ts} runs, and was not looked at"
        if seen < after.close:
            assert self.now < after.close + GRACE, f"{ts} was provisional, and is due"

    @invariant()
    def nothing_is_half_believed(self) -> None:
        """What the index names is there."""
        assert not list(self.folder.glob("**/*.tmp"))

    def teardown(self) -> None:
        """Give back clock and files."""
        self.cache.close()
        if self.before is None:
            os.environ.pop("TICKERLAKE_NOW", None)
        else:
            os.environ["TICKERLAKE_NOW"] = self.before
        shutil.rmtree(self.folder)

    def _go_to(self, moment: datetime) -> None:
        self.now = moment
        os.environ["TICKERLAKE_NOW"] = moment.isoformat()

    def _next_session(self) -> date:
        return next(session.date for session in self.exchange.sessions if session.open > self.now)


#: The long form (`make prove-cache`) tells other stories each time, the short one always the same.
EXAMPLES = os.environ.get("TICKERLAKE_TEST_EXAMPLES")

TestCacheModel = CacheMachine.TestCase
TestCacheModel.settings = settings(
    max_examples=int(EXAMPLES or 20),
    derandomize=EXAMPLES is None,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    # A story found is short enough to read; making it shorter takes minutes.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    report_multiple_bugs=False,
)

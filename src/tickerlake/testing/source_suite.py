"""The contract of a source as tests: subclass `SourceSuite` and say how to make yours.

class TestAcme(SourceSuite):
    request_ = BarsRequest("AAPL", "1d", date(2024, 1, 2), date(2024, 1, 31))

    @pytest.fixture
    def source(self) -> Source:
        return AcmeSource(AcmeSettings(base_url=...))
"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, time, timedelta
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tickerlake import clock
from tickerlake.errors import MalformedError, NotFoundError, RangeError
from tickerlake.records import INTERVALS, KEYS, SCHEMAS, STATE_RANK
from tickerlake.sources import BarsRequest, Source

__all__ = ["SourceSuite"]


class SourceSuite:
    """What every source must do. Rows of one request are few; the suite looks at each."""

    #: A request of days that the source answers with at least three bars.
    request_: ClassVar[BarsRequest]
    #: A symbol that the source does not know.
    unknown_symbol: ClassVar[str] = "NO_SUCH_SYMBOL"

    @pytest.fixture
    def source(self) -> Source:
        """Make the source under test."""
        raise NotImplementedError

    def test_it_is_a_source(self, source: Source) -> None:
        """It has a name in lower case, limits that name known intervals, and the methods."""
        assert isinstance(source, Source)
        assert source.name.isidentifier()
        assert source.name == source.name.lower()
        assert set(source.limits.intervals) <= set(INTERVALS)
        limited = {*source.limits.span_days, *source.limits.look_back_days}
        assert limited <= set(source.limits.intervals)

    def test_an_answer_has_our_schemas(self, source: Source) -> None:
        """Bars and corporate actions come in the schemas of their kinds, of the asked symbol."""
        answer = source.bars(self.request_)
        assert answer.bars.schema == SCHEMAS["bar"]
        assert answer.actions.schema == SCHEMAS["corporate_action"]
        assert answer.bars.num_rows >= 3
        assert _values(answer.bars, "symbol") == {self.request_.symbol}
        assert _values(answer.bars, "interval") == {self.request_.interval}
        assert _values(answer.bars, "kind") == {"bar"}
        assert None not in _values(answer.bars, "provider")
        assert _values(answer.actions, "kind") <= {"corporate_action"}

    def test_no_key_twice_and_in_order_of_time(self, source: Source) -> None:
        """Each key stands once in an answer, and bars are in the order of their start."""
        bars = source.bars(self.request_).bars
        keys = bars.select(list(KEYS["bar"]))
        assert keys.group_by(list(KEYS["bar"])).aggregate([]).num_rows == bars.num_rows
        assert bars["ts"].to_pylist() == sorted(bars["ts"].to_pylist())

    def test_states_and_sessions_are_known_words(self, source: Source) -> None:
        """A bar's state and session are words that the lake knows; the event id is not filled."""
        bars = source.bars(self.request_).bars
        assert _values(bars, "state") <= set(STATE_RANK)
        assert _values(bars, "session") <= {"regular", "extended"}
        assert bars["event_id"].null_count == bars.num_rows

    def test_days_start_at_midnight_utc_of_their_session(self, source: Source) -> None:
        """The `ts` of a day is 00:00 UTC of its session date, whatever the provider stamps."""
        for row in source.bars(self.request_).bars.select(["ts", "session_date"]).to_pylist():
            assert row["ts"] == datetime.combine(row["session_date"], time(), UTC)

    def test_fetched_at_is_now(self, source: Source) -> None:
        """`fetched_at` follows the story's clock and is one instant for the whole answer."""
        before = clock.now()
        fetched: list[datetime] = source.bars(self.request_).bars["fetched_at"].to_pylist()
        assert len(set(fetched)) == 1
        assert before - timedelta(minutes=1) <= fetched[0] <= clock.now()

    def test_dates_include_both_ends(self, source: Source) -> None:
        """A range of one session date gives the bar of that day."""
        bars = source.bars(self.request_).bars
        day = bars["session_date"][1].as_py()
        one = source.bars(dataclasses.replace(self.request_, start=day, end=day)).bars
        assert one["session_date"].to_pylist() == [day]

    def test_the_end_of_times_is_excluded(self, source: Source) -> None:
        """A range of timestamps holds its start and not its end."""
        bars = source.bars(self.request_).bars
        first, _, third = bars["ts"].to_pylist()[:3]
        two = source.bars(dataclasses.replace(self.request_, start=first, end=third)).bars
        assert two["ts"].to_pylist() == bars["ts"].to_pylist()[:2]

    def test_asking_again_gives_the_same(self, source: Source) -> None:
        """The values of a second answer are those of the first; only `fetched_at` moves."""
        first, second = (source.bars(self.request_).bars.drop("fetched_at") for _ in range(2))
        assert first.equals(second)

    def test_an_unknown_symbol_is_not_found(self, source: Source) -> None:
        """An unknown symbol is a NotFoundError that says what to do."""
        with pytest.raises(NotFoundError, match="what to do"):
            source.bars(BarsRequest(self.unknown_symbol, self.request_.interval))

    def test_an_interval_that_it_does_not_have_is_refused(self, source: Source) -> None:
        """An interval outside the limits is a RangeError that names those it has."""
        for interval in sorted(set(INTERVALS) - set(source.limits.intervals))[:1]:
            with pytest.raises(RangeError, match="expected"):
                source.bars(dataclasses.replace(self.request_, interval=interval))

    @pytest.mark.parametrize("payload", [b"", b"\x00\xff\x00", b"<html>Sorry</html>", b"{", b"{}"])
    def test_what_is_no_answer_is_malformed(self, source: Source, payload: bytes) -> None:
        """Bytes that are no answer of the provider are an error of our tree, and no crash."""
        with pytest.raises((MalformedError, NotFoundError)):
            source.parse(payload)


def _values(table: pa.Table, column: str) -> set[object]:
    return set(pc.unique(table[column]).to_pylist())

"""What publishers and the live page read from lake and stream beside the views."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from tickerlake.lake.maintenance import compact
from tickerlake.query.known import known_actions, known_bars
from tickerlake.query.live import Live
from tickerlake.records import Kind
from tickerlake.testing.engine_suite import House, bar, trade


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.close()


def states(house: House, symbol: str = "IBM") -> list[tuple[int, str, bool]]:
    """Day of the month, state and whether it is dead, of every known bar."""
    known = known_bars(house.lake, house.stream, "suite", [symbol], "1d").sort_by("ts")
    return [(row["ts"].day, row["state"], row["dead"]) for row in known.to_pylist()]


def test_known_bars_span_lake_compacted_files_and_tail(house: House) -> None:
    """Each key's newest record is known once, wherever it lies, and no other symbol's."""
    house.publish(*[bar(day, state="forming", fetched=1) for day in range(3)], bar(symbol="FB"))
    house.publish(bar(0, fetched=9))
    house.deliver()
    compact(house.lake)
    house.publish(bar(1, fetched=9))
    house.deliver()
    house.publish(bar(2, fetched=9), bar(3, interval="1h"), bar(3, provider="other"))
    assert states(house) == [(1, "final", False), (2, "final", False), (3, "final", False)]
    assert states(house, "AAPL") == []


def test_a_known_dead_letter_is_known_as_dead(house: House) -> None:
    """A record that was refused is known too, so that it is not sent again as new."""
    house.publish(bar(0, low=99.0), bar(1))
    assert states(house) == [(1, "final", True), (2, "final", False)]
    house.deliver()
    assert states(house) == [(1, "final", True), (2, "final", False)]
    house.publish(bar(0, fetched=2))
    assert states(house) == [(1, "final", False), (2, "final", False)]


def test_known_actions(house: House) -> None:
    """Corporate actions are known by their own key."""
    given = {name: bar()[name] for name in ("provider", "symbol", "ts", "fetched_at")}
    split = {"action": "split", "ex_date": bar()["session_date"]}
    house.publish({**given, **split, "numerator": 2.0, "denominator": 1.0}, kind="corporate_action")
    known = known_actions(house.lake, house.stream, "suite", ["IBM"])
    assert known.select(["numerator", "dead"]).to_pylist() == [{"numerator": 2.0, "dead": False}]


def test_live_tells_what_is_published_from_now_on(house: House) -> None:
    """A subscriber is told each sound record that comes after it, once, and none before."""
    house.publish(bar(0))
    told: queue.Queue[tuple[Kind, pa.Table]] = queue.Queue()
    live = Live(house.stream, ["bar", "trade"])
    unsubscribe = live.subscribe(lambda kind, rows: told.put((kind, rows)))
    house.publish(bar(1), bar(2, low=99.0))
    kind, rows = told.get(timeout=30)
    assert (kind, rows.column("ts").to_pylist()) == ("bar", [bar(1)["ts"]])
    house.publish(trade(5), kind="trade")
    kind, rows = told.get(timeout=30)
    assert (kind, rows.column("trade_id").to_pylist()) == ("trade", ["5"])
    unsubscribe()
    second: queue.Queue[int] = queue.Queue()
    live.subscribe(lambda _, rows: second.put(rows.num_rows))
    house.publish(bar(3))
    assert second.get(timeout=30) == 1
    live.close()
    assert told.empty()


def test_a_subscriber_that_fails_does_not_stop_the_others(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """An error in one callback is logged, and only that callback is told no more."""
    told: queue.Queue[int] = queue.Queue()
    live = Live(house.stream, ["bar"])
    calls = []

    def fail(_: Kind, rows: pa.Table) -> None:
        calls.append(rows.num_rows)
        raise ValueError("full")

    live.subscribe(fail)
    live.subscribe(lambda _, rows: told.put(rows.num_rows))
    for day in range(2):
        house.publish(bar(day))
        assert told.get(timeout=30) == 1
    live.close()
    assert calls == [1]
    assert "a subscriber of live records failed" in caplog.text

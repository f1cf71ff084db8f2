"""Records that may not enter `bars`, and what becomes of them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tickerlake.delivery import DeliverySettings, KindReport, dead_letters, deliver
from tickerlake.errors import MalformedError, NotFoundError, UsageError
from tickerlake.lake.lake import Lake
from tickerlake.lake.maintenance import verify
from tickerlake.records import KINDS
from tickerlake.streams import Stream, StreamsSettings
from tickerlake.streams.registry import open_stream
from tickerlake.testing.invariants import findings
from tickerlake.testing.sample_records import sample_bars

BAR = {
    "provider": "sample",
    "symbol": "AAPL",
    "ts": "2024-01-02T00:00:00Z",
    "fetched_at": "2024-01-03T00:00:00Z",
    "interval": "1d",
    "session": "regular",
    "state": "final",
    "open": 2.0,
    "high": 3.0,
    "low": 1.0,
    "close": 2.5,
}
UPSIDE_DOWN = {**BAR, "high": 0.5}


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[Stream]:
    stream = open_stream("embedded:", workspace=tmp_path, settings=StreamsSettings())
    yield stream
    stream.close()


def delivered(stream: Stream, lake: Lake) -> KindReport:
    settings = DeliverySettings(repeat_window=100)
    never = threading.Event()
    return deliver(stream, lake, KINDS, once=True, stop=never, settings=settings).total


def send(stream: Stream, *records: Any) -> None:
    lines = [r if isinstance(r, bytes) else json.dumps(r).encode() for r in records]
    stream.append_raw("bar", "1", lines)


def test_a_bad_record_becomes_a_row_with_its_reason_and_nothing_fails(
    stream: Stream, lake: Lake
) -> None:
    """Undecodable or against a rule: delivery goes on, counts it, and keeps all of it."""
    send(stream, b"rubbish", UPSIDE_DOWN, BAR)
    report = delivered(stream, lake)
    assert (report.rows, report.dead_letters) == (3, 2)
    first, second = dead_letters.list_(lake)
    assert (first.status, first.payload) == ("open", b"rubbish")
    assert "high is below low" in second.reason
    assert second.symbol == "AAPL"
    assert json.loads(second.payload or b"")["high"] == 0.5


def test_a_mended_record_arrives_and_its_letter_shows_as_requeued(
    stream: Stream, lake: Lake, tmp_path: Path
) -> None:
    """It keeps the letter's `fetched_at` and names the letter; the letter itself stays."""
    send(stream, UPSIDE_DOWN)
    delivered(stream, lake)
    (letter,) = dead_letters.list_(lake)
    dead_letters.requeue(stream, lake, letter.id, {**BAR, "fetched_at": "2030-01-01T00:00:00Z"})
    assert dead_letters.show(lake, letter.id).status == "open"  # it has not arrived yet
    delivered(stream, lake)
    assert dead_letters.show(lake, letter.id).status == "requeued"
    table = lake.table("bars_log")
    rows = table.read(table.load(), columns=["origin", "dead_reason", "fetched_at"]).to_pylist()
    (mended,) = [row for row in rows if row["origin"] is not None]
    assert (mended["origin"], mended["dead_reason"]) == (letter.id, None)
    assert mended["fetched_at"] == letter.fetched_at
    assert findings(stream.topic("bar"), tmp_path / "catalog.db", repeat_window=100) == []


def test_a_second_requeue_of_one_letter_is_dropped_as_a_repeat(
    stream: Stream, lake: Lake, tmp_path: Path
) -> None:
    """Whatever symbol, partition or values it was given: of one letter comes at most one record."""
    send(stream, UPSIDE_DOWN)
    delivered(stream, lake)
    (letter,) = dead_letters.list_(lake)
    for symbol in ("AAPL", "AAPL", "MSFT", "IBM"):
        dead_letters.requeue(stream, lake, letter.id, {**BAR, "symbol": symbol})
    report = delivered(stream, lake)
    assert (report.rows, report.dropped) == (1, 3)
    with pytest.raises(UsageError, match="settled"):
        dead_letters.requeue(stream, lake, letter.id, BAR)
    assert findings(stream.topic("bar"), tmp_path / "catalog.db", repeat_window=100) == []


def test_a_requeue_that_comes_long_after_is_dropped_too(stream: Stream, lake: Lake) -> None:
    """The window of repeats has passed, another commit lies between: the lake still knows."""
    send(stream, UPSIDE_DOWN)
    delivered(stream, lake)
    (letter,) = dead_letters.list_(lake)
    published = [dead_letters.requeue(stream, lake, letter.id, BAR)]
    delivered(stream, lake)
    stream.topic("bar").publish(sample_bars(3_000))
    delivered(stream, lake)
    # What a second person would have sent, who saw the letter while it was open.
    late = (
        stream.topic("bar")
        .read(published[0].partition, published[0].first_position, records_max=1, wait_seconds=0)
        .messages[0]
    )
    from tickerlake.streams.codec import decode

    rows = decode("bar", [late]).select(list(sample_bars(1).column_names))
    stream.topic("bar").publish(rows)
    assert delivered(stream, lake).dropped == 1


def test_what_is_still_not_sound_is_not_published(stream: Stream, lake: Lake) -> None:
    """A record that would be a dead letter again is refused, with its reason."""
    send(stream, UPSIDE_DOWN, b"rubbish")
    delivered(stream, lake)
    for letter in dead_letters.list_(lake):
        with pytest.raises(MalformedError, match="not sound"):
            dead_letters.requeue(stream, lake, letter.id)
    assert delivered(stream, lake).rows == 0


def test_a_discarded_letter_stays_and_says_so(stream: Stream, lake: Lake, tmp_path: Path) -> None:
    """The decision is a row of the same table: no position of the log, no record of a bar."""
    send(stream, b"rubbish", b"more of it")
    delivered(stream, lake)
    first, second = dead_letters.list_(lake)
    assert dead_letters.discard(lake, first.id, "a test of ours").status == "discarded"
    assert [letter.id for letter in dead_letters.list_(lake, status="open")] == [second.id]
    assert len(dead_letters.list_(lake)) == 2
    with pytest.raises(UsageError):
        dead_letters.discard(lake, first.id)
    assert delivered(stream, lake).rows == 0
    assert findings(stream.topic("bar"), tmp_path / "catalog.db", repeat_window=100) == []
    assert verify(lake).findings == ()


def test_a_letter_that_does_not_exist_is_named(lake: Lake) -> None:
    """A wrong id says what an id looks like and where to find one."""
    with pytest.raises(NotFoundError, match="dead-letters list"):
        dead_letters.show(lake, "nowhere/0/0/0")

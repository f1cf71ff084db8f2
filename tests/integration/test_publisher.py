"""From sources onto a real stream, beside a real lake: what is sent, told, paced and stopped."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest

from tickerlake.errors import NotFoundError, PartlyDoneError
from tickerlake.publish import Chosen, Event, Publisher, Put
from tickerlake.query.known import known_actions, known_bars
from tickerlake.sources import Answer, BarsRequest, Source, open_source
from tickerlake.sources.files import FilesSettings, FilesSource
from tickerlake.testing.engine_suite import House
from yahoo_double import at, chart, encoded

FB = BarsRequest("FB", "1d", date(2013, 2, 1))
IBM = BarsRequest("IBM", "1d", date(2013, 2, 1))
DAYS = 20  # sessions from 2013-02-01 to 2013-03-01


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.close()


def publisher(
    house: House, source: Source | None = None, events: list[Event] | None = None
) -> Publisher:
    return Publisher(
        source or open_source("sample"),
        house.stream,
        known=partial(known_bars, house.lake, house.stream),
        known_actions=partial(known_actions, house.lake, house.stream),
        on_event=None if events is None else events.append,
    )


def records(house: House, kind: Any = "bar") -> int:
    topic = house.stream.topic(kind)
    return sum(topic.bounds(partition).end for partition in topic.partitions())


def test_publishing_again_adds_nothing(house: House) -> None:
    """What was sent is known from the tail at once, and from the lake after its delivery."""
    first = publisher(house).publish([FB, IBM])
    assert (first.fetched, first.sent, first.unchanged) == (2 * DAYS, 2 * DAYS, 0)
    assert publisher(house).publish([FB, IBM]).sent == 0
    house.deliver()
    again = publisher(house).publish([FB, IBM])
    assert (again.sent, again.unchanged) == (0, 2 * DAYS)
    assert records(house) == 2 * DAYS


def test_only_what_is_missing_is_sent(house: House) -> None:
    """A longer range adds the bars before it; those that are there stay as they are."""
    publisher(house).publish([FB])
    longer = BarsRequest("FB", "1d", date(2013, 1, 31))
    assert publisher(house).publish([longer]).sent == 1


def test_it_tells_what_was_chosen_and_put(house: House) -> None:
    """Each symbol's choice and each partition's put are told, with positions."""
    events: list[Event] = []
    publisher(house, events=events).publish([FB, IBM])
    chosen, put = events[:2]
    assert chosen == Chosen("FB", "1d", fetched=DAYS, new=DAYS)
    assert isinstance(put, Put)
    assert (put.records, put.first_position, put.last_position) == (DAYS, 0, DAYS - 1)
    assert (put.status, put.sent, put.kind) == ("durable", DAYS, "bar")
    assert events[2] == Chosen("IBM", "1d", fetched=DAYS, new=DAYS)


def test_paced_records_are_put_one_by_one(house: House) -> None:
    """With a pace, each put holds one record and says symbol, state, position and status."""
    events: list[Event] = []
    report = publisher(house, events=events).publish([FB], every_seconds=0.001, limit=5)
    puts = [event for event in events if isinstance(event, Put)]
    assert [put.last_position for put in puts] == [0, 1, 2, 3, 4]
    assert {(put.symbol, put.state, put.records, put.status) for put in puts} == {
        ("FB", "final", 1, "durable")
    }
    assert [put.sent for put in puts] == [1, 2, 3, 4, 5]
    assert (report.sent, report.stopped) == (5, False)
    assert publisher(house).publish([FB]).sent == DAYS - 5


def test_a_limit_holds_over_all_symbols(house: House) -> None:
    """No more than `limit` records in all, however they are batched."""
    assert publisher(house).publish([FB, IBM], limit=DAYS + 3).sent == DAYS + 3
    assert publisher(house).publish([FB, IBM], limit=0).fetched == 0
    assert records(house) == DAYS + 3


def test_a_stop_finishes_what_was_begun(house: House) -> None:
    """Asked to stop while it paces, it reports what is durable, and a repeat sends the rest."""
    stop = threading.Event()

    def listen(event: Event) -> None:
        if isinstance(event, Put) and event.sent == 3:
            stop.set()

    one = Publisher(
        open_source("sample"),
        house.stream,
        known=partial(known_bars, house.lake, house.stream),
        known_actions=partial(known_actions, house.lake, house.stream),
        on_event=listen,
    )
    report = one.publish([FB, IBM], every_seconds=0.001, stop=stop)
    assert (report.sent, report.stopped) == (3, True)
    assert records(house) == 3
    rest = publisher(house).publish([FB, IBM])
    assert (rest.sent, rest.stopped) == (2 * DAYS - 3, False)


def test_a_symbol_that_cannot_be_had_does_not_stop_the_others(house: House) -> None:
    """The report names it, and the verb's error says that the rest was done."""
    report = publisher(house).publish([BarsRequest("NOPE"), FB])
    assert list(report.failures) == ["NOPE"]
    assert report.sent == DAYS
    with pytest.raises(PartlyDoneError, match="NOPE: The sample has no symbol"):
        report.raise_if_incomplete()
    with pytest.raises(NotFoundError, match="NOPE"):
        publisher(house).publish([BarsRequest("NOPE")]).raise_if_incomplete()
    publisher(house).publish([FB]).raise_if_incomplete()


def test_what_the_source_cannot_give_is_passed_on(house: House) -> None:
    """Parts that lie before a look-back make the run partly done."""
    bars = open_source("sample").bars(FB).bars
    answer = Answer(bars, open_source("sample").bars(FB).actions, missing=("FB before 2013",))
    report = publisher(house).publish_answer(answer)
    with pytest.raises(PartlyDoneError, match="FB before 2013"):
        report.raise_if_incomplete()


def test_wrong_values_are_sent_and_counted(house: House, tmp_path: Path) -> None:
    """A file's bad rows become dead letters, once, and are no failure of publishing."""
    path = tmp_path / "bars.csv"
    path.write_text(
        "symbol,date,open,high,low,close\nA,2024-01-02,1,2,1,2\nA,2024-01-03,1,1,2,2\n"
        "A,2024-01-04,-1,2,-1,2\n"
    )
    files = FilesSource(FilesSettings(path=str(path)))
    report = publisher(house, files).publish_answer(files.read_file(path))
    assert (report.sent, report.dead_letters) == (3, 2)
    report.raise_if_incomplete()
    house.deliver()
    assert publisher(house, files).publish_answer(files.read_file(path)).sent == 0
    path.write_text(path.read_text().replace("-1", "1"))
    mended = publisher(house, files).publish_answer(files.read_file(path))
    assert (mended.sent, mended.dead_letters) == (1, 0)


def test_a_key_told_twice_is_told_to_the_user(house: House) -> None:
    """Two rows of one bar in one file: the last is sent, a note says so, a repeat adds nothing."""
    text = b"symbol,date,open,high,low,close\nA,2024-01-02,1,2,1,2\nA,2024-01-02,1,3,1,2\n"
    for sent in (1, 0):
        report = publisher(house).publish_answer(FilesSource().parse(text))
        assert report.sent == sent
        assert report.notes == ("1 bars came twice in one answer; the last of each was taken",)


# -- the life of Yahoo's bars ----------------------------------------------------------------------

THURSDAY, FRIDAY = (
    ("2024-03-07T14:30", "2024-03-07T21:00"),
    ("2024-03-08T14:30", "2024-03-08T21:00"),
)


def answer(rows: dict[str, Any], last_trade: str, regular: tuple[str, str], **meta: Any) -> Answer:
    body = chart(rows, last_trade=last_trade, regular=regular, **meta)
    received = datetime.fromtimestamp(at(last_trade), UTC)
    return open_source("yahoo").parse(encoded(body), received_at=received)


def test_the_life_of_a_bar(house: House) -> None:
    """Forming, provisional, changed overnight, final after the next close; each step sent once."""
    wednesday = {"2024-03-06T14:30": (9.0, 9.5, 8.5, 9.0, 90.0)}
    live = {"2024-03-07T17:35": (10.0, 11.0, 9.0, 10.5, 40.0)}
    closed = {"2024-03-07T21:00": (10.0, 11.0, 9.0, 10.6, 100.0)}
    settled = {"2024-03-07T14:30": (10.1, 11.0, 9.0, 10.6, 112.0)}
    friday = {"2024-03-08T21:00": (10.6, 11.0, 10.0, 10.8, 70.0)}
    days = (
        (wednesday | live, "2024-03-07T17:35", THURSDAY, 2),
        (wednesday | live, "2024-03-07T17:35", THURSDAY, 0),
        (wednesday | closed, "2024-03-07T21:00", THURSDAY, 2),
        (wednesday | settled, "2024-03-07T21:00", THURSDAY, 1),
        (wednesday | settled | friday, "2024-03-08T21:00", FRIDAY, 2),
        (wednesday | settled | friday, "2024-03-08T21:00", FRIDAY, 0),
    )
    sent = [
        publisher(house).publish_answer(answer(rows, last, regular)).sent
        for rows, last, regular, _ in days
    ]
    assert sent == [new for *_, new in days]
    known = known_bars(house.lake, house.stream, "yahoo", ["ACME"], "1d").sort_by("ts")
    assert known["state"].to_pylist() == ["final", "final", "provisional"]
    late = {"2024-03-06T14:30": (9.0, 9.5, 8.5, 9.0, 95.0)}
    report = publisher(house).publish_answer(
        answer(late | settled | friday, "2024-03-08T21:00", FRIDAY)
    )
    known = known_bars(house.lake, house.stream, "yahoo", ["ACME"], "1d").sort_by("ts")
    assert report.sent == 1
    assert known["state"].to_pylist() == ["revised", "final", "provisional"]


def test_corporate_actions_are_published_once(house: House) -> None:
    """A split is sent with its bars; old bars that it re-adjusts are not sent again."""
    old = {"2024-03-06T14:30": (40.0, 44.0, 36.0, 40.0, 10.0)}
    publisher(house).publish_answer(answer(old, "2024-03-07T21:00", THURSDAY))
    split = {"1": {"date": at("2024-03-08T14:30"), "numerator": 4, "denominator": 1}}
    adjusted = {"2024-03-06T14:30": (10.0, 11.0, 9.0, 10.0, 40.0)}
    told = answer(adjusted, "2024-03-08T21:00", FRIDAY, events={"splits": split})
    report = publisher(house).publish_answer(told)
    assert (report.sent, report.actions) == (1, 1)
    assert records(house, "corporate_action") == 1
    assert publisher(house).publish_answer(told).sent == 0


# -- live simulation -------------------------------------------------------------------------------


def test_a_replay_goes_on_where_it_stopped(house: House) -> None:
    """Cut off after three records, a second replay sends the rest, and a third nothing."""
    bars = open_source("sample").bars(BarsRequest("FB", "1d", date(2013, 2, 27))).bars
    events: list[Event] = []
    cut = publisher(house, events=events).replay(bars, calendar="XNYS", limit=3)
    assert cut.sent == 3
    assert [event.state for event in events if isinstance(event, Put)] == [
        "forming", "final", "forming",
    ]  # fmt: skip
    assert publisher(house).replay(bars, calendar="XNYS").sent == 3
    assert publisher(house).replay(bars, calendar="XNYS").sent == 0
    house.deliver()
    assert publisher(house).replay(bars, calendar="XNYS").sent == 0
    known = known_bars(house.lake, house.stream, "sample", ["FB"], "1d")
    assert (
        known.sort_by("ts")
        .select(["open", "close", "volume"])
        .equals(bars.select(["open", "close", "volume"]))
    )


def test_a_replay_passes_over_history(house: House) -> None:
    """Sessions that were published as history do not form again."""
    publisher(house).publish([FB])
    bars = open_source("sample").bars(FB).bars
    assert publisher(house).replay(bars).sent == 0


def test_a_replay_is_fetched_now(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Freshness is the time since arrival: each record is stamped when it is put."""
    monkeypatch.setenv("TICKERLAKE_NOW", "2030-01-01T00:00:00Z")
    bars = open_source("sample").bars(BarsRequest("FB", "1d", date(2013, 3, 1))).bars
    monkeypatch.setenv("TICKERLAKE_NOW", "2031-01-01T00:00:00Z")
    publisher(house).replay(bars)
    known = known_bars(house.lake, house.stream, "sample", ["FB"], "1d")
    assert pc.year(known["fetched_at"]).to_pylist() == [2031]


def test_a_replay_waits_between_steps_and_can_be_stopped(house: House) -> None:
    """A long pause between steps ends at once when a stop is asked for."""
    stop = threading.Event()
    bars = open_source("sample").bars(BarsRequest("FB", "1d", date(2013, 3, 1))).bars
    one = Publisher(
        open_source("sample"),
        house.stream,
        known=partial(known_bars, house.lake, house.stream),
        known_actions=partial(known_actions, house.lake, house.stream),
        on_event=lambda _event: stop.set(),
    )
    for pace in ({"seconds_between": 3600.0}, {"speed": 0.001}):
        stop.clear()
        report = one.replay(bars, stop=stop, **pace)  # type: ignore[arg-type]
        assert report.sent <= 1
        assert report.stopped


def test_two_publishers_at_once_lose_nothing(house: House) -> None:
    """Both may send a bar, which is then one row for a reader; nothing is missing."""
    threads = [
        threading.Thread(target=publisher(house).publish, args=([FB, IBM],)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    known = known_bars(house.lake, house.stream, "sample", ["FB", "IBM"], "1d")
    assert known.num_rows == 2 * DAYS
    assert records(house) in range(2 * DAYS, 4 * DAYS + 1)

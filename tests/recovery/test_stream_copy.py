"""A stream's history in another stream, and each record once in the lake: killed wherever it is."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tickerlake
from command import running
from command import tickerlake as command
from tickerlake import config
from tickerlake.delivery import Copied, DeliverySettings, copy_topic, copying, deliver
from tickerlake.delivery.copies import marks_of
from tickerlake.errors import ConfigError, CopyOpenError
from tickerlake.lake.lake import Lake
from tickerlake.lake.positions import offsets_of
from tickerlake.lake.registry import open_lake
from tickerlake.lake.settings import LakeSettings
from tickerlake.query.tail import Tail
from tickerlake.records import SCHEMAS
from tickerlake.streams import Batch, Bounds, Stream, StreamsSettings, codec, open_stream
from tickerlake.streams.partitioning import partitions_of
from tickerlake.testing.invariants import findings
from tickerlake.testing.sample_records import sample_bars

#: So many that the bars lie in a few months: a month is a file.
MANY = [f"S{number}" for number in range(1_000)]
DELIVERY = DeliverySettings(repeat_window=0)
STEPS = ("1", "2", "3", "4", "4a", "5", "6", "7")


class Killed(BaseException):
    """The process was killed here."""


class House:
    """Two streams and a lake in one folder, opened afresh by whoever comes in."""

    def __init__(self, folder: Path, partitions: tuple[int, int] = (3, 3)) -> None:
        self.folder = folder
        self.partitions = partitions

    @contextmanager
    def opened(self) -> Iterator[tuple[Stream, Stream, Lake]]:
        one, two = (
            open_stream(
                f"embedded:{name}",
                workspace=self.folder,
                settings=StreamsSettings(partitions=count, wire=wire),
            )
            for name, count, wire in zip("ab", self.partitions, ("arrow", "json"), strict=True)
        )
        lake = open_lake(
            "./lake", "sqlite:", workspace=self.folder, settings=LakeSettings(fsync=False)
        )
        try:
            yield one, two, lake
        finally:
            lake.close()
            one.close()
            two.close()

    def copy(self, failpoint: Callable[[str], None] = lambda _: None) -> Copied:
        with self.opened() as (one, two, lake):
            return copy_topic(
                one,
                two,
                "bar",
                lake,
                settings=DELIVERY,
                stop=threading.Event(),
                failpoint=failpoint,
            )

    def deliver(self, which: int) -> int:
        """Deliver from the first or the second stream; how many rows came of it."""
        with self.opened() as opened:
            report = deliver(
                opened[which],  # type: ignore[arg-type]
                opened[2],
                ["bar"],
                once=True,
                stop=threading.Event(),
                settings=DELIVERY,
            )
            return report.total.rows

    def rows(self) -> pa.Table:
        with self.opened() as (_, _, lake):
            table = lake.table("bars_log")
            return table.read(table.load())

    def records(self, which: int) -> dict[str, pa.Table]:
        """What a stream holds, decoded, by partition."""
        with self.opened() as opened:
            topic = opened[which].topic("bar")  # type: ignore[union-attr]
            return {name: read_all(topic, name) for name in topic.partitions()}


def read_all(topic: Any, partition: str) -> pa.Table:
    end, at, messages = topic.bounds(partition).end, topic.bounds(partition).beginning, []
    while at < end:
        batch = topic.read(partition, at, records_max=1_000_000, wait_seconds=0)
        messages.extend(batch.messages)
        at = batch.next_position
    return codec.decode("bar", messages)


def marks(tables: dict[str, pa.Table]) -> Counter[bytes]:
    return Counter(mark for table in tables.values() for mark in marks_of(table, "bar"))


def dies_at(step: str, nth: int = 1) -> Callable[[str], None]:
    """A failpoint that kills at the nth time that a step is reached."""
    left = [nth]

    def reached(now: str) -> None:
        if now == step:
            left[0] -= 1
            if left[0] == 0:
                raise Killed

    return reached


def filled(house: House, count: int = 60) -> None:
    """Records of the first stream: sound ones, dead ones, and one that was sent twice."""
    with house.opened() as (one, _, _):
        topic = one.topic("bar")
        topic.publish(sample_bars(count))
        one.append_raw("bar", "0", [b"rubbish", b"\xff\x00 two\nlines", b"rubbish"])
        bad = sample_bars(3, first=10_000)
        bad = bad.set_column(bad.schema.get_field_index("high"), "high", pa.array([-1.0] * 3))
        topic.publish(bad)
        topic.publish(sample_bars(5))


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(tmp_path)
    filled(made)
    return made


def test_all_that_a_stream_holds_is_in_the_other_and_the_lake_knows_it(house: House) -> None:
    """Same records in the same order of each symbol, same partition; nothing is delivered again."""
    copied = house.copy()
    assert (copied.records, copied.dead_letters, copied.found, copied.delivered) == (71, 6, 0, 0)
    before, after = house.records(0), house.records(1)
    assert marks(before) == marks(after)
    for name, table in before.items():
        sound = table.filter(table["dead_reason"].is_null())
        there = after[name].filter(after[name]["dead_reason"].is_null())
        for column in SCHEMAS["bar"].names:
            assert sound[column].to_pylist() == there[column].to_pylist(), column
        for symbol, partition in zip(
            sound["symbol"].to_pylist(), partitions_of(sound["symbol"], 3), strict=True
        ):
            assert str(partition) == name, symbol
    rows = house.rows()
    assert house.deliver(1) == 0
    assert house.deliver(0) == 0
    assert house.rows().num_rows == rows.num_rows == 71
    with house.opened() as (_, two, lake):
        table = lake.table("bars_log")
        offsets = offsets_of(table.load().properties, two.topic("bar").identity().id)
        ends = {name: two.topic("bar").bounds(name).end for name in two.topic("bar").partitions()}
        assert offsets == ends


def test_a_second_copy_brings_only_what_came_since(house: House) -> None:
    """Records that both streams took in meanwhile are rows once, wherever they came from."""
    house.copy()
    with house.opened() as (one, two, _):
        one.topic("bar").publish(sample_bars(20, first=500))
        two.topic("bar").publish(sample_bars(9, first=900))
    copied = house.copy()
    assert (copied.records, copied.found, copied.delivered) == (20, 0, 9)
    assert house.rows().num_rows == 71 + 29
    assert house.deliver(1) == house.deliver(0) == 0
    assert house.copy() == Copied("bar")


@pytest.mark.parametrize("step", STEPS)
def test_a_copy_that_was_killed_goes_on_and_doubles_nothing(house: House, step: str) -> None:
    """After each step: the target holds each record once, and the lake has each row once."""
    with pytest.raises(Killed):
        house.copy(dies_at(step))
    house.copy()
    assert marks(house.records(1)) == marks(house.records(0))
    assert house.deliver(1) == 0
    assert house.rows().num_rows == 71


def test_while_a_copy_is_open_nobody_delivers_from_the_target(house: House) -> None:
    """Not one that begins, nor one that began before; the end of the copy lets them go on."""
    house.deliver(1)  # the target is known to the lake, and a worker may stand at its begin
    with pytest.raises(Killed):
        house.copy(dies_at("4"))
    with pytest.raises(CopyOpenError, match="stream copy"):
        house.deliver(1)
    with house.opened() as (_, two, lake):
        fresh = Tail(two, records_max=1_000, repeat_window=0).after("bar", lake.table("bars_log"))
        assert (fresh.rows.num_rows, fresh.copying) == (0, True)
    house.copy()
    assert house.deliver(1) == 0
    assert house.rows().num_rows == 71


def test_what_is_no_copy_is_said(house: House, tmp_path: Path) -> None:
    """One log cannot be copied into itself, nor two streams into one at the same time."""
    with house.opened() as (one, two, lake):
        more = open_stream("embedded:c", workspace=tmp_path, settings=StreamsSettings())
        arguments: dict[str, Any] = {"settings": DELIVERY, "stop": threading.Event()}
        with pytest.raises(ConfigError, match="one and the same"):
            copy_topic(one, one, "bar", lake, **arguments)
        with pytest.raises(Killed):
            copy_topic(one, two, "bar", lake, failpoint=dies_at("4"), **arguments)
        with pytest.raises(ConfigError, match="another stream"):
            copy_topic(more, two, "bar", lake, **arguments)
        more.close()


def test_the_command_says_what_is_wrong_and_what_was_done(tmp_path: Path) -> None:
    """Wrong words exit 2; what the source's retention took first is told, and exits 3."""
    folder, _ = config.make_workspace(tmp_path / "one")
    with tickerlake.open(folder) as opened:
        opened.stream.topic("bar").publish(sample_bars(20))
    for words, said in (
        (("embedded:", "embedded:"), "one and the same log"),
        (("embedded:", "embedded:b", "--kinds", "bars"), "no kind 'bars'"),
        (("embedded:", "pigeon://x"), "no known kind"),
    ):
        assert said in command("stream", "copy", *words, cwd=folder, expect=2).err
    assert (
        "20 records copied" in command("stream", "copy", "embedded:", "embedded:b", cwd=folder).out
    )
    retention = {"streams.retention_hours": 0.0}
    with tickerlake.open(folder, settings=retention) as opened:
        opened.stream.topic("bar").publish(sample_bars(5, first=100))
        opened.deliver(["bar"], once=True)
        opened.stream.topic("bar").publish(sample_bars(5, first=200))
    done = command("stream", "copy", "embedded:", "embedded:b", "--json", cwd=folder, expect=3)
    assert (done.json[0]["gone"], done.json[0]["records"]) == (5, 5)
    assert "the lake has them" in done.err


class Torn:
    """A topic whose publish lands for some partitions and is killed then."""

    def __init__(self, topic: Any, keep: set[int]) -> None:
        self._topic = topic
        self._keep = keep

    def __getattr__(self, name: str) -> Any:
        return getattr(self._topic, name)

    def publish(self, table: pa.Table) -> None:
        count = len(self._topic.partitions())
        landed = [int(part) % 2 in self._keep for part in partitions_of(table["symbol"], count)]
        self._topic.publish(table.filter(pa.array(landed)))
        raise Killed


class Late:
    """A topic that hides what was published to it from the next reads of each partition."""

    def __init__(self, topic: Any, reads: int) -> None:
        self._topic = topic
        self._reads = reads
        self._hidden: dict[str, tuple[int, int]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._topic, name)

    def publish(self, table: pa.Table) -> Any:
        published = self._topic.publish(table)
        for each in published:
            self._hidden[each.partition] = (each.first_position, self._reads)
        return published

    def bounds(self, partition: str, seen: int | None = None, **given: Any) -> Bounds:
        """What Kinesis says: nobody knows the end."""
        return Bounds(self._topic.bounds(partition, seen, **given).beginning, None)

    def read(self, partition: str, position: int, **how: Any) -> Batch:
        first, left = self._hidden.get(partition, (0, 0))
        if left and position >= first:
            self._hidden[partition] = (first, left - 1)
            return Batch((), position, at_end=True)
        batch: Batch = self._topic.read(partition, position, **how)
        return batch


def test_what_the_target_shows_late_is_no_new_record(house: House) -> None:
    """It acknowledged all and shows some later: the copy does not end before it has met them."""
    with house.opened() as (one, two, lake), pytest.MonkeyPatch.context() as patch:
        late = Late(two.topic("bar"), reads=3)
        patch.setattr(two, "topic", lambda _: late)
        arguments: dict[str, Any] = {"settings": DELIVERY, "stop": threading.Event()}
        assert copy_topic(one, two, "bar", lake, **arguments).records == 71
    assert house.deliver(1) == 0
    assert house.rows().num_rows == 71


def test_a_second_copy_by_mistake_does_no_harm(house: House) -> None:
    """It comes and goes while the first has published and not delivered."""
    nested: list[Copied] = []

    def reached(step: str) -> None:
        if step == "4" and not nested:
            nested.append(house.copy())

    assert house.copy(reached).records == 71
    assert (nested[0].records, nested[0].found) == (0, 71)
    assert marks(house.records(1)) == marks(house.records(0))
    assert house.deliver(1) == 0
    assert house.rows().num_rows == 71


@pytest.mark.slow
def test_the_command_goes_on_after_any_kill(tmp_path: Path) -> None:
    """`stream copy`, killed again and again at random moments: each bar stands there once."""
    folder, _ = config.make_workspace(tmp_path / "one")
    with tickerlake.open(folder) as opened:
        opened.stream.topic("bar").publish(sample_bars(150_000, symbols=MANY))
        opened.stream.append_raw("bar", "1", [b"rubbish"])
    random = Random(4)
    words = ("stream", "copy", "embedded:", "embedded:other", "--json")
    killed = 0
    for _ in range(4):
        with running(*words, cwd=folder) as process, suppress(subprocess.TimeoutExpired):
            process.wait(random.uniform(1.0, 4.0))
        killed += process.returncode == -signal.SIGKILL
    said = command(*words, cwd=folder).json
    assert killed, "no kill struck: the machine is too fast for this test"
    assert [each["kind"] for each in said] == ["bar"]
    counts = "select count(*) as n, count(distinct event_id) as d from bars_history"
    for stream in ("embedded:", "embedded:other"):
        command("deliver", "--once", "--stream", stream, cwd=folder)
        assert command("sql", counts, "--stream", stream, "--json", cwd=folder).json == [
            {"n": 150_000, "d": 150_000}
        ]


step_kills = st.tuples(st.sampled_from(STEPS), st.integers(1, 3))
torn_kills = st.sets(st.integers(0, 1), max_size=2)


@dataclass(frozen=True)
class Story:
    partitions: tuple[int, int]
    history: list[int]
    kills: list[tuple[str, int] | set[int]]
    between: list[str]
    chunk: int


stories = st.builds(
    Story,
    partitions=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    history=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    kills=st.lists(st.one_of(step_kills, torn_kills), max_size=5),
    between=st.lists(st.sampled_from(["publish", "deliver", "foreign", "nothing"]), max_size=5),
    chunk=st.sampled_from([1, 7, 30, 1_000]),
)


@given(story=stories)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.slow
def test_whatever_happens_in_between_each_record_is_one_row(
    story: Story, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Any kills at any steps, publishes torn in the middle, other publishers, other counts."""
    house = House(tmp_path_factory.mktemp("house"), story.partitions)
    first = 0

    def publish(which: int, count: int) -> None:
        nonlocal first
        with house.opened() as opened:
            opened[which].topic("bar").publish(sample_bars(count, first=first))  # type: ignore[union-attr]
            opened[which].append_raw("bar", "0", [b"dead %d" % first])  # type: ignore[union-attr]
        first += count

    for count in story.history:
        publish(0, count)
    patch = pytest.MonkeyPatch()
    patch.setattr(copying, "CHUNK_RECORDS", story.chunk)
    foreign: Counter[bytes] = Counter()
    try:
        for number, kill in enumerate(story.kills):
            with suppress(Killed), house.opened() as (one, two, lake):
                failpoint = dies_at(*kill) if isinstance(kill, tuple) else dies_at("")
                if isinstance(kill, set):
                    torn = Torn(two.topic("bar"), kill)
                    patch.setattr(two, "topic", lambda _, torn=torn: torn)
                copy_topic(
                    one,
                    two,
                    "bar",
                    lake,
                    settings=DELIVERY,
                    stop=threading.Event(),
                    failpoint=failpoint,
                )
            what = story.between[number] if number < len(story.between) else "nothing"
            if what == "publish":
                publish(0, 5)
            elif what == "deliver":
                house.deliver(0)
            elif what == "foreign":
                before = marks(house.records(1))
                publish(1, 4)
                foreign += marks(house.records(1)) - before
        house.copy()
    finally:
        patch.undo()
    assert marks(house.records(1)) == marks(house.records(0)) + foreign
    assert house.deliver(1) == house.deliver(0) == 0
    rows = house.rows()
    expected = marks(house.records(0)) + foreign
    assert Counter(marks_of(rows, "bar")) == expected
    with house.opened() as (one, _, _):
        assert findings(one.topic("bar"), house.folder / "catalog.db", repeat_window=0) == []

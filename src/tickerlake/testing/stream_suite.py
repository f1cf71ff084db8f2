"""What every stream must do: subclass `StreamSuite`, say how yours is opened, run pytest.

    class TestMine(StreamSuite):
        def open(self, folder, settings):
            return MyStream(...)

`folder` is empty and stays the same within a test; opening it twice opens the same stream twice.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from pathlib import Path

import pyarrow as pa
import pytest

from tickerlake.errors import MalformedError, NotFoundError, RangeError, RetentionPassedError
from tickerlake.records import KINDS, SCHEMAS, lake_schema
from tickerlake.streams.base import Message, Stream, Topic, Wire
from tickerlake.streams.codec import decode
from tickerlake.streams.partitioning import partitions_of
from tickerlake.streams.settings import StreamsSettings
from tickerlake.testing.sample_records import sample_bars

__all__ = ["StreamSuite", "drain"]


def drain(topic: Topic, *, position: int | None = None, records_max: int = 1000) -> pa.Table:
    """All rows of all partitions, decoded, read as a delivery reads: batch after batch."""
    parts = [lake_schema(topic.kind).empty_table()]
    for partition in topic.partitions():
        at = topic.bounds(partition).beginning if position is None else position
        at_end = False
        while not at_end:
            batch = topic.read(partition, at, records_max=records_max, wait_seconds=0)
            parts.append(decode(topic.kind, batch.messages))
            at, at_end = batch.next_position, batch.at_end
        assert topic.bounds(partition).end in {at, None}
    return pa.concat_tables(parts)


class StreamSuite(ABC):
    """The contract of `tickerlake.streams.base`, as tests."""

    @abstractmethod
    def open(self, folder: Path, settings: StreamsSettings) -> Stream:
        """Open the stream that belongs to `folder`."""

    @pytest.fixture(params=["arrow", "json"])
    def wire(self, request: pytest.FixtureRequest) -> Wire:
        """Both wire formats."""
        wire: Wire = request.param
        return wire

    def test_everything_published_is_read_once_in_order(self, tmp_path: Path, wire: Wire) -> None:
        """Several publishes; every record comes back unchanged, in order within its symbol."""
        stream = self.open(tmp_path, StreamsSettings(wire=wire))
        topic = stream.topic("bar")
        bars = sample_bars(500)
        for start in range(0, 500, 83):
            topic.publish(bars.slice(start, 83))
        found = drain(topic, records_max=50)
        assert found["dead_reason"].null_count == 500
        assert found.sort_by("volume").select(bars.column_names).equals(bars)
        for symbol in ("AAPL", "FB"):
            volumes = found.filter(pa.compute.field("symbol") == symbol)["volume"].to_pylist()
            assert volumes == sorted(volumes)
        stream.close()

    def test_publish_says_what_is_durable_where(self, tmp_path: Path) -> None:
        """Counts and positions per partition, dense, from the end that was there before."""
        stream = self.open(tmp_path, StreamsSettings())
        topic = stream.topic("bar")
        bars = sample_bars(700)
        expected = partitions_of(bars["symbol"], len(topic.partitions())).to_pylist()
        for turn in (0, 1):
            published = topic.publish(bars)
            assert sum(part.count for part in published) == 700
            for part in published:
                count = expected.count(int(part.partition))
                assert part.count == count
                assert topic.bounds(part.partition).end in {part.last_position + 1, None}
                if topic.dense:
                    assert part.first_position == turn * count
                    assert part.last_position == (turn + 1) * count - 1
        stream.close()

    def test_what_we_create_has_six_partitions_unless_told_otherwise(self, tmp_path: Path) -> None:
        """Six by default; another number when the settings say so; kept when opened again."""
        stream = self.open(tmp_path, StreamsSettings())
        assert stream.topic("bar").partitions() == ["0", "1", "2", "3", "4", "5"]
        stream.close()
        stream = self.open(tmp_path, StreamsSettings(partitions=3))
        assert len(stream.topic("trade").partitions()) == 3
        assert len(stream.topic("bar").partitions()) == 6
        assert set(stream.kinds()) == {"bar", "trade"}
        stream.close()

    def test_reading_starts_anywhere(self, tmp_path: Path) -> None:
        """From every position the rest is read; a message may begin earlier, never later."""
        stream = self.open(tmp_path, StreamsSettings(partitions=1))
        topic = stream.topic("bar")
        bars = sample_bars(30, symbols=("AAPL",))
        for start in range(0, 30, 10):
            topic.publish(bars.slice(start, 10))
        positions = self.entrances(topic, "0", step=1)
        if topic.bounds("0").end is not None:
            positions = list(range(31))
        assert positions[-1] == 30
        for position in positions[:-1]:
            messages = topic.read("0", position, records_max=1000, wait_seconds=0).messages
            assert messages[0].first_position <= position < messages[0].next_position
            rows = decode("bar", messages)
            volumes = rows.filter(pa.compute.field("_offset") >= position)["volume"]
            assert volumes.to_pylist() == list(range(position, 30))
        rest = topic.read("0", positions[-1], records_max=10, wait_seconds=0)
        assert (list(rest.messages), rest.next_position, rest.at_end) == ([], 30, True)
        stream.close()

    @staticmethod
    def entrances(topic: Topic, partition: str, *, step: int) -> list[int]:
        """Where one who reads about `step` records at a time stands, from first to last."""
        positions: list[int] = [topic.bounds(partition).beginning]
        at_end = False
        while not at_end:
            batch = topic.read(partition, positions[-1], records_max=step, wait_seconds=0)
            at_end = batch.at_end
            if batch.next_position != positions[-1]:
                positions.append(batch.next_position)
        return positions

    def test_a_position_that_is_not_there_fails_loudly(self, tmp_path: Path) -> None:
        """Before the beginning or beyond the end is never an empty answer."""
        stream = self.open(tmp_path, StreamsSettings(partitions=1))
        topic = stream.topic("bar")
        topic.publish(sample_bars(5))
        for position in (-1, 6):
            with pytest.raises((RangeError, RetentionPassedError), match="what to do"):
                topic.read("0", position, records_max=10, wait_seconds=0)
        with pytest.raises(NotFoundError):
            topic.bounds("17")
        stream.close()

    def test_a_topic_is_the_same_wherever_it_is_opened(self, tmp_path: Path) -> None:
        """Two handles and a reopened stream share one identity and one content; kinds differ."""
        one, two = (self.open(tmp_path, StreamsSettings()) for _ in range(2))
        one.topic("bar").publish(sample_bars(20))
        two.topic("bar").publish(sample_bars(20, first=20))
        for stream in (one, two):
            assert drain(stream.topic("bar")).num_rows == 40
        identity = one.topic("bar").identity()
        assert identity == two.topic("bar").identity()
        assert len(identity.id) == 16
        assert identity.id != one.topic("trade").identity().id
        one.close()
        two.close()
        again = self.open(tmp_path, StreamsSettings())
        assert again.topic("bar").identity() == identity
        assert drain(again.topic("bar")).num_rows == 40
        again.close()

    @pytest.mark.parametrize("kind", KINDS)
    def test_nothing_published_is_nothing(self, tmp_path: Path, kind: str) -> None:
        """An empty table of any kind moves no end."""
        stream = self.open(tmp_path, StreamsSettings())
        topic = stream.topic(kind)  # type: ignore[arg-type]
        assert topic.publish(SCHEMAS[topic.kind].empty_table()) == []
        assert drain(topic).num_rows == 0
        stream.close()

    def test_a_malformed_table_publishes_nothing(self, tmp_path: Path) -> None:
        """Unknown column, wrong type, naive times, another kind: an error, and no record."""
        stream = self.open(tmp_path, StreamsSettings())
        topic = stream.topic("bar")
        bars = sample_bars(3)
        place = bars.schema.get_field_index("ts")
        naive = bars["ts"].cast(pa.timestamp("us"))
        for table in (
            bars.append_column("colour", pa.array(["red"] * 3)),
            bars.set_column(place, "ts", pa.array(["yesterday"] * 3)),
            bars.set_column(place, "ts", naive),
            bars.set_column(place, "ts", naive.cast(pa.int64())),
            bars.set_column(0, "kind", pa.array(["bar", "trade", "bar"])),
        ):
            with pytest.raises(MalformedError, match="what to do"):
                topic.publish(table)
        assert drain(topic).num_rows == 0
        stream.close()

    def test_every_record_is_exactly_one_row_whatever_it_holds(self, tmp_path: Path) -> None:
        """Foreign bytes between sound records: each is one row, dead ones with reason and bytes."""
        stream = self.open(tmp_path, StreamsSettings(wire="json"))
        topic = stream.topic("bar")
        topic.publish(sample_bars(10, symbols=("AAPL",)))
        foreign = [
            b"",
            b"null",
            b"\xff\xfe",
            b'{"a":1}{"b":2}',
            b'{"symbol":\n"X"}',
            b"[]",
            b"\n\n",
        ]
        partition = topic.publish(sample_bars(1, symbols=("AAPL",), first=10))[0].partition
        published = stream.append_raw("bar", partition, foreign)
        assert published.count == len(foreign)
        topic.publish(sample_bars(1, symbols=("AAPL",), first=11))
        rows = drain(topic)
        assert rows["volume"].drop_null().to_pylist() == list(range(12))
        dead = rows.filter(rows["dead_reason"].is_valid())
        assert dead["payload"].to_pylist() == foreign
        places = list(zip(rows["_offset"].to_pylist(), rows["_index"].to_pylist(), strict=True))
        assert len(set(places)) == 12 + len(foreign)
        stream.close()

    def test_a_waiting_reader_sees_what_is_published(self, tmp_path: Path) -> None:
        """`read` and `wait` block until another handle publishes, and time out when nobody does."""
        reader, writer = (self.open(tmp_path, StreamsSettings(partitions=2)) for _ in range(2))
        topic = reader.topic("bar")
        ends = {partition: topic.tip(partition) for partition in topic.partitions()}
        assert not topic.wait(ends, wait_seconds=0.02)
        assert not topic.read("0", 0, records_max=1, wait_seconds=0.02).messages
        bars = sample_bars(1)
        partition = str(partitions_of(bars["symbol"], 2)[0].as_py())
        found: list[Message] = []
        threads = [
            threading.Thread(target=lambda: topic.wait(ends, wait_seconds=60)),
            threading.Thread(
                target=lambda: found.extend(
                    topic.read(partition, 0, records_max=1, wait_seconds=60).messages
                )
            ),
        ]
        for thread in threads:
            thread.start()
        writer.topic("bar").publish(bars)
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        assert [message.count for message in found] == [1]
        assert topic.wait(ends, wait_seconds=0)
        reader.close()
        writer.close()

    def test_many_threads_publish_at_once(self, tmp_path: Path) -> None:
        """Publishes of several threads interleave, each whole, none lost."""
        stream = self.open(tmp_path, StreamsSettings())
        topic = stream.topic("bar")

        def publish(part: int) -> None:
            for turn in range(5):
                topic.publish(sample_bars(20, first=(part * 5 + turn) * 20))

        threads = [threading.Thread(target=publish, args=(part,)) for part in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(drain(topic)["volume"].to_pylist()) == list(range(400))
        stream.close()

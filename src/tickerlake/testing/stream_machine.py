"""A stream against a plain dict, in any order of steps that hypothesis can think of.

TestMine = stream_machine(lambda folder, settings: MyStream(...)).TestCase
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tickerlake.errors import MalformedError, RetentionPassedError
from tickerlake.streams.base import Stream, Topic, Wire
from tickerlake.streams.codec import decode
from tickerlake.streams.partitioning import partitions_of
from tickerlake.streams.settings import StreamsSettings
from tickerlake.testing.sample_records import sample_bars

__all__ = ["StreamMachine"]

_PARTITIONS = 3
_SYMBOLS = ("AAPL", "IBM", "MSFT", "GOOG", "FB", "é=X")
_GARBAGE = (b"", b"null", b"{", b"\xff", b'{"close":\n"x"}')


class StreamMachine(RuleBasedStateMachine):
    """Publishes, reads, acknowledges and reopens at will; subclass it and say how to open yours.

    The model: of each partition the records from position 0 on, a number for a bar (its volume)
    and bytes for a foreign record; and how far the lake has said that it is. Settings let go at
    once whatever was acknowledged.
    """

    def open(self, folder: Path, settings: StreamsSettings) -> Stream:
        """Open the stream that belongs to `folder`."""
        raise NotImplementedError

    @initialize(wire=st.sampled_from(["arrow", "json"]))
    def begin(self, wire: Wire) -> None:
        """An empty log, of either wire format."""
        self.folder = Path(tempfile.mkdtemp())
        self.settings = StreamsSettings(
            partitions=_PARTITIONS, wire=wire, retention_bytes=0, retention_hours=0
        )
        self.handles = [self.open(self.folder, self.settings)]
        self.identity = self.topic(0).identity()
        self.log: dict[str, list[float | bytes]] = {str(p): [] for p in range(_PARTITIONS)}
        self.acknowledged = dict.fromkeys(self.log, 0)
        self.beginnings = dict.fromkeys(self.log, 0)
        self.published = 0

    def topic(self, number: int) -> Topic:
        """The bars, through one of the handles."""
        return self.handles[number % len(self.handles)].topic("bar")

    @rule(handle=st.integers(0, 2), count=st.integers(0, 40), names=st.integers(1, 6))
    def publish(self, handle: int, count: int, names: int) -> None:
        """Each record goes to the end of its symbol's partition."""
        bars = sample_bars(count, symbols=_SYMBOLS[:names], first=self.published)
        self.published += count
        places = partitions_of(bars["symbol"], _PARTITIONS).to_pylist()
        parts = self.topic(handle).publish(bars)
        assert {part.partition for part in parts} == {str(place) for place in places}
        for part in parts:
            assert part.first_position == len(self.log[part.partition])
        for place, volume in zip(places, bars["volume"].to_pylist(), strict=True):
            self.log[str(place)].append(volume)
        for part in parts:
            assert part.last_position == len(self.log[part.partition]) - 1

    @rule(
        handle=st.integers(0, 2),
        partition=st.integers(0, _PARTITIONS - 1),
        payloads=st.lists(st.sampled_from(_GARBAGE), max_size=4),
    )
    def append_raw(self, handle: int, partition: int, payloads: list[bytes]) -> None:
        """Foreign bytes go to the end of the partition that was named."""
        stream = self.handles[handle % len(self.handles)]
        assert stream.append_raw("bar", str(partition), payloads).count == len(payloads)
        self.log[str(partition)].extend(payloads)

    @rule(handle=st.integers(0, 2))
    def publish_something_malformed(self, handle: int) -> None:
        """Nothing changes."""
        bars = sample_bars(3)
        with pytest.raises(MalformedError):
            self.topic(handle).publish(bars.append_column("colour", bars["symbol"]))

    @rule(
        handle=st.integers(0, 2),
        partition=st.integers(0, _PARTITIONS - 1),
        back=st.integers(0, 60),
        records_max=st.integers(1, 50),
    )
    def read(self, handle: int, partition: int, back: int, records_max: int) -> None:
        """From any position, in pieces of any size, the rest of the log."""
        name, log = str(partition), self.log[str(partition)]
        topic = self.topic(handle)
        position = max(len(log) - back, topic.bounds(name).beginning)
        while position < len(log):
            batch = topic.read(name, position, records_max=records_max, wait_seconds=0)
            rows = decode("bar", batch.messages)
            found = {
                at: payload if volume is None else volume
                for at, volume, payload in zip(
                    *(rows[column].to_pylist() for column in ("_offset", "volume", "payload")),
                    strict=True,
                )
            }
            assert len(found) == rows.num_rows
            after = batch.next_position
            for at in range(position, after):
                assert found[at] == log[at]
            position = after
        rest = topic.read(name, position, records_max=1, wait_seconds=0)
        assert (rest.messages, rest.next_position, rest.at_end) == ((), position, True)

    @rule(handle=st.integers(0, 2), shares=st.lists(st.floats(0, 1), min_size=3, max_size=3))
    def acknowledge(self, handle: int, shares: list[float]) -> None:
        """The lake says how far it is; it may also say less than before."""
        self.acknowledged = {
            name: int(len(log) * share)
            for (name, log), share in zip(self.log.items(), shares, strict=True)
        }
        member = self.handles[handle % len(self.handles)].join("bar", "suite", alone=True)
        member.acknowledge(self.acknowledged)
        member.leave()

    @precondition(lambda self: len(self.handles) < 3)
    @rule()
    def open_another(self) -> None:
        """One more handle on the same log."""
        self.handles.append(self.open(self.folder, self.settings))

    @rule(handle=st.integers(0, 2))
    def reopen(self, handle: int) -> None:
        """A handle is closed and opened again."""
        number = handle % len(self.handles)
        self.handles[number].close()
        self.handles[number] = self.open(self.folder, self.settings)
        assert self.topic(number).identity() == self.identity

    @invariant()
    def every_handle_tells_the_same_bounds(self) -> None:
        """Ends are the model's; nothing goes that was not acknowledged, nothing comes back."""
        for name, log in getattr(self, "log", {}).items():
            bounds = {self.topic(number).bounds(name) for number in range(len(self.handles))}
            assert len(bounds) == 1
            found = bounds.pop()
            assert found.end == len(log)
            before = self.beginnings[name]
            assert before <= found.beginning <= max(before, self.acknowledged[name])
            self.beginnings[name] = found.beginning
            for position in (found.beginning - 1, found.end + 1):
                with pytest.raises(RetentionPassedError):
                    self.topic(0).read(name, position, records_max=1, wait_seconds=0)

    def teardown(self) -> None:
        """Close and remove everything."""
        for handle in getattr(self, "handles", []):
            handle.close()
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

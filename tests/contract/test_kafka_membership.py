"""Workers that share a topic's partitions through a consumer group, on a real broker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from services import Kafka
from tickerlake import clock
from tickerlake.streams import Membership, Stream, StreamsSettings, open_stream
from tickerlake.streams.kafka.settings import KafkaSettings

ALL = frozenset("012345")
SESSION_SECONDS = 6.0

MEMBER = """
import sys
from pathlib import Path
from tickerlake import clock
from tickerlake.streams import StreamsSettings, open_stream

stream = open_stream(sys.argv[1], workspace=Path(), settings=StreamsSettings())
member = stream.join("bar", "tickerlake-test")
while not member.share():
    clock.sleep(0.02)
print(len(member.share()), flush=True)
while True:
    member.share()
    clock.sleep(0.1)
"""


class Workers:
    """Streams of one namespace, each as a worker of its own would open it."""

    def __init__(self, kafka: Kafka) -> None:
        self.bootstrap = kafka.bootstrap
        self.name = f"test-{uuid.uuid4().hex[:12]}"
        self.url = f"kafka://{self.bootstrap}/{self.name}"
        self._streams: list[Stream] = []

    def join(self, *, alone: bool = False, **kafka: str) -> Membership:
        settings = StreamsSettings(kafka=KafkaSettings(**kafka))  # type: ignore[arg-type]
        stream = open_stream(self.url, workspace=Path(), settings=settings)
        self._streams.append(stream)
        return stream.join("bar", "tickerlake-test", alone=alone)

    def committed(self) -> dict[str, int]:
        """What lag tools see."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "tickerlake-test"})
        places = [TopicPartition(f"{self.name}.bars", number) for number in range(6)]
        found = consumer.committed(places, timeout=10)
        consumer.close()
        return {str(place.partition): place.offset for place in found if place.offset >= 0}

    def close(self) -> None:
        for stream in self._streams:
            stream.close()


@pytest.fixture
def workers(kafka: Kafka) -> Iterator[Workers]:
    """All have left at the end."""
    made = Workers(kafka)
    yield made
    made.close()


def until(true: Callable[[], bool], seconds_max: float = 30) -> float:
    """Wait, and say how long it took."""
    started = clock.monotonic_seconds()
    while not true():
        assert clock.monotonic_seconds() - started < seconds_max
        clock.sleep(0.02)
    return clock.monotonic_seconds() - started


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_members_share_all_partitions_between_them(workers: Workers, protocol: str) -> None:
    """One has all; a second takes half; who leaves gives back at once. No partition is nobody's."""
    first = workers.join(group_protocol=protocol)
    until(lambda: first.share() == ALL)
    second = workers.join(group_protocol=protocol)
    until(lambda: first.share() | second.share() == ALL and len(second.share()) == 3)
    assert not first.share() & second.share()
    second.leave()
    assert second.share() == frozenset()
    until(lambda: first.share() == ALL)


def test_a_member_that_is_killed_is_replaced_within_the_session_time_out(
    workers: Workers,
) -> None:
    """SIGKILL: its partitions are another's after the session's time-out and two seconds."""
    member = workers.join()
    until(lambda: member.share() == ALL)
    process = subprocess.Popen(
        [sys.executable, "-c", MEMBER, workers.url], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "3\n"
        until(lambda: len(member.share()) == 3)
        os.kill(process.pid, signal.SIGKILL)
        assert until(lambda: member.share() == ALL) < SESSION_SECONDS + 2
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]


def test_the_group_is_told_how_far_the_lake_is(workers: Workers) -> None:
    """Members commit what they are told, and never more; so does one that is alone."""
    member = workers.join()
    until(lambda: member.share() == ALL)
    assert workers.committed() == {}
    member.acknowledge({"0": 7, "3": 5})
    until(lambda: workers.committed() == {"0": 7, "3": 5})
    member.leave()
    alone = workers.join(alone=True)
    assert alone.share() == ALL
    alone.acknowledge({"0": 9})
    until(lambda: workers.committed() == {"0": 9, "3": 5})


def test_what_cannot_be_committed_disturbs_nobody(workers: Workers) -> None:
    """Outside the group while it has members, the broker refuses: no error, nothing changes."""
    member = workers.join()
    until(lambda: member.share() == ALL)
    alone = workers.join(alone=True)
    alone.acknowledge({"0": 9})
    member.acknowledge({"1": 1})
    until(lambda: workers.committed() == {"1": 1})

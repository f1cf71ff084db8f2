"""What the embedded log does when processes are killed, disks fill up and bytes go bad."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from command import environment
from tickerlake.errors import (
    CorruptLogError,
    NewerVersionError,
    StorageError,
)
from tickerlake.streams import Stream, StreamsSettings, open_stream
from tickerlake.testing.sample_records import sample_bars
from tickerlake.testing.stream_suite import drain

BATCH = 120

# Publishes batch after batch from argv[2] on, argv[3] of them, and says each when it is durable.
PRODUCER = f"""
import sys
from pathlib import Path
from tickerlake.streams import StreamsSettings, open_stream
from tickerlake.testing.sample_records import sample_bars
folder, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
topic = open_stream("embedded:", workspace=folder, settings=StreamsSettings()).topic("bar")
print("ready", flush=True)
for batch in range(first, first + count):
    topic.publish(sample_bars({BATCH}, first=batch * {BATCH}))
    print(batch, flush=True)
"""

# Reads every partition, waiting for more, until it has argv[2] records; prints their numbers.
CONSUMER = """
import sys
from pathlib import Path
from tickerlake.streams import StreamsSettings, open_stream
from tickerlake.streams.codec import decode
stream = open_stream("embedded:", workspace=Path(sys.argv[1]), settings=StreamsSettings())
topic = stream.topic("bar")
wanted, numbers = int(sys.argv[2]), []
positions = dict.fromkeys(topic.partitions(), 0)
while len(numbers) < wanted and topic.wait(positions, wait_seconds=60):
    for partition, position in positions.items():
        batch = topic.read(partition, position, records_max=500, wait_seconds=0)
        numbers += decode("bar", batch.messages)["volume"].to_pylist()
        positions[partition] = batch.next_position
print(*(int(number) for number in numbers))
"""

# A producer on a disk that is full after a megabyte.
FULL_DISK = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20,) * 2)" + PRODUCER

# A process that makes a log, on a disk with room for the log and not for twice as much.
MAKER = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, 120_000))
from pathlib import Path
from tickerlake.streams import StreamsSettings, open_stream
open_stream("embedded:", workspace=Path(sys.argv[1]), settings=StreamsSettings()).topic("bar")
"""

# A producer that does not live to close its files: the write-ahead file stays.
KILLED = PRODUCER + "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"


_opened: list[Stream] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Whatever a test opened is closed after it."""
    yield
    while _opened:
        _opened.pop().close()


# A program that publishes, forks, and goes on publishing in both.
FORKING = f"""
import os, sys
from pathlib import Path
from tickerlake.streams import StreamsSettings, open_stream
from tickerlake.testing.sample_records import sample_bars
stream = open_stream("embedded:", workspace=Path(sys.argv[1]), settings=StreamsSettings())
topic = stream.topic("bar")
topic.publish(sample_bars({BATCH}))
child = os.fork()
for batch in range(1, 10):
    topic.publish(sample_bars({BATCH}, first=(batch * 2 + bool(child)) * {BATCH}))
if not child:
    os._exit(0)
os.waitpid(child, 0)
topic.publish(sample_bars({BATCH}, first={BATCH}))
"""


def opened(folder: Path, partitions: int = 6) -> Stream:
    settings = StreamsSettings(partitions=partitions)
    _opened.append(open_stream("embedded:", workspace=folder, settings=settings))
    return _opened[-1]


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def test_a_log_is_made_without_a_write_ahead_file(tmp_path: Path) -> None:
    """Closing one on a full disk fails in silence: a log without its rows was damage for ever."""
    maker = start(MAKER, tmp_path)
    _, problem = maker.communicate(timeout=60)
    assert maker.returncode == 0, problem
    assert [path.name for path in (tmp_path / "stream").glob(".*")] == []
    assert drain(opened(tmp_path).topic("bar")).num_rows == 0


def log_file(folder: Path) -> Path:
    return folder / "stream" / "bars.sqlite"


def numbers(stream: Stream) -> list[int]:
    return sorted(int(volume) for volume in drain(stream.topic("bar"))["volume"].to_pylist())


@pytest.mark.slow
def test_a_producer_killed_at_any_moment_leaves_whole_batches(tmp_path: Path) -> None:
    """Eight kills in the middle of publishing: all that was promised is there, nothing by half."""
    chance = random.Random(3)
    promised = next_batch = 0
    for _ in range(8):
        producer = start(PRODUCER, tmp_path, next_batch, 10_000)
        assert producer.stdout is not None
        assert producer.stdout.readline() == "ready\n"
        said = [producer.stdout.readline() for _ in range(chance.randrange(1, 12))]
        producer.send_signal(signal.SIGKILL)
        said += producer.stdout.readlines()  # `communicate` would forget what is buffered
        producer.communicate()
        promised = int(said[-1])
        stream = opened(tmp_path)
        found = numbers(stream)
        stream.close()
        # The batch in flight may have landed: unknown is not failed. But all of it or nothing.
        assert len(found) % BATCH == 0
        assert found == list(range(len(found)))
        assert promised + 1 <= len(found) // BATCH <= promised + 2
        next_batch = len(found) // BATCH
    assert next_batch >= 8


@pytest.mark.slow
def test_many_processes_publish_and_read_at_once(tmp_path: Path) -> None:
    """Three producers, two readers that start first: each reader gets every record once."""
    opened(tmp_path).topic("bar")
    batches = 15
    readers = [start(CONSUMER, tmp_path, 3 * batches * BATCH) for _ in range(2)]
    producers = [start(PRODUCER, tmp_path, part * batches, batches) for part in range(3)]
    for process in producers:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    for process in readers:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert sorted(map(int, out.split())) == list(range(3 * batches * BATCH))


def test_a_program_that_forks_goes_on_in_both_processes(tmp_path: Path) -> None:
    """A connection is not used across a fork: both publish on, and nothing is lost."""
    _, err = (program := start(FORKING, tmp_path)).communicate(timeout=120)
    assert program.returncode == 0, err
    assert numbers(opened(tmp_path)) == list(range(20 * BATCH))


def test_a_full_disk_loses_nothing_and_publishes_nothing_by_half(tmp_path: Path) -> None:
    """The publish that finds the disk full says so; what was promised stays; then it goes on."""
    producer = start(FULL_DISK, tmp_path, 0, 1000)
    out, err = producer.communicate(timeout=120)
    assert producer.returncode == 1
    assert "StorageError" in err
    assert "what to do: make room" in err
    promised = int(out.splitlines()[-1]) + 1
    assert promised > 1
    stream = opened(tmp_path)
    assert numbers(stream) == list(range(promised * BATCH))
    stream.topic("bar").publish(sample_bars(BATCH, first=promised * BATCH))
    assert numbers(stream) == list(range((promised + 1) * BATCH))
    stream.close()


def cut(path: Path, share: float) -> None:
    with path.open("r+b") as handle:
        handle.truncate(int(path.stat().st_size * share))


def scratch(path: Path, place: int = 200_000) -> None:
    with path.open("r+b") as handle:
        handle.seek(place)
        handle.write(b"\xa5" * 64)


def foreign(path: Path) -> None:
    path.write_bytes(b"PAR1" + b"x" * 100_000)


@pytest.mark.parametrize(
    "harm",
    [lambda path: cut(path, 0), lambda path: cut(path, 0.5), scratch, foreign],
    ids=["emptied", "cut", "scratched", "foreign"],
)
def test_damage_is_found_before_it_is_believed(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    """A log that was emptied, cut, scratched or overwritten fails loudly, with what to do."""
    stream = opened(tmp_path)
    stream.topic("bar").publish(sample_bars(10_000))
    stream.close()
    harm(log_file(tmp_path))
    with pytest.raises(CorruptLogError, match="what to do") as caught:
        numbers(opened(tmp_path))
    assert caught.value.exit_code == 5
    assert str(log_file(tmp_path)) in str(caught.value)


def test_every_scratch_anywhere_is_found_or_harmless(tmp_path: Path) -> None:
    """Wherever 64 bytes go bad, either the damage is named or every record is still right."""
    stream = opened(tmp_path, partitions=2)
    for part in range(4):
        stream.topic("bar").publish(sample_bars(500, first=part * 500))
    stream.close()
    whole = log_file(tmp_path).read_bytes()
    found = 0
    for place in range(0, len(whole) - 64, 6_007):
        log_file(tmp_path).write_bytes(whole)
        scratch(log_file(tmp_path), place)
        stream = opened(tmp_path)
        try:
            assert numbers(stream) == list(range(2000))
        except (CorruptLogError, NewerVersionError):
            found += 1
        finally:
            stream.close()
    assert found > 5


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_write_ahead_file_that_was_cut_short_is_missed(tmp_path: Path, share: float) -> None:
    """SQLite takes the cut for a crash and forgets what stood behind it; the log does not."""
    producer = start(KILLED, tmp_path, 0, 8)
    producer.communicate(timeout=120)
    ahead = log_file(tmp_path).with_name("bars.sqlite-wal")
    assert ahead.stat().st_size > 0
    cut(ahead, share)
    with pytest.raises(CorruptLogError, match="had been acknowledged"):
        opened(tmp_path).topic("bar")


def test_a_write_ahead_file_without_its_log_is_no_new_log(tmp_path: Path) -> None:
    """A log that somebody removed, but not all of it, is not silently begun anew."""
    start(KILLED, tmp_path, 0, 1).communicate(timeout=120)
    log_file(tmp_path).unlink()
    with pytest.raises(CorruptLogError, match="still there"):
        opened(tmp_path).topic("bar")


def test_a_log_that_was_moved_away_is_another_log_when_it_is_made_anew(tmp_path: Path) -> None:
    """A new log has a new identity, so that nobody goes on with the old one's positions."""
    stream = opened(tmp_path)
    before = stream.topic("bar").identity()
    stream.topic("bar").publish(sample_bars(10))
    stream.close()
    log_file(tmp_path).rename(tmp_path / "elsewhere.sqlite")
    stream = opened(tmp_path)
    assert stream.topic("bar").identity().id != before.id
    assert numbers(stream) == []
    stream.close()


def test_a_log_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    """Written by a later tickerlake: the message says to upgrade, and nothing is touched."""
    stream = opened(tmp_path)
    stream.topic("bar").publish(sample_bars(10))
    stream.close()
    connection = sqlite3.connect(log_file(tmp_path))
    connection.execute("pragma user_version=99")
    connection.close()
    before = log_file(tmp_path).read_bytes()
    with pytest.raises(NewerVersionError, match="upgrade tickerlake"):
        opened(tmp_path).topic("bar")
    assert log_file(tmp_path).read_bytes() == before


def test_a_closed_stream_says_so(tmp_path: Path) -> None:
    """Using a topic after close is an error with a sentence, not one of SQLite's."""
    stream = opened(tmp_path)
    topic = stream.topic("bar")
    stream.close()
    with pytest.raises(StorageError, match="closed"):
        topic.publish(sample_bars(1))
